"""Scoring files: every event of every file gets a score, exactly once.

Owns which files are scored, where to, and the record of it. Beside the score stand, where the model has them, a column
``passes_<name>`` for each working point and the ``probability`` of signal. An output appears complete or not at all; a
file that is at fault is quarantined (left alone, and named) and the others go on; a file that this model
has scored already is not scored again. An output is replaced where the same input, grown or changed, or a
newer version of the same model asks for it; what holds the answer to another question stays.
"""

import errno
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.journal import JOURNAL, Journal, ScoredFile, announce, record
from flows.reference import ModelReference
from flows.steps import Run, directly
from models.bundle import SCORE, Bundle
from pipeline.ahead import ahead
from pipeline.chunk import Chunk
from pipeline.dataset import hash_of_file
from pipeline.errors import DataError, DeclarationError, UnwritableError, missing_column
from pipeline.layout import Layout
from pipeline.progress import Progress, nobody_watches
from pipeline.sinks import open_sink
from pipeline.sources import describe, iter_chunks

CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class ScoreOptions:
    """How files are scored: a layout where it is not the training files', and the name of the new column.

    Where there are several, ``score_electron`` and so on, ``score_column`` is what their names begin with.
    """

    layout: Layout | None = None
    score_column: str = SCORE
    overwrite: bool = False


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
            "not_copied": {file.output: list(file.not_copied) for file in done if file.not_copied},
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
        DeclarationError: two inputs share a name, an output would replace an input, ``out`` is a file or
            cannot be written to, or the score is to have the name of a column that the model adds beside it.
        WinnowError: something that is no file's fault; nothing half-written is left.
    """
    started = time.monotonic()
    _refuse_closed(out)
    _refuse_collisions(files, out)
    _refuse_shared_name(reference.bundle, options.score_column)
    journal = Journal.read(out)
    results = [run(score_or_quarantine, reference, path, out / path.name, options, journal, progress) for path in files]
    return ScoreOutcome(
        scored=tuple(r for r, is_new in results if isinstance(r, ScoredFile) and is_new),
        already_scored=tuple(r for r, is_new in results if isinstance(r, ScoredFile) and not is_new),
        quarantined=tuple(r for r, _ in results if isinstance(r, Quarantined)),
        seconds=time.monotonic() - started,
        model=reference.name,
        version=reference.version,
    )


def _refuse_closed(out: Path) -> None:
    """Refuse a folder that is none, or cannot be made or written to, once and before anything is scored."""
    try:
        if out.exists() and not out.is_dir():
            raise DeclarationError(f"--out {out} is a file; name a folder")
        reason = _why_closed(out.absolute())
    except OSError as error:
        reason = error.strerror
    if reason:
        raise DeclarationError(f"--out {out} cannot be written to: {reason}")


def _why_closed(out: Path) -> str | None:
    place = next(place for place in (out, *out.parents) if place.exists())
    if not place.is_dir():
        return f"{place} is a file"
    if not os.access(place, os.W_OK | os.X_OK):
        return os.strerror(errno.EACCES)
    if (out / JOURNAL).exists() and not os.access(out / JOURNAL, os.R_OK | os.W_OK):
        return f"{os.strerror(errno.EACCES)} (its {JOURNAL})"
    return None


def _refuse_collisions(files: Sequence[Path], out: Path) -> None:
    twice = [name for name, n in Counter(path.name for path in files).items() if n > 1]
    if twice:
        raise DeclarationError(f"two input files are called {twice[0]!r}; score them into different folders")
    inside = [path for path in files if (out / path.name).resolve() == path.resolve()]
    if inside:
        raise DeclarationError(f"--out {out} holds the input {inside[0].name!r} itself; choose another folder")


def _refuse_shared_name(bundle: Bundle, score_column: str) -> None:
    if set(bundle.output_names(score_column)) & bundle.companion_types.keys():
        added = ", ".join(bundle.companion_types)
        msg = f"--score-column {score_column}: this model adds a column of that name; choose another than {added}"
        raise DeclarationError(msg)


def score_or_quarantine(
    reference: ModelReference, path: Path, target: Path, options: ScoreOptions, journal: Journal, progress: Progress
) -> tuple[ScoredFile | Quarantined, bool]:
    """Score one file unless that is done already; return the result and whether it is new."""
    try:
        layout = layout_for(path, reference.bundle, options.layout)
        done = find_in_journal(journal, reference.bundle, path, target, layout, options)
        if done is not None:
            return done, False
        _refuse_strangers(journal, reference, path, target, layout, options)
        return score_file(reference, path, target, replace(options, layout=layout), progress), True
    except DataError as error:
        return Quarantined(str(path), str(error)), True


def find_in_journal(
    journal: Journal, bundle: Bundle, path: Path, target: Path, layout: Layout, options: ScoreOptions
) -> ScoredFile | None:
    """Return the record of an output that is what scoring ``path`` now would give again, or ``None``."""
    last = journal.last.get(target.name)
    if last is None or not target.is_file() or not path.is_file():
        return None
    question = (bundle.digest, options.score_column, layout.tree)
    if (last.bundle, last.score_column, last.tree) != question or last.input_sha256 != hash_of_file(path):
        return None
    if last.output_sha256 != hash_of_file(target):
        return None
    # The folders may have had other names when the record was written.
    return replace(last, input=str(path.absolute()), output=str(target))


def _refuse_strangers(
    journal: Journal, reference: ModelReference, path: Path, target: Path, layout: Layout, options: ScoreOptions
) -> None:
    """Refuse to replace what no run of Winnow has written there, or what answers another question."""
    if target.is_dir():
        raise UnwritableError(f"{target} is a folder, where the scored file should go")
    if options.overwrite or not target.exists():
        return
    if target.name not in journal.names:
        raise UnwritableError(f"{target} exists and was not written by Winnow; --overwrite replaces it")
    last = journal.last.get(target.name)
    held = last and _other_question(last, reference, path, layout, options)
    if held:
        raise UnwritableError(f"{target} holds the scores {held}; choose another folder, or --overwrite replaces it")


def _other_question(
    last: ScoredFile, reference: ModelReference, path: Path, layout: Layout, options: ScoreOptions
) -> str | None:
    """Say what of a record is not what is asked now; a record of an earlier version does not know everything."""
    if not _is_same_place(last.input, path):
        return f"of {last.input}"
    pairs = {
        "of the tree": (last.tree or layout.tree, layout.tree),
        "under the name": (last.score_column, options.score_column),
        "of the model": (last.model, reference.name),
    }
    return next((f"{what} {was!r}, not {now!r}" for what, (was, now) in pairs.items() if was != now), None)


def _is_same_place(recorded: str, path: Path) -> bool:
    before = Path(recorded)
    if not before.is_absolute():  # as earlier versions wrote it: relative to a folder that nobody knows now
        return before.name == path.name
    return before == path.absolute() or before.resolve() == path.resolve()


def score_file(
    reference: ModelReference, path: Path, target: Path, options: ScoreOptions, progress: Progress = nobody_watches
) -> ScoredFile:
    """Score one file: every column is kept, and the score is added with what follows from it.

    Raises:
        DataError: the file is unreadable, lacks a column, holds another kind of values, or has a column of the
            name of one that is added; nothing is written.
    """
    layout = layout_for(path, reference.bundle, options.layout)
    # Before the events are read: what is added to the file meanwhile makes it another one for the next run.
    digest = hash_of_file(path)
    found = describe(path, layout)
    _refuse_taken_names(reference.bundle, path, found.columns)
    events_in, events_out = _write_scores(
        reference.bundle, path, target, layout, options, lambda n: progress(f"score {path.name}", n, found.n_events)
    )
    scored = ScoredFile(
        input=str(path.absolute()),
        input_sha256=digest,
        output=str(target),
        output_sha256=hash_of_file(target),
        events_in=events_in,
        events_out=events_out,
        model=reference.name,
        version=reference.version,
        bundle=reference.bundle.digest,
        score_column=options.score_column,
        scored_at=datetime.now(UTC).isoformat(timespec="seconds"),
        tree=layout.tree,
        not_copied=found.others,
    )
    record(target, scored)
    return scored


def _refuse_taken_names(bundle: Bundle, path: Path, columns: Collection[str]) -> None:
    """Refuse a file with a column that the model adds, but for the score, whose name may be chosen."""
    if taken := [name for name in bundle.companion_types if name in columns]:
        names = ", ".join(map(repr, taken))
        raise UnwritableError(f"{path} already has {names}, which this model adds; rename or drop them in the input")


def _write_scores(
    bundle: Bundle, path: Path, target: Path, layout: Layout, options: ScoreOptions, tell: Callable[[int], None]
) -> tuple[int, int]:
    """Write the scored file and return how many events were read and how many written."""
    events_in = 0
    chunks = iter_chunks(path, bundle.columns_to_read, layout=layout, chunk_bytes=CHUNK_BYTES, keep_original=True)
    new_columns = dict.fromkeys(bundle.output_names(options.score_column), np.dtype(np.float32))
    # Three stages at once: one chunk is read while one is scored and one is written.
    with (
        open_sink(target, path, layout, {**new_columns, **bundle.companion_types}) as sink,
        closing(ahead(chunks)) as read,
        closing(ahead((chunk, _added(bundle, chunk, options.score_column)) for chunk in read)) as scored,
    ):
        for chunk, added in scored:
            sink.write(chunk, added)
            events_in += len(chunk)
            tell(len(chunk))
        announce(target)
    return events_in, sink.n_events


def _added(bundle: Bundle, chunk: Chunk, score_column: str) -> dict[str, NDArray[Any]]:
    scores = bundle.score(chunk)
    return {**bundle.output_columns(scores, score_column), **bundle.companions(chunk, scores)}


def layout_for(path: Path, bundle: Bundle, given: Layout | None) -> Layout:
    """Return how to read a file: as given, or as the training files were, where that gives all columns.

    The layout of a ROOT file names its tree, also where the one asked for does not.

    Raises:
        DataError: no layout gives all columns (the error is that of the first one tried), or several trees
            of the file do and none is named.
    """
    asked = [given] if given else list(dict.fromkeys((*bundle.manifest.layouts, Layout())))
    tried = [_tried(path, layout, bundle) for layout in asked]
    fitting = [layout for layout in tried if isinstance(layout, Layout)]
    if not fitting:
        raise next(error for error in tried if isinstance(error, DataError))
    trees = dict.fromkeys(str(layout.tree) for layout in fitting)
    if len(trees) > 1:
        msg = f"{path} holds several trees that this model can score: {', '.join(trees)}; name one with --tree"
        raise DataError(msg)
    return fitting[0]


def _tried(path: Path, layout: Layout, bundle: Bundle) -> Layout | DataError:
    try:
        found = describe(path, layout)
    except DataError as error:
        return error
    lacking = sorted(bundle.columns_to_read.keys() - found.columns.keys())
    return missing_column(lacking[0], found.columns, str(path)) if lacking else replace(layout, tree=found.tree)
