"""Preparing: from declared samples to a prepared dataset on disk; the pipeline room's verb.

Reads every file once, chunk by chunk, so memory does not grow with the files, and accounts for every
event: left out by its label, cut, or kept in one part. The same inputs are not prepared twice: the key of
a dataset is the hash of the declaration and of every file's bytes.
"""

import logging
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.chunk import Chunk
from pipeline.dataset import (
    EventCounts,
    FileRecord,
    Manifest,
    PartStream,
    PreparedDataset,
    hash_of,
    hash_of_file,
    weigh_part,
)
from pipeline.errors import DataError, WinnowError
from pipeline.normalise import FeatureStatistics, fit_transform
from pipeline.plan import DataSpec, SampleFile, plan_files
from pipeline.progress import Progress, nobody_watches
from pipeline.samples import LEFT_OUT, SampleSpec, class_indices
from pipeline.schema import check_columns
from pipeline.selection import READ, CutFlow, select
from pipeline.sources import iter_chunks
from pipeline.splitting import PARTS, assign_parts, event_identities
from pipeline.weights import physics_weights, training_factors

NOT_NEGATIVE = "weight not negative"

log = logging.getLogger(__name__)

FORMAT = 1
"""Raised whenever the same declaration would give another dataset."""


@dataclass
class _Ledger:
    """What is written, learnt and counted while the events go by.

    ``yields`` has shape ``(n_parts, n_samples, n_classes)``: sums of physics weights before any scaling.
    """

    spec: DataSpec
    streams: dict[str, PartStream]
    statistics: FeatureStatistics
    yields: NDArray[np.float64]
    cut_flow: CutFlow
    read: int = 0
    left_out: int = 0
    kept: int = 0
    n_events: list[int] = field(default_factory=list)

    def counts(self, in_parts: NDArray[np.int64]) -> EventCounts:
        """Account for every event that was read."""
        train, validation, test = map(int, in_parts)
        assert train + validation + test == self.kept
        cut = self.read - self.left_out - self.kept
        return EventCounts(
            read=self.read,
            kept=self.kept,
            cut=cut,
            left_out=self.left_out,
            train=train,
            validation=validation,
            test=test,
        )

    def absorb(self, chunk: Chunk, file: SampleFile) -> None:
        """Take in one chunk: label, derive, check, select, weigh, split, write."""
        self.read += len(chunk)
        labels = class_indices(chunk, file.sample, self.spec.classes)
        identities = event_identities(chunk, self.spec.split, file.sample.name, file.path.name, file.features_need)
        labelled = labels != LEFT_OUT
        self.left_out += int((~labelled).sum())
        if not labelled.all():
            chunk, labels, identities = chunk.keep(labelled), labels[labelled], identities[labelled]
        chunk = self.spec.recipe.derived(chunk)
        check_columns(chunk, self.spec.columns, self.spec.features.missing.values)
        weights = physics_weights(chunk, file.sample.weight, self.spec.weights)
        kept = self._cut(chunk, file, labels, weights)
        features = self.spec.recipe.matrix(chunk if kept.all() else chunk.keep(kept))
        self._write(file.index, features, labels[kept], weights[kept], identities[kept])

    def _cut(
        self, chunk: Chunk, file: SampleFile, labels: NDArray[np.int8], weights: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return which events survive every cut, shape ``(n_events,)``, and enter every step in the cut-flow."""
        steps = [(READ, np.ones(len(chunk), dtype=np.bool_)), *select(chunk, self.spec.select)]
        if self.spec.weights.negative == "drop":
            steps.append((NOT_NEGATIVE, steps[-1][1] & (weights >= 0)))
        for step, mask in steps:
            for index in np.unique(labels):
                survivors = mask & (labels == index)
                group = _group(file.sample, self.spec.classes[index])
                self.cut_flow.update(group, step, weights[survivors])
        return steps[-1][1]

    def _write(
        self,
        sample: int,
        features: NDArray[np.float64],
        labels: NDArray[np.int8],
        weights: NDArray[np.float64],
        identities: NDArray[np.uint64],
    ) -> None:
        self.kept += len(labels)
        parts = assign_parts(identities, self.spec.split.fractions)
        samples = np.full(len(labels), sample, dtype=np.int16)
        for index, part in enumerate(PARTS):
            rows = np.flatnonzero(parts == index)
            arrays: dict[str, NDArray[Any]] = {
                "features": features[rows],
                "label": labels[rows],
                "sample": samples[rows],
                "identity": identities[rows],
                "physics_weight": weights[rows],
            }
            self.streams[part].append(arrays)
            np.add.at(self.yields[index, sample], labels[rows], weights[rows])
            if part == "train":
                self.statistics.update(arrays["features"], arrays["identity"])


def _steps(spec: DataSpec) -> list[str]:
    """Return the names of the cut-flow's steps after the first."""
    return [cut.name for cut in spec.select] + [NOT_NEGATIVE] * (spec.weights.negative == "drop")


def _group(sample: SampleSpec, class_name: str) -> str:
    return sample.name if isinstance(sample.label, str) else f"{sample.name}: {class_name}"


def prepare(
    spec: DataSpec,
    folder: Path,
    store: Path,
    progress: Progress = nobody_watches,
    chunk_bytes: int = 32 * 2**20,
) -> PreparedDataset:
    """Read all samples and write the prepared dataset, or open it where it exists already.

    Args:
        spec: the data sections of the experiment.
        folder: what relative file names are relative to.
        store: the folder of all prepared datasets; the dataset gets a folder in it, named by its key.
        progress: told after every chunk.
        chunk_bytes: size of the blocks that are read; memory grows with it and not with the files.

    Raises:
        DataError: the events are not what was declared, or a class has no events in a part.

    """
    files = list(plan_files(spec, folder))
    digests = [hash_of_file(file.path) for file in files]
    key = dataset_key(spec, files, digests)
    if (store / key / "manifest.json").exists():
        log.info("prepared dataset %s exists already", key[:12])
        return PreparedDataset.open(store / key)
    store.mkdir(parents=True, exist_ok=True)
    temporary = store / f".{key}.{uuid.uuid4().hex}.tmp"
    temporary.mkdir()
    try:
        ledger = _read_files(spec, files, temporary, progress, chunk_bytes)
        manifest = _finish(ledger, files, digests, key)
        (temporary / "manifest.json").write_text(manifest.model_dump_json(indent=1))
        _publish(temporary, store / key)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return PreparedDataset.open(store / key)


def dataset_key(spec: DataSpec, files: list[SampleFile], digests: list[str]) -> str:
    """Return the hash of everything that decides what the dataset is: the declaration and the files' bytes."""
    declared = spec.model_dump(mode="json", include=set(DataSpec.model_fields))
    declared["samples"] = [{k: v for k, v in s.items() if k != "files"} for s in declared["samples"]]
    declared["files"] = [(f.sample.name, f.path.name, d) for f, d in zip(files, digests, strict=True)]
    return hash_of([FORMAT, declared])


def _publish(temporary: Path, final: Path) -> None:
    try:
        temporary.replace(final)
    except OSError:
        # Another process was faster with the same dataset; theirs is as good as ours.
        if not (final / "manifest.json").exists():
            raise


def _read_files(spec: DataSpec, files: list[SampleFile], folder: Path, progress: Progress, chunk_bytes: int) -> _Ledger:
    ledger = _Ledger(
        spec,
        {part: PartStream(folder / part, len(spec.features.inputs)) for part in PARTS},
        FeatureStatistics([spec.features.missing.of(name).values for name in spec.features.inputs]),
        np.zeros((len(PARTS), len(spec.samples), len(spec.classes))),
        CutFlow.start(_steps(spec)),
    )
    total = sum(file.n_events for file in files)
    for file in files:
        before = ledger.read
        for chunk in iter_chunks(file.path, file.needed, layout=file.sample.layout, chunk_bytes=chunk_bytes):
            with _named_after(file.sample):
                ledger.absorb(chunk, file)
            progress("prepare", len(chunk), total)
        ledger.n_events.append(ledger.read - before)
    return ledger


@contextmanager
def _named_after(sample: SampleSpec) -> Iterator[None]:
    try:
        yield
    except WinnowError as error:
        raise type(error)(f"sample {sample.name!r}: {error}") from None


def _weigh(ledger: _Ledger, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Write the two final weights of every part and return the training factors, shape ``(n_classes,)``."""
    spec, yields = ledger.spec, ledger.yields
    factors = training_factors(yields[0].sum(axis=0), int(counts[0].sum()), spec.weights)
    whole = yields.sum(axis=0)
    for index, part in enumerate(PARTS):
        here, nominal = yields[index], 1 / getattr(spec.split.fractions, part)
        scale = np.where(here > 0, whole / np.where(here > 0, here, 1), nominal)
        weigh_part(ledger.streams[part].folder, scale, factors)
    return factors


def _finish(ledger: _Ledger, files: list[SampleFile], digests: list[str], key: str) -> Manifest:
    spec, statistics = ledger.spec, ledger.statistics
    content = hash_of([stream.close() for stream in ledger.streams.values()])
    counts = np.array([stream.class_counts(len(spec.classes)) for stream in ledger.streams.values()])
    _refuse_empty_classes(spec, counts, ledger.yields)
    names = spec.features.inputs
    transform = fit_transform(statistics, names, spec.normalise, spec.features.missing)
    factors = _weigh(ledger, counts)
    return Manifest(
        format=FORMAT,
        key=key,
        content=content,
        classes=spec.classes,
        samples=tuple(sample.name for sample in spec.samples),
        columns=files[0].kinds,
        files=tuple(
            FileRecord(sample=f.sample.name, path=str(f.path), sha256=d, n_events=n)
            for f, d, n in zip(files, digests, ledger.n_events, strict=True)
        ),
        events=ledger.counts(counts.sum(axis=1)),
        cut_flow=ledger.cut_flow.to_json(),
        yields=_by_name(spec, ledger.yields.sum(axis=0)),
        training_factors=tuple(factors.tolist()),
        n_missing=dict(zip(names, statistics.n_missing.tolist(), strict=True)),
        transform=transform,
    )


def _by_name(spec: DataSpec, yields: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Return yields of shape ``(n_samples, n_classes)`` under the names of samples and classes."""
    return {
        sample.name: {name: float(row[spec.classes.index(name)]) for name in sample.class_names}
        for sample, row in zip(spec.samples, yields, strict=True)
    }


def _refuse_empty_classes(spec: DataSpec, counts: NDArray[np.int64], yields: NDArray[np.float64]) -> None:
    problems = [
        f"class {name!r} has no events in the {part} part ({counts[:, c].sum()} in all parts)"
        for p, part in enumerate(PARTS)
        for c, name in enumerate(spec.classes)
        if not counts[p, c]
    ]
    problems += [
        f"class {name!r}: the weights of its {counts[0, c]} training events add up to {total:g}"
        for c, (name, total) in enumerate(zip(spec.classes, yields[0].sum(axis=0), strict=True))
        if counts[0, c] and total <= 0
    ]
    if problems:
        raise DataError("; ".join(problems))
