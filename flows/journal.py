"""The journal: what was scored into a folder, one line a file, beside the outputs.

Owns the record's form and its reading and writing; what follows from a record is ``score``'s decision. A
file is known by its name in the folder, so that a folder may be moved, or named in another way.

The file is ``winnow-scores.jsonl``: one JSON object a line, no blank lines, and only ever added to. Of each
output it has two kinds of line:

- ``{"announced": "tracks.root"}``, just before the output appears under that name;
- the record, a ``ScoredFile``, when it has. The last record of a name is the one that counts.

A kill between the two leaves a complete file that the next run knows to be Winnow's own.
"""

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

JOURNAL = "winnow-scores.jsonl"
ANNOUNCED = "announced"


@dataclass(frozen=True)
class ScoredFile:
    """One record: an output, what it was made of, and by which model.

    ``input`` is an absolute path, and ``tree`` the one that was scored, where the input is a ROOT file;
    ``not_copied`` is what else is in that, as ``"name (class)"``, and not in the output.
    """

    input: str
    input_sha256: str
    output: str
    output_sha256: str
    events_in: int
    events_out: int
    model: str
    version: str
    bundle: str
    score_column: str
    scored_at: str
    tree: str | None = None
    not_copied: tuple[str, ...] = ()


_FIELDS = frozenset(field.name for field in fields(ScoredFile))
_NEEDED = frozenset(field.name for field in fields(ScoredFile) if field.default is MISSING)


@dataclass(frozen=True)
class Journal:
    """What the journal of a folder said when it was read.

    ``last`` is the newest record of every output, by file name; ``names`` are all outputs, announced ones too.
    """

    last: dict[str, ScoredFile]
    names: frozenset[str]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the journal of a folder; a line cut short by a kill is left out, and no journal is an empty one."""
        last: dict[str, ScoredFile] = {}
        names: set[str] = set()
        for line in _lines(folder):
            if ANNOUNCED in line:
                names.add(str(line[ANNOUNCED]))
            elif (record := _record_of(line)) is not None:
                last[Path(record.output).name] = record
        return cls(last, frozenset(names | last.keys()))


def announce(target: Path) -> None:
    """Write down that ``target`` is about to appear."""
    _append(target.parent, {ANNOUNCED: target.name})


def record(target: Path, scored: ScoredFile) -> None:
    """Write down that ``target`` is there, and what it is."""
    _append(target.parent, asdict(scored))


def _lines(folder: Path) -> list[dict[str, Any]]:
    try:
        text = (folder / JOURNAL).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    found = [_read(line) for line in text.splitlines() if line]
    return [line for line in found if isinstance(line, dict)]


def _record_of(line: dict[str, Any]) -> ScoredFile | None:
    if not _NEEDED <= line.keys() <= _FIELDS or not all(isinstance(line[key], str) for key in ("input", "output")):
        return None
    # Lines of earlier versions know neither of the last two.
    others = line.get("not_copied", [])
    return ScoredFile(**{**line, "not_copied": tuple(others) if isinstance(others, list) else ()})


def _read(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _append(folder: Path, line: dict[str, Any]) -> None:
    # One write of a whole line to a file opened for appending: lines of several workers do not mix.
    descriptor = os.open(folder / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        # Between the look at the end and the write nobody else may write. Where a file system knows no locks,
        # the worst that can come of it is a blank line, which no reader here minds.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        start = "\n" if _is_cut_short(descriptor) else ""
        os.write(descriptor, f"{start}{json.dumps(line)}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_cut_short(descriptor: int) -> bool:
    """Say whether the last line has no end, as a kill may leave it."""
    n_bytes = os.fstat(descriptor).st_size
    return n_bytes > 0 and os.pread(descriptor, 1, n_bytes - 1) != b"\n"
