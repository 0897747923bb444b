"""Text files of events: what is in one, reading it block by block, writing its lines again with more fields.

Owns the format alone; which format a file has is ``sources``, that a written file appears whole or not
at all is ``sinks``. The rules of this format:

- A block is cut at line ends, so a quoted line break is refused. ``#`` lines and blank lines may stand anywhere;
  they are no events and are not copied to the output. Everything else is an event, and is counted as one.
- Without ``columns`` in the layout the first line names the columns; blanks round a name or a text do not count.
- Numbers are exact: integers are 64-bit (signed, or unsigned where needed), floats are correctly rounded. An
  empty field and ``nan``, ``NaN``, ``NA``, ``null`` are missing. What the first value of a column is decides: a
  number makes it a column of numbers, and a text further down is an error with its line, whatever the block size.
- With ``separator = " "`` runs of blanks (and tabs) separate, also inside quotes.
"""

import csv
import gzip
import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
from numpy.typing import NDArray

from pipeline.chunk import Chunk
from pipeline.errors import ColumnTypeError, UnreadableFileError
from pipeline.formats.arrow_columns import column_of, kind_of
from pipeline.formats.csv_lines import (
    Block,
    blocks,
    event_lines,
    is_number,
    malformed,
    opened_text,
    read_head,
    without_ends,
)
from pipeline.layout import ColumnKind, FileDescription, Layout, guarded, select_columns

MISSING = ("", "nan", "NaN", "NA", "null")
_SAMPLE_BYTES = 2**20
_COUNTING_BYTES = 16 * 2**20
_LARGEST_BLOCK = 2**29


@dataclass
class _Families:
    """What each column has been so far: ``number``, ``boolean`` or ``string``; absent while all is missing."""

    known: dict[str, str] = field(default_factory=dict)


def describe(path: Path, layout: Layout) -> FileDescription:
    """Return the columns, their kinds in the first megabyte, and the number of events (estimated beyond it)."""
    with opened_text(path) as (raw, stream):
        head = read_head(stream, path, layout)
        block = next(blocks(stream, head, _SAMPLE_BYTES), None)
        if block is None:
            return FileDescription("csv", None, dict.fromkeys(head.names, "float"), 0)
        is_exact = not stream.read(1)
        consumed = min(raw.tell(), path.stat().st_size) if raw is not stream else len(block.raw)
    table = _parse(block, head.names, {})
    kinds = {name: _kind_of(table[name]) for name in head.names}
    n_events = block.n_events if is_exact else round(block.n_events * path.stat().st_size / consumed)
    return FileDescription("csv", None, kinds, n_events, is_exact)


def count_events(path: Path, layout: Layout) -> int:
    """Return the exact number of lines that are events, without parsing them."""
    with opened_text(path) as (_, stream):
        head = read_head(stream, path, layout)
        return sum(block.n_events for block in blocks(stream, head, _COUNTING_BYTES))


def read_chunks(
    path: Path,
    columns: Collection[str] | None,
    layout: Layout,
    chunk_bytes: int,
    keep_original: bool,
) -> Iterator[Chunk]:
    """Check the columns, then return the chunks; ``original`` is the list of lines, without line ends."""
    with opened_text(path) as (_, stream):
        head = read_head(stream, path, layout)
    kinds: dict[str, ColumnKind] = dict.fromkeys(head.names, "float")
    wanted = select_columns(kinds, columns, str(path))
    return guarded(_chunks(path, layout, wanted, chunk_bytes, keep_original), path)


def _chunks(
    path: Path, layout: Layout, wanted: tuple[str, ...], chunk_bytes: int, keep_original: bool
) -> Iterator[Chunk]:
    families, first_event = _Families(), 0
    with opened_text(path) as (_, stream):
        head = read_head(stream, path, layout)
        # A quarter, because a block is in memory as text, as what Arrow parses it into, and as arrays.
        for block in blocks(stream, head, min(chunk_bytes // 4, _LARGEST_BLOCK)):
            table = _typed(block, wanted, families)
            arrays = {name: column_of(table[name], f"{path}: column {name!r}") for name in wanted}
            lines = without_ends(block.text) if keep_original else None
            yield Chunk(arrays, block.n_events, first_event, path.name, lines)
            first_event += block.n_events


# Values ----------------------------------------------------------------------------------------------------


def _parse(block: Block, columns: Collection[str], types: Mapping[str, Any]) -> Any:
    """Return an Arrow table of ``columns``; a type that is not given is inferred from all of the block."""
    head = block.head
    text = _single_blanks(block.text) if head.separator == " " else block.text
    try:
        table = pc_csv.read_csv(
            pa.BufferReader(text),
            # One Arrow block for all: Arrow infers types from its first block alone.
            pc_csv.ReadOptions(column_names=list(head.names), block_size=len(text) + 1),
            pc_csv.ParseOptions(delimiter=head.separator, newlines_in_values=False),
            pc_csv.ConvertOptions(
                include_columns=list(columns) or [head.names[0]],
                column_types=dict(types),
                null_values=list(MISSING),
                strings_can_be_null=False,
                timestamp_parsers=[],
            ),
        )
    except pa.ArrowInvalid as error:
        raise malformed(block, error) from None
    if table.num_rows != block.n_events:
        raise malformed(block, f"{block.n_events} lines became {table.num_rows} rows")
    return table


def _single_blanks(text: bytes) -> bytes:
    text = text.replace(b"\t", b" ").replace(b"\r\n", b"\n")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text.replace(b"\n ", b"\n").replace(b" \n", b"\n").removeprefix(b" ")


def _typed(block: Block, columns: tuple[str, ...], families: _Families) -> Any:
    """Return an Arrow table whose columns are of the families that they have been in the blocks before."""
    texts = {name: pa.string() for name in columns if families.known.get(name) == "string"}
    table = _parse(block, columns, texts)
    retyped = {name: t for name in columns if (t := _better_type(table[name])) is not None}
    for name, better in retyped.items():
        table = _replaced(table, name, _reparsed(block, name, better, table[name]))
    for name in columns:
        table = _replaced(table, name, _of_its_family(block, name, table[name], families))
    return table


def _replaced(table: Any, name: str, array: Any) -> Any:
    return table if array is table[name] else table.set_column(table.schema.get_field_index(name), name, array)


def _better_type(array: Any) -> Any:
    """Return the type to parse a column as again: text for dates, uint64 for what may be integers beyond int64."""
    if pa.types.is_floating(array.type):
        bounds = pc.min_max(array).as_py()
        is_huge = bounds["max"] is not None and 2.0**63 <= bounds["max"] <= 2.0**64 and bounds["min"] >= 0
        return pa.uint64() if is_huge else None
    return pa.string() if kind_of(array.type) == "unreadable" else None


def _reparsed(block: Block, name: str, better: Any, otherwise: Any) -> Any:
    if better == pa.uint64():
        try:
            return _parse(block, [name], {name: better})[name]
        except UnreadableFileError:
            return otherwise
    return _parse(block, [name], {name: better})[name]


def _of_its_family(block: Block, name: str, array: Any, families: _Families) -> Any:
    known, found = families.known.get(name), _family(array)
    if found == "string" and known != "string":
        array = _stripped(array)
        if known is not None or _starts_with_number(array):
            array = _numbers(array, block, name, known or "number")
            found = _family(array)
    elif found == "string":
        array = _stripped(array)
    if found is not None and known is not None and found != known:
        raise _wrong_family(block, name, known, 0, str(array[0].as_py()))
    if found is not None:
        families.known[name] = found
    return array


def _family(array: Any) -> str | None:
    kind = kind_of(array.type)
    if array.null_count == len(array):
        return None
    return "number" if kind in ("integer", "float") else str(kind)


def _stripped(array: Any) -> Any:
    return pc.utf8_trim_whitespace(array)


def _starts_with_number(array: Any) -> bool:
    is_given = pc.invert(pc.is_in(array, value_set=pa.array(MISSING)))
    first = pc.index(is_given, True).as_py()
    return first < 0 or is_number(array[first].as_py())


def _numbers(array: Any, block: Block, name: str, known: str) -> Any:
    """Return texts as numbers, blanks round them ignored; the first that is none is an error."""
    is_missing = pc.is_in(array, value_set=pa.array(MISSING))
    values = pc.if_else(is_missing, pa.scalar(None, pa.string()), array)
    for number_type in (pa.int64(), pa.float64()):
        try:
            return values.cast(number_type)
        except pa.ArrowInvalid:
            continue
    texts = values.to_pylist()
    row = next(i for i, text in enumerate(texts) if text is not None and not is_number(text))
    raise _wrong_family(block, name, known, row, texts[row])


def _wrong_family(block: Block, name: str, known: str, row: int, value: str) -> ColumnTypeError:
    number = next(number for i, (number, _) in enumerate(event_lines(block)) if i == row)
    msg = (
        f"{block.head.path}, line {number}: column {name!r} holds {value!r}, but was a column of {known}s "
        f"above; missing values may be empty or one of {', '.join(MISSING[1:])}"
    )
    return ColumnTypeError(msg)


def _kind_of(array: Any) -> ColumnKind:
    kind = kind_of(array.type)
    if kind in ("integer", "boolean") and array.null_count:
        return "float"
    return "string" if kind == "unreadable" else kind


# Writing ---------------------------------------------------------------------------------------------------


class CsvWriter:
    """Writes the lines of ``like`` as they stand, each with more fields at its end."""

    def __init__(self, path: Path, like: Path, layout: Layout, new_columns: Mapping[str, np.dtype[Any]]) -> None:
        with opened_text(like) as (raw, stream):
            head = read_head(stream, like, layout)
            is_compressed = raw is not stream
        self._separator, self._end = layout.separator.encode(), head.line_end
        self._raw = path.open("wb")
        self._stream: IO[bytes] = self._raw
        if is_compressed:
            # Without a name and a time in it, the same events give the same bytes.
            zipped = gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=self._raw, mtime=0)
            self._stream = cast("IO[bytes]", zipped)
        if head.header is not None:
            names = [_quoted(name, layout.separator) for name in new_columns]
            self._stream.write(self._separator.join([head.header, *names]) + self._end)

    def write(self, original: list[bytes], added: Mapping[str, NDArray[Any]]) -> None:
        """Append the lines of a block; truths are 1 and 0, floats the shortest text of the same number."""
        texts = [_texts(values, self._separator.decode()) for values in added.values()]
        lines = map(self._separator.join, zip(original, *texts, strict=True))
        self._stream.write(self._end.join(lines) + self._end if original else b"")

    def close(self) -> None:
        """Finish the compressed stream, where there is one, and close the file."""
        try:
            if self._stream is not self._raw:
                self._stream.close()
        finally:
            self._raw.close()


def _texts(values: NDArray[Any], separator: str) -> list[bytes]:
    if values.dtype.kind in "OU":
        return [_quoted(str(value), separator) for value in values]
    if values.dtype.kind == "b":
        # Arrow writes true and false, which readers of text take for words as often as for truths.
        values = values.view(np.uint8)
    texts = pa.array(np.ascontiguousarray(values)).cast(pa.string())
    return cast("list[bytes]", texts.cast(pa.binary()).to_pylist())


def _quoted(text: str, separator: str) -> bytes:
    line = io.StringIO()
    csv.writer(line, delimiter=separator, lineterminator="").writerow([text])
    return line.getvalue().encode()
