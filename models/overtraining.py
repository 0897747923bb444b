"""Overtraining: how far the scores of the training part differ from those of the test part.

Owns the distances between the two parts, class by class, and what a training history says of when to stop. Each
distance is judged twice, since with a million events every difference is significant and with a hundred none is:
is it *seen*, beyond what chance alone would give, and does it *matter*, being larger than a tolerance in the units
of the thing itself? The score histograms belong to ``evaluation``.

A verdict speaks of numbers that were read off the training part. The test part stays an honest witness of an
overtrained model, of which the test AUC already says how good it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import kolmogi, kolmogorov, stdtrit

from models.ladder import falling
from models.metrics import auc_with_error
from models.scored import Floats, Measured, ScoredEvents
from pipeline.errors import DataError, DeclarationError

Verdict = Literal["none seen", "seen but harmless", "harmful"]
"""``none seen``: no larger than chance alone explains, be it because there are too few events to see more.
``seen but harmless``: beyond chance, and within the tolerance. ``harmful``: beyond chance and beyond the tolerance."""

Ending = Literal["falling", "level", "rising"]
"""How the validation loss ended: ``falling``, training was stopped too early; ``rising``, it had gone on too long."""

VERDICTS: tuple[Verdict, ...] = ("none seen", "seen but harmless", "harmful")
CHANCE = 0.01
"""A class's distance is seen where chance alone would exceed it once in a hundred times."""
EFFICIENCY_TOLERANCE = 0.02
AUC_TOLERANCE = 0.01
LOSS_TOLERANCE = 0.01
N_ERRORS = 2.0
LAST_EPOCHS = 5
ROUNDING = 1e-12
"""Differences below this are those of floating-point sums."""
MEAN_OF_KOLMOGOROV = float(np.sqrt(np.pi / 2.0) * np.log(2.0))


@dataclass(frozen=True)
class ScoreDistance:
    """The Kolmogorov distance of one class's scores in the training and test parts.

    ``difference`` is efficiency(train) - efficiency(test) at ``threshold``, where it is largest in magnitude; its error
    is that of this threshold alone (a part of which all events pass, or none, adds 0). No threshold's
    efficiency is misjudged by more than its magnitude, ``value``.
    Were there no difference, ``value`` would be ``expected`` on average, above ``chance`` once in a hundred times, and
    at least what it is with probability ``p_value``. ``effective_events`` is what ``value`` is judged with.
    """

    difference: Measured
    threshold: float
    expected: float
    chance: float
    p_value: float
    effective_events: float
    tolerance: float
    verdict: Verdict

    @property
    def value(self) -> float:
        """The distance."""
        return abs(self.difference.value)

    @property
    def at_least(self) -> float:
        """What the distance of endless samples exceeds at 99 % confidence: what chance does not explain."""
        return max(0.0, self.value - self.chance)

    @property
    def can_see_the_tolerance(self) -> bool:
        """Whether a distance as large as the tolerance would be seen; if not, ``none seen`` says little."""
        return self.chance <= self.tolerance


@dataclass(frozen=True)
class Gap:
    """Train - test of one number: of an AUC positive is overtraining, and negative is parts that are not alike."""

    gap: Measured
    tolerance: float
    verdict: Verdict


@dataclass(frozen=True)
class Overtraining:
    """What the two parts differ in; ``verdict`` is the worst of the three."""

    signal: ScoreDistance
    background: ScoreDistance
    auc: Gap
    verdict: Verdict


@dataclass(frozen=True)
class LearningCurve:
    """What a history of losses says. Losses are those of the validation part, unless they are called training losses.

    ``gap`` is loss - training loss at the best epoch; the latter is a mean over the epoch, with dropout, and so the gap
    of an honest network may be negative. ``slope_after_best`` and ``slope_at_end`` are those of straight lines, per
    epoch, through the epochs after the best one and through the last five; NaN below two epochs, their errors
    below three. ``fall`` is by how much the best loss is lower than the first.
    """

    best_epoch: int
    epochs_after_best: int
    gap: float
    fall: float
    slope_after_best: Measured
    slope_at_end: Measured
    ending: Ending


def overtraining(
    train: ScoredEvents,
    test: ScoredEvents,
    *,
    efficiency_tolerance: float = EFFICIENCY_TOLERANCE,
    auc_tolerance: float = AUC_TOLERANCE,
) -> Overtraining:
    """Compare the scores of the training part with those of the test part.

    With negative weights efficiencies are ratios of signed sums; a distance stays defined and may exceed 1.

    Raises:
        DataError: the weights of a class in one of the parts do not add up to something positive.
        DeclarationError: a tolerance is not a number from 0 upward.

    """
    _require_tolerances(efficiency_tolerance, auc_tolerance)
    parts = {"train": train, "test": test}
    _require_positive_sums(parts)
    signal, background = (_distance(train, test, of_signal, efficiency_tolerance) for of_signal in (True, False))
    areas = [auc_with_error(part.scores, part.is_signal, part.weights) for part in parts.values()]
    auc = auc_gap(*areas, tolerance=auc_tolerance)
    worst = max((signal.verdict, background.verdict, auc.verdict), key=VERDICTS.index)
    return Overtraining(signal, background, auc, worst)


def auc_gap(train: Measured, test: Measured, *, tolerance: float = AUC_TOLERANCE) -> Gap:
    """Judge the difference of two AUCs: seen where it is more than two errors from 0.

    The parts share no event, so their errors add in quadrature. One that is NaN leaves nothing to be seen.

    Raises:
        DeclarationError: the tolerance is not a number from 0 upward.

    """
    return gap_of(train, test, tolerance=tolerance)


def gap_of(train: Measured, test: Measured, *, tolerance: float) -> Gap:
    """Judge the difference of any number, as `auc_gap` does of the AUC.

    Raises:
        DeclarationError: the tolerance is not a number from 0 upward.

    """
    _require_tolerances(tolerance)
    gap = Measured(train.value - test.value, float(np.hypot(train.error, test.error)))
    is_seen = abs(gap.value) > N_ERRORS * gap.error
    return Gap(gap, tolerance, _verdict(is_seen, abs(gap.value) > tolerance))


def learning_curve(history: Sequence[Mapping[str, Any]]) -> LearningCurve:
    """Read off a training history whether training ended in time.

    The keys that are read: ``epoch``, ``loss``, ``validation_loss``; the epochs are in order. A slope counts where
    chance exceeds it less than once in twenty times (by Student's distribution, for independent scatter of the epochs)
    and it moves the loss, over the epochs of its line, by more than 1 % of ``fall``.
    ``rising`` goes before ``falling``, and early stopping that restores the best weights makes it harmless.

    Raises:
        DataError: no epochs, or one without finite losses.

    """
    epochs, losses = _losses(history)
    validation = losses[:, 1]
    best = int(np.argmin(validation))
    fall = float(validation[0] - validation[best])
    after, end = validation[best + 1 :], validation[-LAST_EPOCHS:]
    slope_after_best, slope_at_end = _slope(after), _slope(end)
    least = LOSS_TOLERANCE * fall
    ending: Ending = "level"
    if _counts(slope_after_best, after.size, least) and slope_after_best.value > 0.0:
        ending = "rising"
    elif _counts(slope_at_end, end.size, least) and slope_at_end.value < 0.0:
        ending = "falling"
    gap = float(validation[best] - losses[best, 0])
    return LearningCurve(epochs[best], after.size, gap, fall, slope_after_best, slope_at_end, ending)


def _distance(train: ScoredEvents, test: ScoredEvents, of_signal: bool, tolerance: float) -> ScoreDistance:
    """Measure the largest difference of two weighted cumulative distributions, and what chance would make of it.

    Under no difference the curve of differences tends to a Gaussian process. Where weights do not depend on the score
    it is a Brownian bridge over sqrt(N), with N = N1 N2 / (N1 + N2) of the effective numbers of events, and its maximum
    has Kolmogorov's distribution. Where they do, the tail is still ruled by the largest variance on the way, V; that of
    the bridge is 1 / (4 N), so N = 1 / (4 V) is taken throughout.

    References:
        N. Smirnov, Ann. Math. Statist. 19 (1948) 279 (the limit distribution for two samples).
        J. F. Monahan, Numerical Methods of Statistics, 2nd ed., Cambridge (2011) (weights, effective numbers).
        M. B. Marcus, L. A. Shepp, Proc. 6th Berkeley Symp. Math. Stat. Prob. 2 (1972) 423 (tail of a maximum).

    """
    efficiencies, squares, thresholds = _cumulated(_of_class(train, of_signal), _of_class(test, of_signal))
    differences = efficiencies[0] - efficiencies[1]
    differences[np.abs(differences) <= ROUNDING] = 0.0
    largest = int(np.argmax(np.abs(differences)))
    value = float(abs(differences[largest]))
    error = np.sqrt(_variances(efficiencies[:, [largest]], squares[:, [largest]], squares[:, -1:]).sum())
    n_effective = _effective_events(efficiencies, squares)
    root = np.sqrt(n_effective)
    chance = float(kolmogi(CHANCE) / root)
    return ScoreDistance(
        difference=Measured(float(differences[largest]), float(error)),
        threshold=float(thresholds[largest]),
        expected=float(MEAN_OF_KOLMOGOROV / root),
        chance=chance,
        p_value=float(kolmogorov(root * value)) if value > 0.0 else 1.0,
        effective_events=n_effective,
        tolerance=tolerance,
        verdict=_verdict(value > chance, value > tolerance),
    )


def _of_class(part: ScoredEvents, of_signal: bool) -> tuple[NDArray[np.floating], Floats]:
    """Return a class's scores and its weights, which add up to 1."""
    members = part.is_signal == of_signal
    weights = part.weights_where(members)
    return part.scores[members], weights / weights.sum()


def _cumulated(
    train: tuple[NDArray[np.floating], Floats], test: tuple[NDArray[np.floating], Floats]
) -> tuple[Floats, Floats, NDArray[np.floating]]:
    """Return efficiencies and sums of squared weights of (train, test) above each distinct score, and the scores."""
    scores = np.concatenate((train[0], test[0]))
    order, last = falling(scores)
    sums = np.zeros((2, 2, last.size))
    for part, weights in enumerate((train[1], test[1])):
        placed = np.zeros(scores.size)
        start = 0 if part == 0 else train[1].size
        placed[start : start + weights.size] = weights
        ordered = placed[order]
        sums[0, part], sums[1, part] = np.cumsum(ordered)[last], np.cumsum(np.square(ordered))[last]
    # They are 1 but for rounding, which must not pass for a difference where there is no other.
    sums[0] /= sums[0, :, -1:]
    return sums[0], sums[1], scores[order[last]]


def _variances(efficiency: Floats, passing: Floats, total: Floats) -> Floats:
    """Return the variance of weighted fractions; the arguments are sums of weights, and of their squares."""
    variances: Floats = (1.0 - efficiency) ** 2 * passing + efficiency**2 * (total - passing)
    return variances


def _effective_events(efficiencies: Floats, squares: Floats) -> float:
    """Return 1 / (4 V), V being the largest variance under no difference; infinite where all scores are equal."""
    information = 1.0 / squares[:, -1:]
    pooled = (information * efficiencies).sum(axis=0) / information.sum()
    together = squares.sum(axis=0)
    largest = float(_variances(pooled, together, together[-1])[:-1].max(initial=0.0))
    return 0.25 / largest if largest > ROUNDING**2 * together[-1] else float("inf")


def _verdict(is_seen: bool, matters: bool) -> Verdict:
    if not is_seen:
        return "none seen"
    return "harmful" if matters else "seen but harmless"


def _require_tolerances(*tolerances: float) -> None:
    for tolerance in tolerances:
        if not 0.0 <= tolerance < np.inf:
            msg = f"tolerance {tolerance!r} is not a number from 0 upward"
            raise DeclarationError(msg)


def _require_positive_sums(parts: Mapping[str, ScoredEvents]) -> None:
    problems = []
    for name, part in parts.items():
        for kind, members in (("signal", part.is_signal), ("background", ~part.is_signal)):
            total = float(part.weights_where(members).sum())
            if total <= 0.0:
                problems.append(f"the {name} part's {kind} weights add up to {total:g}")
    if problems:
        raise DataError(f"{'; '.join(problems)}; an efficiency needs a positive sum in both classes")


def _losses(history: Sequence[Mapping[str, Any]]) -> tuple[list[int], Floats]:
    """Return the epochs, and their training and validation losses, ``(n_epochs, 2)``."""
    losses = np.array([[row.get("loss"), row.get("validation_loss")] for row in history], dtype=np.float64)
    if losses.size == 0:
        raise DataError("a learning curve needs at least one epoch")
    epochs = [int(row["epoch"]) for row in history]
    bad = [epoch for epoch, row in zip(epochs, losses, strict=True) if not np.isfinite(row).all()]
    if bad:
        msg = f"no finite loss and validation_loss in {len(bad)} of {len(epochs)} epochs (the first is {bad[0]})"
        raise DataError(msg)
    return epochs, losses


def _slope(values: Floats) -> Measured:
    """Return the slope of a straight line through evenly spaced values, with the error from their scatter."""
    if values.size < 2:
        return Measured(float("nan"), float("nan"))
    steps = np.arange(values.size) - 0.5 * (values.size - 1)
    spread = float(np.dot(steps, steps))
    slope = float(np.dot(steps, values)) / spread
    if values.size < 3:
        return Measured(slope, float("nan"))
    scatter = values - values.mean() - slope * steps
    return Measured(slope, float(np.sqrt(np.dot(scatter, scatter) / (values.size - 2) / spread)))


def _counts(slope: Measured, n_epochs: int, least: float) -> bool:
    if np.isnan(slope.error):
        return False
    beyond_chance = abs(slope.value) > float(stdtrit(n_epochs - 2, 0.975)) * slope.error
    return beyond_chance and abs(slope.value) * n_epochs > least
