"""Checkpoints: training's state on disk, so that a killed run goes on as if nothing had happened.

Owns the file, its integrity and the right to write it; what belongs into a state is the loop's business.

    winnow checkpoint 1 <SHA-256 of all that follows>
    {"key": …, "state": {…}, "variables": [["float32", [28, 128]], …], "best": […]}
    the arrays' bytes, one after the other

The types of the arrays are a closed list and nothing is ever pickled. A checkpoint is an aid: one that cannot be
read or written costs a warning, never the training.
"""

import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from pipeline.durable import flush

log = logging.getLogger(__name__)

FORMAT = 1
"""Raised whenever the file has another shape."""

MAGIC = b"winnow checkpoint "

DTYPES: dict[str, np.dtype[Any]] = {
    np.dtype(kind).name: np.dtype(kind)
    for kind in (
        *(np.bool_, np.float16, np.float32, np.float64, ml_dtypes.bfloat16),
        *(np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
    )
}
"""What an array may hold: plain numbers, by the name in the file."""

SHARE = 0.05
"""The part of the time that may go into checkpoints; one that takes long to write is written less often."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that the loop needs to go on after an epoch.

    ``state`` is what JSON can hold, any float included, NaN too; a tuple in it comes back as a list. ``variables``
    is everything that the program changes, ``best`` the weights of the best epoch so far; both come back bit for bit.
    """

    state: dict[str, Any]
    variables: tuple[NDArray[Any], ...]
    best: tuple[NDArray[Any], ...]


def write_checkpoint(path: Path, key: str, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint at ``path``: a kill at any instant leaves the old one or the new.

    Raises:
        OSError: the file cannot be written; the old one stays.
        TypeError: the state is not what JSON can hold, or an array holds no plain numbers.

    """
    blocks = _blocks(key, checkpoint)
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            file.writelines([_first_line(blocks), *blocks])
        flush(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush(path.parent)


def read_checkpoint(path: Path, key: str) -> Checkpoint | None:
    """Return the checkpoint that was written with this key, or ``None``, with a warning where there is another file."""
    try:
        with path.open("rb") as file:
            first_line, content = file.readline(len(MAGIC) + 100), file.read()
        return _parsed(first_line, content, key)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("checkpoint %s is not used, training starts afresh: %s", path, error)
        return None


def _temporary(path: Path) -> Path:
    # One name for all: what a killed writer leaves behind is overwritten by the next.
    return path.with_name(f".{path.name}.tmp")


def _first_line(blocks: Iterable[bytes | memoryview]) -> bytes:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return MAGIC + f"{FORMAT} {digest.hexdigest()}\n".encode()


def _blocks(key: str, checkpoint: Checkpoint) -> list[bytes | memoryview]:
    """Return what follows the first line, in the order of the file."""
    header = {
        "key": key,
        "state": checkpoint.state,
        "variables": list(map(_described, checkpoint.variables)),
        "best": list(map(_described, checkpoint.best)),
    }
    contents = map(_content, (*checkpoint.variables, *checkpoint.best))
    return [json.dumps(header).encode() + b"\n", *contents]


def _described(array: NDArray[Any]) -> tuple[str, tuple[int, ...]]:
    if array.dtype.name not in DTYPES:
        raise TypeError(f"a checkpoint cannot hold an array of type {array.dtype}; it can: {', '.join(DTYPES)}")
    return array.dtype.name, array.shape


def _content(array: NDArray[Any]) -> memoryview:
    return np.asarray(array, DTYPES[array.dtype.name], order="C").reshape(-1).view(np.uint8).data


def _parsed(first_line: bytes, content: bytes, key: str) -> Checkpoint:
    """Return what is in the file; a ``ValueError`` says why not."""
    if not first_line.startswith(MAGIC):
        raise ValueError("the file is no checkpoint")
    if not first_line.startswith(MAGIC + f"{FORMAT} ".encode()):
        raise ValueError(f"it is not of format {FORMAT}, the only one that is read")
    if first_line != _first_line([content]):
        raise ValueError("its content does not agree with its SHA-256; it was cut short or changed")
    start = content.index(b"\n") + 1
    header = json.loads(content[:start])
    if header["key"] != key:
        raise ValueError(f"it belongs to another training, {header['key']}; this one is {key}")
    arrays = tuple(_arrays(header["variables"] + header["best"], content, start))
    n_variables = len(header["variables"])
    return Checkpoint(header["state"], arrays[:n_variables], arrays[n_variables:])


def _arrays(described: list[tuple[str, list[int]]], content: bytes, start: int) -> Iterator[NDArray[Any]]:
    for name, shape in described:
        if name not in DTYPES:
            raise ValueError(f"it holds an array of type {name}; allowed: {', '.join(DTYPES)}")
        # A copy lies where its type may lie, and can be written to.
        array: NDArray[Any] = np.ndarray(shape, DTYPES[name], content, start).copy()
        yield array
        start += array.nbytes


class Checkpoints(Protocol):
    """Where a training loop leaves its state, and finds that of the run before it."""

    def load(self) -> Checkpoint | None:
        """Return the state to go on from; ``None``: begin."""

    def offer(self, make: Callable[[], Checkpoint], at_once: bool = False) -> None:
        """Have the present state kept, if it is time or must be ``at_once``; ``make`` is called only then."""


class _Nowhere:
    """Checkpoints of a training that keeps none."""

    def load(self) -> None:
        pass

    def offer(self, make: Callable[[], Checkpoint], at_once: bool = False) -> None:
        pass


NOWHERE = _Nowhere()


class CheckpointFile:
    """Checkpoints in one file that no other process writes; ``checkpoints_at`` sees to that."""

    def __init__(self, path: Path, key: str, every_seconds: float, clock: Callable[[], float]) -> None:
        self._path, self._key, self._every_seconds, self._clock = path, key, every_seconds, clock
        self._due = clock() + every_seconds

    def load(self) -> Checkpoint | None:
        """Return the state to go on from; ``None``: begin."""
        return read_checkpoint(self._path, self._key)

    def offer(self, make: Callable[[], Checkpoint], at_once: bool = False) -> None:
        """Write the present state, if it is time; one that cannot be written is a warning."""
        started = self._clock()
        if started < self._due and not at_once:
            return
        try:
            write_checkpoint(self._path, self._key, make())
        except OSError as error:
            log.warning("no checkpoint was written, the one before it stays: %s", error)
        ended, pause = self._clock(), self._every_seconds
        self._due = ended + (max(pause, (ended - started) / SHARE) if pause else 0)


@contextmanager
def checkpoints_at(
    path: Path | None, key: str, every_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic
) -> Iterator[Checkpoints]:
    """Give one process the checkpoints at ``path`` for as long as the context is open.

    Where there is no path, where another process has them, or where the folder cannot be written, training goes on
    with ``NOWHERE``; the last two are warnings. ``clock`` returns seconds; with ``every_seconds = 0`` every
    checkpoint that is offered is written.
    """
    lock = _locked(path) if path else None
    if path is None or lock is None:
        yield NOWHERE
        return
    try:
        yield CheckpointFile(path, key, every_seconds, clock)
    finally:
        _release(lock, _lock_of(path))


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _locked(path: Path) -> IO[str] | None:
    """Take the lock of a checkpoint, or say why training goes on without."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _exclusive(_lock_of(path))
    except BlockingIOError:
        log.warning("another process trains with checkpoint %s; this training goes on without checkpoints", path)
    except OSError as error:
        log.warning("checkpoint %s cannot be kept, training goes on without checkpoints: %s", path, error)
    return None


def _exclusive(path: Path) -> IO[str]:
    """Open a file that is nobody else's; closing it, or the end of the process, lets it go."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        file.close()
        raise
    if _is_in_a_folder(file):
        return file
    # Its former owner removed it after it was opened here: a lock on a file that nobody else will find.
    file.close()
    return _exclusive(path)


def _release(lock: IO[str], path: Path) -> None:
    # Where the whole folder was removed, a lock of that name is already another process's.
    if _is_in_a_folder(lock):
        path.unlink(missing_ok=True)
    lock.close()


def _is_in_a_folder(file: IO[str]) -> bool:
    return os.fstat(file.fileno()).st_nlink > 0
