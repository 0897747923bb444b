"""Judging: what the trained networks, and the baselines beside them, make of events that they have not seen.

Owns which events are scored by which network. Without folds that is plain. With k folds each event is scored by the
network of the fold that tests it; on the events that the other networks are validated on, thresholds are chosen, and on
all others everything is quoted, so that no event has a say in both. The training part of each network is looked at
on the events that the next fold tests: every event once, and most of them once more, by another network, in the test
part, so that errors of a difference between these two parts are upper limits.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from flows.experiment import Experiment, ExperimentFile
from models.baselines import fit_baseline
from models.bundle import ScoringGraph
from models.evaluation import ScoredPart, evaluate
from models.histograms import Kind, PartName
from models.inputs import InputFindings, judge_inputs
from models.record import Evaluation
from pipeline.dataset import EventArrays, Manifest, PreparedDataset, loaded_blocks
from pipeline.errors import DataError
from pipeline.progress import Progress
from pipeline.splitting import PARTS, SplitSpec, assign_folds, assign_parts
from pipeline.table import EventTable, pack, table_of
from pipeline.weights import physics_scale

log = logging.getLogger(__name__)

Found = TypeVar("Found")

SCORED_AT_ONCE = 262_144
"""Events of a part that are in memory while it is scored."""

MOST_EVENTS = 500_000
"""Training events of a baseline, drawn at random where there are more: with these it is about as good as it gets."""

MOST_TEST_EVENTS = 100_000
"""Test events on which inputs are shuffled: it takes a scoring for every input and repetition."""


@dataclass(frozen=True)
class ExportedNetwork:
    """The files of an exported network; ``parity`` is the largest difference between ONNX and Keras scores."""

    graph: Path
    network: Path
    parity: float


def evaluate_networks(
    file: ExperimentFile, datasets: Sequence[PreparedDataset], exported: Sequence[ExportedNetwork], progress: Progress
) -> Evaluation:
    """Score all parts and judge the scores, those of the baselines too; what cannot be had is told, and left out."""
    experiment, seed = file.content, file.content.experiment.seed
    graphs = [ScoringGraph(network.graph) for network in exported]
    n_tested = sum(len(dataset.part("test")) for dataset in datasets)
    progress("evaluate, score", 0, n_tested)
    train, validation, test = (scored_part(graphs, datasets, part, experiment.split) for part in PARTS)
    rivals = {}
    for name in experiment.evaluation.baselines:
        progress(f"evaluate, baseline {name}", 0, n_tested)
        if (scores := _had(f"baseline {name!r}", partial(baseline_scores, name, datasets, experiment))) is not None:
            rivals[name] = scores
    progress("evaluate, inputs", 0, n_tested)
    inputs = _had("importance of inputs", partial(_input_findings, graphs[0], datasets[0], seed))
    progress("evaluate, judge", n_tested, n_tested)
    evaluation = evaluate(
        train,
        validation,
        test,
        experiment.evaluation,
        random=np.random.default_rng(seed),
        signal_fraction=0.5 if experiment.weights.balance == "classes" else None,
        rivals=rivals,
        inputs=inputs,
        samples=_named_groups(datasets[0].manifest),
    )
    _warn_of_problems(evaluation)
    return evaluation


def require_judgeable(datasets: Sequence[PreparedDataset], split: SplitSpec) -> None:
    """Refuse events, before a network is trained on them, by which no network can be judged.

    Raises:
        DataError: among the events of a part that judge, a class is missing or has no positive sum of weights.
    """
    for part in get_args(PartName):
        labels, weights = [], []
        for dataset in datasets:
            events = _holding(dataset, part, split)
            rows = _judged(np.asarray(events.identity), part, dataset.manifest.fold, split)
            labels.append(events.label[rows])
            weights.append(events.physics_weight[rows])
        joined = np.concatenate(labels)
        ScoredPart(np.zeros(joined.size, dtype=np.float32), joined, np.concatenate(weights)).events(part)


def _had(what: str, find: Callable[[], Found]) -> Found | None:
    """Return what is found; a training is not thrown away for an answer that its events cannot give."""
    try:
        return find()
    except DataError as error:
        log.warning("there is no %s: %s", what, error)
        return None


def _warn_of_problems(evaluation: Evaluation) -> None:
    for point in evaluation.named_points:
        if point.problem:
            log.warning("working point %r: %s", point.name, point.problem)
    if evaluation.templates and evaluation.templates.problem:
        log.warning("there are no templates: %s", evaluation.templates.problem)
    if evaluation.calibrated and evaluation.calibrated.problem:
        log.warning("there is no calibration: %s", evaluation.calibrated.problem)


def scored_part(
    graphs: Sequence[ScoringGraph], datasets: Sequence[PreparedDataset], part: str, split: SplitSpec
) -> ScoredPart:
    """Return the events of a part of all folds; their weights together stand for the whole sample."""
    folds = [_scored_in_fold(graph, data, part, split) for graph, data in zip(graphs, datasets, strict=True)]
    if len(folds) == 1:
        return folds[0]
    together = ScoredPart(
        scores=np.concatenate([fold.scores for fold in folds]),
        labels=np.concatenate([fold.labels for fold in folds]),
        weights=np.concatenate([fold.weights for fold in folds]),
        columns={name: np.concatenate([fold.columns[name] for fold in folds]) for name in folds[0].columns},
        samples=np.concatenate([fold.samples for fold in folds]),
        folds=np.repeat(np.arange(len(folds)), [len(fold.labels) for fold in folds]),
    )
    return replace(together, weights=_standing_for_all(together, _magnitudes(datasets)))


def _scored_in_fold(graph: ScoringGraph, dataset: PreparedDataset, part: str, split: SplitSpec) -> ScoredPart:
    blocks, groups_of = [], _groups(dataset.manifest)
    # Block by block through the file, so that a large part does not become resident as a whole.
    for block in loaded_blocks(_holding(dataset, part, split), SCORED_AT_ONCE):
        rows = _judged(block.identity, part, dataset.manifest.fold, split)
        arrays = block.label, block.physics_weight, block.spectators, groups_of[block.sample, block.label]
        blocks.append((graph.score(block.features[rows]), *(array[rows] for array in arrays)))
    scores, labels, weights, spectators, groups = map(np.concatenate, zip(*blocks, strict=True))
    columns = dict(zip(dataset.manifest.spectators, spectators.T, strict=True))
    return ScoredPart(scores, labels, weights, columns, groups)


def _holding(dataset: PreparedDataset, part: str, split: SplitSpec) -> EventArrays:
    """Return the events among which those of a part are that the fold's network may be judged by."""
    return dataset.part(part if split.folds == 1 or part == "train" else "test")


def _judged(identities: NDArray[np.uint64], part: str, fold: int, split: SplitSpec) -> NDArray[np.bool_] | slice:
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


def _standing_for_all(part: ScoredPart, whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights whose magnitudes add up to those of all events, sample by sample."""
    sizes = np.bincount(part.samples, np.abs(part.weights), whole.size).astype(np.float64)
    scaled: NDArray[np.float64] = part.weights * physics_scale(sizes, 1.0, whole)[part.samples]
    return scaled


def _groups(manifest: Manifest) -> NDArray[np.int16]:
    """Return the number of each sample's class among ``_named_groups``, shape ``(n_samples, n_classes)``."""
    numbers = np.zeros((len(manifest.samples), len(manifest.classes)), dtype=np.int16)
    pairs = [(s, manifest.classes.index(c)) for s, name in enumerate(manifest.samples) for c in manifest.yields[name]]
    numbers[tuple(zip(*pairs, strict=True))] = np.arange(len(pairs))
    return numbers


def _named_groups(manifest: Manifest) -> dict[str, Kind]:
    """Return what is a sample in a fit: one of a single class under its name, the classes of another one by one."""
    return {
        name if len(manifest.yields[name]) == 1 else f"{name}: {kind}": "signal" if kind == "signal" else "background"
        for name in manifest.samples
        for kind in manifest.yields[name]
    }


def baseline_scores(name: str, datasets: Sequence[PreparedDataset], experiment: Experiment) -> NDArray[np.float64]:
    """Return a baseline's scores of the test events, with folds each by one that was trained without them."""
    seed, split, scores = experiment.experiment.seed, experiment.split, []
    for dataset in datasets:
        random, manifest = np.random.default_rng(seed), dataset.manifest
        train, validation = (_some_events(dataset, part, random) for part in ("train", "validation"))
        scorer = fit_baseline(name, train, validation, seed)
        for block in loaded_blocks(dataset.part("test"), SCORED_AT_ONCE):
            rows = _judged(block.identity, "test", manifest.fold, split)
            scores.append(scorer(manifest.transform.apply(block.features[rows])))
    return np.concatenate(scores)


def _input_findings(graph: ScoringGraph, dataset: PreparedDataset, seed: int) -> InputFindings:
    """Judge the inputs of the network, with folds of that of the first one, on its test events."""
    events, transform, random = dataset.part("test"), dataset.manifest.transform, np.random.default_rng(seed)
    rows, factors = _drawn(events.label, MOST_TEST_EVENTS, random)
    features = np.asarray(events.features[rows])
    values = np.where(transform.missing(features), np.nan, features)
    weights = events.physics_weight[rows] * factors
    return judge_inputs(graph.score, features, values, transform.features, events.label[rows], weights, random)


def _some_events(dataset: PreparedDataset, part: str, random: np.random.Generator) -> EventTable:
    events, transform = dataset.part(part), dataset.manifest.transform
    if len(events) <= MOST_EVENTS:
        return table_of(events, transform)
    rows, factors = _drawn(events.label, MOST_EVENTS, random)
    weights = events.training_weight[rows] * factors
    return pack(transform.apply(events.features[rows]), events.label[rows], weights)


def _drawn(
    labels: NDArray[np.integer], most: int, random: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Draw at most ``most`` events, as many of a rare class as of the others; return rows, and factors for weights."""
    rows, factors = [], []
    kinds, counts = np.unique(labels, return_counts=True)
    for kind, count in zip(kinds, counts, strict=True):
        n_drawn = min(int(count), most // len(kinds))
        rows.append(random.choice(np.flatnonzero(labels == kind), n_drawn, replace=False))
        factors.append(np.full(n_drawn, count / n_drawn))
    order = np.argsort(joined := np.concatenate(rows))
    return joined[order], np.concatenate(factors)[order]
