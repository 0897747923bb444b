"""What reading text files promises."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ColumnTypeError, DeclarationError, MissingColumnError, UnreadableFileError
from pipeline.sources import Layout, count_events, describe, iter_chunks

BIG = 2**62 + 1


def written(folder: Path, text: str | bytes, name: str = "events.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def columns_of(path: Path, layout: Layout | None = None, chunk_bytes: int = 2**20) -> dict[str, list[object]]:
    chunks = list(iter_chunks(path, layout=layout or Layout(), chunk_bytes=chunk_bytes))
    assert sum(map(len, chunks)) == count_events(path, layout or Layout())
    return {name: [value for chunk in chunks for value in chunk[name].tolist()] for name in chunks[0]}


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x\n2,y\n",
        "a,b\n1,x\n2,y",
        "a,b\r\n1,x\r\n2,y\r\n",
        b"\xef\xbb\xbfa,b\n1,x\n2,y\n",
        " a , b \n 1 , x \n 2 , y \n",
        "# made by hand\n\na,b\n# first\n1,x\n\n   \n2,y\n#end",
        '"a","b"\n"1","x"\n"2","y"\n',
    ],
)
def test_the_same_events_in_any_dress(tmp_path: Path, text: str | bytes) -> None:
    for chunk_bytes in (1, 2**20):
        assert columns_of(written(tmp_path, text), chunk_bytes=chunk_bytes) == {"a": [1, 2], "b": ["x", "y"]}


@pytest.mark.parametrize(
    ("text", "separator"),
    [("a;b\n1;2.5\n", ";"), ("a\tb\n1\t2.5\n", "\t"), ("  a   b\n 1 \t 2.5  \n", " "), ("a|b\n1|2.5\n", "|")],
)
def test_any_character_separates(tmp_path: Path, text: str, separator: str) -> None:
    assert columns_of(written(tmp_path, text), Layout(separator=separator)) == {"a": [1], "b": [2.5]}


@pytest.mark.parametrize("text", ["1,2\n3,4\n", "a,b\n1,2\n3,4\n", b"\xef\xbb\xbf1,2\n3,4", "# c\n\n1,2\n3,4\n"])
def test_given_names_stand_for_a_header_and_skip_one_that_says_the_same(tmp_path: Path, text: str | bytes) -> None:
    assert columns_of(written(tmp_path, text), Layout(columns=("a", "b"))) == {"a": [1, 3], "b": [2, 4]}


def test_gzip_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b"a,b\n1,2\n"), "events.txt")
    assert columns_of(path) == {"a": [1], "b": [2]}


def test_numbers_are_exact(tmp_path: Path) -> None:
    path = written(tmp_path, f"i,u,f\n{BIG},{2**64 - 1},0.1\n-{BIG},0,1e-320\n")
    (chunk,) = iter_chunks(path)
    assert chunk["i"].tolist() == [BIG, -BIG]
    assert (chunk["u"].dtype, chunk["u"].tolist()) == (np.uint64, [2**64 - 1, 0])
    assert chunk["f"].tolist() == [0.1, 1e-320]


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "NA", "null", " "])
def test_missing_numbers_are_nan(tmp_path: Path, missing: str) -> None:
    (chunk,) = iter_chunks(written(tmp_path, f"i,f\n3,{missing}\n{missing},-inf\n4,inf\n"))
    np.testing.assert_array_equal(chunk["i"], [3, np.nan, 4])
    np.testing.assert_array_equal(chunk["f"], [np.nan, -np.inf, np.inf])


def test_integers_that_float64_cannot_hold_are_refused_beside_blanks(tmp_path: Path) -> None:
    with pytest.raises(ColumnTypeError, match=rf"column 'i' holds integers up to {BIG} beside missing"):
        list(iter_chunks(written(tmp_path, f"i,b\n{BIG},1\n,2\n")))


def test_texts_stay_as_they_are(tmp_path: Path) -> None:
    found = columns_of(written(tmp_path, 'd,t,q,n\n2026-01-02,12:30,"a,""b""",NA\n2026-01-03,12:31,c,x\n'))
    assert found["d"] == ["2026-01-02", "2026-01-03"]
    assert found["t"] == ["12:30", "12:31"]
    assert found["q"] == ['a,"b"', "c"]
    assert found["n"] == ["NA", "x"]


@pytest.mark.parametrize("chunk_bytes", [1, 16, 2**20])
def test_a_text_among_numbers_is_named_with_its_line_whatever_the_block_size(tmp_path: Path, chunk_bytes: int) -> None:
    path = written(tmp_path, "a,b\n1,x\n# pause\n2.5,y\n\noops,z\n")
    with pytest.raises(
        ColumnTypeError, match=r"events\.csv, line 6: column 'a' holds 'oops', but was a column of numbers"
    ):
        list(iter_chunks(path, chunk_bytes=chunk_bytes))


def test_a_column_that_nobody_asks_for_may_be_mixed(tmp_path: Path) -> None:
    (chunk,) = iter_chunks(written(tmp_path, "a,b\n1,2\noops,3\n"), ["b"])
    assert chunk["b"].tolist() == [2, 3]


def test_a_column_may_begin_with_integers_and_go_on_with_fractions(tmp_path: Path) -> None:
    chunks = list(iter_chunks(written(tmp_path, "a\n1\n2.5\n"), chunk_bytes=1))
    assert [chunk["a"].dtype.kind for chunk in chunks] == ["i", "f"]


@pytest.mark.parametrize("bad", ["1", "1,2,3"])
@pytest.mark.parametrize("chunk_bytes", [1, 2**20])
def test_a_row_of_another_length_is_refused_with_its_line(tmp_path: Path, bad: str, chunk_bytes: int) -> None:
    path = written(tmp_path, f"a,b\n# c\n1,2\n\n{bad}\n3,4\n")
    with pytest.raises(UnreadableFileError, match=r"line 5 has \d fields where 2 are expected"):
        list(iter_chunks(path, chunk_bytes=chunk_bytes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# only\n\n", "is empty: it has no line"),
        ("a,b,a\n1,2,3\n", "names 'a' more than once"),
        ("a;b\n1;2\n", r"one column, 'a;b'.*separator = ';'"),
        ('a,b\n1,"x\ny"\n', "line 2: a quote is not closed"),
        ("1.5,2.5\n3.5,4.5\n", r"numbers, not names \(1.5, 2.5\).*columns ="),
        ("a,b\n1\r2,3\n", "bare carriage return"),
        (b"a,b\n1,\x00\n", "neither ROOT, Parquet nor text"),
        (b"a,b\n1,\xff\xfe\n", "not UTF-8"),
        (b"\x1f\x8b\x08\x00garbage", "cannot be read"),
        (b"\x89HDF\r\n", "is HDF5"),
    ],
)
def test_what_is_no_table_of_events_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UnreadableFileError, match=message):
        list(iter_chunks(written(tmp_path, text)))


def test_a_truncated_gzip_is_unreadable(tmp_path: Path) -> None:
    whole = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i % 977) for i in range(20_000)))
    path = written(tmp_path, whole[: len(whole) // 2], "cut.csv.gz")
    with pytest.raises(UnreadableFileError, match=r"cut\.csv\.gz cannot be read: it is truncated"):
        list(iter_chunks(path, chunk_bytes=1000))


def test_too_few_names_and_impossible_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="line 1 has 3 fields, but columns gives 2 names"):
        describe(written(tmp_path, "1,2,3\n"), Layout(columns=("a", "b")))
    with pytest.raises(DeclarationError, match="separator = ', '"):
        Layout(separator=", ")
    with pytest.raises(DeclarationError, match="'a' more than once"):
        Layout(columns=("a", "a"))


def test_a_missing_column_is_reported_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(MissingColumnError, match=r"events\.csv has no column 'Mass' \(did you mean 'mass'\?\)"):
        iter_chunks(written(tmp_path, "mass,b\n1,2\n"), ["Mass"])


def test_original_lines_are_verbatim(tmp_path: Path) -> None:
    path = written(tmp_path, 'a,b\r\n 01,"x"\r\n# c\r\n1e0, y\r\n')
    (chunk,) = iter_chunks(path, ["a"], keep_original=True)
    assert chunk.original == [b' 01,"x"', b"1e0, y"]


def test_a_long_file_is_described_from_its_start(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,c\n" + "".join(f"{i},{i / 7:.6f},x\n" for i in range(200_000)))
    found = describe(path)
    assert found.columns == {"a": "integer", "b": "float", "c": "string"}
    assert not found.is_exact
    assert found.n_events == pytest.approx(200_000, rel=0.1)
    assert count_events(path) == 200_000


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(), st.sampled_from(["ab", "c d", "é"])), min_size=1
    ),
    chunk_bytes=st.sampled_from([1, 40, 200, 2**20]),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float, str]], chunk_bytes: int
) -> None:
    text = "i,f,s\n" + "".join(f"{i},{f!r},{s}\n" for i, f, s in rows)
    found = columns_of(written(tmp_path_factory.mktemp("csv"), text), chunk_bytes=chunk_bytes)
    assert found["i"] == [i for i, _, _ in rows]
    assert found["s"] == [s for _, _, s in rows]
    np.testing.assert_array_equal(found["f"], [f for _, f, _ in rows])


def test_real_files_give_every_event(samples: Path) -> None:
    copper = Layout(columns=("species", *(f"layer_{i}" for i in range(1, 11))))
    assert count_events(samples / "geant4-calorimeter" / "copper.csv", copper) == 32_000
    magic = columns_of(samples / "magic-telescope" / "magic04.data", Layout(columns=tuple("abcdefghijk")), 2**17)
    assert (magic["k"].count("g"), magic["k"].count("h")) == (12_332, 6_688)


@pytest.mark.parametrize("name", ["complete.csv", "with-missing-values.csv"])
def test_the_same_stars_with_and_without_missing_values(samples: Path, name: str) -> None:
    found = columns_of(samples / "sdss-dr14" / name, chunk_bytes=2**18)
    assert found["class"].count("STAR") == 4_152
    assert len(found["u"]) == 10_000
