"""Nuisances: a variable that a network shall not depend on, as it stands beside the targets in the rows of training.

Owns the way from the variable to its rank among the events that matter. By ranks, tails weigh no more than the rest.
"""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.declare import Declaration

UNKNOWN = -1.0
"""The rank of an event in which the variable is missing."""

N_KNOTS = 1001


class Ranks(Declaration):
    """Quantiles of a variable at equal distances, by which a value gets its rank between 0 and 1."""

    knots: tuple[float, ...]

    @classmethod
    def learn(cls, values: NDArray[np.float64]) -> Self:
        """Learn from values ``(n_events,)``; missing ones (NaN, ±inf) do not count, and there has to be another."""
        known = values[np.isfinite(values)]
        return cls(knots=tuple(np.quantile(known, np.linspace(0, 1, N_KNOTS)).tolist()))

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the rank of each value, shape ``(n_events,)``: 0 to 1, or ``UNKNOWN`` where it is missing.

        A value that many events share has the middle of its ranks.
        """
        knots, places = np.array(self.knots), np.linspace(0, 1, N_KNOTS)
        unique, first = np.unique(knots, return_index=True)
        last = N_KNOTS - 1 - np.unique(knots[::-1], return_index=True)[1]
        ranks = np.interp(values, unique, (places[first] + places[last]) / 2)
        return np.where(np.isfinite(values), ranks, UNKNOWN).astype(np.float32)


class Nuisance(Declaration):
    """One of the spectators, by its place among them, and its ranks."""

    column: int
    ranks: Ranks

    def ranks_of(self, spectators: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the rank of each event, shape ``(n_events,)``, of spectators ``(n_events, n_spectators)``."""
        return self.ranks.apply(spectators[:, self.column])
