"""The lines of a text file of events: its header, and blocks of whole lines of which each is one event.

Owns bytes and lines: compression, byte-order mark, comments, blank lines, quotes, and the errors that name a
line. Leaves the values in the lines to ``csv_files``.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np

from pipeline.errors import UnreadableFileError
from pipeline.layout import Layout, repeated_names, unreadable

_BOM = b"\xef\xbb\xbf"
_LIKELY_SEPARATORS = (",", ";", "\t", "|", " ")
_LONGEST_LINE = 2**20
_MAY_BE_NO_EVENT = np.isin(np.arange(256), list(b"# \t\r\n"))


@dataclass(frozen=True)
class Head:
    """The start of a file: its column names, the header as it stands, and the line already read beyond it."""

    path: Path
    names: tuple[str, ...]
    separator: str
    header: bytes | None
    line_end: bytes
    lines_before: int
    pending: bytes


@dataclass(frozen=True)
class Block:
    """Whole lines of a file: as they stand (``raw``), and those that are events, each ended by a line feed."""

    head: Head
    raw: bytes
    text: bytes
    n_events: int
    lines_before: int


@contextmanager
def opened_text(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a file; give the file itself, and the stream of its text (another one where it is compressed)."""
    try:
        with path.open("rb") as raw, ExitStack() as stack:
            is_compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            unpacked = stack.enter_context(gzip.GzipFile(fileobj=raw)) if is_compressed else raw
            yield raw, cast("IO[bytes]", unpacked)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error


def read_head(stream: IO[bytes], path: Path, layout: Layout) -> Head:
    """Read up to the first event and return what came before it; refuse a header that names no columns well."""
    number, line = _next_line(stream, path, layout.separator, 0)
    text = line.removeprefix(_BOM) if number == 1 else line
    if not text:
        raise UnreadableFileError(f"{path} is empty: it has no line that is neither blank nor a comment")
    end = b"\r\n" if line.endswith(b"\r\n") else b"\n"
    fields = tuple(_fields(_decoded(text, path, number), layout.separator))
    names = layout.columns or fields
    if fields != names:
        _check_width(fields, names, text, path, number, layout.separator)
        return Head(path, names, layout.separator, None, end, number - 1, text)
    after, pending = _next_line(stream, path, layout.separator, number)
    _check_names(names, text, pending, path, layout)
    before = after - 1 if pending else after
    return Head(path, names, layout.separator, line.rstrip(b"\r\n"), end, before, pending)


def _next_line(stream: IO[bytes], path: Path, separator: str, number: int) -> tuple[int, bytes]:
    """Return the next line that is neither blank nor a comment, and its number; an empty one at the end."""
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        _refuse_binary(line, path)
        bare = line.removeprefix(_BOM) if number == 1 else line
        if not _is_no_event(bare, separator):
            return number, line
    return number, b""


def blocks(stream: IO[bytes], head: Head, block_bytes: int) -> Iterator[Block]:
    """Yield blocks of about ``block_bytes``, cut at line ends; one that has no event is passed over."""
    lines_before, pending = head.lines_before, head.pending
    while True:
        raw = pending + stream.read(max(block_bytes - len(pending), 0 if pending else 1))
        pending = b""
        if not raw:
            return
        if not raw.endswith(b"\n"):
            raw += stream.readline()
        raw = raw if raw.endswith(b"\n") else raw + b"\n"
        _refuse_binary(raw, head.path)
        text, n_events = _events_only(raw, head.separator)
        block = Block(head, raw, text, n_events, lines_before)
        if n_events:
            _refuse_broken_quotes(block)
            yield block
        lines_before += raw.count(b"\n")


def _events_only(raw: bytes, separator: str) -> tuple[bytes, int]:
    """Return the lines that are events, and their number, which is later held against the rows parsed."""
    codes = np.frombuffer(raw, np.uint8)
    ends = np.flatnonzero(codes == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    if not _MAY_BE_NO_EVENT[codes[starts]].any():
        return raw, len(starts)
    lines = [line for line in raw.split(b"\n")[:-1] if not _is_no_event(line, separator)]
    return b"".join(line + b"\n" for line in lines), len(lines)


def _is_no_event(line: bytes, separator: str) -> bool:
    bare = line.strip(b" \r\n" if separator == "\t" else b" \t\r\n")
    return not bare or bare.startswith(b"#")


def event_lines(block: Block) -> Iterator[tuple[int, bytes]]:
    """Yield the line number in the file and the text of each event."""
    for number, line in enumerate(block.raw.split(b"\n")[:-1], block.lines_before + 1):
        if not _is_no_event(line, block.head.separator):
            yield number, line


def without_ends(text: bytes) -> list[bytes]:
    """Return the lines of a block without their line ends."""
    lines = text.split(b"\n")[:-1]
    return [line.removesuffix(b"\r") for line in lines] if b"\r" in text else lines


def _fields(line: str, separator: str) -> list[str]:
    bare = line.rstrip("\r\n")
    if separator == " ":
        bare = " ".join(bare.split())
    return [name.strip() for name in next(csv.reader([bare], delimiter=separator, skipinitialspace=True), [])]


# What is refused -------------------------------------------------------------------------------------------


def _refuse_binary(raw: bytes, path: Path) -> None:
    if b"\0" in raw:
        msg = f"{path} is neither ROOT, Parquet nor text: it holds zero bytes (binary data, or UTF-16 text)"
        raise UnreadableFileError(msg)


def _decoded(line: bytes, path: Path, number: int) -> str:
    if b"\r" in line.rstrip(b"\r\n"):
        msg = f"{path}, line {number} holds a bare carriage return: lines end with a line feed (or both)"
        raise UnreadableFileError(msg)
    try:
        return line.decode()
    except UnicodeDecodeError:
        msg = f"{path}, line {number} is not UTF-8 text: convert the file, or check that it is a CSV at all"
        raise UnreadableFileError(msg) from None


def _check_width(
    fields: tuple[str, ...], names: tuple[str, ...], line: bytes, path: Path, number: int, separator: str
) -> None:
    if len(fields) == len(names):
        return
    hint = _separator_hint(line.decode(errors="replace"), "", separator) if len(fields) == 1 else ""
    msg = f"{path}, line {number} has {len(fields)} fields, but columns gives {len(names)} names{hint}"
    raise UnreadableFileError(msg)


def _check_names(names: tuple[str, ...], header: bytes, after: bytes, path: Path, layout: Layout) -> None:
    if len(names) == 1:
        second = after.decode(errors="replace")
        if hint := _separator_hint(header.decode(errors="replace"), second, layout.separator):
            raise UnreadableFileError(f"{path} has one column, {names[0]!r}{hint}")
    if any(_is_fraction(name) for name in names):
        msg = f'{path}: the first line holds numbers, not names ({", ".join(names[:4])}); name them: columns = ["…"]'
        raise UnreadableFileError(msg)
    if repeated := repeated_names(names):
        shown = ", ".join(map(repr, repeated))
        raise UnreadableFileError(f"{path}: the header names {shown} more than once; each column needs its own name")


def _separator_hint(first: str, second: str, separator: str) -> str:
    """Return a hint where another separator cuts both lines into the same number of fields."""
    for other in _LIKELY_SEPARATORS:
        n_fields = len(_fields(first, other))
        agrees = not second or len(_fields(second, other)) == n_fields
        if other != separator and n_fields > 1 and agrees:
            return f"; is it separated by something else? Try separator = {other!r}"
    return ""


def _is_fraction(name: str) -> bool:
    """Say whether a name is a number that is no index: frames without names are written with 0, 1, 2 on top."""
    return is_number(name) and not name.isdigit()


def is_number(text: str) -> bool:
    """Say whether a text is a number as files spell it; Python's ``1_000`` is none."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _refuse_broken_quotes(block: Block) -> None:
    if b'"' not in block.text:
        return
    codes = np.frombuffer(block.text, np.uint8)
    starts = np.concatenate([[0], np.flatnonzero(codes == ord("\n"))[:-1] + 1])
    if not (np.add.reduceat(codes == ord('"'), starts, dtype=np.int64) % 2).any():
        return
    number = next(number for number, line in event_lines(block) if line.count(b'"') % 2)
    msg = f"{block.head.path}, line {number}: a quote is not closed on this line; a field may not hold a line break"
    raise UnreadableFileError(msg)


def malformed(block: Block, said: object) -> UnreadableFileError:
    """Return the error for the first line of a block that has too few or too many fields."""
    head = block.head
    for number, line in event_lines(block):
        n_fields = len(_fields(_decoded(line, head.path, number), head.separator))
        if n_fields != len(head.names):
            msg = f"{head.path}, line {number} has {n_fields} fields where {len(head.names)} are expected"
            return UnreadableFileError(msg)
    first = block.lines_before + 1
    return UnreadableFileError(f"{head.path}, in the lines from {first} on: cannot be parsed as CSV ({said})")
