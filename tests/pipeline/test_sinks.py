"""What writing scored events promises."""

import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from pipeline.chunk import Chunk
from pipeline.errors import UnwritableError
from pipeline.sinks import open_sink
from pipeline.sources import Layout, count_events, iter_chunks

SCORE = {"score": np.dtype("f4")}
AS_FOUND = Layout()


def scored(target: Path, like: Path, layout: Layout = AS_FOUND, chunk_bytes: int = 10_000) -> np.ndarray:
    """Write every event of ``like`` with a score; return the scores."""
    with open_sink(target, like, layout, SCORE) as sink:
        for chunk in iter_chunks(like, [], layout=layout, chunk_bytes=chunk_bytes, keep_original=True):
            values = np.float32(1) / (1 + chunk.first_event + np.arange(len(chunk), dtype="f4"))
            sink.write(chunk, {"score": values})
    return np.float32(1) / (1 + np.arange(sink.n_events, dtype="f4"))


def branches_of(path: Path, tree: str) -> tuple[dict[str, str], ak.Array, dict[str, str | None]]:
    with uproot.open(path) as file:
        found = file[tree]
        counters = {b.name: None if b.count_branch is None else b.count_branch.name for b in found.branches}
        return found.typenames(), found.arrays(), counters


@pytest.mark.parametrize(
    ("name", "tree"),
    [
        ("cms-open/ww.root", "events"),
        ("scikit-hep/uproot-Zmumu.root", "events"),
        ("scikit-hep/uproot-HZZ.root", "events"),
        ("alice-tracks/Pions.root", "data"),
        ("tmva-toy/tmva_class_example.root", "TreeB"),
    ],
)
def test_a_real_tree_keeps_its_branches_types_and_counters(samples: Path, tmp_path: Path, name: str, tree: str) -> None:
    scores = scored(tmp_path / "out.root", samples / name, Layout(tree=tree), chunk_bytes=300_000)
    types, values, counters = branches_of(samples / name, tree)
    new_types, new_values, new_counters = branches_of(tmp_path / "out.root", tree)
    assert new_types == types | {"score": "float"}
    assert new_counters == counters | {"score": None}
    assert all(ak.array_equal(new_values[field], values[field]) for field in values.fields)
    assert np.array_equal(new_values["score"], scores)


def test_a_real_rntuple_stays_one(samples: Path, tmp_path: Path) -> None:
    like = samples / "scikit-hep" / "Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root"
    scores = scored(tmp_path / "out.root", like)
    with uproot.open(like) as before, uproot.open(tmp_path / "out.root") as after:
        assert after.classnames() == before.classnames()
        expected, found = before["Events"].arrays(), after["Events"].arrays()
    assert all(ak.array_equal(found[field], expected[field]) for field in expected.fields)
    assert np.array_equal(found["score"], scores)


@pytest.mark.parametrize("counter_type", ["int32", "uint32", "uint8", "int64"])
def test_one_counter_of_any_type_in_a_nested_directory_is_kept(tmp_path: Path, counter_type: str) -> None:
    like, middle = tmp_path / "in.root", tmp_path / "middle.root"
    with uproot.recreate(middle) as file:
        lists = ak.Array([[1.5], [], [2.5, 3.5]])
        types = {"n": counter_type, "x": "var * float64", "y": "var * float64", "z": "uint16"}
        tree = file.mktree("a/b/t", types | {"n": "int32"}, title="my title", counter_name=lambda _: "n")
        tree.extend({"n": np.array([1, 0, 2], "i4"), "x": lists, "y": lists, "z": np.arange(3, dtype="u2")})
    like.write_bytes(with_counter_type(middle, counter_type))
    scored(tmp_path / "out.root", like)
    types, values, counters = branches_of(tmp_path / "out.root", "a/b/t")
    assert types == branches_of(like, "a/b/t")[0] | {"score": "float"}
    assert counters == {"n": None, "x": "n", "y": "n", "z": None, "score": None}
    assert values["y"].to_list() == [[1.5], [], [2.5, 3.5]]


def with_counter_type(path: Path, counter_type: str) -> bytes:
    """Return the file at ``path`` rewritten so that its counter ``n`` is of another integer type."""
    from pipeline.formats.root_writing import _restore_counter_types

    with uproot.open(path) as file, uproot.recreate(path.with_name("typed.root")) as typed:
        arrays = file["a/b/t"].arrays(how=dict)
        types = {"n": "int32", "x": "var * float64", "y": "var * float64", "z": "uint16"}
        tree = typed.mktree("a/b/t", types, counter_name=lambda _: "n")
        _restore_counter_types(tree, {"n": np.dtype(counter_type)})
        tree.extend(arrays)
    return path.with_name("typed.root").read_bytes()


def test_small_chunks_are_merged_into_one_basket(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "in.root") as file:
        file.mktree("t", {"x": "f8"}).extend({"x": np.arange(50_000.0)})
    scored(tmp_path / "out.root", tmp_path / "in.root", chunk_bytes=8_000)
    with uproot.open(tmp_path / "out.root") as file:
        assert file["t"]["x"].num_baskets == 1
        assert np.array_equal(file["t"]["x"].array(), np.arange(50_000.0))


def test_a_branch_that_cannot_be_written_is_named_before_anything_is(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "in.root") as file:
        file["t"] = ak.Array([{"x": 1.0, "either": 1}, {"x": 2.0, "either": "text"}])
    with (
        pytest.raises(UnwritableError, match=r"in\.root: t has a type that cannot be written"),
        open_sink(tmp_path / "out.root", tmp_path / "in.root", AS_FOUND, SCORE),
    ):
        pytest.fail("the sink must not open")
    assert [path.name for path in tmp_path.iterdir()] == ["in.root"]


def test_a_full_or_forbidden_place_is_one_clear_line(like: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UnwritableError, match=r"out\.csv cannot be written: "),
        open_sink(tmp_path / "file" / "out.csv", like, AS_FOUND, SCORE),
    ):
        pytest.fail("the sink must not open")


@pytest.mark.parametrize("name", ["in.csv", "in.root", "in.parquet"])
def test_added_columns_may_be_integers_and_texts(tmp_path: Path, name: str) -> None:
    write_numbers(tmp_path / name)
    new = {"fold": np.dtype("i8"), "best": np.dtype(object)}
    with open_sink(tmp_path / f"out-{name}", tmp_path / name, AS_FOUND, new) as sink:
        for chunk in iter_chunks(tmp_path / name, keep_original=True):
            sink.write(chunk, {"best": np.array(["a,b", "c"], object), "fold": np.array([1, 2])})
    (chunk,) = iter_chunks(tmp_path / f"out-{name}")
    assert {column: chunk[column].tolist() for column in chunk} == {"x": [1, 2], "fold": [1, 2], "best": ["a,b", "c"]}


@pytest.mark.parametrize(("name", "read_back"), [("in.csv", "10"), ("in.root", "TF"), ("in.parquet", "TF")])
def test_added_truths_are_truths_where_the_format_has_them_and_else_1_and_0(
    tmp_path: Path, name: str, read_back: str
) -> None:
    write_numbers(tmp_path / name)
    with open_sink(tmp_path / f"out-{name}", tmp_path / name, AS_FOUND, {"passes": np.dtype("?")}) as sink:
        for chunk in iter_chunks(tmp_path / name, keep_original=True):
            # Every second one of a longer array: its memory is not contiguous.
            sink.write(chunk, {"passes": np.array([True, True, False, False])[::2]})
    (chunk,) = iter_chunks(tmp_path / f"out-{name}")
    assert "".join(str(value)[0] for value in chunk["passes"].tolist()) == read_back


def write_numbers(path: Path) -> None:
    if path.suffix == ".csv":
        path.write_text("x\n1\n2\n")
    elif path.suffix == ".root":
        with uproot.recreate(path) as file:
            file.mktree("t", {"x": "i8"}).extend({"x": np.array([1, 2])})
    else:
        pq.write_table(pa.table({"x": [1, 2]}), path)


def test_a_csv_keeps_its_lines_to_the_byte(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b'\xef\xbb\xbfa , "b"\r\n# note\r\n 01,"x,y"\r\n\r\n1e0, z')
    scored(tmp_path / "out.csv", tmp_path / "in.csv", chunk_bytes=1)
    assert (tmp_path / "out.csv").read_bytes() == b'\xef\xbb\xbfa , "b",score\r\n 01,"x,y",1\r\n1e0, z,0.5\r\n'


@pytest.mark.parametrize(("columns", "first"), [(None, b"a b score"), (("a", "b"), b"1 2 1")])
def test_blanks_and_a_missing_header_stay_as_they_are(
    tmp_path: Path, columns: tuple[str, ...] | None, first: bytes
) -> None:
    (tmp_path / "in.txt").write_text("1 2\n3 4\n" if columns else "a b\n1 2\n3 4\n")
    scored(tmp_path / "out.txt", tmp_path / "in.txt", Layout(columns=columns, separator=" "))
    assert (tmp_path / "out.txt").read_bytes().splitlines()[0] == first


def test_a_compressed_csv_stays_compressed_and_its_scores_exact(tmp_path: Path) -> None:
    text = "a\n" + "".join(f"{i}\n" for i in range(3000))
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(text.encode()))
    scores = scored(tmp_path / "out.csv.gz", tmp_path / "in.csv.gz", chunk_bytes=2000)
    lines = gzip.decompress((tmp_path / "out.csv.gz").read_bytes()).decode().splitlines()
    assert np.array_equal(np.array([line.split(",")[1] for line in lines[1:]], "f4"), scores)


def test_parquet_keeps_schema_order_and_columns_that_cannot_be_used(tmp_path: Path) -> None:
    table = pa.table(
        {
            "t": pa.array(range(9), pa.timestamp("us")),
            "s": pa.array(list("abc") * 3).dictionary_encode(),
            "v": [[1]] * 9,
        }
    ).replace_schema_metadata({"made by": "hand"})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=4, compression="gzip")
    scored(tmp_path / "out.parquet", tmp_path / "in.parquet", chunk_bytes=100)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.drop_columns("score").equals(pq.read_table(tmp_path / "in.parquet"), check_metadata=True)
    assert found.schema.field("score").type == pa.float32()


@pytest.mark.parametrize("name", ["in.csv", "in.root", "in.parquet"])
def test_a_file_without_events_is_written_without_events(tmp_path: Path, name: str) -> None:
    if name == "in.csv":
        (tmp_path / name).write_text("x\n")
    elif name == "in.root":
        with uproot.recreate(tmp_path / name) as file:
            file.mktree("t", {"x": "f4"})
    else:
        pq.write_table(pa.table({"x": pa.array([], pa.int64())}), tmp_path / name)
    scored(tmp_path / f"out-{name}", tmp_path / name)
    assert count_events(tmp_path / f"out-{name}") == 0


@pytest.fixture
def like(tmp_path: Path) -> Path:
    (tmp_path / "in.csv").write_text("a,b\n1,2\n3,4\n")
    return tmp_path / "in.csv"


def test_a_name_that_is_taken_is_refused(like: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(UnwritableError, match=r"has a column 'b' already; .*--score-column"),
        open_sink(tmp_path / "out.csv", like, AS_FOUND, {"b": np.dtype("f4")}),
    ):
        pytest.fail("the sink must not open")


def stop_half_way(target: Path, like: Path, chunk: Chunk) -> None:
    with open_sink(target, like, AS_FOUND, SCORE) as sink:
        sink.write(chunk, {"score": np.ones(2)})
        raise RuntimeError("half way")


def test_an_exception_leaves_the_old_file_and_nothing_else(like: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "out.csv"
    scored(target, like)
    before = target.read_bytes()
    chunk = next(iter_chunks(like, keep_original=True))
    with pytest.raises(RuntimeError, match="half way"):
        stop_half_way(target, like, chunk)
    assert [path.name for path in target.parent.iterdir()] == ["out.csv"]
    assert target.read_bytes() == before


@pytest.mark.parametrize("added", [{}, {"scores": np.ones(2)}, {"score": np.ones(3)}, {"score": np.ones((2, 2))}])
def test_added_columns_must_be_those_declared(like: Path, tmp_path: Path, added: dict[str, np.ndarray]) -> None:
    chunk = next(iter_chunks(like, keep_original=True))
    with (
        pytest.raises(UnwritableError, match=r"expected one value of each of \['score'\] for 2 events"),
        open_sink(tmp_path / "out.csv", like, AS_FOUND, SCORE) as sink,
    ):
        sink.write(chunk, added)


def test_a_chunk_without_its_original_cannot_be_written(like: Path, tmp_path: Path) -> None:
    chunk = next(iter_chunks(like))
    with (
        pytest.raises(UnwritableError, match="without keep_original=True"),
        open_sink(tmp_path / "out.csv", like, AS_FOUND, SCORE) as sink,
    ):
        sink.write(chunk, {"score": np.ones(2)})


def test_leftovers_of_dead_processes_are_removed_and_those_of_living_ones_kept(like: Path, tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".out.csv.{dead.pid}-{'0' * 32}.tmp"
    alive = tmp_path / f".out.csv.{os.getpid()}-{'0' * 32}.tmp"
    left.touch()
    alive.touch()
    scored(tmp_path / "out.csv", like)
    assert (left.exists(), alive.exists()) == (False, True)


def test_a_killed_writer_leaves_nothing_under_the_target_name(like: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from pipeline.sinks import open_sink; from pipeline.sources import Layout, iter_chunks\n"
        "like, target = map(Path, sys.argv[1:])\n"
        "with open_sink(target, like, Layout(), {'score': np.dtype('f4')}) as sink:\n"
        "    chunk = next(iter_chunks(like, keep_original=True))\n"
        "    sink.write(chunk, {'score': np.ones(2)}); sys.stdout.write('written'); sys.stdout.flush()\n"
        "    sys.stdin.read()\n"
    )
    target = tmp_path / "out.csv"
    command = [sys.executable, "-c", code, str(like), str(target)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.read(7) == b"written"
        writer.send_signal(signal.SIGKILL)
    assert not target.exists()
    assert len(list(tmp_path.glob(".out.csv.*.tmp"))) == 1
    scored(target, like)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]
