"""The journal: what was scored into a folder, one line a file, beside the outputs.

Owns the record's form and its reading and writing; what follows from a record is ``score``'s decision. A
file is known by its name in the folder, so that a folder may be moved, or named in another way.

Two lines belong to an output. It is announced just before it appears and recorded when it has: a kill
between the two leaves a complete file that the next run knows to be Winnow's own.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

JOURNAL = "winnow-scores.jsonl"
ANNOUNCED = "announced"


@dataclass(frozen=True)
class ScoredFile:
    """One record: an output, what it was made of, and by which model."""

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
            elif line.keys() == ScoredFile.__dataclass_fields__.keys():
                record = ScoredFile(**line)
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


def _read(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _append(folder: Path, line: dict[str, Any]) -> None:
    # One write of a whole line to a file opened for appending: lines of several workers do not mix. The
    # leading line end closes a line that a kill may have cut short.
    content = f"\n{json.dumps(line)}\n".encode()
    descriptor = os.open(folder / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
