"""Feature statistics: what is learnt about each variable, event by event.

Owns the streaming state: mergeable, exact to rounding, independent of the order of chunks. A variable is a flat
feature, or all columns of a block that mean the same: these are learnt from as one, and elements that are not there
have no say. What follows from it all is ``normalise``'s business.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks import Variable, variable_of_columns
from pipeline.missing import is_missing
from pipeline.splitting import scramble

Matrix = NDArray[np.float64]

Row = NDArray[np.float64]
Counts = NDArray[np.int64]

SAMPLE_SIZE = 100_000

MOST_SAMPLED_VALUES = 128 * SAMPLE_SIZE
"""Of more than 128 features, as of an image, fewer events are sampled, so that they take 100 MB and no more."""

BLOCK = 2048
"""Events at a time: a block of features and its mask stay in the cache."""


class EventSample:
    """A random sample of events: those of smallest hash, the same whatever the order and the chunks.

    The hash is of identity and content, so that where many events share an identity (a run) the sample
    is still of all of them. Missing values stay as they are. ``size`` is the largest number of events.
    """

    def __init__(self, n_features: int) -> None:
        self.size = min(SAMPLE_SIZE, MOST_SAMPLED_VALUES // max(n_features, 1) or 1)
        self._features = [np.empty((0, n_features))]
        self._hashes = [np.empty(0, dtype=np.uint64)]
        self._largest: np.uint64 | None = None

    @property
    def features(self) -> Matrix:
        """At most ``size`` events, shape ``(n, n_features)``, in no order."""
        self._shrink()
        return self._features[0]

    def update(self, features: Matrix, identities: NDArray[np.uint64]) -> None:
        """Offer more events: ``(n_events, n_features)``, ``(n_events,)``."""
        self._offer(features, scramble(identities ^ _content_bits(features)))

    def merge(self, other: Self) -> None:
        """Offer the events of another sample."""
        other._shrink()
        self._offer(other._features[0], other._hashes[0])

    def _offer(self, features: Matrix, hashes: NDArray[np.uint64]) -> None:
        chosen = self._smallest(hashes) if self._largest is None else np.flatnonzero(hashes < self._largest)
        self._features.append(features.take(chosen, axis=0))
        self._hashes.append(hashes[chosen])
        if sum(map(len, self._hashes)) > 2 * self.size:
            self._shrink()

    def _shrink(self) -> None:
        features, hashes = np.concatenate(self._features), np.concatenate(self._hashes)
        if len(hashes) > self.size:
            chosen = self._smallest(hashes)
            features, hashes = features.take(chosen, axis=0), hashes[chosen]
        if len(hashes) == self.size:
            self._largest = hashes.max()
        self._features, self._hashes = [features], [hashes]

    def _smallest(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        if len(hashes) <= self.size:
            return np.arange(len(hashes))
        return np.argpartition(hashes, self.size - 1)[: self.size]


def _content_bits(features: Matrix) -> NDArray[np.uint64]:
    """Return 64 bits for each row; odd factors keep every digit of every feature in the sum."""
    bits = np.ascontiguousarray(features).view(np.uint64)
    odd = scramble(np.arange(bits.shape[1], dtype=np.uint64)) | np.uint64(1)
    return np.asarray(np.einsum("ij,j->i", bits, odd), dtype=np.uint64)


class FeatureStatistics:
    """What is learnt about each variable, from the training part and from values that are not missing.

    Counts, mean and sum of squared deviations are merged by the pairwise update, which does not cancel;
    quantiles come from an ``EventSample``. With up to 100,000 events they are exact; above, the rank error
    is 0.0016 (one sigma). All arrays have shape ``(n_variables,)``; ``n_values`` are the values that there could be.

    References:
        Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
        COMPSTAT 1982.

    """

    def __init__(self, sentinels: Sequence[Sequence[float]], variables: Sequence[Variable] | None = None) -> None:
        """Begin with no events; ``sentinels`` are those of each column, and by default each is a variable."""
        if variables is None:
            variables = [Variable(str(place), str(place), range(place, place + 1)) for place in range(len(sentinels))]
        self.sentinels, self.variables = sentinels, tuple(variables)
        n_variables = len(self.variables)
        self._variable_of = variable_of_columns(self.variables, len(sentinels))
        self._n_columns = np.array([len(variable.columns) for variable in self.variables], dtype=np.int64)
        self._presences = {i: variable.presence for i, variable in enumerate(self.variables) if variable.presence}
        self.n_events = 0
        self.n_values = np.zeros(n_variables, dtype=np.int64)
        self.count = np.zeros(n_variables, dtype=np.int64)
        self.mean = np.zeros(n_variables)
        self.squares = np.zeros(n_variables)
        self.lowest = np.full(n_variables, np.inf)
        self.highest = np.full(n_variables, -np.inf)
        self.sample = EventSample(len(sentinels))

    def update(self, features: Matrix, identities: NDArray[np.uint64]) -> None:
        """Learn from more events.

        Args:
            features: shape ``(n_events, n_features)``.
            identities: shape ``(n_events,)``; what makes the sample independent of the order.

        """
        for start in range(0, len(features), BLOCK):
            self._update_moments(features[start : start + BLOCK])
        self.n_events += len(features)
        self.sample.update(features, identities)

    def merge(self, other: Self) -> None:
        """Take in what another state has learnt from other events."""
        self._merge_moments(other.n_values, other.count, other.mean, other.squares, other.lowest, other.highest)
        self.n_events += other.n_events
        self.sample.merge(other.sample)

    def _update_moments(self, block: Matrix) -> None:
        missing = is_missing(block, self.sentinels)
        count = self._summed(len(block) - missing.sum(axis=0)).astype(np.int64)
        if not missing.any():
            mean = self._summed(block.sum(axis=0)) / np.maximum(count, 1)
            deviation, lowest, highest = block - self._of_columns(mean), block.min(axis=0), block.max(axis=0)
        else:
            mean = self._summed(np.where(missing, 0.0, block).sum(axis=0)) / np.maximum(count, 1)
            deviation = np.where(missing, 0.0, np.where(missing, 0.0, block) - self._of_columns(mean))
            lowest = np.where(missing, np.inf, block).min(axis=0)
            highest = np.where(missing, -np.inf, block).max(axis=0)
        squares = self._summed(np.einsum("ij,ij->j", deviation, deviation))
        self._merge_moments(self._n_values(block), count, mean, squares, self._least(lowest), -self._least(-highest))

    def _summed(self, of_columns: NDArray[np.number]) -> Row:
        """Add up what the columns of each variable have; presences belong to none."""
        return np.bincount(self._variable_of, of_columns, len(self.variables) + 1)[:-1].astype(np.float64)

    def _least(self, of_columns: Row) -> Row:
        least = np.full(len(self.variables) + 1, np.inf)
        np.minimum.at(least, self._variable_of, of_columns)
        return least[:-1]

    def _of_columns(self, of_variables: Row) -> Row:
        return np.concatenate([of_variables, [0.0]])[self._variable_of]

    def _n_values(self, block: Matrix) -> Counts:
        n_values = len(block) * self._n_columns
        for place, presence in self._presences.items():
            n_values[place] = np.count_nonzero(block[:, presence])
        return n_values

    def _merge_moments(
        self, n_values: Counts, count: Counts, mean: Row, squares: Row, lowest: Row, highest: Row
    ) -> None:
        total = self.count + count
        safe = np.maximum(total, 1)
        step = mean - self.mean
        self.squares = self.squares + squares + step**2 * self.count * count / safe
        self.mean = self.mean + step * count / safe
        self.count, self.n_values = total, self.n_values + n_values
        self.lowest = np.minimum(self.lowest, lowest)
        self.highest = np.maximum(self.highest, highest)

    @property
    def n_missing(self) -> Counts:
        """Number of missing values of each variable; of elements that are there."""
        return self.n_values - self.count

    @property
    def spread(self) -> Row:
        """Standard deviation of each variable; exactly 0 where all values are one."""
        spread = np.sqrt(self.squares / np.maximum(self.count, 1))
        return np.where(self.highest > self.lowest, spread, 0.0)

    def sampled(self, place: int) -> Row:
        """Return the values of a variable in the sample of events, missing ones too, but for elements not there."""
        variable, sample = self.variables[place], self.sample.features
        values: Row = sample[:, variable.columns].ravel()
        return values[sample[:, variable.presence].ravel() > 0] if variable.presence else values

    def known(self, place: int) -> Row:
        """Return the values of a variable in the sample of events that are not missing."""
        values = self.sampled(place)
        sentinels = self.sentinels[self.variables[place].columns[0]]
        return values[~is_missing(values[:, None], [sentinels])[:, 0]]

    def quantiles(self, levels: NDArray[np.float64]) -> Matrix:
        """Return the quantiles of each variable, shape ``(n_levels, n_variables)``.

        One that has a value so rarely that none is in the sample gets its mean at every level.
        """
        known = (self.known(place) for place in range(len(self.variables)))
        found = [
            np.quantile(values, levels) if values.size else np.full(len(levels), mean)
            for values, mean in zip(known, self.mean, strict=True)
        ]
        return np.array(found, dtype=np.float64).T
