"""Parts: which events the trained networks are judged by, and what each network says of them.

Owns which events are scored by which network. Without folds that is plain. With k folds each event is scored by the
network of the fold that tests it; on the events that the other networks are validated on, thresholds are chosen, and on
all others everything is quoted, so that no event has a say in both. The training part of each network is looked at
on the events that the next fold tests: every event once, and most of them once more, by another network, in the test
part, so that errors of a difference between these two parts are upper limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.bundle import ScoringGraph
from models.yardsticks import Truth
from pipeline.dataset import EventArrays, Manifest, PreparedDataset, loaded_blocks
from pipeline.splitting import PARTS, SplitSpec, assign_folds, assign_parts
from pipeline.weights import physics_scale

SCORED_AT_ONCE = 262_144
"""Events of a part that are in memory while it is scored."""

MOST_VALUES = 25_000_000
"""Features of all events in memory, 200 MB: of events that are images fewer are scored, or shuffled, at once."""


def at_once(dataset: PreparedDataset) -> int:
    """Return how many events of a dataset may be in memory."""
    return min(SCORED_AT_ONCE, max(1_000, MOST_VALUES // len(dataset.manifest.transform.features)))


@dataclass(frozen=True, eq=False)
class JudgedEvents:
    """Events of one part and what the networks say of them, first axis ``n_events`` everywhere.

    ``scores`` are ``(n_events,)``, or ``(n_events, n_outputs)`` of a network with several. ``labels`` are indices of
    classes, ``targets`` have ``(n_events, n_targets)``, ``weights`` are physics weights, ``spectators`` are by their
    names, ``groups`` say of which class of which sample an event is, and ``folds`` which of several networks scored it.
    """

    scores: NDArray[np.floating]
    labels: NDArray[np.integer]
    targets: NDArray[np.float64]
    weights: NDArray[np.float64]
    spectators: Mapping[str, NDArray[np.float64]]
    groups: NDArray[np.integer]
    folds: NDArray[np.integer] | None = None

    @property
    def truth(self) -> Truth:
        """What the events are."""
        return Truth(self.labels, self.targets, self.weights)


def judged_events(
    graphs: Sequence[ScoringGraph], datasets: Sequence[PreparedDataset], part: str, split: SplitSpec
) -> JudgedEvents:
    """Return the events of a part of all folds, scored; their weights together stand for the whole sample."""
    folds = [_in_fold(graph, data, part, split) for graph, data in zip(graphs, datasets, strict=True)]
    if len(folds) == 1:
        return folds[0]
    together = JudgedEvents(
        scores=np.concatenate([fold.scores for fold in folds]),
        labels=np.concatenate([fold.labels for fold in folds]),
        targets=np.concatenate([fold.targets for fold in folds]),
        weights=np.concatenate([fold.weights for fold in folds]),
        spectators={name: np.concatenate([fold.spectators[name] for fold in folds]) for name in folds[0].spectators},
        groups=np.concatenate([fold.groups for fold in folds]),
        folds=np.repeat(np.arange(len(folds)), [len(fold.labels) for fold in folds]),
    )
    return replace(together, weights=_standing_for_all(together, _magnitudes(datasets)))


def _in_fold(graph: ScoringGraph, dataset: PreparedDataset, part: str, split: SplitSpec) -> JudgedEvents:
    blocks, groups_of = [], _groups(dataset.manifest)
    # Block by block through the file, so that a large part does not become resident as a whole.
    for block in loaded_blocks(holding(dataset, part, split), at_once(dataset)):
        rows = judged_rows(block.identity, part, dataset.manifest.fold, split)
        of_block = groups_of[block.sample, block.label]
        arrays = block.label, block.target, block.physics_weight, block.spectators, of_block
        blocks.append((graph.score(block.features[rows]), *(array[rows] for array in arrays)))
    scores, labels, targets, weights, spectators, groups = map(np.concatenate, zip(*blocks, strict=True))
    columns = dict(zip(dataset.manifest.spectators, spectators.T, strict=True))
    return JudgedEvents(scores, labels, targets, weights, columns, groups)


def holding(dataset: PreparedDataset, part: str, split: SplitSpec) -> EventArrays:
    """Return the events among which those of a part are that the fold's network may be judged by."""
    return dataset.part(part if split.folds == 1 or part == "train" else "test")


def judged_rows(identities: NDArray[np.uint64], part: str, fold: int, split: SplitSpec) -> NDArray[np.bool_] | slice:
    """Return which events the fold's network is judged by, as an index that copies nothing where it is all of them."""
    if split.folds == 1:
        return slice(None)
    next_fold = (fold + 1) % split.folds
    if part == "train":
        return np.equal(assign_folds(identities, split.folds), next_fold)
    # Which events are validated on is the same in all folds that do not test them.
    validates = PARTS[1] if part == "validation" else PARTS[0]
    return np.equal(assign_parts(identities, split, next_fold), PARTS.index(validates))


def _magnitudes(datasets: Sequence[PreparedDataset]) -> NDArray[np.float64]:
    """Return the sums of absolute weights of all events, shape ``(n_groups,)``: with folds each is tested once."""
    groups_of, sums = _groups(datasets[0].manifest), []
    for dataset in datasets:
        events = dataset.part("test")
        groups = groups_of[events.sample, events.label]
        sums.append(np.bincount(groups, np.abs(events.physics_weight), groups_of.max() + 1))
    found: NDArray[np.float64] = np.sum(sums, axis=0) / len(datasets)
    return found


def _standing_for_all(part: JudgedEvents, whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights whose magnitudes add up to those of all events, sample by sample."""
    sizes = np.bincount(part.groups, np.abs(part.weights), whole.size).astype(np.float64)
    scaled: NDArray[np.float64] = part.weights * physics_scale(sizes, 1.0, whole)[part.groups]
    return scaled


def _groups(manifest: Manifest) -> NDArray[np.int16]:
    """Return the number of each class of each sample, among those that there are, shape ``(n_samples, n_classes)``."""
    numbers = np.zeros((len(manifest.samples), len(manifest.classes)), dtype=np.int16)
    pairs = [(s, manifest.classes.index(c)) for s, name in enumerate(manifest.samples) for c in manifest.yields[name]]
    numbers[tuple(zip(*pairs, strict=True))] = np.arange(len(pairs))
    return numbers
