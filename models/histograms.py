"""Counts and histograms: how many events a part of the data has, and where their scores lie.

Owns the sums of weights, and of their squares, class by class; which parts are looked at is ``evaluation``'s.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.scored import Floats, ScoredEvents, effective_events

PartName = Literal["train", "validation", "test"]
Kind = Literal["signal", "background"]

KINDS: tuple[Kind, Kind] = ("signal", "background")
N_BINS = 40


@dataclass(frozen=True)
class ClassCount:
    """How many events of one kind a part has, and what their weights amount to."""

    part: PartName
    kind: str
    events: int
    sum_of_weights: float
    effective_events: float
    negative_weights: int


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """Sums of weights, and of squared weights, in equal bins of the score from 0 to 1.

    Scores outside fall into the first or last bin, so that the sums are those of all events.
    """

    part: PartName
    kind: Kind
    sums: Floats
    squares: Floats

    @property
    def edges(self) -> Floats:
        """The bin edges, ``(n_bins + 1,)``."""
        return np.linspace(0.0, 1.0, self.sums.size + 1)

    def density(self) -> tuple[Floats, Floats]:
        """Return the histogram at unit area and its errors (those of the bin contents alone)."""
        scale = self.sums.size / self.sums.sum()
        return self.sums * scale, np.sqrt(self.squares) * abs(scale)


def score_histogram(part: PartName, kind: Kind, events: ScoredEvents) -> ScoreHistogram:
    """Fill the histogram of one class."""
    members = _members(kind, events)
    weights = events.weights_where(members)
    bins = np.clip(events.scores[members] * N_BINS, 0, N_BINS - 1).astype(np.intp)
    return ScoreHistogram(
        part=part,
        kind=kind,
        sums=np.bincount(bins, weights=weights, minlength=N_BINS).astype(np.float64),
        squares=np.bincount(bins, weights=weights**2, minlength=N_BINS).astype(np.float64),
    )


def class_count(part: PartName, kind: Kind, events: ScoredEvents) -> ClassCount:
    """Count the events of one class."""
    return count(part, kind, events.weights_where(_members(kind, events)))


def count(part: PartName, kind: str, weights: Floats) -> ClassCount:
    """Count events of a kind by their weights."""
    return ClassCount(
        part=part,
        kind=kind,
        events=weights.size,
        sum_of_weights=float(weights.sum()),
        effective_events=effective_events(weights),
        negative_weights=int(np.count_nonzero(weights < 0.0)),
    )


def _members(kind: Kind, events: ScoredEvents) -> NDArray[np.bool_]:
    return events.is_signal if kind == "signal" else ~events.is_signal
