"""The ledger: what is counted, learnt and written while the events of all samples go by.

Owns the account of every event: left out by its label, cut, or kept in one part. Which files are read, and
what becomes of the folder, is ``prepare``'s.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.chunk import Chunk
from pipeline.dataset import EventCounts, PartStream
from pipeline.feature_statistics import FeatureStatistics
from pipeline.label_values import LabelValues
from pipeline.missing import refuse_missing
from pipeline.normalise import InputTransform, fit_transform
from pipeline.padding import Truncation
from pipeline.plan import DataSpec, SampleFile
from pipeline.samples import LEFT_OUT, LabelSpec, SampleSpec, class_indices
from pipeline.schema import check_columns
from pipeline.selection import READ, CutFlow, select
from pipeline.splitting import PARTS, assign_parts, content_identities, event_identities
from pipeline.suspicion import suspicions
from pipeline.targets import TargetFacts, TargetStatistics
from pipeline.weights import LIGHTEST, NOT_NEGATIVE, physics_weights


@dataclass(frozen=True, eq=False)
class KeptEvents:
    """The events of one chunk that no label left out and no cut removed; first axis ``n_events`` everywhere."""

    sample: int
    n_read: int
    features: NDArray[np.float64]
    spectators: NDArray[np.float64]
    labels: NDArray[np.int8]
    targets: NDArray[np.float64]
    weights: NDArray[np.float64]
    identities: NDArray[np.uint64]
    contents: NDArray[np.uint64]


@dataclass
class Ledger:
    """What is known so far. ``read`` counts the events of each file of each sample.

    ``yields`` has shape ``(n_parts, n_samples, n_classes)``: sums of physics weights before any scaling. ``account``
    and ``store`` (or ``learn``) touch different fields, so that two threads may call one each.
    """

    spec: DataSpec
    streams: dict[str, PartStream]
    statistics: FeatureStatistics
    yields: NDArray[np.float64]
    cut_flow: CutFlow
    fold: int = 0
    read: Counter[tuple[int, Path]] = field(default_factory=Counter)
    left_out: int = 0
    without_target: int = 0
    target_statistics: TargetStatistics = field(default_factory=lambda: TargetStatistics(0))
    label_values: dict[int, LabelValues] = field(default_factory=dict)
    truncations: dict[str, Truncation] = field(default_factory=dict)

    @classmethod
    def start(cls, spec: DataSpec, folder: Path, fold: int = 0) -> Self:
        """Begin with no events; the parts, those of one fold, are written into ``folder``."""
        dropped = [NOT_NEGATIVE] * (spec.weights.negative == "drop")
        widths = {"features": spec.features.n_columns, "spectators": len(spec.features.spectators)}
        widths |= {"target": len(spec.targets), "content": int(spec.split.folds > 1)}
        return cls(
            spec,
            {part: PartStream(folder / part, widths) for part in PARTS},
            FeatureStatistics(
                [policy.values for policy in spec.features.missing.of_columns(spec.features)], spec.features.variables
            ),
            np.zeros((len(PARTS), len(spec.samples), len(spec.classes))),
            CutFlow.start([cut.name for cut in spec.select] + dropped),
            fold,
            target_statistics=TargetStatistics(len(spec.targets)),
        )

    def account(self, chunk: Chunk, file: SampleFile) -> KeptEvents:
        """Say of every event of a chunk where it went: label, derive, check, weigh, select."""
        n_read = len(chunk)
        chunk, labels, identities, targets = self._sought(chunk, file)
        self.read[file.index, file.path] += n_read
        self.left_out += n_read - len(chunk)
        check_columns(chunk, self.spec.columns, self.spec.features.missing)
        weights = physics_weights(chunk, file.sample.weight, self.spec.weights)
        kept = self._cut(chunk, file.sample, labels, weights)
        if not kept.all():
            chunk, labels, weights = chunk.keep(kept), labels[kept], weights[kept]
            identities, targets = identities[kept], targets[kept]
        features = self.spec.recipe.matrix(chunk)
        inputs, sentinels = self.spec.features, self.statistics.sentinels
        refuse_missing(features, inputs.missing.refused(inputs), sentinels, chunk.source, inputs.blocks)
        for name, counts in self.spec.recipe.lengths(chunk).items():
            self.truncations.setdefault(name, Truncation()).update(counts, inputs.collections[name].length)
        return KeptEvents(
            sample=file.index,
            n_read=n_read,
            features=features,
            spectators=self.spec.recipe.values(chunk, self.spec.features.spectators),
            labels=labels,
            targets=targets,
            weights=weights,
            identities=identities,
            contents=self._contents(chunk, file),
        )

    def _sought(
        self, chunk: Chunk, file: SampleFile
    ) -> tuple[Chunk, NDArray[np.int8], NDArray[np.uint64], NDArray[np.float64]]:
        """Return the events that have a class and every target, with derived columns, and beside them what they have.

        Classes and identities have shape ``(n_events,)``, targets ``(n_events, n_targets)``.
        """
        labels = class_indices(chunk, file.sample, self.spec.classes)
        identities = event_identities(chunk, self.spec.split, file.sample.name, file.path.name, file.features_need)
        if isinstance(file.sample.label, LabelSpec):
            column = np.asarray(chunk[file.sample.label.column])
            self.label_values.setdefault(file.index, LabelValues()).update(column)
        labelled = labels != LEFT_OUT
        if not labelled.all():
            chunk, labels, identities = chunk.keep(labelled), labels[labelled], identities[labelled]
        chunk = self.spec.recipe.derived(chunk, file.derived)
        targets = self.spec.recipe.values(chunk, tuple(self.spec.targets.values()))
        known = np.asarray(np.isfinite(targets).all(axis=1), dtype=np.bool_)
        self.without_target += len(known) - int(known.sum())
        if known.all():
            return chunk, labels, identities, targets
        return chunk.keep(known), labels[known], identities[known], targets[known]

    def _contents(self, chunk: Chunk, file: SampleFile) -> NDArray[np.uint64]:
        if self.spec.split.folds == 1:
            return np.empty((len(chunk), 0), dtype=np.uint64)
        return content_identities(chunk, file.features_need)[:, None]

    def _cut(
        self, chunk: Chunk, sample: SampleSpec, labels: NDArray[np.int8], weights: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return which events survive every cut, shape ``(n_events,)``, and enter every step in the cut-flow."""
        steps = [(READ, np.ones(len(chunk), dtype=np.bool_)), *select(chunk, self.spec.select)]
        if self.spec.weights.negative == "drop":
            steps.append((NOT_NEGATIVE, steps[-1][1] & (weights >= 0)))
        for index in np.flatnonzero(np.bincount(labels)):
            of_class = labels == index
            group = _group(sample, self.spec.classes[index])
            for step, mask in steps:
                self.cut_flow.update(group, step, weights[mask & of_class])
        return steps[-1][1]

    def store(self, kept: KeptEvents) -> None:
        """Write the events of a chunk into their parts, and learn from them."""
        for part, arrays in self.learn(kept).items():
            self.streams[part].append(arrays)

    def learn(self, kept: KeptEvents) -> dict[str, dict[str, NDArray[Any]]]:
        """Add up the yields of every part and the statistics of the training part; return the arrays of each part."""
        assigned = assign_parts(kept.identities, self.spec.split, self.fold)
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for index, part in enumerate(PARTS):
            rows = np.flatnonzero(assigned == index)
            arrays = parts[part] = {
                "features": kept.features.take(rows, axis=0),
                "spectators": kept.spectators[rows],
                "label": kept.labels[rows],
                "target": kept.targets[rows],
                "sample": np.full(len(rows), kept.sample, dtype=np.int16),
                "identity": kept.identities[rows],
                "content": kept.contents[rows],
                "physics_weight": kept.weights[rows],
            }
            self.yields[index, kept.sample] += self._by_class(arrays["label"], arrays["physics_weight"])
        self.statistics.update(parts["train"]["features"], parts["train"]["identity"])
        self.target_statistics.look(kept.targets)
        self.target_statistics.learn(parts["train"]["target"])
        return parts

    def target_facts(self) -> tuple[TargetFacts, ...]:
        """Return what is known of each target."""
        return self.target_statistics.facts(tuple(self.spec.targets))

    def class_problems(self, in_parts: NDArray[np.int64]) -> list[str]:
        """Return what forbids training, or judging what was trained: classes without events or weight in a part.

        Args:
            in_parts: number of events, shape ``(n_parts, n_classes)``.

        """
        problems: list[str] = []
        for c, name in enumerate(self.spec.classes):
            empty = [part for part, n_events in zip(PARTS, in_parts[:, c], strict=True) if not n_events]
            if len(empty) == len(PARTS):
                problems.append(self._why_nowhere(name))
            elif empty:
                problems.append(self._why_not_in(empty, name, int(in_parts[:, c].sum())))
            weightless = [
                part for part in self._parts_in_need() if in_parts[part, c] and self.yields[part, :, c].sum() < LIGHTEST
            ]
            # Where it is so in several parts the weights are to blame, and one part will do to say so.
            problems += [self._why_no_weight(c, part, int(in_parts[part, c])) for part in weightless[:1]]
        return problems

    def _parts_in_need(self) -> range:
        """Return which parts need a positive sum of weights in each class by themselves; with folds the others do not.

        What a network of several is validated and tested on is judged together with the events of the other folds.
        """
        return range(len(PARTS) if self.spec.split.folds == 1 else 1)

    def notes(self) -> list[str]:
        """Return one sentence for everything that is allowed and still deserves a look."""
        spec = self.spec
        notes = [
            f"sample {sample.name!r}: {found.tell_absent(sample.label.column, name, absent)}"
            for index, sample in enumerate(spec.samples)
            if isinstance(sample.label, LabelSpec) and (found := self.label_values.get(index))
            for name, values in sample.label.classes.items()
            if (absent := found.absent(values))
        ]
        if self.without_target:
            targets = " or ".join(map(repr, spec.targets))
            msg = f"{self.without_target} events are left out, since {targets} has no value there: NaN, infinite"
            notes.append(f"{msg}, or a number that [features] missing takes for missing")
        for name, truncation in self.truncations.items():
            notes += truncation.told(name, spec.features.collections[name])
        return notes + suspicions(self.statistics, spec.features.missing, spec.normalise)

    def _why_nowhere(self, name: str) -> str:
        reasons = [
            self._why_none_of(index, sample, name)
            for index, sample in enumerate(self.spec.samples)
            if name in sample.class_names
        ]
        return f"class {name!r} has no events: {'; '.join(reasons)}"

    def _why_none_of(self, index: int, sample: SampleSpec, name: str) -> str:
        flow = self.cut_flow.rows(_group(sample, name))
        if n_events := flow[0].events:
            step = next(row.step for row in flow if not row.events)
            if step == NOT_NEGATIVE:
                every = f"every weight {sample.weight!r} of sample {sample.name!r} that the cuts leave is negative"
                return f"{every}, and [weights] negative is 'drop'; 'absolute' would keep the events"
            return f"cut {step!r} leaves none of the {n_events} in sample {sample.name!r}; a wider one would"
        if isinstance(sample.label, str) and self.without_target:
            return f"no event of sample {sample.name!r} has a value of every target"
        if isinstance(sample.label, str):
            return f"the files of sample {sample.name!r} are empty"
        found = self.label_values.get(index, LabelValues())
        return f"sample {sample.name!r}: {found.tell_absent(sample.label.column, name, sample.label.classes[name])}"

    def _why_not_in(self, parts: Sequence[str], name: str, n_events: int) -> str:
        noun = "part" if len(parts) == 1 else "parts"
        by = self.spec.split.by
        what = {"content": "all features", "row": ""}.get(by, "") if isinstance(by, str) else _listed(by)
        together = f"; events that agree in {what} ([split] by) stay together" if what else ""
        where = f"in the {' and '.join(parts)} {noun}, of {n_events} in all parts"
        remedy = f"it takes more events, or other [split] fractions{together}"
        return f"class {name!r} ({self._samples_of(name)}) has no events {where}: {remedy}"

    def _why_no_weight(self, index: int, part: int, n_events: int) -> str:
        spec, name, yields = self.spec, self.spec.classes[index], self.yields[part, :, index]
        sums = [
            f"sample {sample.name!r} with weight {sample.weight!r} gives {total:g}"
            for sample, total in zip(spec.samples, yields, strict=True)
            if name in sample.class_names
        ]
        other = "more events, or another weight"
        if spec.weights.negative == "keep":
            other = f"more events, another weight, or [weights] negative = {'absolute'!r} or {'drop'!r}"
        needed = f"a positive sum: {other}" if yields.sum() <= 0 else f"at least {LIGHTEST:g}: use another unit"
        kind, what_for = ("training", "training") if part == 0 else (PARTS[part], "judging")
        total = f"the weights of its {n_events} {kind} events add up to {yields.sum():g}"
        return f"class {name!r}: {total} ({'; '.join(sums)}), and {what_for} needs {needed}"

    def _samples_of(self, name: str) -> str:
        names = [sample.name for sample in self.spec.samples if name in sample.class_names]
        return f"sample{'s' * (len(names) > 1)} {_listed(names)}"

    def transform(self) -> InputTransform:
        """Return the input transform that follows from the training part.

        Raises:
            DataError: as in ``fit_transform``.

        """
        spec = self.spec
        return fit_transform(self.statistics, spec.features, spec.normalise, spec.features.missing)

    def close(self) -> None:
        """Finish the files of all parts, once."""
        for stream in self.streams.values():
            stream.close()

    def _by_class(self, labels: NDArray[np.int8], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(labels, weights=weights, minlength=len(self.spec.classes)).astype(np.float64)

    def counts(self, in_parts: NDArray[np.int64]) -> EventCounts:
        """Account for every event that was read; ``in_parts`` are the events found in the finished parts."""
        flow = self.cut_flow.rows()
        train, validation, test = map(int, in_parts)
        kept, cut = train + validation + test, flow[0].events - flow[-1].events
        read = self.read.total()
        assert read == kept + cut + self.left_out, (read, kept, cut, self.left_out)
        return EventCounts(
            read=read,
            kept=kept,
            cut=cut,
            left_out=self.left_out,
            train=train,
            validation=validation,
            test=test,
        )


def _group(sample: SampleSpec, class_name: str) -> str:
    return sample.name if isinstance(sample.label, str) else f"{sample.name}: {class_name}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(map(repr, names))
