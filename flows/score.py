"""Scoring files: every event of every file gets a score, exactly once.

Owns which files are scored, where to, and the record of it. An output appears complete or not at all; a
file that is at fault is quarantined (left alone, and named) and the others go on; a file that this model
has scored already is not scored again.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from flows.reference import ModelReference
from flows.steps import Run, directly
from models.bundle import Bundle
from pipeline.dataset import hash_of_file
from pipeline.errors import DataError, DeclarationError, UnwritableError, missing_column
from pipeline.layout import Layout
from pipeline.progress import Progress, nobody_watches
from pipeline.sinks import open_sink
from pipeline.sources import describe, iter_chunks

JOURNAL = "winnow-scores.jsonl"
"""The record of what was scored, one line a file, beside the outputs."""

CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class ScoreOptions:
    """How files are scored: a layout where it is not the training files', and the name of the new column."""

    layout: Layout | None = None
    score_column: str = "score"
    overwrite: bool = False


@dataclass(frozen=True)
class ScoredFile:
    """One line of the journal."""

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
class Quarantined:
    """A file that could not be scored, and why; it is where it was, and no output was written for it."""

    input: str
    error: str


@dataclass(frozen=True)
class ScoreOutcome:
    """What scoring a number of files gave."""

    scored: tuple[ScoredFile, ...]
    already_scored: tuple[ScoredFile, ...]
    quarantined: tuple[Quarantined, ...]
    seconds: float
    model: str
    version: str

    def to_json(self) -> dict[str, Any]:
        """Return the public record of ``winnow score --json``."""
        done = (*self.scored, *self.already_scored)
        return {
            "files": [file.output for file in done],
            "already_scored": [file.output for file in self.already_scored],
            "events_in": sum(file.events_in for file in done),
            "events_out": sum(file.events_out for file in done),
            "quarantined": [asdict(file) for file in self.quarantined],
            "seconds": self.seconds,
            "model": self.model,
            "version": self.version,
        }


def score_files(
    reference: ModelReference,
    files: Sequence[Path],
    out: Path,
    options: ScoreOptions = ScoreOptions(),
    run: Run = directly,
    progress: Progress = nobody_watches,
) -> ScoreOutcome:
    """Score files into the folder ``out``, each under its own name and in its own format.

    Raises:
        DeclarationError: two inputs share a name, or an output would replace an input.
        WinnowError: something that is no file's fault; nothing half-written is left.
    """
    started = time.monotonic()
    _refuse_collisions(files, out)
    results = [run(score_or_quarantine, reference, path, out, options, progress) for path in files]
    return ScoreOutcome(
        scored=tuple(r for r, is_new in results if isinstance(r, ScoredFile) and is_new),
        already_scored=tuple(r for r, is_new in results if isinstance(r, ScoredFile) and not is_new),
        quarantined=tuple(r for r, _ in results if isinstance(r, Quarantined)),
        seconds=time.monotonic() - started,
        model=reference.name,
        version=reference.version,
    )


def _refuse_collisions(files: Sequence[Path], out: Path) -> None:
    twice = [name for name, n in Counter(path.name for path in files).items() if n > 1]
    if twice:
        raise DeclarationError(f"two input files are called {twice[0]!r}; score them into different folders")
    inside = [path for path in files if (out / path.name).resolve() == path.resolve()]
    if inside:
        raise DeclarationError(f"--out {out} holds the input {inside[0].name!r} itself; choose another folder")


def score_or_quarantine(
    reference: ModelReference, path: Path, out: Path, options: ScoreOptions, progress: Progress
) -> tuple[ScoredFile | Quarantined, bool]:
    """Score one file unless that is done already; return the result and whether it is new."""
    try:
        done = find_in_journal(reference.bundle, path, out, options)
        if done is not None:
            return done, False
        return score_file(reference, path, out / path.name, options, progress), True
    except DataError as error:
        return Quarantined(str(path), str(error)), True


def score_file(
    reference: ModelReference, path: Path, target: Path, options: ScoreOptions, progress: Progress = nobody_watches
) -> ScoredFile:
    """Score one file: every column is kept, and the score is added.

    Raises:
        DataError: the file is unreadable, lacks a column, or holds another kind of values; nothing is written.
    """
    bundle = reference.bundle
    _refuse_strangers(target, options)
    layout = layout_for(path, bundle, options.layout)
    digest, total = hash_of_file(path), describe(path, layout).n_events
    needed, events_in = bundle.manifest.columns, 0
    chunks = iter_chunks(path, needed, layout=layout, chunk_bytes=CHUNK_BYTES, keep_original=True)
    with open_sink(target, path, layout, {options.score_column: np.dtype(np.float32)}) as sink:
        for chunk in chunks:
            sink.write(chunk, {options.score_column: bundle.score(chunk)})
            events_in += len(chunk)
            progress(f"score {path.name}", len(chunk), total)
    scored = ScoredFile(
        input=str(path),
        input_sha256=digest,
        output=str(target),
        output_sha256=hash_of_file(target),
        events_in=events_in,
        events_out=sink.n_events,
        model=reference.name,
        version=reference.version,
        bundle=bundle.digest,
        score_column=options.score_column,
        scored_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    _write_journal(target.parent, scored)
    return scored


def layout_for(path: Path, bundle: Bundle, given: Layout | None) -> Layout:
    """Return the first layout under which a file has all columns: the given one, or those of the training files.

    Raises:
        DataError: it has them under none; the error is that of the first layout tried.
    """
    problems: list[DataError] = []
    for layout in (given,) if given else (*bundle.manifest.layouts, Layout()):
        try:
            found = describe(path, layout)
        except DataError as error:
            problems.append(error)
            continue
        lacking = sorted(bundle.manifest.columns.keys() - found.columns.keys())
        if not lacking:
            return layout
        problems.append(missing_column(lacking[0], found.columns, str(path)))
    raise problems[0]


def _refuse_strangers(target: Path, options: ScoreOptions) -> None:
    """Refuse to replace a file that no run of Winnow has written there."""
    if target.exists() and not options.overwrite and not any(r.output == str(target) for r in journal(target.parent)):
        raise UnwritableError(f"{target} exists and was not written by Winnow; --overwrite replaces it")


def journal(out: Path) -> list[ScoredFile]:
    """Return what was scored into a folder, oldest first; a line cut short by a kill is left out."""
    path = out / JOURNAL
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(ScoredFile(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return records


def find_in_journal(bundle: Bundle, path: Path, out: Path, options: ScoreOptions) -> ScoredFile | None:
    """Return the record of an output that is what scoring ``path`` now would give again, or ``None``."""
    records = [r for r in journal(out) if r.output == str(out / path.name)]
    if not records or not (out / path.name).exists():
        return None
    last = records[-1]
    is_same_question = last.bundle == bundle.digest and last.score_column == options.score_column
    if not is_same_question or last.input_sha256 != hash_of_file(path):
        return None
    return last if last.output_sha256 == hash_of_file(out / path.name) else None


def _write_journal(out: Path, record: ScoredFile) -> None:
    # One write of a whole line to a file opened for appending: lines of several workers do not mix. The
    # leading line end closes a line that a kill may have cut short.
    line = f"\n{json.dumps(asdict(record))}\n".encode()
    descriptor = os.open(out / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
