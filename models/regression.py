"""Regression: one honest record of how well a network predicts quantities.

Owns what is asked of predictions; the numbers of one quantity are made in ``residuals``. Numbers are those of the test
part, unless their name says otherwise; weights are physics weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.headline import Headline, headed, that_exist, with_errors
from models.histograms import ClassCount, PartName, count
from models.inputs import InputShares
from models.judgeable import judging, require_shapes, unusable, without_weight
from models.leader_board import Standing
from models.residuals import Quantity, QuantityFinding, judge_quantity, mean_relative_rms
from models.scored import Measured

MEASURES = ("rms", "bias", "median", "width", "tails", "trivial_rms", "r_squared")
"""The numbers of each quantity that have an error, and a name in a list of metrics."""


@dataclass(frozen=True, eq=False)
class PredictedQuantities:
    """Events of one part: ``predicted`` and ``true``, both ``(n, n_quantities)``, and ``weights (n,)``."""

    predicted: NDArray[np.floating]
    true: NDArray[np.floating]
    weights: NDArray[np.floating]

    def checked(self, part: PartName, names: Sequence[str]) -> dict[str, Quantity]:
        """Return the events of each quantity, in double precision.

        Raises:
            DataError: they cannot be judged: shapes that do not fit, numbers that are not finite, or weights that do
                not add up to something positive; all problems at once, with the name of the part.

        """
        with judging(part) as problems:
            require_shapes({"weights": self.weights}, {"predicted": self.predicted, "true": self.true}, len(names))
            predicted, true, weights = (array.astype(np.float64) for array in (self.predicted, self.true, self.weights))
            problems += unusable({"prediction": predicted, "true value": true}, weights)
            problems += [] if problems else without_weight({"events": weights})
        return {
            name: Quantity(np.ascontiguousarray(of_predicted), np.ascontiguousarray(of_true), weights)
            for name, of_predicted, of_true in zip(names, predicted.T, true.T, strict=True)
        }


@dataclass(frozen=True, eq=False)
class RegressionEvaluation:
    """The record of a network that predicts quantities, each in its own unit.

    ``relative_rms`` is the mean over quantities of the RMS as a share of the spread of the true values.
    """

    quantities: tuple[QuantityFinding, ...]
    relative_rms: Measured
    counts: tuple[ClassCount, ...]
    inputs: InputShares | None = None
    leader_board: tuple[Standing, ...] = ()

    @property
    def headline(self) -> Headline:
        """The RMS of the one quantity in its unit, or the mean over several of RMS / spread."""
        if len(self.quantities) == 1:
            only = self.quantities[0]
            return Headline("rms", f"RMS of {only.name}", only.rms, higher_is_better=False)
        return Headline("rms", "mean RMS of the targets, over their spread", self.relative_rms, higher_is_better=False)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain lists and dictionaries; a number that does not exist is ``None``."""
        return headed(self.headline, asdict(self))

    def metrics(self) -> dict[str, float]:
        """Return the numbers that exist under the names that they have everywhere."""
        measured = {"rms": self.headline.value}
        for found in self.quantities:
            for name in MEASURES:
                measured[f"{name}_{found.name}"] = getattr(found, name)
            measured[f"rms_gap_{found.name}"] = found.gap.gap
        return that_exist(with_errors(measured))


def judge_quantities(parts: Mapping[PartName, PredictedQuantities], names: Sequence[str]) -> RegressionEvaluation:
    """Judge predictions on the three parts of a data set.

    Args:
        parts: train, validation and test.
        names: the quantities, in the order of the columns.

    Raises:
        DataError: as `PredictedQuantities.checked`.

    """
    checked = {name: part.checked(name, names) for name, part in parts.items()}
    return RegressionEvaluation(
        quantities=tuple(
            judge_quantity(name, {part: quantities[name] for part, quantities in checked.items()}) for name in names
        ),
        relative_rms=mean_relative_rms(checked["test"]),
        counts=tuple(count(name, "all events", quantities[names[0]].weights) for name, quantities in checked.items()),
    )
