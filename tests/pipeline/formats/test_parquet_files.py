"""What reading Parquet files promises."""

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ColumnTypeError, MissingColumnError, UnreadableFileError
from pipeline.sources import count_events, describe, iter_chunks


@pytest.fixture
def every_kind() -> pa.Table:
    return pa.table(
        {
            "i": pa.array([1, 2, 2**62 + 1, 4], pa.int64()),
            "n": pa.array([1, None, 3, 4], pa.int32()),
            "f": pa.array([0.5, None, float("inf"), 2.0], pa.float32()),
            "b": [True, False, True, True],
            "s": pa.array(["x", None, "y", "x"]).dictionary_encode(),
            "v": pa.array([[1.0], [], None, [2.0, 3.0]], pa.list_(pa.float64())),
            "m": pa.array([[1, 2], [3, 4], [5, 6], [7, 8]], pa.list_(pa.int16(), 2)),
            "when": pa.array([datetime.datetime(2026, 1, 1)] * 4, pa.timestamp("us")),
        }
    )


@pytest.fixture
def path(tmp_path: Path, every_kind: pa.Table) -> Path:
    pq.write_table(every_kind, tmp_path / "events.parquet", row_group_size=2)
    return tmp_path / "events.parquet"


def test_every_kind_of_column_is_described(path: Path) -> None:
    found = describe(path)
    kinds = ["integer", "integer", "float", "boolean", "string", "jagged", "fixed", "unreadable"]
    assert list(found.columns.values()) == kinds
    assert (found.format, found.n_events, found.is_exact) == ("parquet", 4, True)


@pytest.mark.parametrize("chunk_bytes", [1, 500, 2**20])
def test_chunk_size_changes_nothing_but_the_chunks(path: Path, chunk_bytes: int) -> None:
    chunks = list(iter_chunks(path, chunk_bytes=chunk_bytes))
    assert [value for chunk in chunks for value in chunk["v"].to_list()] == [[1.0], [], [], [2.0, 3.0]]
    assert [value for chunk in chunks for value in chunk["s"].tolist()] == ["x", "", "y", "x"]
    assert sum(map(len, chunks)) == count_events(path)
    assert "when" not in chunks[0]


def test_integers_stay_integers_and_missing_ones_become_nan(path: Path) -> None:
    (chunk,) = iter_chunks(path, ["i", "n", "m"])
    assert chunk["i"].tolist() == [1, 2, 2**62 + 1, 4]
    np.testing.assert_array_equal(chunk["n"], [1, np.nan, 3, 4])
    assert (chunk["m"].dtype, chunk["m"].shape) == (np.int16, (4, 2))


def test_integers_that_float64_cannot_hold_are_refused_beside_nulls(tmp_path: Path) -> None:
    pq.write_table(pa.table({"i": [2**60 + 1, None]}), tmp_path / "big.parquet")
    with pytest.raises(ColumnTypeError, match="column 'i' holds integers up to 1152921504606846977"):
        list(iter_chunks(tmp_path / "big.parquet"))


def test_the_original_holds_columns_that_cannot_be_used(path: Path, every_kind: pa.Table) -> None:
    originals = [chunk.original for chunk in iter_chunks(path, ["i"], keep_original=True)]
    assert pa.concat_tables(originals).equals(every_kind)


def test_columns_are_checked_at_the_call(path: Path) -> None:
    with pytest.raises(MissingColumnError, match="no column 'j'"):
        iter_chunks(path, ["j"])
    with pytest.raises(ColumnTypeError, match="'when' cannot be used"):
        iter_chunks(path, ["when"])


def test_a_truncated_file_is_one_clear_line(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableFileError, match=r"events\.parquet cannot be read: it is truncated"):
        describe(path)


def test_repeated_values_do_not_make_chunks_large(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": np.zeros(100_000)}), tmp_path / "flat.parquet")
    sizes = [chunk["x"].nbytes for chunk in iter_chunks(tmp_path / "flat.parquet", chunk_bytes=80_000)]
    assert max(sizes) <= 80_000
    assert sum(sizes) == 800_000
