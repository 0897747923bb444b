"""Judging: what the trained networks, and the baselines beside them, make of events that they have not seen.

Owns which events are scored by which network. Without folds that is plain. With k folds the test part of each fold
is scored by the fold's own network, so that every event is judged once. Training and validation parts hold every event
k - 1 times; of these each fold takes the events that the next fold tests, so that they are judged once as well.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.experiment import ExperimentFile
from models.baselines import fit_baseline
from models.bundle import ScoringGraph
from models.evaluation import ScoredPart, evaluate
from models.histograms import Kind
from models.inputs import InputFindings, judge_inputs
from models.record import Evaluation
from pipeline.dataset import Manifest, PreparedDataset, loaded_blocks
from pipeline.progress import Progress
from pipeline.splitting import assign_folds
from pipeline.table import EventTable, pack, table_of

log = logging.getLogger(__name__)

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
    """Score all parts and judge the scores, those of the baselines too."""
    experiment, seed = file.content, file.content.experiment.seed
    graphs = [ScoringGraph(network.graph) for network in exported]
    baselines = experiment.evaluation.baselines
    n_tested = sum(len(dataset.part("test")) for dataset in datasets)
    progress("evaluate, score", 0, n_tested)
    scored = {part: _scored(graphs, datasets, part) for part in ("train", "validation", "test")}
    rivals = {}
    for name in baselines:
        progress(f"evaluate, baseline {name}", 0, n_tested)
        rivals[name] = np.concatenate([_baseline_scores(name, dataset, seed) for dataset in datasets])
    progress("evaluate, inputs", 0, n_tested)
    inputs = _input_findings(graphs[0], datasets[0], seed)
    progress("evaluate, judge", n_tested, n_tested)
    evaluation = evaluate(
        scored["train"],
        scored["validation"],
        scored["test"],
        experiment.evaluation,
        random=np.random.default_rng(seed),
        signal_fraction=0.5 if experiment.weights.balance == "classes" else None,
        rivals=rivals,
        inputs=inputs,
        samples=_named_groups(datasets[0].manifest),
    )
    _warn_of_problems(evaluation)
    return evaluation


def _warn_of_problems(evaluation: Evaluation) -> None:
    for point in evaluation.named_points:
        if point.problem:
            log.warning("working point %r is left out: %s", point.name, point.problem)
    if evaluation.templates and evaluation.templates.problem:
        log.warning("there are no templates: %s", evaluation.templates.problem)
    if evaluation.calibrated and evaluation.calibrated.problem:
        log.warning("there is no calibration: %s", evaluation.calibrated.problem)


def _scored(graphs: Sequence[ScoringGraph], datasets: Sequence[PreparedDataset], part: str) -> ScoredPart:
    """Return the events of a part of all folds; their weights together stand for the whole sample."""
    folds = [
        _scored_in_fold(graph, dataset, part, len(graphs)) for graph, dataset in zip(graphs, datasets, strict=True)
    ]
    names = folds[0].columns
    return ScoredPart(
        scores=np.concatenate([fold.scores for fold in folds]),
        labels=np.concatenate([fold.labels for fold in folds]),
        weights=np.concatenate([fold.weights for fold in folds]) / len(folds),
        columns={name: np.concatenate([fold.columns[name] for fold in folds]) for name in names},
        samples=np.concatenate([fold.samples for fold in folds]),
    )


def _scored_in_fold(graph: ScoringGraph, dataset: PreparedDataset, part: str, n_folds: int) -> ScoredPart:
    events, blocks = dataset.part(part), []
    # Block by block through the file, so that a large part does not become resident as a whole.
    for block in loaded_blocks(events, SCORED_AT_ONCE):
        rows = _judged(block.identity, part, dataset.manifest.fold, n_folds)
        groups = _groups(dataset.manifest)[block.sample, block.label]
        arrays = block.label, block.physics_weight, block.spectators, groups
        blocks.append((graph.score(block.features[rows]), *(array[rows] for array in arrays)))
    scores, labels, weights, spectators, groups = map(np.concatenate, zip(*blocks, strict=True))
    share = 1 if n_folds == 1 or part == "test" else n_folds - 1
    columns = dict(zip(dataset.manifest.spectators, spectators.T, strict=True))
    return ScoredPart(scores, labels, weights * share, columns, groups)


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


def _judged(identities: NDArray[np.uint64], part: str, fold: int, n_folds: int) -> NDArray[np.bool_] | slice:
    if n_folds == 1 or part == "test":
        return slice(None)
    return np.equal(assign_folds(identities, n_folds), (fold + 1) % n_folds)


def _baseline_scores(name: str, dataset: PreparedDataset, seed: int) -> NDArray[np.float64]:
    random, transform = np.random.default_rng(seed), dataset.manifest.transform
    train, validation = (_some_events(dataset, part, random) for part in ("train", "validation"))
    scorer = fit_baseline(name, train, validation, seed)
    blocks = loaded_blocks(dataset.part("test"), SCORED_AT_ONCE)
    return np.concatenate([scorer(transform.apply(block.features)) for block in blocks])


def _input_findings(graph: ScoringGraph, dataset: PreparedDataset, seed: int) -> InputFindings:
    """Judge the inputs of the network, with folds of that of the first one, on its test events."""
    events, transform, random = dataset.part("test"), dataset.manifest.transform, np.random.default_rng(seed)
    n_events = min(len(events), MOST_TEST_EVENTS)
    rows = np.sort(random.choice(len(events), n_events, replace=False))
    features = np.asarray(events.features[rows])
    values = np.where(transform.missing(features), np.nan, features)
    arrays = events.label[rows], events.physics_weight[rows]
    return judge_inputs(graph.score, features, values, transform.features, *arrays, random)


def _some_events(dataset: PreparedDataset, part: str, random: np.random.Generator) -> EventTable:
    events, transform = dataset.part(part), dataset.manifest.transform
    if len(events) <= MOST_EVENTS:
        return table_of(events, transform)
    rows = np.sort(random.choice(len(events), MOST_EVENTS, replace=False))
    return pack(transform.apply(events.features[rows]), events.label[rows], events.training_weight[rows])
