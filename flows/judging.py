"""Judging: what the trained networks, and the baselines beside them, make of events that they have not seen.

Owns the table from what a head seeks to how its networks are judged. Which events are scored by which network is
known in ``parts``.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from flows.experiment import Experiment, ExperimentFile
from flows.parts import JudgedEvents, at_once, judged_events
from flows.rivals import baseline_scores, drawn
from models.build import head_of
from models.bundle import ScoringGraph
from models.dependence import judge_dependence
from models.evaluation import ScoredPart, evaluate, judge_spectator, quoted_points
from models.heads import JudgedAs
from models.histograms import Kind, PartName
from models.inputs import InputFindings, InputShares, judge_inputs, judge_shares
from models.judgement import Judgement
from models.leader_board import NETWORK, PLAIN, Standing, ranking
from models.multiclass import MulticlassEvaluation, ScoredClasses, judge_classes
from models.multilabel import MultilabelEvaluation, ScoredFlags, judge_flags
from models.record import Dependence, Evaluation
from models.regression import PredictedQuantities, RegressionEvaluation, judge_quantities
from models.yardsticks import YARDSTICKS, Truth
from pipeline.dataset import Manifest, PreparedDataset
from pipeline.errors import DataError
from pipeline.progress import Progress

log = logging.getLogger(__name__)

Found = TypeVar("Found")
Parts = Mapping[PartName, JudgedEvents]

MOST_TEST_EVENTS = 100_000
"""Test events on which inputs are shuffled: it takes a scoring for every input and repetition."""


@dataclass(frozen=True)
class ExportedNetwork:
    """The files of an exported network; ``parity`` is the largest difference between ONNX and Keras scores."""

    graph: Path
    network: Path
    parity: float


@dataclass(frozen=True, eq=False)
class Case:
    """What is judged: the experiment, its prepared events, the networks of all folds, and what these said of them.

    ``plain`` are the same networks without decorrelation, where there is one.
    """

    experiment: Experiment
    datasets: Sequence[PreparedDataset]
    graphs: Sequence[ScoringGraph]
    parts: Parts
    progress: Progress
    plain: Sequence[ScoringGraph] = ()

    @property
    def manifest(self) -> Manifest:
        """The manifest of the first fold; names and classes are those of all."""
        return self.datasets[0].manifest

    @property
    def names(self) -> tuple[str, ...]:
        """What each output is about: the classes, or the targets."""
        return tuple(self.experiment.targets) or self.manifest.classes

    def scored_plainly(self, part: PartName) -> JudgedEvents:
        """Return the events of a part with the scores of the networks without decorrelation."""
        return judged_events(self.plain, self.datasets, part, self.experiment.split)

    def random(self) -> np.random.Generator:
        """Return a generator that gives the same numbers in every run."""
        return np.random.default_rng(self.experiment.experiment.seed)

    def tell(self, step: str, n_done: int = 0) -> None:
        """Report what is done."""
        self.progress(f"evaluate, {step}", n_done, _n_tested(self.datasets))


def evaluate_networks(
    file: ExperimentFile,
    datasets: Sequence[PreparedDataset],
    exported: Sequence[ExportedNetwork],
    plain: Sequence[ExportedNetwork],
    progress: Progress,
) -> Judgement:
    """Score all parts and judge the scores, those of the baselines too; what cannot be had is told, and left out.

    ``plain`` are the networks that were trained without decorrelation beside those with it.
    """
    experiment = file.content
    graphs, plain_graphs = ([ScoringGraph(network.graph) for network in networks] for networks in (exported, plain))
    progress("evaluate, score", 0, _n_tested(datasets))
    parts: Parts = {part: judged_events(graphs, datasets, part, experiment.split) for part in get_args(PartName)}
    return JUDGES[head_of(experiment.model).judged_as](
        Case(experiment, datasets, graphs, parts, progress, plain_graphs)
    )


def _n_tested(datasets: Sequence[PreparedDataset]) -> int:
    return sum(len(dataset.part("test")) for dataset in datasets)


def _judge_signal(case: Case) -> Evaluation:
    experiment = case.experiment
    train, validation, test = (scored_part(case.parts[part]) for part in get_args(PartName))
    rivals = _rivals(case)
    case.tell("inputs")
    inputs = _had("importance of inputs", partial(_input_findings, case))
    plain = [scored_part(case.scored_plainly(part)) for part in ("validation", "test")] if case.plain else []
    if plain:
        rivals[PLAIN] = plain[1].scores
    case.tell("judge", _n_tested(case.datasets))
    evaluation = evaluate(
        train,
        validation,
        test,
        experiment.evaluation,
        random=case.random(),
        signal_fraction=0.5 if experiment.weights.balance == "classes" else None,
        rivals=rivals,
        inputs=inputs,
        samples=_named_groups(case.manifest),
    )
    _warn_of_problems(evaluation)
    if not plain:
        return evaluation
    return replace(evaluation, dependence=_had("dependence", partial(_dependence, case, plain[0], plain[1], test)))


def _rivals(case: Case) -> dict[str, NDArray[np.floating]]:
    """Return what each baseline makes of the test events, by its name."""
    found: dict[str, NDArray[np.floating]] = {}
    for name in case.experiment.evaluation.baselines:
        case.tell(f"baseline {name}")
        find = partial(baseline_scores, name, case.datasets, case.experiment)
        if (scores := _had(f"baseline {name!r}", find)) is not None:
            found[name] = scores
    return found


def _board(case: Case) -> tuple[Standing, ...]:
    """Rank a network of several outputs among its rivals; of one score `models.evaluation` does so."""
    scores = {NETWORK: case.parts["test"].scores, **_rivals(case)}
    case.tell("judge", _n_tested(case.datasets))
    test, yardstick = case.parts["test"], YARDSTICKS[head_of(case.experiment.model).judged_as]
    return ranking(scores, test.truth, yardstick, folds=test.folds)


def _dependence(case: Case, plain_validation: ScoredPart, plain_test: ScoredPart, test: ScoredPart) -> Dependence:
    """Return what the score tells of the variable that it shall not tell, before and after."""
    spec = case.experiment.training.decorrelate
    assert spec is not None
    points = quoted_points(case.experiment.evaluation.signal_efficiencies, plain_validation, plain_test)
    plain = judge_spectator(spec.variable, plain_test, points)
    scores, values = (plain_test.scores, test.scores), test.columns[spec.variable]
    return judge_dependence(spec, plain, scores, values, test.labels > 0, test.weights, case.random())


def scored_part(events: JudgedEvents) -> ScoredPart:
    """Return the events of a part as a network that tells signal from background is judged by them."""
    columns = dict(events.spectators)
    return ScoredPart(events.scores, events.labels, events.weights, columns, events.groups, events.folds)


def _judge_classes(case: Case) -> MulticlassEvaluation:
    n, is_balanced = len(case.names), case.experiment.weights.balance == "classes"
    parts = {part: ScoredClasses(e.scores, e.labels, e.weights) for part, e in case.parts.items()}
    replicas, fractions = case.experiment.evaluation.replicas, (1.0 / n,) * n if is_balanced else None
    found = judge_classes(parts, case.names, case.random(), replicas, fractions=fractions)
    return replace(found, inputs=_input_shares(case), leader_board=_board(case))


def _judge_flags(case: Case) -> MultilabelEvaluation:
    parts = {part: ScoredFlags(e.scores, e.targets, e.weights) for part, e in case.parts.items()}
    found = judge_flags(parts, case.names, case.random(), case.experiment.evaluation.replicas)
    return replace(found, inputs=_input_shares(case), leader_board=_board(case))


def _judge_quantities(case: Case) -> RegressionEvaluation:
    parts = {part: PredictedQuantities(e.scores, e.targets, e.weights) for part, e in case.parts.items()}
    found = judge_quantities(parts, case.names)
    return replace(found, inputs=_input_shares(case), leader_board=_board(case))


JUDGES: Mapping[JudgedAs, Callable[[Case], Judgement]] = {
    "signal": _judge_signal,
    "class": _judge_classes,
    "flags": _judge_flags,
    "quantities": _judge_quantities,
}


def _had(what: str, find: Callable[[], Found]) -> Found | None:
    """Return what is found; a training is not thrown away for an answer that its events cannot give."""
    try:
        return find()
    except DataError as error:
        log.warning("there is no %s: %s", what, error)
        return None


def _warn_of_problems(evaluation: Evaluation) -> None:
    if len(evaluation.roc.thresholds) < 3:  # no event, then all of them at once
        log.warning("all test events have the same score: the network has learnt nothing, or has diverged")
    for point in evaluation.named_points:
        if point.problem:
            log.warning("working point %r: %s", point.name, point.problem)
    if evaluation.templates and evaluation.templates.problem:
        log.warning("there are no templates: %s", evaluation.templates.problem)
    if evaluation.calibrated and evaluation.calibrated.problem:
        log.warning("there is no calibration: %s", evaluation.calibrated.problem)


def _named_groups(manifest: Manifest) -> dict[str, Kind]:
    """Return what is a sample in a fit: one of a single class under its name, the classes of another one by one."""
    return {
        name if len(manifest.yields[name]) == 1 else f"{name}: {kind}": "signal" if kind == "signal" else "background"
        for name in manifest.samples
        for kind in manifest.yields[name]
    }


def _input_findings(case: Case) -> InputFindings:
    """Judge the inputs of the network, with folds of that of the first one, on its test events."""
    random, transform = case.random(), case.manifest.transform
    features, values, truth = _shuffled_events(case, random)
    arrays = features, values, transform.features, truth.label, truth.weight
    return judge_inputs(case.graphs[0].score, *arrays, random, transform.blocks)


def _input_shares(case: Case) -> InputShares | None:
    """Judge the inputs of a network of several outputs, as `_input_findings` does."""
    case.tell("inputs")
    random, groups = case.random(), case.manifest.transform.groups
    features, values, truth = _shuffled_events(case, random)
    gain = YARDSTICKS[head_of(case.experiment.model).judged_as].gain
    find = partial(
        judge_shares,
        case.graphs[0].score,
        features,
        values,
        groups,
        truth,
        gain,
        random,
        case.manifest.transform.blocks,
    )
    return _had("importance of inputs", find)


def _shuffled_events(case: Case, random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64], Truth]:
    """Return the features of events on which inputs are shuffled, the same with NaN where missing, and their truth."""
    events, transform = case.datasets[0].part("test"), case.manifest.transform
    rows, factors = drawn(events.label, min(MOST_TEST_EVENTS, at_once(case.datasets[0])), random)
    features = np.array(events.features[rows])
    values = np.where(transform.missing(features), np.nan, features)
    return features, values, Truth(events.label[rows], events.target[rows], events.physics_weight[rows] * factors)
