"""Preparing: from declared samples to a prepared dataset on disk; the pipeline room's verb.

Reads every file once, chunk by chunk, so memory does not grow with the files; the account of every event is
the ``ledger``'s. The same inputs are not prepared twice: the key of a dataset is the hash of the declaration
and of every file's bytes. Owns that the dataset's folder is there whole or not at all: it is written under
another name, flushed to disk, counted, and renamed.
"""

import logging
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.abandoned import DAY, remove_abandoned
from pipeline.ahead import ahead
from pipeline.chunk import Chunk
from pipeline.dataset import (
    FORMAT,
    FileRecord,
    Manifest,
    PreparedDataset,
    content_hash,
    hash_of,
    hash_of_file,
    weigh_part,
    weight_sums,
)
from pipeline.durable import flush
from pipeline.errors import DataError, WinnowError
from pipeline.ledger import KeptEvents, Ledger
from pipeline.plan import DataSpec, SampleFile, plan_files
from pipeline.progress import Progress, nobody_watches
from pipeline.samples import SampleSpec
from pipeline.sources import iter_chunks
from pipeline.splitting import PARTS
from pipeline.weights import physics_scale, training_factors

log = logging.getLogger(__name__)

PIECE = 2**15
"""Events that are worked on at a time."""

MOST_VALUES = 2**21
"""Features of all events that are worked on at a time: of events that are images there are fewer."""

UNFINISHED = ".tmp"

ABANDONED_AFTER = DAY
"""Seconds without a byte written after which an unfinished dataset is taken for that of a killed process."""


def prepare(
    spec: DataSpec,
    folder: Path,
    store: Path,
    progress: Progress = nobody_watches,
    chunk_bytes: int = 32 * 2**20,
    fold: int = 0,
) -> PreparedDataset:
    """Read all samples and write the prepared dataset, or open it where it exists already.

    Args:
        spec: the data sections of the experiment.
        folder: what relative file names are relative to.
        store: the folder of all prepared datasets; the dataset gets a folder in it, named by its key.
        progress: told after every chunk.
        chunk_bytes: size of the blocks that are read; memory grows with it and not with the files.
        fold: which split, below ``spec.split.folds``; each has a dataset of its own, with statistics of its own.

    Raises:
        DataError: the events are not what was declared, or a class has no events in a part.

    """
    files = list(plan_files(spec, folder))
    digests = _digests(files)
    key = dataset_key(spec, files, digests, fold)
    store.mkdir(parents=True, exist_ok=True)
    remove_abandoned(store.glob(f".*{UNFINISHED}"), ABANDONED_AFTER)
    if (existing := _existing(store / key)) is not None:
        return existing
    temporary = store / f".{key}.{uuid.uuid4().hex}{UNFINISHED}"
    temporary.mkdir()
    try:
        with closing(Ledger.start(spec, temporary, fold)) as ledger:
            _read_files(ledger, files, progress, chunk_bytes)
            manifest = _finish(ledger, files, digests, key)
        (temporary / "manifest.json").write_text(manifest.model_dump_json(indent=1))
        PreparedDataset.open(temporary)
        _flush(temporary)
        _publish(temporary, store / key)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return PreparedDataset.open(store / key)


def _digests(files: list[SampleFile]) -> list[str]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(hash_of_file, [file.path for file in files]))


def _existing(folder: Path) -> PreparedDataset | None:
    """Return the dataset that is there already; a damaged one is moved out of the way."""
    if not folder.exists():
        return None
    try:
        found = PreparedDataset.open(folder)
    except DataError as error:
        log.warning("prepared again: %s", error)
        damaged = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}{UNFINISHED}")
        folder.replace(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
        return None
    log.info("prepared dataset %s exists already", folder.name[:12])
    return found


def dataset_key(spec: DataSpec, files: list[SampleFile], digests: list[str], fold: int = 0) -> str:
    """Return the hash of everything that decides what the dataset is: the declaration and the files' bytes."""
    declared = spec.model_dump(mode="json", include=set(DataSpec.model_fields))
    declared["samples"] = [{k: v for k, v in s.items() if k != "files"} for s in declared["samples"]]
    declared["files"] = [(f.sample.name, f.path.name, d) for f, d in zip(files, digests, strict=True)]
    return hash_of([FORMAT, declared, fold])


def _flush(folder: Path) -> None:
    """Have every file and folder written to the disk itself, so that a power cut leaves no half of them."""
    paths = [*folder.rglob("*"), folder]
    with ThreadPoolExecutor() as pool:
        list(pool.map(flush, paths))


def _publish(temporary: Path, final: Path) -> None:
    try:
        temporary.replace(final)
    except OSError:
        # Another process was faster with the same dataset; theirs is as good as ours.
        if not (final / "manifest.json").exists():
            raise
    flush(final.parent)


def _read_files(ledger: Ledger, files: list[SampleFile], progress: Progress, chunk_bytes: int) -> None:
    """Take every file through three stages, each a thread: read, account, store."""
    total = sum(file.n_events for file in files)
    piece = min(PIECE, max(1, MOST_VALUES // ledger.spec.features.n_columns))
    with (
        closing(ahead(_chunks(files, chunk_bytes, piece))) as chunks,
        closing(ahead(_accounts(chunks, ledger))) as accounts,
    ):
        for kept in accounts:
            ledger.store(kept)
            progress("prepare", kept.n_read, total)


def _chunks(files: list[SampleFile], chunk_bytes: int, piece: int) -> Iterator[tuple[SampleFile, Chunk]]:
    for file in files:
        for chunk in iter_chunks(file.path, file.needed, layout=file.sample.layout, chunk_bytes=chunk_bytes):
            yield from ((file, part) for part in _pieces(chunk, piece))


def _pieces(chunk: Chunk, piece: int) -> Iterator[Chunk]:
    """Cut a chunk up: what is read well in large blocks is worked on well in small ones, which stay in the cache."""
    for start in range(0, len(chunk), piece):
        columns = {name: column[start : start + piece] for name, column in chunk.columns.items()}
        n_events = min(piece, len(chunk) - start)
        yield replace(chunk, columns=columns, n_events=n_events, first_event=chunk.first_event + start, original=None)


def _accounts(chunks: Iterator[tuple[SampleFile, Chunk]], ledger: Ledger) -> Iterator[KeptEvents]:
    for file, chunk in chunks:
        with _named_after(file.sample):
            kept = ledger.account(chunk, file)
        yield kept


@contextmanager
def _named_after(sample: SampleSpec) -> Iterator[None]:
    try:
        yield
    except WinnowError as error:
        raise type(error)(f"sample {sample.name!r}: {error}") from None


def _weigh(ledger: Ledger, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Write the two final weights of every part and return the training factors, shape ``(n_classes,)``."""
    spec = ledger.spec
    shape = len(spec.samples), len(spec.classes)
    yields, sizes = np.stack([weight_sums(ledger.streams[part].folder, *shape) for part in PARTS], axis=1)
    factors = training_factors(yields[0].sum(axis=0), int(counts[0].sum()), spec.weights)
    for size, part in zip(sizes, PARTS, strict=True):
        whole = sizes.sum(axis=0)
        if spec.split.folds > 1 and part == "test":
            # The test parts of all folds together are the whole sample, whatever share of it came out for this one.
            scale = np.full_like(whole, spec.split.folds)
        else:
            scale = physics_scale(size, spec.split.share(part), whole)
        weigh_part(ledger.streams[part].folder, scale, factors)
    return factors


def _finish(ledger: Ledger, files: list[SampleFile], digests: list[str], key: str) -> Manifest:
    spec, statistics = ledger.spec, ledger.statistics
    ledger.close()
    counts = np.array([stream.class_counts(len(spec.classes)) for stream in ledger.streams.values()])
    if problems := ledger.class_problems(counts):
        raise DataError("; ".join(problems))
    for note in ledger.notes():
        log.warning("%s", note)
    transform = ledger.transform()
    factors = _weigh(ledger, counts)
    return Manifest(
        format=FORMAT,
        key=key,
        fold=ledger.fold,
        content=content_hash(next(iter(ledger.streams.values())).folder.parent),
        classes=spec.classes,
        targets=ledger.target_facts(),
        samples=tuple(sample.name for sample in spec.samples),
        spectators=spec.features.spectators,
        columns=files[0].kinds,
        spectator_columns=files[0].spectator_kinds,
        files=tuple(
            FileRecord(sample=f.sample.name, path=str(f.path), sha256=d, n_events=ledger.read[f.index, f.path])
            for f, d in zip(files, digests, strict=True)
        ),
        events=ledger.counts(counts.sum(axis=1)),
        cut_flow=ledger.cut_flow.to_json(),
        yields=_by_name(spec, ledger.yields.sum(axis=0)),
        training_factors=tuple(factors.tolist()),
        n_missing=dict(zip(map(str, statistics.variables), statistics.n_missing.tolist(), strict=True)),
        transform=transform,
    )


def _by_name(spec: DataSpec, yields: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Return yields of shape ``(n_samples, n_classes)`` under the names of samples and classes."""
    return {
        sample.name: {name: float(row[spec.classes.index(name)]) for name in sample.class_names}
        for sample, row in zip(spec.samples, yields, strict=True)
    }
