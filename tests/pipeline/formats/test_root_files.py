"""What reading ROOT files promises."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from pipeline.chunk import Chunk
from pipeline.errors import ColumnTypeError, MissingColumnError, UnreadableFileError
from pipeline.sources import Layout, count_events, describe, iter_chunks

N_EVENTS = 5000


def joined(chunks: list[Chunk], name: str) -> list[object]:
    return [value for chunk in chunks for value in chunk[name].tolist()]


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A tree in a nested directory, with one branch of every kind that can be written, in several baskets."""
    rng = np.random.default_rng(1)
    types = {
        "n": "i4",
        "pt": "var * float32",
        "id": "u8",
        "ok": "?",
        "name": "string",
        "m": ("f8", (3,)),
        "jet.e": "f4",
    }
    with uproot.recreate(tmp_path / "nested.root") as file:
        tree = file.mktree("run/sub/events", types, counter_name=lambda _: "n")
        for first in range(0, N_EVENTS, 1000):
            counts = rng.integers(0, 4, 1000).astype("i4")
            block = {
                "n": counts,
                "pt": ak.unflatten(rng.random(counts.sum(), dtype="f4"), counts),
                "id": np.arange(first, first + 1000, dtype="u8") + 2**63,
                "ok": rng.random(1000) > 0.5,
                "name": ak.Array([f"é{i}" for i in range(1000)]),
                "m": rng.random((1000, 3)),
                "jet.e": rng.random(1000, dtype="f4"),
            }
            tree.extend(block)
    return tmp_path / "nested.root"


def test_every_kind_of_branch_is_described(nested: Path) -> None:
    found = describe(nested)
    kinds = ["integer", "jagged", "integer", "boolean", "string", "fixed", "float"]
    assert list(found.columns.values()) == kinds
    assert (found.format, found.tree, found.n_events, found.is_exact) == ("root", "run/sub/events", N_EVENTS, True)


def test_unsigned_64_bit_identities_survive_exactly(nested: Path) -> None:
    (chunk,) = iter_chunks(nested, ["id"])
    assert chunk["id"].dtype == np.uint64
    assert np.array_equal(chunk["id"], np.arange(N_EVENTS, dtype="u8") + 2**63)


@pytest.mark.parametrize("chunk_bytes", [1, 5000, 100_000, 2**26])
def test_chunk_size_changes_nothing_but_the_chunks(nested: Path, chunk_bytes: int) -> None:
    (whole,) = iter_chunks(nested, ["pt", "name", "jet.e", "ok"])
    chunks = list(iter_chunks(nested, ["pt", "name", "jet.e", "ok"], chunk_bytes=chunk_bytes))
    assert [chunk.first_event for chunk in chunks] == list(np.cumsum([0, *map(len, chunks)])[:-1])
    assert all(joined(chunks, name) == whole[name].tolist() for name in whole)


def test_strings_are_python_strings_and_fixed_arrays_are_matrices(nested: Path) -> None:
    (chunk,) = iter_chunks(nested, ["name", "m"])
    assert chunk["name"].dtype == object
    assert chunk["name"][7] == "é7"
    assert chunk["m"].shape == (N_EVENTS, 3)


def test_a_chunk_without_columns_still_counts_its_events(nested: Path) -> None:
    assert sum(map(len, iter_chunks(nested, [], chunk_bytes=1000))) == N_EVENTS


def test_chunks_keep_to_their_bytes_where_events_grow_along_the_file(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "skewed.root", compression=uproot.ZLIB(1)) as file:
        tree = file.mktree("t", {"x": "var * float64"})
        for n_items in (1, 1, 1, 1, 100, 100):
            values = np.random.default_rng(2).random(1000 * n_items)
            tree.extend({"x": ak.unflatten(values, np.full(1000, n_items)), "nx": np.full(1000, n_items, "i4")})
    sizes = [chunk["x"].nbytes for chunk in iter_chunks(tmp_path / "skewed.root", ["x"], chunk_bytes=100_000)]
    assert max(sizes) < 150_000


def test_of_several_cycles_only_the_newest_is_read(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "cycles.root") as file:
        file.mktree("t", {"x": "f4"}).extend({"x": np.zeros(3, "f4")})
        file.mktree("t", {"x": "f4"}).extend({"x": np.ones(5, "f4")})
    with uproot.open(tmp_path / "cycles.root") as file:
        assert sorted(file.keys()) == ["t;1", "t;2"]
    (chunk,) = iter_chunks(tmp_path / "cycles.root")
    assert chunk["x"].tolist() == [1, 1, 1, 1, 1]


def test_the_other_objects_of_a_file_are_told_by_path_and_class(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "full.root") as file:
        file.mktree("deep/t", {"x": "f4"})
        file["deep/er/h"] = np.histogram(np.zeros(3))
        for content in ("older", "newer"):
            file["note"] = content
        file["n"] = {"x": np.zeros(3)}
    found = describe(tmp_path / "full.root", Layout(tree="deep/t"))
    assert set(found.others) == {"deep/er/h (TH1D)", "note (TObjString)", "n (ROOT::RNTuple)"}
    assert "deep/t (TTree)" in describe(tmp_path / "full.root", Layout(tree="n")).others


@pytest.fixture
def two_trees(tmp_path: Path) -> Path:
    with uproot.recreate(tmp_path / "two.root") as file:
        file.mktree("signal", {"x": "f4"}).extend({"x": np.zeros(3, "f4")})
        file.mktree("background", {"x": "f4"})
    return tmp_path / "two.root"


def test_of_several_trees_one_must_be_named(two_trees: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"several trees: background, signal; name one with tree"):
        describe(two_trees)
    assert count_events(two_trees, Layout(tree="signal;1")) == 3


def test_a_misspelt_tree_is_answered_with_the_nearest(two_trees: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"no tree 'Signals' \(did you mean 'signal'\?\)"):
        iter_chunks(two_trees, layout=Layout(tree="Signals"))


def test_a_tree_without_entries_gives_no_chunk(two_trees: Path) -> None:
    assert list(iter_chunks(two_trees, layout=Layout(tree="background"))) == []


def test_a_missing_column_is_reported_at_the_call(nested: Path) -> None:
    with pytest.raises(
        MissingColumnError, match=r"nested\.root: run/sub/events has no column 'Pt' \(did you mean 'pt'\?\)"
    ):
        iter_chunks(nested, ["Pt"])


def test_an_rntuple_reads_like_a_tree(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "n.root") as file:
        ntuple = file.mkrntuple("dir/events", {"x": "float32", "v": "var * int64", "s": "string"})
        for _ in range(3):
            ntuple.extend(
                {"x": np.arange(4, dtype="f4"), "v": ak.Array([[1], [], [2, 3], [4]]), "s": ak.Array(list("abcd"))}
            )
    assert describe(tmp_path / "n.root").columns == {"x": "float", "v": "jagged", "s": "string"}
    for chunk_bytes in (1, 100, 2**26):
        chunks = list(iter_chunks(tmp_path / "n.root", chunk_bytes=chunk_bytes))
        assert joined(chunks, "v") == [[1], [], [2, 3], [4]] * 3
        assert joined(chunks, "s") == list("abcd") * 3


def test_records_become_one_column_a_member_and_lists_of_lists_cannot_be_used(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "r.root") as file:
        file["events"] = ak.Array([{"p": {"x": 1.0, "y": 2}, "jets": [{"pt": 3.0}], "deep": [[1]]}] * 2)
    kinds = describe(tmp_path / "r.root").columns
    assert kinds == {"p.x": "float", "p.y": "integer", "jets.pt": "jagged", "deep": "unreadable"}
    (chunk,) = iter_chunks(tmp_path / "r.root")
    assert list(chunk) == ["p.x", "p.y", "jets.pt"]
    assert chunk["jets.pt"].to_list() == [[3.0], [3.0]]
    with pytest.raises(ColumnTypeError, match="'deep' cannot be used"):
        iter_chunks(tmp_path / "r.root", ["deep"])


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.97])
def test_a_truncated_file_is_one_clear_line(nested: Path, tmp_path: Path, kept: float) -> None:
    whole = nested.read_bytes()
    (tmp_path / "cut.root").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(UnreadableFileError, match=r"cut\.root cannot be read: it is truncated") as caught:
        list(iter_chunks(tmp_path / "cut.root"))
    assert "\n" not in str(caught.value)


def test_corruption_in_a_later_basket_shows_after_the_chunks_before_it(tmp_path: Path) -> None:
    path = tmp_path / "late.root"
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        tree = file.mktree("t", {"x": "f8"})
        for _ in range(4):
            tree.extend({"x": np.random.default_rng(3).integers(0, 9, 10_000).astype("f8")})
    with uproot.open(path) as file:
        start = int(file["t"]["x"].member("fBasketSeek")[3])
    damaged = bytearray(path.read_bytes())
    damaged[start + 200 : start + 2000] = b"\xff" * 1800
    path.write_bytes(damaged)
    chunks = iter_chunks(path, chunk_bytes=80_000)
    assert 9_900 < len(next(chunks)) <= 10_000
    with pytest.raises(UnreadableFileError, match=r"late\.root cannot be read"):
        list(chunks)


def test_real_trees_read_as_uproot_reads_them(samples: Path) -> None:
    path = samples / "cms-open" / "ww.root"
    with uproot.open(path) as file:
        expected = file["events"].arrays()
    chunks = list(iter_chunks(path, chunk_bytes=200_000))
    assert len(chunks) > 3
    assert chunks[0].source == "ww.root:events"
    assert all(joined(chunks, name) == expected[name].to_list() for name in expected.fields)


@pytest.mark.parametrize(
    ("name", "n_events", "column", "kind"),
    [
        ("scikit-hep/uproot-Zmumu.root", 2304, "Type", "string"),
        ("scikit-hep/uproot-HZZ.root", 2421, "Jet_Px", "jagged"),
        (
            "scikit-hep/Run2012BC_DoubleMuParked_Muons_1000evts_rntuple_v1-0-0-0.root",
            1000,
            "_collection0.Muon_pt",
            "jagged",
        ),
        ("alice-tracks/Pions.root", 200_000, "ITSclsMap", "integer"),
    ],
)
def test_real_files_give_every_event(samples: Path, name: str, n_events: int, column: str, kind: str) -> None:
    assert describe(samples / name).columns[column] == kind
    assert sum(map(len, iter_chunks(samples / name, [column], chunk_bytes=2**18))) == n_events


def test_a_real_file_of_two_trees_is_read_by_name(samples: Path) -> None:
    path = samples / "tmva-toy" / "tmva_class_example.root"
    assert "weight" in describe(path, Layout(tree="TreeB")).columns
    with pytest.raises(UnreadableFileError, match="TreeB, TreeS"):
        describe(path)
