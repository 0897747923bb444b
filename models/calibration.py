"""From scores to probabilities of signal: maps learnt on the validation part and kept in the bundle.

Owns the ``Calibration`` (data, applied with NumPy alone), how one is fitted, and the change of a probability from
one balance of the classes to another. How good the outcome is belongs to ``probabilities``.

A network trained on balanced classes answers for equal amounts of signal and background; new events hold what nature
gives. So a calibration does two things, in this order: the fitted map, which makes the score a probability at
the balance of the events it was fitted on, then the shift from that balance to the one that is expected.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from models.ladder import ladder_of
from models.probabilities import class_sums, clipped_probabilities, probability_events, require_probabilities
from models.scored import Floats, ScoredEvents, effective_events
from pipeline.declare import Declaration
from pipeline.errors import DataError, DeclarationError, nearest_spelling

Method = Literal["temperature", "platt", "isotonic"]
Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]

SLOPES = (0.01, 100.0)
"""Factors on the logit that can be meant: beyond, the scores say nothing, or separate the classes altogether."""


class Calibration(Declaration):
    """A rising map of [0, 1] into itself, and the balance of classes at which its answers hold.

    ``temperature`` and ``platt``: the logit of the score is divided by ``temperature``, then ``intercept`` is added
    (0 for ``temperature``). The defaults leave scores as they are. ``isotonic``: linear between ``knots``, pairs of
    score and probability. The answers hold at ``fitted_fraction``, the share of signal in the weights of the fit;
    where ``expected_fraction`` is given they are shifted to it, after the map. A ratio S:B of r is the fraction
    r / (1 + r).

    The order of scores is kept, so the AUC is too, but for events that become equal: in the rounding to
    single precision, and where ``isotonic`` answers exactly 0 or 1.
    """

    method: Method
    temperature: float = Field(1.0, gt=0.0)
    intercept: float = 0.0
    knots: tuple[tuple[Probability, Probability], ...] = ()
    fitted_fraction: Fraction
    expected_fraction: Fraction | None = None

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if (self.method == "isotonic") != bool(self.knots):
            raise ValueError(f"{len(self.knots)} knots for {self.method!r}; 'isotonic' has knots, no other has")
        if self.knots and (len(self.knots) < 2 or not np.all(np.diff(np.array(self.knots), axis=0) > 0.0)):
            raise ValueError("knots are at least two, and rise in score and in probability")
        return self

    def for_fraction(self, expected: float) -> "Calibration":
        """Return this calibration for events of which ``expected`` is the share of signal.

        Raises:
            DeclarationError: the fraction is not between 0 and 1.

        """
        _require_fractions(expected)
        return self.model_copy(update={"expected_fraction": float(expected)})

    def apply(self, scores: ArrayLike) -> NDArray[np.float32]:
        """Return probabilities of signal, in the shape of ``scores``; none for none.

        In a logit, a score of exactly 0 counts as the smallest normal number of its type, and one of exactly 1
        as the lowest number that rounds to 1.

        Raises:
            DataError: scores that are NaN or outside [0, 1].

        """
        values = np.asarray(scores)
        require_probabilities(values)
        mapped = self._mapped(values)
        if self.expected_fraction is not None:
            mapped = shift_prior(mapped, self.fitted_fraction, self.expected_fraction)
        return mapped.astype(np.float32)

    def _mapped(self, scores: NDArray[Any]) -> Floats:
        if self.knots:
            at, values = np.array(self.knots).T
            joined: Floats = np.interp(scores, at, values)
            return joined
        if (self.temperature, self.intercept) == (1.0, 0.0):
            return scores.astype(np.float64)
        return _sigmoid(_logit(scores) / self.temperature + self.intercept)


def shift_prior(scores: ArrayLike, from_fraction: float, to_fraction: float) -> Floats:
    """Return probabilities of signal at another share of signal, in the shape of ``scores``.

    p' = p π'/π / (p π'/π + (1 - p)(1 - π')/(1 - π)): the odds change by the factor by which the odds of the classes
    change. 0 and 1 stay; the order of scores is kept. It presumes that each class looks the same as before.

    Raises:
        DataError: scores that are NaN or outside [0, 1].
        DeclarationError: a fraction is not between 0 and 1.

    References:
        M. Saerens, P. Latinne, C. Decaestecker, Neural Computation 14 (2002) 21 (outputs at new a priori fractions).

    """
    _require_fractions(from_fraction, to_fraction)
    values = np.asarray(scores)
    require_probabilities(values)
    probabilities = values.astype(np.float64)
    signal = probabilities * (to_fraction / from_fraction)
    background = (1.0 - probabilities) * ((1.0 - to_fraction) / (1.0 - from_fraction))
    shifted: Floats = signal / (signal + background)
    return shifted


def fit_calibration(
    method: str,
    scores: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    signal_fraction: float | None = None,
) -> Calibration:
    """Learn a calibration from events that the scorer did not learn from.

    ``temperature`` finds the number that divides the logit, ``platt`` also one that is added to it; both minimise
    the weighted log-loss, with scores clipped as in `log_loss`. ``isotonic`` finds the rising steps nearest to the
    observed fractions and joins their centres by straight lines; it needs more events than the others.

    ``signal_fraction`` scales the weights of the classes to this share of signal first. Give the share at which
    the network was trained (0.5 for balanced classes) with ``temperature``: dividing a logit cannot move the balance,
    and a temperature fitted at another balance than that of the scores is wrong.

    Negative weights take part with their sign. The log-loss may then have several minima, of which one is found.
    For ``isotonic``, events of neighbouring scores are pooled until no sum of weights of a class is negative. Within a
    step the order of scores is kept. No answer is a certainty: a first step without signal and a last one without
    background are moved off 0 and 1 by Laplace's rule, 1 / (n + 2) of n effective events.

    Raises:
        DataError: as `probability_events`; all scores equal; classes that do not overlap, or whose share of signal
            does not rise with the score, so that there is no such map.
        DeclarationError: an unknown method; a fraction that is not between 0 and 1.

    References:
        C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, ICML 2017, arXiv:1706.04599, eq. 9 (temperature).
        J. C. Platt, Advances in Large Margin Classifiers (2000) 61 (here on logits, labels not smoothed).
        B. Zadrozny, C. Elkan, KDD 2002, 694, sec. 3 (isotonic).

    """
    if method not in _FITS:
        hint = nearest_spelling(method, _FITS)
        raise DeclarationError(f"no calibration {method!r}{hint}; there are: {', '.join(get_args(Method))}")
    events = _at_fraction(probability_events(scores, labels, weights), signal_fraction)
    if events.scores.min() == events.scores.max():
        raise DataError(f"all {events.scores.size} scores are {events.scores[0]:g}; there is nothing to calibrate")
    signal, background = class_sums(events)
    fitted = _FITS[method](events)
    return Calibration.model_validate({"method": method, "fitted_fraction": signal / (signal + background), **fitted})


def _at_fraction(events: ScoredEvents, fraction: float | None) -> ScoredEvents:
    weights = events.every_weight()
    if fraction is None:
        return ScoredEvents(events.scores, events.is_signal, weights)
    _require_fractions(fraction)
    signal, background = class_sums(events)
    factors = np.where(events.is_signal, fraction / signal, (1.0 - fraction) / background)
    return ScoredEvents(events.scores, events.is_signal, weights * factors * (signal + background))


def _fit_temperature(events: ScoredEvents) -> dict[str, Any]:
    from scipy.optimize import brentq

    logits, weights = _clipped_logits(events), _shares(events)

    def gradient(slope: float) -> float:
        return float(np.dot(weights, (_sigmoid(slope * logits) - events.is_signal) * logits))

    # The loss is convex for weights that are not negative; a minimum is where its slope turns from - to +.
    if not gradient(SLOPES[0]) < 0.0 < gradient(SLOPES[1]):
        raise _no_map("temperature")
    return {"temperature": 1.0 / brentq(gradient, *SLOPES, xtol=1e-12, rtol=1e-12)}


def _fit_platt(events: ScoredEvents) -> dict[str, Any]:
    from scipy.optimize import minimize

    logits, weights = _clipped_logits(events), _shares(events)
    # Without a wrong pair the loss falls for ever as the slope grows.
    if events.scores[events.is_signal].min() >= events.scores[~events.is_signal].max():
        raise _no_map("platt")
    inputs = np.stack([logits, np.ones_like(logits)])

    def loss(parameters: Floats) -> float:
        at = parameters @ inputs
        return float(np.dot(weights, np.logaddexp(0.0, at) - events.is_signal * at))

    def gradient(parameters: Floats) -> Floats:
        slopes: Floats = inputs @ (weights * (_sigmoid(parameters @ inputs) - events.is_signal))
        return slopes

    def curvature(parameters: Floats) -> Floats:
        probabilities = _sigmoid(parameters @ inputs)
        matrix: Floats = (inputs * (weights * probabilities * (1.0 - probabilities))) @ inputs.T
        return matrix

    found = minimize(loss, [1.0, 0.0], jac=gradient, hess=curvature, method="trust-exact", options={"gtol": 1e-9})
    slope, intercept = (float(value) for value in found.x)
    if not SLOPES[0] < slope < SLOPES[1] or float(np.abs(found.jac).max()) > 1e-6:
        raise _no_map("platt")
    return {"temperature": 1.0 / slope, "intercept": intercept}


def _fit_isotonic(events: ScoredEvents) -> dict[str, Any]:
    from scipy.optimize import isotonic_regression

    scores, signal, weight = _pools(events)
    steps = isotonic_regression(signal / weight, weights=weight)
    starts = steps.blocks[:-1]
    centres = np.add.reduceat(scores * weight, starts) / np.add.reduceat(weight, starts)
    # Rounding must not carry a centre out of its own step.
    centres = np.clip(centres, scores[starts], scores[steps.blocks[1:] - 1])
    fractions = np.clip(steps.x[starts], 0.0, 1.0)
    # Two steps of nothing but background and nothing but signal say of no score between how probable signal is.
    if fractions.size < 2 or (fractions.size == 2 and (fractions[0], fractions[1]) == (0.0, 1.0)):
        raise _no_map("isotonic")
    n_effective = effective_events(events.every_weight())
    fractions = _without_certainties(fractions, np.add.reduceat(weight, starts), n_effective)
    return {"knots": _with_ends(list(zip(centres.tolist(), fractions.tolist(), strict=True)))}


def _without_certainties(fractions: Floats, weight: Floats, n_effective: float) -> Floats:
    """Move a first step without signal and a last one without background off 0 and 1, by Laplace's rule.

    Of n events without a single exception the next one is an exception with the probability 1 / (n + 2).
    """
    first, last = 1.0 / (n_effective * weight[[0, -1]] / weight.sum() + 2.0)
    moved = fractions.copy()
    moved[0] = max(fractions[0], min(first, 0.5 * fractions[1]))
    moved[-1] = min(fractions[-1], max(1.0 - last, 0.5 * (1.0 + fractions[-2])))
    return moved


def _pools(events: ScoredEvents) -> tuple[Floats, Floats, Floats]:
    """Return score, sum of signal weights and sum of all weights of pools of neighbouring scores, by rising score.

    No sum of a class is negative, and none of all weights is 0. Without negative weights each distinct score is a
    pool of its own. A pool ends where the sums so far of both classes are as high as never before.
    """
    ladder = ladder_of(events)
    sums = np.stack([ladder.signal, ladder.background])
    highest = np.maximum(np.maximum.accumulate(sums, axis=1), 0.0)
    ends = np.all((sums == highest) & (sums <= sums[:, -1:]), axis=0)
    ends[-1] = True
    in_pool = np.diff(sums[:, ends], prepend=0.0)
    last = np.flatnonzero(ends)
    by_falling = events.scores[ladder.order[ladder.last]].astype(np.float64)
    middles = 0.5 * (by_falling[last] + by_falling[np.append(0, last[:-1] + 1)])
    weight = in_pool.sum(axis=0)
    counts = weight > 0.0
    return middles[counts][::-1], in_pool[0, counts][::-1], weight[counts][::-1]


def _with_ends(knots: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Add knots at scores 0 and 1, where the first and the last line arrive, stopped short of certainties."""
    (x_0, y_0), (x_1, y_1) = knots[:2]
    low = max(0.1 * y_0, y_0 - x_0 * (y_1 - y_0) / (x_1 - x_0))
    (x_2, y_2), (x_3, y_3) = knots[-2:]
    high = min(1.0 - 0.1 * (1.0 - y_3), y_3 + (1.0 - x_3) * (y_3 - y_2) / (x_3 - x_2))
    # An end that is not beyond the outermost step (in score, or in probability) would be no rise.
    first = [(0.0, low)] if x_0 > 0.0 and low < y_0 else []
    last = [(1.0, high)] if x_3 < 1.0 and high > y_3 else []
    return [*first, *knots, *last]


_FITS: dict[str, Callable[[ScoredEvents], dict[str, Any]]] = {
    "temperature": _fit_temperature,
    "platt": _fit_platt,
    "isotonic": _fit_isotonic,
}


def _no_map(method: Method) -> DataError:
    return DataError(
        f"no {method!r} calibration: the share of signal does not rise with the score, or the classes do not overlap"
    )


def _require_fractions(*fractions: float) -> None:
    if bad := [f"{fraction!r}" for fraction in fractions if not 0.0 < fraction < 1.0]:
        raise DeclarationError(f"a fraction of signal lies between 0 and 1, both excluded; received {', '.join(bad)}")


def _shares(events: ScoredEvents) -> Floats:
    # Only of events that went through `_at_fraction`, which gives weights to all.
    assert events.weights is not None
    shares: Floats = events.weights / events.weights.sum()
    return shares


def _clipped_logits(events: ScoredEvents) -> Floats:
    clipped = clipped_probabilities(events.scores)
    logits: Floats = np.log(clipped) - np.log1p(-clipped)
    return logits


def _logit(scores: NDArray[Any]) -> Floats:
    kind = np.finfo(scores.dtype if scores.dtype.kind == "f" else np.float64)
    values = scores.astype(np.float64)
    below_one = np.maximum(1.0 - values, 0.5 * float(kind.epsneg))
    logits: Floats = np.log(np.maximum(values, float(kind.tiny))) - np.log(below_one)
    return logits


def _sigmoid(logits: Floats) -> Floats:
    probabilities: Floats = np.exp(-np.logaddexp(0.0, -logits))
    return probabilities
