"""Yardsticks: by which number scores are ranked, whatever a network finds.

Owns the table from what a network is judged by to its number: how that is measured, in what way one score is better
than another, and what it is called. Weights are physics weights.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.heads import JudgedAs
from models.metrics import auc_difference, auc_with_error, aucs_with_mean
from models.paired import Scores, mean_auc_difference, rms_difference
from models.residuals import Quantity, mean_relative_rms, root_mean_square, spread
from models.scored import Measured, scored_events


@dataclass(frozen=True, eq=False)
class Truth:
    """What events are: indices of classes and weights, ``(n_events,)``, and targets ``(n_events, n_targets)``."""

    label: NDArray[np.integer]
    target: NDArray[np.float64]
    weight: NDArray[np.float64]

    def among(self, rows: NDArray[np.bool_]) -> "Truth":
        """Return what some of the events are."""
        return Truth(self.label[rows], self.target[rows], self.weight[rows])


Gain = Callable[[Scores, Scores, Truth], Measured]
"""Scores of a, scores of b, what the events are → by how much a is better than b."""


@dataclass(frozen=True)
class Yardstick:
    """A number of scores, ``(n_events,)`` or, but for a single one, ``(n_events, n_outputs)``.

    ``name`` is what machines call it, ``label`` what people do, and ``form`` how many digits they are shown. ``gain``
    is the paired difference, positive where the first is better.
    """

    name: str
    label: str
    form: str
    higher_is_better: bool
    measure: Callable[[Scores, Truth], Measured]
    gain: Gain
    is_single: bool = False


def _auc(scores: Scores, truth: Truth) -> Measured:
    return auc_with_error(scores, truth.label, truth.weight)


def _gain_of_auc(a: Scores, b: Scores, truth: Truth) -> Measured:
    return auc_difference(a, b, truth.label, truth.weight)


def _mean_auc(scores: Scores, truths: NDArray[np.bool_], weights: NDArray[np.float64]) -> Measured:
    outputs = zip(scores.T, truths.T, strict=True)
    events = [scored_events(np.ascontiguousarray(said), np.ascontiguousarray(true), weights) for said, true in outputs]
    return aucs_with_mean(events)[1]


def _mean_auc_of_classes(scores: Scores, truth: Truth) -> Measured:
    return _mean_auc(scores, _classes(truth, scores.shape[1]), truth.weight)


def _gain_of_classes(a: Scores, b: Scores, truth: Truth) -> Measured:
    return mean_auc_difference(a, b, _classes(truth, a.shape[1]), truth.weight)


def _classes(truth: Truth, n_classes: int) -> NDArray[np.bool_]:
    """Return which events are those of each class, ``(n_events, n_classes)``."""
    found: NDArray[np.bool_] = truth.label[:, np.newaxis] == np.arange(n_classes)
    return found


def _mean_auc_of_flags(scores: Scores, truth: Truth) -> Measured:
    return _mean_auc(scores, truth.target > 0, truth.weight)


def _gain_of_flags(a: Scores, b: Scores, truth: Truth) -> Measured:
    return mean_auc_difference(a, b, truth.target > 0, truth.weight)


def _rms(predicted: Scores, truth: Truth) -> Measured:
    """Return the RMS of the one quantity in its unit, or the mean over several of RMS / spread."""
    columns = zip(predicted.T.astype(np.float64), truth.target.T, strict=True)
    quantities = {str(place): Quantity(said, true, truth.weight) for place, (said, true) in enumerate(columns)}
    if len(quantities) > 1:
        return mean_relative_rms(quantities)
    [only] = quantities.values()
    return root_mean_square(only.residuals, only.weights)


def _gain_of_rms(a: Scores, b: Scores, truth: Truth) -> Measured:
    of_b, of_a = (predicted.astype(np.float64) - truth.target for predicted in (b, a))
    spreads = [spread(true, truth.weight) for true in truth.target.T]
    return rms_difference(of_b, of_a, truth.weight, spreads if len(spreads) > 1 else None)


YARDSTICKS: Mapping[JudgedAs, Yardstick] = {
    "signal": Yardstick("auc", "AUC", ".5f", True, _auc, _gain_of_auc, is_single=True),
    "class": Yardstick("auc", "mean AUC", ".5f", True, _mean_auc_of_classes, _gain_of_classes),
    "flags": Yardstick("auc", "mean AUC", ".5f", True, _mean_auc_of_flags, _gain_of_flags),
    "quantities": Yardstick("rms", "RMS", ".4g", False, _rms, _gain_of_rms),
}
