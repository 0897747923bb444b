"""Regression: one honest record of how well a network predicts quantities.

Owns what is asked of predictions; the numbers of one quantity are made in ``residuals``. Numbers are those of the test
part, unless their name says otherwise; weights are physics weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.headline import Headline
from models.histograms import ClassCount, PartName
from models.inputs import InputShares
from models.residuals import QuantityFinding
from models.scored import Measured


@dataclass(frozen=True, eq=False)
class PredictedQuantities:
    """Events of one part: ``predicted`` and ``true``, both ``(n, n_quantities)``, and ``weights (n,)``."""

    predicted: NDArray[np.floating]
    true: NDArray[np.floating]
    weights: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class RegressionEvaluation:
    """The record of a network that predicts quantities, each in its own unit.

    ``relative_rms`` is the mean over quantities of the RMS as a share of the spread of the true values.
    """

    quantities: tuple[QuantityFinding, ...]
    relative_rms: Measured
    counts: tuple[ClassCount, ...]
    inputs: InputShares | None = None

    @property
    def headline(self) -> Headline:
        """The RMS of the one quantity in its unit, or the mean over several of RMS / spread."""
        if len(self.quantities) == 1:
            only = self.quantities[0]
            return Headline("rms", f"RMS of {only.name}", only.rms, higher_is_better=False)
        return Headline("rms", "mean RMS of the targets, over their spread", self.relative_rms, higher_is_better=False)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain lists and dictionaries; a number that does not exist is ``None``."""
        raise NotImplementedError

    def metrics(self) -> dict[str, float]:
        """Return the numbers that exist under the names that they have everywhere."""
        raise NotImplementedError


def judge_quantities(parts: Mapping[PartName, PredictedQuantities], names: Sequence[str]) -> RegressionEvaluation:
    """Judge predictions on the three parts of a data set."""
    raise NotImplementedError
