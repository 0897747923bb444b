"""One honest record of how good a scorer is, on events that it did not learn from.

Owns which question is asked of which part of the data: everything is quoted on the
test part, unless its name says otherwise; thresholds are chosen on the validation part and quoted on the test part;
the training part is looked at only to see how far it differs. The definitions are in the modules that are composed
here, pictures and page in ``report``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator, model_validator

from models.agreement import agreement_of_folds
from models.bootstrap import bootstrap_roc
from models.calibration import Method, fit_calibration
from models.cuts import WorkingPointSpec
from models.histograms import KINDS, Kind, PartName, class_count, score_histogram
from models.inputs import InputFindings
from models.leader_board import NETWORK, Standing, leader_board
from models.metrics import auc_with_error, thin_roc, weighted_roc
from models.overtraining import overtraining
from models.probabilities import brier_score, calibration_error, log_loss, reliability
from models.record import (
    Calibrated,
    Evaluation,
    FitTemplates,
    NamedPoint,
    Probabilities,
    QuotedPoint,
    Significance,
    SpectatorFinding,
)
from models.rivals import RIVALS
from models.scored import Floats, ScoredEvents, require_positive_sums, scored_events
from models.significance import best_threshold, quote, scan
from models.spectators import (
    sculpting,
    spectator_correlation,
    spectator_profile,
)
from models.templates import make_templates, sampled_events
from models.working_points import choose, efficiency_at, working_point
from models.working_points import quote as quote_cut
from pipeline.declare import Declaration
from pipeline.errors import DataError, nearest_spelling

N_ROC_POINTS = 500


class EvaluationSpec(Declaration):
    """The ``[evaluation]`` section of an experiment file.

    ``working_points`` are thresholds with a name, which scoring applies. ``background_uncertainty`` is relative, and a
    significance is quoted only where at least ``min_background_events`` raw background events pass. ``calibration``
    makes probabilities of scores, for events of which ``expected_signal_fraction`` are signal (default: what the
    training weights had). ``baselines`` are trained on the same events. ``templates`` asks for histograms of the score
    that can be fitted. ``replicas`` is the number of bootstrap replicas behind the errors of the ROC curve.
    """

    signal_efficiencies: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = (0.3, 0.5, 0.7)
    working_points: tuple[WorkingPointSpec, ...] = ()
    background_uncertainty: float = Field(default=0.1, ge=0.0, allow_inf_nan=False)
    min_background_events: int = Field(default=10, ge=0)
    calibration: Method | None = None
    expected_signal_fraction: float | None = Field(default=None, gt=0.0, lt=1.0)
    baselines: tuple[str, ...] = ()
    templates: bool = False
    replicas: int = Field(default=1000, ge=2, le=10_000)

    @field_validator("baselines")
    @classmethod
    def _are_in_the_table(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = {name for _, rivals in RIVALS.values() for name in rivals}
        if unknown := [f"{name!r}{nearest_spelling(name, known)}" for name in names if name not in known]:
            raise ValueError(f"no baseline is called {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
        return tuple(dict.fromkeys(names))

    @model_validator(mode="after")
    def _has_something_to_shift(self) -> Self:
        if self.expected_signal_fraction is not None and self.calibration is None:
            raise ValueError("expected_signal_fraction needs a calibration: 'temperature', 'platt' or 'isotonic'")
        return self

    @field_validator("working_points")
    @classmethod
    def _have_names_of_their_own(cls, points: tuple[WorkingPointSpec, ...]) -> tuple[WorkingPointSpec, ...]:
        names = [point.name for point in points]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two working points are called {twice[0]!r}; every one needs a name of its own")
        return points


@dataclass(frozen=True, eq=False)
class ScoredPart:
    """Events of one part of the data, first axis ``n_events`` everywhere.

    Scores, labels (1 = signal), physics weights, the spectators by their names, the samples by their index, and, where
    several networks scored them, the folds by their numbers.
    """

    scores: NDArray[np.floating]
    labels: NDArray[np.integer]
    weights: NDArray[np.floating]
    columns: Mapping[str, Floats] = field(default_factory=dict)
    samples: NDArray[np.integer] = field(default_factory=lambda: np.empty(0, dtype=np.int16))
    folds: NDArray[np.integer] | None = None

    def events(self, name: PartName) -> ScoredEvents:
        """Return the checked events.

        Raises:
            DataError: they cannot be judged; the message names the part.

        """
        try:
            events = scored_events(self.scores, self.labels, self.weights)
            sums = (float(events.weights_where(mask).sum()) for mask in (events.is_signal, ~events.is_signal))
            require_positive_sums(*sums)
        except DataError as error:
            raise DataError(f"the {name} part cannot be judged: {error}") from error
        return events


def evaluate(
    train: ScoredPart,
    validation: ScoredPart,
    test: ScoredPart,
    spec: EvaluationSpec,
    *,
    random: np.random.Generator,
    signal_fraction: float | None = None,
    rivals: Mapping[str, ArrayLike] | None = None,
    inputs: InputFindings | None = None,
    samples: Mapping[str, Kind] | None = None,
) -> Evaluation:
    """Judge scores on the three parts of a data set.

    Args:
        train: events that the scorer learnt from.
        validation: events by which it was chosen, and thresholds are.
        test: events that it has never met.
        spec: what is asked.
        random: draws the bootstrap replicas.
        signal_fraction: the share of signal in the sum of training weights, at which scores are probabilities;
            without it that in the sum of physics weights.
        rivals: scores of others on the test events, by their names.
        inputs: what is known of the features.
        samples: name → kind, in the order of the index of the parts' ``samples``; for templates.

    Raises:
        DataError: a part cannot be judged: lengths differ, a class is missing or has no positive sum of
            weights, or scores are not finite; the message names the part.

    """
    scored: dict[PartName, ScoredPart] = {"train": train, "validation": validation, "test": test}
    parts = {name: part.events(name) for name, part in scored.items()}
    areas = {name: auc_with_error(part.scores, part.is_signal, part.weights) for name, part in parts.items()}
    arrays = test.scores, test.labels, test.weights
    points = quoted_points(spec.signal_efficiencies, validation, test)
    return Evaluation(
        auc=areas["test"],
        auc_train=areas["train"],
        auc_validation=areas["validation"],
        overtraining=overtraining(parts["train"], parts["test"]),
        roc=thin_roc(weighted_roc(*arrays), N_ROC_POINTS),
        band=bootstrap_roc(*arrays, random=random, n_replicas=spec.replicas),
        working_points=points,
        named_points=tuple(_named_point(point, validation, test) for point in spec.working_points),
        significance=_significance(validation, test, spec),
        probabilities=_probabilities(parts["test"], signal_fraction),
        calibrated=_calibrated(spec, parts["validation"], parts["test"], signal_fraction) if spec.calibration else None,
        leader_board=_leader_board(test, rivals or {}, spec),
        folds=None if test.folds is None else agreement_of_folds(*arrays, test.folds),
        inputs=inputs,
        spectators=tuple(judge_spectator(name, test, points) for name in test.columns),
        templates=_templates(validation, test, samples or {}) if spec.templates else None,
        histograms=tuple(score_histogram(name, kind, parts[name]) for name in parts for kind in KINDS),
        counts=tuple(class_count(name, kind, part) for name, part in parts.items() for kind in KINDS),
    )


def _leader_board(test: ScoredPart, rivals: Mapping[str, ArrayLike], spec: EvaluationSpec) -> tuple[Standing, ...]:
    scores = {NETWORK: test.scores, **rivals}
    asked = spec.signal_efficiencies
    return leader_board(scores, test.labels, test.weights, signal_efficiencies=asked, folds=test.folds)


def quoted_points(efficiencies: tuple[float, ...], validation: ScoredPart, test: ScoredPart) -> tuple[QuotedPoint, ...]:
    """Choose thresholds by their signal efficiencies on the validation part, and quote them on the test part."""
    roc = weighted_roc(validation.scores, validation.labels, validation.weights)
    thresholds = {requested: working_point(roc, requested) for requested in efficiencies}
    arrays = test.scores, test.labels, test.weights
    return tuple(QuotedPoint(requested, efficiency_at(value, *arrays)) for requested, value in thresholds.items())


def _named_point(spec: WorkingPointSpec, validation: ScoredPart, test: ScoredPart) -> NamedPoint:
    chosen_on, quoted_on = (
        (part.scores, part.labels, part.weights, part.columns[spec.bins.variable] if spec.bins else None)
        for part in (validation, test)
    )
    # A training is not thrown away for a request that its scores cannot meet.
    try:
        cut = choose(spec, *chosen_on)
    except DataError as error:
        return NamedPoint(spec.name, None, problem=f"it cannot be had: {_without_name(error, spec)}")
    try:
        return NamedPoint(spec.name, cut, quote_cut(cut, *quoted_on))
    except DataError as error:
        return NamedPoint(spec.name, cut, problem=f"it cannot be quoted: {_without_name(error, spec)}")


def _without_name(error: DataError, spec: WorkingPointSpec) -> str:
    return str(error).removeprefix(f"working point {spec.name!r}: ")


def _significance(validation: ScoredPart, test: ScoredPart, spec: EvaluationSpec) -> Significance:
    uncertainty, fewest = spec.background_uncertainty, spec.min_background_events
    chosen_on, shown = (
        scan(part.scores, part.labels, part.weights, background_uncertainty=uncertainty, min_background_events=fewest)
        for part in (validation, test)
    )
    try:
        threshold = best_threshold(chosen_on)
    except DataError as error:
        return Significance(shown, None, str(error))
    arrays = test.scores, test.labels, test.weights
    return Significance(shown, quote(threshold, *arrays, uncertainty, min_background_events=fewest))


def _probabilities(test: ScoredEvents, signal_fraction: float | None) -> Probabilities | None:
    """Return ``None`` for scores outside [0, 1], which are no probabilities."""
    if test.scores.min() < 0.0 or test.scores.max() > 1.0:
        return None
    weights = test.every_weight().copy()
    if signal_fraction is None:
        signal_fraction = float(weights[test.is_signal].sum() / weights.sum())
    for members, share in ((test.is_signal, signal_fraction), (~test.is_signal, 1.0 - signal_fraction)):
        weights[members] *= share / weights[members].sum()
    arrays = test.scores, test.is_signal, weights
    return Probabilities(
        signal_fraction=signal_fraction,
        brier_score=brier_score(*arrays),
        log_loss=log_loss(*arrays),
        reliability=reliability(*arrays),
        calibration_error=calibration_error(*arrays),
    )


def _calibrated(
    spec: EvaluationSpec, validation: ScoredEvents, test: ScoredEvents, signal_fraction: float | None
) -> Calibrated:
    arrays = validation.scores, validation.is_signal, validation.weights
    try:
        calibration = fit_calibration(str(spec.calibration), *arrays, signal_fraction)
        mapped = replace(test, scores=calibration.apply(test.scores))
    except DataError as error:
        return Calibrated(None, problem=str(error))
    if spec.expected_signal_fraction:
        calibration = calibration.for_fraction(spec.expected_signal_fraction)
    return Calibrated(calibration, _probabilities(mapped, signal_fraction))


def judge_spectator(name: str, test: ScoredPart, points: Sequence[QuotedPoint]) -> SpectatorFinding:
    """Find out how the score depends on one of the test part's spectators, and what the working points do to it."""
    thresholds = [point.quoted.threshold for point in points]
    arrays = test.scores, test.columns[name], test.labels, test.weights
    try:
        return SpectatorFinding(
            name=name,
            correlation=spectator_correlation(*arrays),
            profile=spectator_profile(*arrays),
            sculpting=sculpting(*arrays, thresholds=thresholds),
        )
    except DataError as error:
        return SpectatorFinding(name, problem=str(error))


def _templates(validation: ScoredPart, test: ScoredPart, samples: Mapping[str, Kind]) -> FitTemplates:
    names, kinds = tuple(samples), tuple(samples.values())
    try:
        parts = (sampled_events(part.scores, part.samples, part.weights, names, kinds) for part in (validation, test))
        return FitTemplates(make_templates(*parts))
    except DataError as error:
        return FitTemplates(None, str(error))
