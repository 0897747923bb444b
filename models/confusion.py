"""Confusion: what events of each class are taken for.

Owns the matrix of true and chosen classes, its efficiencies and purities. Weights may be negative: sums are signed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.averages import Estimates
from models.scored import Floats


@dataclass(frozen=True, eq=False)
class Confusion:
    """Rows are true classes, columns the chosen ones, ``(n_classes, n_classes)`` throughout.

    ``events`` are raw numbers, ``sums`` those of weights. ``efficiencies`` are shares of a row: what events of a class
    are taken for. ``purities`` are shares of a column: what events that were taken for a class are, at the proportions
    that the weights describe.
    """

    events: NDArray[np.int64]
    sums: Floats
    efficiencies: Estimates
    purities: Estimates
