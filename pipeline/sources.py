"""Events out of files, whatever the format: one ``iter_chunks`` for ROOT, CSV and Parquet.

Owns the table from a file's first bytes to the module of its format, and the finding of files. Leaves the formats to
``root_files``, ``csv_files`` and ``parquet_files``, and what the columns mean to everyone else.
"""

import glob
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import ModuleType

from pipeline.chunk import Chunk
from pipeline.errors import UnreadableFileError, nearest_spelling
from pipeline.formats import csv_files, parquet_files, root_files
from pipeline.layout import ColumnKind, FileDescription, Layout

__all__ = [
    "ColumnKind",
    "FileDescription",
    "Layout",
    "count_events",
    "describe",
    "expand_files",
    "format_of",
    "iter_chunks",
]

AS_FOUND = Layout()
CHUNK_BYTES = 64 * 2**20
DATA_FOLDER_VARIABLE = "WINNOW_DATA"
_MODULES: dict[str, ModuleType] = {"root": root_files, "parquet": parquet_files, "csv": csv_files}
_FIRST_BYTES = {b"root": "root", b"PAR1": "parquet"}
_BINARY_STARTS = {b"PK\x03\x04": "a zip archive", b"\x89HDF": "HDF5", b"SIMPLE  =": "FITS", b"\x93NUMPY": "NumPy"}


def iter_chunks(
    path: str | Path,
    columns: Collection[str] | None = None,
    *,
    layout: Layout = AS_FOUND,
    chunk_bytes: int = CHUNK_BYTES,
    keep_original: bool = False,
) -> Iterator[Chunk]:
    """Yield the events of a file in order, as chunks of about ``chunk_bytes`` in memory.

    Only ``columns`` are read; ``None`` means all that can be used. ``first_event`` counts from 0 in the
    file. With ``keep_original`` each chunk also carries its events exactly as the file has them, all
    columns, for ``pipeline.sinks``. A file without events yields nothing.

    Raises:
        UnreadableFileError: the file is missing, empty, truncated, corrupt or of another format. Where only a
            later part is corrupt, this comes after the chunks before it.
        MissingColumnError: at the call, before anything is read.
        ColumnTypeError: a column holds objects, or changes from numbers to text.

    """
    path = Path(path)
    chunks: Iterator[Chunk] = _module(path).read_chunks(path, columns, layout, max(int(chunk_bytes), 1), keep_original)
    return chunks


def describe(path: str | Path, layout: Layout = AS_FOUND) -> FileDescription:
    """Return what a file holds, without reading its events (of a CSV: with a look at the first megabyte).

    Raises:
        UnreadableFileError: as for ``iter_chunks``.

    """
    path = Path(path)
    found: FileDescription = _module(path).describe(path, layout)
    return found


def count_events(path: str | Path, layout: Layout = AS_FOUND) -> int:
    """Return the exact number of events of a file; a CSV is read through for it.

    Raises:
        UnreadableFileError: as for ``iter_chunks``.

    """
    path = Path(path)
    return int(_module(path).count_events(path, layout))


def format_of(path: Path) -> str:
    """Return ``"root"``, ``"parquet"`` or ``"csv"`` from the first bytes of a file, never from its name.

    Raises:
        UnreadableFileError: the file is missing, empty, or begins like something else.

    """
    try:
        with path.open("rb") as file:
            first = file.read(16)
    except OSError as error:
        near = _near(path) if isinstance(error, FileNotFoundError) else ""
        raise UnreadableFileError(f"{path} cannot be opened: {error.strerror}{near}") from error
    if not first:
        raise UnreadableFileError(f"{path} is empty (0 bytes)")
    for start, what in _BINARY_STARTS.items():
        if first.startswith(start):
            raise UnreadableFileError(f"{path} is {what}; Winnow reads ROOT, Parquet, and CSV (also gzipped)")
    return _FIRST_BYTES.get(first[:4], "csv")


def expand_files(patterns: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """Return the files that match any of ``patterns``, sorted, each once; ``**`` matches folders of any depth.

    A pattern is relative to ``folder``, and where nothing matches there, to the folder that the environment
    variable WINNOW_DATA names.

    Raises:
        UnreadableFileError: a pattern matches nothing; all such patterns are reported.

    """
    places = [folder]
    if root := os.environ.get(DATA_FOLDER_VARIABLE):
        places.append(Path(root))
    found = {pattern: first_matches(pattern, places) for pattern in patterns}
    problems = [_no_match(pattern, places) for pattern, files in found.items() if not files]
    if problems:
        raise UnreadableFileError("; ".join(problems))
    unique = {path.resolve(): path for files in found.values() for path in files}
    return tuple(sorted(unique.values()))


def first_matches(pattern: str, places: Sequence[Path]) -> list[Path]:
    """Return the files that match a pattern in the first of some folders where any does."""
    pattern = str(Path(pattern).expanduser())
    for place in places:
        if (place / pattern).is_file():
            return [place / pattern]
        # Not Path.glob, which refuses absolute patterns and matches hidden, unfinished files.
        matches = glob.glob(pattern, root_dir=place, recursive=True)  # noqa: PTH207
        if files := [place / match for match in matches if (place / match).is_file()]:
            return files
    return []


def _no_match(pattern: str, places: Sequence[Path]) -> str:
    near = next((hint for place in places if (hint := _near(place / pattern))), "")
    looked = " and ".join(str(place) for place in places)
    return f"no file matches {pattern!r} in {looked}{near}"


def _near(path: Path) -> str:
    try:
        if not path.parent.is_dir():
            return f"; there is no folder {path.parent}"
        return nearest_spelling(path.name, [entry.name for entry in path.parent.iterdir() if entry.is_file()])
    except OSError:
        # The folder may not be looked into: the error at hand is the one to report, without a hint.
        return ""


def _module(path: Path) -> ModuleType:
    return _MODULES[format_of(path)]
