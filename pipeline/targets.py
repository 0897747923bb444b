"""Targets: numbers of each event that a network shall find, where it is not its class.

Owns the ``[targets]`` section, what is learnt about each target, and the way from its own unit to what a network is
trained on. Whether a target is a quantity or a flag, 0 or 1, is the head's knowledge, not this room's.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.declare import Declaration

Matrix = NDArray[np.float64]


class TargetFacts(Declaration):
    """What is known of one target: mean and standard deviation on the training part, the others on all events.

    ``n_no_flag`` counts the values that are neither 0 nor 1.
    """

    name: str
    mean: float
    spread: float
    lowest: float
    highest: float
    n_no_flag: int


class TargetTransform(Declaration):
    """From targets in their own units to numbers of mean 0 and standard deviation 1, or as they are."""

    offset: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def changes_nothing(self) -> bool:
        """Whether targets stay what they are."""
        return not any(self.offset) and set(self.scale) <= {1.0}

    def apply(self, targets: Matrix) -> NDArray[np.float32]:
        """Return (targets - offset) / scale, shape ``(n_events, n_targets)``."""
        normalised: Matrix = (targets - np.array(self.offset)) / np.array(self.scale)
        return normalised.astype(np.float32)

    def undone(self, said: Matrix) -> Matrix:
        """Return targets in their own units of such numbers, shape ``(n_events, n_targets)``."""
        targets: Matrix = said * np.array(self.scale) + np.array(self.offset)
        return targets


def standard(facts: Sequence[TargetFacts]) -> TargetTransform:
    """Return the transform to mean 0 and standard deviation 1; a target that is constant becomes 0."""
    scale = tuple(fact.spread if fact.spread > 0 else 1.0 for fact in facts)
    return TargetTransform(offset=tuple(fact.mean for fact in facts), scale=scale)


def unchanged(facts: Sequence[TargetFacts]) -> TargetTransform:
    """Return the transform that changes nothing."""
    return TargetTransform(offset=(0.0,) * len(facts), scale=(1.0,) * len(facts))


class TargetStatistics:
    """What is learnt about targets while events go by; it does not depend on how they are cut into chunks.

    References:
        Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
        COMPSTAT 1982.
    """

    def __init__(self, n_targets: int) -> None:
        self._n_events = 0
        self._mean, self._squares = np.zeros(n_targets), np.zeros(n_targets)
        self._lowest, self._highest = np.full(n_targets, np.inf), np.full(n_targets, -np.inf)
        self._n_no_flag = np.zeros(n_targets, dtype=np.int64)
        self._learnt_lowest, self._learnt_highest = self._lowest, self._highest

    def look(self, targets: Matrix) -> None:
        """Take note of the range of targets of any part, shape ``(n_events, n_targets)``."""
        self._lowest = np.minimum(self._lowest, targets.min(axis=0, initial=np.inf))
        self._highest = np.maximum(self._highest, targets.max(axis=0, initial=-np.inf))
        self._n_no_flag += ((targets != 0) & (targets != 1)).sum(axis=0)

    def learn(self, targets: Matrix) -> None:
        """Learn mean and spread from targets of the training part, shape ``(n_events, n_targets)``."""
        if not len(targets):
            return
        self._learnt_lowest = np.minimum(self._learnt_lowest, targets.min(axis=0))
        self._learnt_highest = np.maximum(self._learnt_highest, targets.max(axis=0))
        mean, n_before = targets.mean(axis=0), self._n_events
        step = mean - self._mean
        self._n_events += len(targets)
        self._mean = self._mean + step * len(targets) / self._n_events
        self._squares = self._squares + ((targets - mean) ** 2).sum(axis=0)
        self._squares = self._squares + step**2 * n_before * len(targets) / self._n_events

    def facts(self, names: Sequence[str]) -> tuple[TargetFacts, ...]:
        """Return what was learnt, target by target."""
        spread = np.sqrt(self._squares / max(self._n_events, 1))
        spread = np.where(self._learnt_highest > self._learnt_lowest, spread, 0.0)
        columns = self._mean, spread, self._lowest, self._highest
        return tuple(
            TargetFacts(name=name, mean=m, spread=s, lowest=low, highest=high, n_no_flag=n)
            for name, m, s, low, high, n in zip(
                names, *(column.tolist() for column in columns), self._n_no_flag.tolist(), strict=True
            )
        )
