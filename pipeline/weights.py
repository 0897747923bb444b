"""Weights: how much each event counts, for physics and for training.

Owns the two weights. The *physics weight* makes yields, metrics and significance; it is the sample's
expression, put through one policy for negative values, and after a split scaled by 1 / fraction so that
every part stands for the whole sample. The *training weight* may balance the classes; it never leaves
training.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.chunk import Chunk
from pipeline.declare import Declaration
from pipeline.errors import DataError
from pipeline.expressions import column_or_expression, evaluate_flat

NOT_NEGATIVE = "weight not negative"
"""The step of the cut-flow where events of negative weight are dropped."""


LIGHTEST, HEAVIEST = 1e-100, 1e100
"""The least weight of a class and the largest of an event: errors need squares of weights that are scaled once more."""


class WeightSpec(Declaration):
    """The ``[weights]`` section.

    ``negative`` says what happens to negative weights, in loss, metrics and plots alike: ``keep`` them,
    ``drop`` the events (counted in the cut-flow), take the ``absolute`` value, or ``refuse`` to go on.
    ``balance = "classes"`` gives every class the same sum of training weights; ``"none"`` leaves the
    balance of the physics weights. Either way the mean training weight is 1.
    """

    negative: Literal["keep", "drop", "absolute", "refuse"] = "keep"
    balance: Literal["classes", "none"] = "classes"


def physics_weights(chunk: Chunk, text: str, spec: WeightSpec) -> NDArray[np.float64]:
    """Return the physics weight of every event, shape ``(n_events,)``; with ``drop`` negative ones stay negative.

    Raises:
        ColumnTypeError: the weight is text.
        DataError: weights are not finite, too large to be squared, or negative under ``refuse``.

    """
    weights = evaluate_flat(column_or_expression(text, chunk.columns), chunk).astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(weights))
    if broken.size:
        first = chunk.first_event + int(broken[0])
        msg = f"{chunk.source}: weight {text!r} is not finite in {broken.size} events (first: event {first})"
        raise DataError(msg)
    if weights.size and (heaviest := float(np.abs(weights).max())) > HEAVIEST:
        msg = f"{chunk.source}: weight {text!r} reaches {heaviest:g}, whose square is too near the end of numbers"
        raise DataError(f"{msg}; up to {HEAVIEST:g} will do: use another unit")
    return _without_negative(weights, text, spec, chunk.source)


def _without_negative(weights: NDArray[np.float64], text: str, spec: WeightSpec, source: str) -> NDArray[np.float64]:
    n_negative = int((weights < 0).sum())
    if n_negative and spec.negative == "refuse":
        msg = f"{source}: weight {text!r} is negative in {n_negative} events, and [weights] negative is 'refuse'"
        raise DataError(f"{msg}; 'keep', 'drop' and 'absolute' would go on")
    return np.abs(weights) if spec.negative == "absolute" else weights


def physics_scale(size: NDArray[np.float64], fraction: float, whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the factor from a part's physics weights to the whole sample's, in the shape of ``size``.

    Args:
        size: sums of absolute physics weights in the part.
        fraction: the share of events that the part was meant to get.
        whole: the same sums in all parts together.

    The fraction is the one that came out, so where no weight is negative the yield is kept exactly. It is a
    share of absolute weights: a sum where positive and negative weights cancel could be tiny, or of the other sign.
    """
    return np.where(size > 0, whole / np.where(size > 0, size, 1.0), 1 / fraction)


def training_factors(class_yields: NDArray[np.float64], n_events: int, spec: WeightSpec) -> NDArray[np.float64]:
    """Return the factor from physics to training weight for every class, shape ``(n_classes,)``.

    Args:
        class_yields: sum of physics weights of each class in the training part.
        n_events: number of events in the training part.
        spec: how to balance.

    With ``balance = "classes"`` and yields :math:`W_c` the factor is n / (n_classes W_c), else n / Σ W_c.

    """
    if spec.balance == "classes":
        return n_events / (len(class_yields) * class_yields)
    return np.full(len(class_yields), n_events / class_yields.sum())
