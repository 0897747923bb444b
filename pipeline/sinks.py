"""Events into files: every column of the input as it was, more columns beside them, all or nothing.

Owns the table from format to writer and the atomic life of an output file: a hidden temporary file in the same
directory, closed, reopened and counted, synchronised, renamed. Leaves the formats to ``root_writing``,
``csv_files`` and ``parquet_files``.

A file appears under its name only when it is complete; a kill at any instant leaves the old file, or none, and at most
a hidden file that the next run for the same name on the same machine clears away.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from pipeline.chunk import Chunk
from pipeline.durable import flush
from pipeline.errors import UnwritableError
from pipeline.formats.csv_files import CsvWriter
from pipeline.formats.parquet_files import ParquetWriter
from pipeline.formats.root_writing import RootWriter
from pipeline.layout import Layout
from pipeline.sources import count_events, describe, format_of

__all__ = ["Sink", "count_events", "open_sink"]


class _Writer(Protocol):
    def write(self, original: Any, added: Mapping[str, NDArray[Any]]) -> None: ...
    def close(self) -> None: ...


_WRITERS: dict[str, Callable[[Path, Path, Layout, Mapping[str, np.dtype[Any]]], _Writer]] = {
    "root": RootWriter,
    "csv": CsvWriter,
    "parquet": ParquetWriter,
}


class Sink:
    """Where scored events go, in the order of the input. ``n_events`` counts what was written."""

    def __init__(self, writer: _Writer, new_columns: Mapping[str, np.dtype[Any]], target: Path) -> None:
        self._writer, self._new_columns, self._target = writer, dict(new_columns), target
        self.n_events = 0

    def write(self, chunk: Chunk, added: Mapping[str, NDArray[Any]]) -> None:
        """Write the events of ``chunk`` with one value each, shape ``(n_events,)``, of every added column.

        Raises:
            UnwritableError: the chunk was not read with ``keep_original=True``, or ``added`` is not what was
                declared when the sink was opened.

        """
        if chunk.original is None:
            msg = f"{self._target}: {chunk.source} was read without keep_original=True, so its columns cannot be kept"
            raise UnwritableError(msg)
        values = {name: np.asarray(added[name]) for name in self._new_columns if name in added}
        shapes = {name: array.shape for name, array in values.items()}
        if set(added) != set(self._new_columns) or set(shapes.values()) - {(chunk.n_events,)}:
            msg = (
                f"{self._target}: expected one value of each of {sorted(self._new_columns)} for {chunk.n_events} "
                f"events, got { ({name: np.shape(array) for name, array in added.items()}) }"
            )
            raise UnwritableError(msg)
        typed = {name: array.astype(self._new_columns[name], copy=False) for name, array in values.items()}
        with _writing(self._target):
            self._writer.write(chunk.original, typed)
        self.n_events += chunk.n_events


@contextmanager
def open_sink(target: Path, like: Path, layout: Layout, new_columns: Mapping[str, np.dtype[Any]]) -> Iterator[Sink]:
    """Open an output in the format of ``like``, with its columns and ``new_columns``; it appears on leaving.

    Where the block is left by an exception, nothing appears and nothing is left behind.

    Raises:
        UnwritableError: ``like`` has a column of a new name, or one that cannot be written; or the file,
            reopened, does not hold what was written.

    Example:
        >>> with open_sink(target, path, layout, {"score": np.dtype("f4")}) as sink:
        ...     for chunk in iter_chunks(path, layout=layout, keep_original=True):
        ...         sink.write(chunk, {"score": bundle.score(chunk)})

    """
    _refuse_known_names(like, layout, new_columns)
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{uuid4().hex}.tmp")
    try:
        with _writing(target):
            writer = _WRITERS[format_of(like)](temporary, like, layout, new_columns)
        sink = Sink(writer, new_columns, target)
        try:
            yield sink
        except BaseException:
            # The first error is the one to report, not what closing a half-written file adds to it.
            with suppress(Exception):
                writer.close()
            raise
        with _writing(target):
            writer.close()
        _check_count(temporary, target, sink.n_events, _layout_of_output(like, layout, new_columns))
        _publish(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnwritableError(f"{target} cannot be written: {error.strerror or error}") from error


def _refuse_known_names(like: Path, layout: Layout, new_columns: Mapping[str, np.dtype[Any]]) -> None:
    taken = sorted(set(describe(like, layout).columns) & set(new_columns))
    if taken:
        msg = f"{like} has a column {taken[0]!r} already; give the score another name with --score-column"
        raise UnwritableError(msg)


def _layout_of_output(like: Path, layout: Layout, new_columns: Mapping[str, np.dtype[Any]]) -> Layout:
    """Return how to read what was written: a CSV that was named by the layout has more columns now."""
    return layout if layout.columns is None else replace(layout, columns=(*layout.columns, *new_columns))


def _check_count(temporary: Path, target: Path, n_written: int, layout: Layout) -> None:
    n_found = count_events(temporary, layout)
    if n_found != n_written:
        msg = f"{target}: {n_written} events were written, but {n_found} can be read back; nothing was kept"
        raise UnwritableError(msg)


def _publish(temporary: Path, target: Path) -> None:
    flush(temporary)
    temporary.replace(target)
    flush(target.parent)


def _remove_leftovers(target: Path) -> None:
    """Remove temporary files of the same target whose process is gone."""
    pattern = re.compile(re.escape(f".{target.name}.") + r"(\d+)-[0-9a-f]{32}\.tmp")
    for path in target.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and not _is_alive(int(match[1])):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
