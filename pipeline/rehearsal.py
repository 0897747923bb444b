"""Rehearsing: everything that preparing would do, but for writing, with every problem told at once.

Owns going on after a problem: where ``prepare`` refuses at the first file that is at fault, a rehearsal
looks at all of them, and says what it found in those that are well.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import WinnowError, missing_column
from pipeline.ledger import Ledger
from pipeline.plan import DataSpec, SampleFile, look_at_file, shared_files
from pipeline.progress import Progress, nobody_watches
from pipeline.sources import describe, iter_chunks
from pipeline.splitting import PARTS
from pipeline.suspicion import missing_shares, percent
from pipeline.targets import TargetFacts

SHOWN_FILES = 8


@dataclass(frozen=True)
class FileFinding:
    """What one file holds; ``kept`` are the events that neither label nor cuts take out."""

    sample: str
    path: str
    read: int
    kept: int
    columns_read: int


@dataclass(frozen=True)
class Rehearsal:
    """What would come out, and everything that stands in the way; one line a problem.

    ``notes`` say what deserves a look and stands in nobody's way. ``missing`` holds the share of the training events,
    0 to 1, in which a feature is missing, for every feature that ever is; in a block, the share of its values.
    """

    files: tuple[FileFinding, ...]
    parts: dict[str, dict[str, int]]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    missing: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return the record as plain values."""
        return {
            "files": [asdict(file) for file in self.files],
            "parts": self.parts,
            "missing": self.missing,
            "notes": list(self.notes),
            "problems": list(self.problems),
        }

    def to_text(self) -> str:
        """Return the record as a person wants to read it."""
        lines = [
            f"{file.sample:<16} {file.read:>12,} events read, {file.kept:>12,} kept, {file.columns_read:>3} columns"
            f"  {file.path}"
            for file in self.files
        ]
        for part, counts in self.parts.items() if not self.problems else ():
            lines.append(f"{part:<16} " + ", ".join(f"{n:,} {name}" for name, n in counts.items()))
        lines += [
            f"{name:<16} {percent(share)} of its values in the training events are missing"
            for name, share in self.missing.items()
        ]
        n_problems = len(self.problems)
        lines += _listed("look at:", self.notes)
        lines.append("no problem found" if not n_problems else f"{n_problems} problem{'s' * (n_problems > 1)}:")
        return "\n".join(lines + [f"  {problem}" for problem in self.problems])


def _listed(title: str, texts: Sequence[str]) -> list[str]:
    return [title, *(f"  {text}" for text in texts)] if texts else []


def rehearse(
    spec: DataSpec,
    folder: Path,
    progress: Progress = nobody_watches,
    target_problems: Callable[[Sequence[TargetFacts]], list[str]] = lambda facts: [],
) -> Rehearsal:
    """Read all samples as ``prepare`` would, keep nothing, and return every problem instead of raising the first.

    ``target_problems`` says what is wrong with the targets of all events, for the head that shall find them.
    """
    problems: list[str] = []
    files = list(_files(spec, folder, problems))
    findings: list[FileFinding] = []
    counts = np.zeros((len(PARTS), len(spec.classes)), dtype=np.int64)
    with tempfile.TemporaryDirectory() as nowhere:
        ledger = Ledger.start(spec, Path(nowhere))
        for file in files:
            try:
                findings.append(_go_through(ledger, file, counts, sum(f.n_events for f in files), progress))
            except WinnowError as error:
                problems.append(f"sample {file.sample.name!r}: {error}")
        ledger.close()
    everything_read = not problems
    if everything_read:
        problems += _training_problems(ledger, counts) or target_problems(ledger.target_facts())
    parts = {part: dict(zip(spec.classes, map(int, row), strict=True)) for part, row in zip(PARTS, counts, strict=True)}
    # Of a part of the events a note could mislead: a feature is constant in the one file that is well.
    notes = ledger.notes() if everything_read else []
    shares = missing_shares(ledger.statistics)
    return Rehearsal(
        tuple(findings),
        parts,
        tuple(dict.fromkeys(problems)),
        tuple(note for note in notes if not any(note in problem for problem in problems)),
        {name: share for name, share in shares.items() if share},
    )


def _files(spec: DataSpec, folder: Path, problems: list[str]) -> Iterator[SampleFile]:
    paths: dict[str, tuple[Path, ...]] = {}
    for sample in spec.samples:
        try:
            paths[sample.name] = sample.paths(folder)
        except WinnowError as error:
            problems.append(f"sample {sample.name!r}: {error}")
    problems += shared_files(spec, paths)
    lacking: dict[str, list[tuple[SampleFile, frozenset[str]]]] = {}
    for index, sample in enumerate(spec.samples):
        for path in paths.get(sample.name, ()):
            try:
                file = look_at_file(spec, index, path)
            except WinnowError as error:
                problems.append(str(error) if sample.name in str(error) else f"sample {sample.name!r}: {error}")
                continue
            available = frozenset(describe(path, sample.layout).columns)
            for name in file.needed - available:
                lacking.setdefault(name, []).append((file, available))
            if file.needed <= available:
                yield file
    problems += [_tell_lacking(name, lacking[name]) for name in sorted(lacking)]


def _tell_lacking(name: str, found: Sequence[tuple[SampleFile, frozenset[str]]]) -> str:
    """Say once that a column is in none of some files, of whatever samples, and which columns all of them have."""
    files = [file for file, _ in found]
    in_common = frozenset.intersection(*(available for _, available in found))
    if len(files) == 1:
        return f"sample {files[0].sample.name!r}: {missing_column(name, in_common, str(files[0].path))}"
    shown = ", ".join(f"{file.path} of sample {file.sample.name!r}" for file in files[:SHOWN_FILES])
    more = ", …" if len(files) > SHOWN_FILES else ""
    return str(missing_column(name, in_common, f"each of {len(files)} files ({shown}{more})"))


def _go_through(
    ledger: Ledger, file: SampleFile, counts: NDArray[np.int64], total: int, progress: Progress
) -> FileFinding:
    read = kept = 0
    for chunk in iter_chunks(file.path, file.needed, layout=file.sample.layout):
        events = ledger.account(chunk, file)
        for row, arrays in zip(counts, ledger.learn(events).values(), strict=True):
            row += np.bincount(arrays["label"], minlength=len(row))
        read, kept = read + len(chunk), kept + len(events.labels)
        progress("check", len(chunk), total)
    return FileFinding(file.sample.name, str(file.path), read, kept, len(file.needed))


def _training_problems(ledger: Ledger, counts: NDArray[np.int64]) -> list[str]:
    if problems := ledger.class_problems(counts):
        return problems
    try:
        ledger.transform()
    except WinnowError as error:
        return [str(error)]
    return []
