"""Scored events: what every judgement begins with, checked once.

Owns which arrays can be judged at all, and the form of an answer: a number with its error. Label 1 is signal, and
weights are physics weights, 1 where none are given. Negative weights are allowed: every sum is then a signed sum.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.errors import DataError, DeclarationError

Floats = NDArray[np.float64]
Numbers = NDArray[Any]

LIGHTEST, HEAVIEST = 1e-140, 1e140
"""Weights and their sums lie between these: errors need squares, and sums of many squares, that a number can hold."""


@dataclass(frozen=True)
class Measured:
    """A number with its standard error; the error is NaN where it cannot be estimated."""

    value: float
    error: float


NOT_A_NUMBER = Measured(float("nan"), float("nan"))


@dataclass(frozen=True, eq=False)
class ScoredEvents:
    """Checked events: ``scores``, ``is_signal`` and ``weights`` (``None``: 1 each), all ``(n_events,)``."""

    scores: NDArray[np.floating]
    is_signal: NDArray[np.bool_]
    weights: Floats | None

    def every_weight(self) -> Floats:
        """Return the weight of every event, shape ``(n_events,)``; not to be written to."""
        return np.ones(self.scores.size) if self.weights is None else self.weights

    def weights_where(self, mask: NDArray[np.bool_]) -> Floats:
        """Return the weights of some of the events."""
        return np.ones(np.count_nonzero(mask)) if self.weights is None else self.weights[mask]

    def passing(self, threshold: float) -> NDArray[np.bool_]:
        """Return which events have a score at or above the threshold, shape ``(n_events,)``.

        Raises:
            DeclarationError: the threshold is NaN.

        """
        if np.isnan(threshold):
            msg = "no event passes or fails a threshold that is NaN"
            raise DeclarationError(msg)
        # A float64 scalar, since a Python float would be rounded to the precision of the scores first.
        passes: NDArray[np.bool_] = self.scores >= np.float64(threshold)
        return passes

    def that_count(self) -> "ScoredEvents":
        """Return the events whose weight is not 0; the others are in no sum, and in no number that vouches for one.

        Where no event has a weight all are returned: what they add up to is for others to refuse.
        """
        if self.weights is None or self.weights.all() or not self.weights.any():
            return self
        rows = np.flatnonzero(self.weights)
        return ScoredEvents(self.scores[rows], self.is_signal[rows], self.weights[rows])


def scored_events(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> ScoredEvents:
    """Check scores, labels (1 = signal) and weights, one of each per event.

    Raises:
        DataError: arrays of different lengths, values that are not finite numbers, labels other than 0 and 1, weights
            whose squares no number holds, or a class without events; all problems at once.

    """
    score_array, label_array = real_numbers("scores", scores), np.asarray(labels)
    weight_array = None if weights is None else real_numbers("weights", weights).astype(np.float64, copy=False)
    _require_one_number_per_event(score_array, label_array, weight_array)
    if score_array.dtype.kind != "f":
        score_array = score_array.astype(np.float64)
    is_signal = label_array.astype(np.bool_)
    problems = [
        *not_finite("score", score_array),
        *([] if weight_array is None else not_finite("weight", weight_array) or out_of_range(weight_array)),
        *_not_labels(label_array, is_signal),
        *_empty_classes(is_signal),
    ]
    if problems:
        raise DataError("; ".join(problems))
    return ScoredEvents(score_array, is_signal, weight_array)


def real_numbers(name: str, values: ArrayLike) -> Numbers:
    """Return an array of real numbers.

    Raises:
        DataError: it holds something else, as texts or complex numbers; the message says under which ``name``.

    """
    array = np.asarray(values)
    if array.dtype.kind == "O":
        with suppress(TypeError, ValueError):
            array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} are needed as real numbers; received {array.dtype}")
    return array


def require_positive_sums(signal: float, background: float) -> None:
    """Refuse classes whose weights do not add up to something positive, of which there is a square."""
    sums = {"signal": signal, "background": background}
    if bad := [f"{name} weights add up to {total:g}" for name, total in sums.items() if total < LIGHTEST]:
        raise DataError(f"{' and '.join(bad)}; an efficiency needs a positive sum in both classes")


def effective_events(weights: ArrayLike) -> float:
    """Return (sum w)² / sum w²: how many unweighted events carry the same information; 0 for none."""
    values = np.asarray(weights, dtype=np.float64)
    squares = float(np.dot(values, values))
    return float(values.sum()) ** 2 / squares if squares > 0.0 else 0.0


def not_finite(name: str, values: NDArray[np.floating]) -> list[str]:
    """Say how many values are NaN or infinite, if any."""
    n_bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    return [f"{n_bad} of {values.size} {name}s are NaN or infinite"] if n_bad else []


def out_of_range(weights: Floats) -> list[str]:
    """Say whether the weights are too large or too small for their squares."""
    heaviest = float(np.abs(weights).max(initial=0.0))
    if heaviest == 0.0 or LIGHTEST <= heaviest <= HEAVIEST:
        return []
    return [f"the largest weight is {heaviest:g}, and only from {LIGHTEST:g} to {HEAVIEST:g} there are errors; rescale"]


def _require_one_number_per_event(scores: Numbers, labels: Numbers, weights: Floats | None) -> None:
    named = {"scores": scores, "labels": labels} | ({} if weights is None else {"weights": weights})
    shapes = ", ".join(f"{name} {array.shape}" for name, array in named.items())
    if len({array.shape for array in named.values()}) > 1 or scores.ndim != 1:
        raise DataError(f"one number per event is needed, all of the same length; received {shapes}")


def _not_labels(labels: Numbers, is_signal: NDArray[np.bool_]) -> list[str]:
    others = [] if labels.dtype == np.bool_ else labels[labels != is_signal]
    if len(others) == 0:
        return []
    return [f"{len(others)} of {labels.size} labels are neither 0 nor 1 (the first is {others[0]!s})"]


def _empty_classes(is_signal: NDArray[np.bool_]) -> list[str]:
    n_signal = int(np.count_nonzero(is_signal))
    counts = {"signal": n_signal, "background": is_signal.size - n_signal}
    return [f"no {name} among {is_signal.size} events" for name, count in counts.items() if count == 0]
