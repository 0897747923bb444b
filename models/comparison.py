"""Comparison: is the difference between two classifiers real, and of what is it a difference?

Owns the tests of a difference, a - b. Each answers its own question:

- *is this trained model better on new events?* Only the test events fluctuate: `compare` and `compare_at`.
- *is this method better, when it is trained again from another seed?* The seeds fluctuate, and the test events, which
  all seeds share: `compare_seeds` gives the answer without and with the latter.
- *is this method better, when it is trained on other events of the kind?* Then the training events fluctuate as well:
  `compare_folds`.

A difference without an error cannot be tested: its p-value and its chance are NaN.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from models.metrics import Roc, auc_difference, auc_with_error, weighted_roc
from models.scored import Floats, Measured, ScoredEvents, effective_events, scored_events
from pipeline.errors import DataError, DeclarationError

ROUNDING = 1e-12
"""Differences and errors below this share of what is compared are those of floating-point sums."""


@dataclass(frozen=True)
class Difference(Measured):
    """A difference a - b with its error, and how it is judged.

    ``z`` is value over error, to be read against Student's distribution with ``degrees_of_freedom`` (infinite: the
    normal one). ``p_value`` is two-sided. ``chance_a_larger`` is the probability that the true difference is positive,
    for who thought all values equally likely before. Where the error is 0, a difference of 0 has z = 0, p = 1 and even
    chances; for any other the estimate is blind, and all three are NaN.
    """

    degrees_of_freedom: float
    z: float
    p_value: float
    chance_a_larger: float


@dataclass(frozen=True)
class Comparison:
    """A quantity of two scores on the same events, and its paired difference."""

    a: Measured
    b: Measured
    difference: Difference

    @property
    def correlation(self) -> float:
        """The correlation of the two estimates, as their three errors imply; NaN where one is 0 or NaN."""
        product = 2.0 * self.a.error * self.b.error
        shared = self.a.error**2 + self.b.error**2 - self.difference.error**2
        return shared / product if product > 0.0 else float("nan")


@dataclass(frozen=True)
class SeedComparison:
    """Two methods over seeds: the mean difference on these very test events, and on new ones."""

    same_test_events: Difference
    new_test_events: Difference


def compare(
    scores_a: ArrayLike, scores_b: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> Comparison:
    """Compare the AUCs of two scores on the same events, by the paired test of DeLong et al.

    Negative weights do what they do in `models.metrics.auc_difference`.

    Raises:
        DataError: as in `models.metrics.weighted_roc`, for either score.

    """
    difference = auc_difference(scores_a, scores_b, labels, weights)
    return Comparison(
        auc_with_error(scores_a, labels, weights), auc_with_error(scores_b, labels, weights), judged(difference)
    )


def compare_at(
    signal_efficiency: float,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
) -> Comparison:
    """Compare the background efficiencies of two scores where each keeps ``signal_efficiency``; less is better.

    Both are read off the ROC curves of these events, along the straight line between steps (as if events of equal score
    were let through at random), so that coarse scores are compared at the same signal efficiency too. The error takes
    in the fluctuation of the thresholds: a signal event above its threshold counts against the background efficiency
    with the slope of the ROC curve, which is taken over two errors of the signal efficiency to either side. It is NaN
    where no background event passes one of the thresholds, or all pass. With negative weights the threshold is the
    highest that reaches the signal efficiency.

    Raises:
        DataError: as in `models.metrics.weighted_roc`, for either score.
        DeclarationError: the signal efficiency is not between 0 and 1.

    References:
        F. Hsieh, B. W. Turnbull, Annals of Statistics 24 (1996) 25 (variance of a point of the curve).

    """
    return compare_readings(
        *(read_background(signal_efficiency, scores, labels, weights) for scores in (scores_a, scores_b))
    )


@dataclass(frozen=True, eq=False)
class Reading:
    """A background efficiency, and each event's deviation, the weighted sum of which makes its error."""

    events: ScoredEvents
    value: float
    deviations: Floats

    @property
    def measured(self) -> Measured:
        """The background efficiency with its error."""
        return Measured(self.value, _error(self.events, self.deviations))


def read_background(
    signal_efficiency: float, scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> Reading:
    """Read the background efficiency off the ROC curve where scores keep ``signal_efficiency``, as `compare_at` does.

    Raises:
        DataError: as in `models.metrics.weighted_roc`.
        DeclarationError: the signal efficiency is not between 0 and 1.

    """
    events = scored_events(scores, labels, weights)
    return Reading(events, *_background_at(signal_efficiency, events))


def compare_readings(a: Reading, b: Reading) -> Comparison:
    """Compare two readings of the same events, as `compare_at` does."""
    measured_a, measured_b = a.measured, b.measured
    is_known = np.isfinite(measured_a.error + measured_b.error)
    paired = _error(a.events, a.deviations - b.deviations) if is_known else float("nan")
    return Comparison(measured_a, measured_b, judged(Measured(a.value - b.value, paired)))


def compare_seeds(values_a: ArrayLike, values_b: ArrayLike, *, test_error: float, size: float = 1.0) -> SeedComparison:
    """Compare two methods, each trained from several seeds, all judged on one test sample.

    ``values`` are one number a seed, a's and b's in pairs. The mean difference has the error s / sqrt(n) from the
    spread over seeds. The test sample is the same for all seeds: it shifts them together, and more seeds do not make
    that smaller. So for new test events ``test_error`` is added in quadrature: the paired error of the difference,
    of `compare`, for one pair of seeds (a little too large, since it holds some of the spread over seeds as well).
    The training sample is fixed throughout. One seed gives an error of NaN; two give Student's distribution with
    one degree of freedom, which hardly anything exceeds. For both errors together the degrees of freedom are those
    of Satterthwaite, the test error being known. ``size`` is as in `judged`.

    Raises:
        DataError: no values, lists of different lengths, or values that are not finite.
        DeclarationError: the test error is negative or infinite.

    References:
        F. E. Satterthwaite, Biometrics Bulletin 2 (1946) 110.

    """
    if not 0.0 <= test_error < np.inf and not np.isnan(test_error):
        msg = f"test error {test_error!r} is not a number from 0 upward"
        raise DeclarationError(msg)
    mean, variance, n_seeds = _paired(values_a, values_b)
    seeds = variance / n_seeds
    both = seeds + test_error**2
    freedom = (n_seeds - 1) * (both / seeds) ** 2 if seeds > (ROUNDING * size) ** 2 else float("inf")
    return SeedComparison(
        same_test_events=judged(Measured(mean, float(np.sqrt(seeds))), n_seeds - 1, size),
        new_test_events=judged(Measured(mean, float(np.sqrt(both))), freedom, size),
    )


def compare_folds(
    values_a: ArrayLike, values_b: ArrayLike, *, n_train: int, n_test: int, size: float = 1.0
) -> Difference:
    """Compare two methods over the folds of one data set, by the corrected resampled t-test.

    ``values`` are one number a fold, a's and b's in pairs; the numbers of events are those of one fold. Folds share
    training events, so that their spread is too small: the variance of the mean of n is (1/n + n_test/n_train) s²
    instead of s²/n, with n - 1 degrees of freedom. The second term does not shrink with more folds or repetitions. One
    fold gives an error of NaN. ``size`` is as in `judged`.

    Raises:
        DataError: no values, lists of different lengths, or values that are not finite.
        DeclarationError: a number of events is not positive.

    References:
        C. Nadeau, Y. Bengio, Machine Learning 52 (2003) 239 (corrected resampled t-test).

    """
    if n_train <= 0 or n_test <= 0:
        msg = f"folds of {n_train} training and {n_test} test events cannot be compared; both must be positive"
        raise DeclarationError(msg)
    mean, variance, n_folds = _paired(values_a, values_b)
    error = float(np.sqrt((1.0 / n_folds + n_test / n_train) * variance))
    return judged(Measured(mean, error), n_folds - 1, size)


def judged(difference: Measured, degrees_of_freedom: float = float("inf"), size: float = 1.0) -> Difference:
    """Judge a difference against Student's distribution, by default with normal errors.

    ``size`` is that of the numbers whose difference it is, against which rounding is small: 1 for an AUC.
    """
    value, error = difference.value, difference.error
    if abs(value) <= ROUNDING * size and error <= ROUNDING * size:
        return Difference(value, error, degrees_of_freedom, 0.0, 1.0, 0.5)
    z = value / error if error > ROUNDING * size else float("nan")  # also where the error is NaN
    p_value, chance = 2.0 * stdtr(degrees_of_freedom, -abs(z)), stdtr(degrees_of_freedom, z)
    return Difference(value, error, degrees_of_freedom, z, float(p_value), float(chance))


def _background_at(signal_efficiency: float, events: ScoredEvents) -> tuple[float, Floats]:
    """Return the background efficiency there, and each event's deviation, the weighted sum of which makes its error."""
    if not 0.0 < signal_efficiency < 1.0:
        msg = f"signal efficiency {signal_efficiency!r} is not between 0 and 1"
        raise DeclarationError(msg)
    roc = weighted_roc(events.scores, events.is_signal, events.weights)
    value, threshold, share = _read(roc, signal_efficiency)
    passes = np.where(events.scores > threshold, 1.0, np.where(events.scores == threshold, share, 0.0))
    background = passes[~events.is_signal]
    if not background.any() or background.all():
        return value, np.full(passes.size, np.nan)
    n_effective = effective_events(events.weights_where(events.is_signal))
    step = 2.0 * np.sqrt(signal_efficiency * (1.0 - signal_efficiency) / n_effective)
    low, high = max(signal_efficiency - step, 0.0), min(signal_efficiency + step, 1.0)
    slope = (_read(roc, high)[0] - _read(roc, low)[0]) / (high - low)
    return value, np.where(events.is_signal, -slope * (passes - signal_efficiency), passes - value)


def _read(roc: Roc, signal_efficiency: float) -> tuple[float, float, float]:
    """Return the background efficiency, the score of the step that reaches this, and the share of that step needed."""
    step = int(np.argmax(roc.tpr >= signal_efficiency))
    if step == 0:
        return 0.0, float("inf"), 0.0
    below, above = roc.tpr[step - 1], roc.tpr[step]
    share = float((signal_efficiency - below) / (above - below))
    value = roc.fpr[step - 1] + share * (roc.fpr[step] - roc.fpr[step - 1])
    return float(value), float(roc.thresholds[step]), share


def _error(events: ScoredEvents, deviations: Floats) -> float:
    variance = 0.0
    for members in (events.is_signal, ~events.is_signal):
        weights = events.weights_where(members)
        variance += float(np.sum(np.square(weights * deviations[members]))) / float(weights.sum()) ** 2
    return float(np.sqrt(variance))


def _paired(values_a: ArrayLike, values_b: ArrayLike) -> tuple[float, float, int]:
    """Return mean and variance of the differences, the latter NaN for a single one, and their number."""
    a, b = np.asarray(values_a, dtype=np.float64), np.asarray(values_b, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape or a.size == 0:
        msg = f"one number per repetition is needed, the same number of a and b; received a {a.shape}, b {b.shape}"
        raise DataError(msg)
    differences: NDArray[Any] = a - b
    if n_bad := int(np.count_nonzero(~np.isfinite(differences))):
        raise DataError(f"{n_bad} of {a.size} pairs are NaN or infinite")
    variance = float(np.var(differences, ddof=1)) if a.size > 1 else float("nan")
    return float(differences.mean()), variance, a.size
