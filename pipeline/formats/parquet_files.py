"""Parquet files: what is in one, reading it batch by batch, writing it again with more columns.

Owns the format alone. How Arrow's types become columns is ``arrow_columns``; which format a file has is
``sources``; that a written file appears whole or not at all is ``sinks``.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.chunk import Chunk
from pipeline.formats.arrow_columns import column_of, kind_of
from pipeline.layout import FileDescription, Layout, guarded, select_columns, unreadable

ROW_GROUP_BYTES = 64 * 2**20
_BYTES_OF_A_STRING = 64


def describe(path: Path, layout: Layout) -> FileDescription:
    """Return the columns and the exact number of events of a Parquet file."""
    with _opened(path) as file:
        kinds = {field.name: kind_of(field.type) for field in file.schema_arrow}
        return FileDescription("parquet", None, kinds, file.metadata.num_rows)


def count_events(path: Path, layout: Layout) -> int:
    """Return the exact number of rows."""
    return describe(path, layout).n_events


def read_chunks(
    path: Path,
    columns: Collection[str] | None,
    layout: Layout,
    chunk_bytes: int,
    keep_original: bool,
) -> Iterator[Chunk]:
    """Check the columns, then return the chunks; ``original`` is a ``pyarrow.Table`` of all columns."""
    wanted = select_columns(describe(path, layout).columns, columns, str(path))
    return guarded(_chunks(path, wanted, chunk_bytes, keep_original), path)


def _chunks(path: Path, wanted: tuple[str, ...], chunk_bytes: int, keep_original: bool) -> Iterator[Chunk]:
    first_event = 0
    with _opened(path) as file:
        read = None if keep_original else list(wanted)
        n_rows = max(1, int(chunk_bytes / _bytes_per_row(file, read)))
        for batch in file.iter_batches(batch_size=n_rows, columns=read):
            table = pa.Table.from_batches([batch])
            arrays = {name: column_of(table[name], f"{path}: column {name!r}") for name in wanted}
            original = table if keep_original else None
            yield Chunk(arrays, table.num_rows, first_event, path.name, original)
            first_event += table.num_rows


def _opened(path: Path) -> Any:
    try:
        # Without pre-buffering the pages are streamed, so that memory is that of a batch, not of a row group.
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error


def _bytes_per_row(file: Any, columns: list[str] | None) -> float:
    """Return an estimate from above: pages of repeated values are far smaller in the file than in memory."""
    fields = [field for field in file.schema_arrow if columns is None or field.name in columns]
    widths = [_width(field.type) for field in fields]
    n_rows = max(file.metadata.num_rows, 1)
    groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
    stored: float = sum(group.total_byte_size for group in groups) / n_rows
    is_fixed = all(width is not None for width in widths)
    known = sum(_BYTES_OF_A_STRING if width is None else width for width in widths)
    return max(1.0, known if is_fixed else known + stored)


def _width(arrow_type: Any) -> float | None:
    try:
        return float(arrow_type.bit_width) / 8
    except ValueError:
        return None


class ParquetWriter:
    """Writes tables of ``like`` with columns appended: same schema, metadata and compression."""

    def __init__(self, path: Path, like: Path, layout: Layout, new_columns: Mapping[str, np.dtype[Any]]) -> None:
        with _opened(like) as file:
            self._schema = file.schema_arrow
            compression = _compression(file)
        for name, dtype in new_columns.items():
            self._schema = self._schema.append(pa.field(name, _arrow_type(dtype)))
        self._writer = pq.ParquetWriter(path, self._schema, compression=compression)
        self._waiting: list[Any] = []

    def write(self, original: Any, added: Mapping[str, NDArray[Any]]) -> None:
        """Append the rows of ``original``; small tables wait for each other, so that row groups are large."""
        for name, values in added.items():
            field = self._schema.field(name)
            original = original.append_column(field, pa.array(values, type=field.type))
        self._waiting.append(original.cast(self._schema))
        if sum(table.nbytes for table in self._waiting) >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what waits, and the footer."""
        try:
            self._flush()
        finally:
            self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting = []


def _arrow_type(dtype: np.dtype[Any]) -> Any:
    return pa.string() if dtype.kind in "OU" else pa.from_numpy_dtype(dtype)


def _compression(file: Any) -> str:
    if file.metadata.num_row_groups == 0 or file.metadata.num_columns == 0:
        return "zstd"
    found = str(file.metadata.row_group(0).column(0).compression).lower()
    return "none" if found == "uncompressed" else found
