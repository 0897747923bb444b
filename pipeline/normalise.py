"""Normalising: what is learnt about each feature, and the transform that follows from it.

Owns the streaming statistics (mergeable, exact to rounding, independent of the order of chunks) and the
``InputTransform`` from the feature matrix to what the network sees: missing values replaced, features
normalised, flags appended. The transform is data: it goes into the bundle as JSON and into the network's
file as a few operations, so that nobody normalises twice or differently.
"""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.blocks import Block
from pipeline.declare import Declaration
from pipeline.errors import DataError
from pipeline.missing import MissingSpec, is_missing
from pipeline.splitting import scramble

Matrix = NDArray[np.float64]

Row = NDArray[np.float64]
Counts = NDArray[np.int64]

SAMPLE_SIZE = 100_000
N_KNOTS = 65

BLOCK = 2048
"""Events at a time: a block of features and its mask stay in the cache."""


class NormaliseSpec(Declaration):
    """The ``[normalise]`` section.

    ``standard``: mean 0, standard deviation 1. ``robust``: median 0, interquartile range 1.349 (the width
    of a unit Gaussian). ``minmax``: 0 to 1. ``quantile``: a uniform distribution from -√3 to √3 (mean 0,
    standard deviation 1) by interpolation between 65 quantiles. ``none``: as it is.
    Values more than ``clip`` units from the centre are moved to that distance, so that one broken event
    cannot overflow the network; ``none`` does not clip.
    """

    method: Literal["standard", "robust", "minmax", "quantile", "none"] = "standard"
    clip: float = Field(100.0, gt=0)


class EventSample:
    """A random sample of events: those of smallest hash, the same whatever the order and the chunks.

    The hash is of identity and content, so that where many events share an identity (a run) the sample
    is still of all of them. Missing values stay as they are.
    """

    def __init__(self, n_features: int) -> None:
        self._features = [np.empty((0, n_features))]
        self._hashes = [np.empty(0, dtype=np.uint64)]
        self._largest: np.uint64 | None = None

    @property
    def features(self) -> Matrix:
        """At most ``SAMPLE_SIZE`` events, shape ``(n, n_features)``, in no order."""
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
        chosen = _smallest(hashes) if self._largest is None else np.flatnonzero(hashes < self._largest)
        self._features.append(features.take(chosen, axis=0))
        self._hashes.append(hashes[chosen])
        if sum(map(len, self._hashes)) > 2 * SAMPLE_SIZE:
            self._shrink()

    def _shrink(self) -> None:
        features, hashes = np.concatenate(self._features), np.concatenate(self._hashes)
        if len(hashes) > SAMPLE_SIZE:
            chosen = _smallest(hashes)
            features, hashes = features.take(chosen, axis=0), hashes[chosen]
        if len(hashes) == SAMPLE_SIZE:
            self._largest = hashes.max()
        self._features, self._hashes = [features], [hashes]


def _smallest(hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
    if len(hashes) <= SAMPLE_SIZE:
        return np.arange(len(hashes))
    return np.argpartition(hashes, SAMPLE_SIZE - 1)[:SAMPLE_SIZE]


def _content_bits(features: Matrix) -> NDArray[np.uint64]:
    """Return 64 bits for each row; odd factors keep every digit of every feature in the sum."""
    bits = np.ascontiguousarray(features).view(np.uint64)
    odd = scramble(np.arange(bits.shape[1], dtype=np.uint64)) | np.uint64(1)
    return np.asarray(np.einsum("ij,j->i", bits, odd), dtype=np.uint64)


class FeatureStatistics:
    """What is learnt about each feature, from the training part and from values that are not missing.

    Counts, mean and sum of squared deviations are merged by the pairwise update, which does not cancel;
    quantiles come from an ``EventSample``. With up to 100,000 events they are exact; above, the rank error
    is 0.0016 (one sigma).

    References:
        Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
        COMPSTAT 1982.

    """

    def __init__(self, sentinels: Sequence[Sequence[float]]) -> None:
        n_features = len(sentinels)
        self.sentinels = sentinels
        self.n_events = 0
        self.count = np.zeros(n_features, dtype=np.int64)
        self.mean = np.zeros(n_features)
        self.squares = np.zeros(n_features)
        self.lowest = np.full(n_features, np.inf)
        self.highest = np.full(n_features, -np.inf)
        self.sample = EventSample(n_features)

    def update(self, features: Matrix, identities: NDArray[np.uint64]) -> None:
        """Learn from more events.

        Args:
            features: shape ``(n_events, n_features)``.
            identities: shape ``(n_events,)``; what makes the sample independent of the order.

        """
        for start in range(0, len(features), BLOCK):
            self._update_moments(features[start : start + BLOCK])
        self.sample.update(features, identities)

    def merge(self, other: Self) -> None:
        """Take in what another state has learnt from other events."""
        self._merge_moments(other.n_events, other.count, other.mean, other.squares, other.lowest, other.highest)
        self.sample.merge(other.sample)

    def _update_moments(self, block: Matrix) -> None:
        missing = is_missing(block, self.sentinels)
        count = len(block) - missing.sum(axis=0)
        if count.sum() == block.size:
            mean = block.mean(axis=0)
            deviation, lowest, highest = block - mean, block.min(axis=0), block.max(axis=0)
        else:
            mean = np.where(missing, 0.0, block).sum(axis=0) / np.maximum(count, 1)
            deviation = np.where(missing, 0.0, np.where(missing, 0.0, block) - mean)
            lowest = np.where(missing, np.inf, block).min(axis=0)
            highest = np.where(missing, -np.inf, block).max(axis=0)
        squares = np.einsum("ij,ij->j", deviation, deviation)
        self._merge_moments(len(block), count, mean, squares, lowest, highest)

    def _merge_moments(self, n_events: int, count: Counts, mean: Row, squares: Row, lowest: Row, highest: Row) -> None:
        total = self.count + count
        safe = np.maximum(total, 1)
        step = mean - self.mean
        self.squares = self.squares + squares + step**2 * self.count * count / safe
        self.mean = self.mean + step * count / safe
        self.count, self.n_events = total, self.n_events + n_events
        self.lowest = np.minimum(self.lowest, lowest)
        self.highest = np.maximum(self.highest, highest)

    @property
    def n_missing(self) -> NDArray[np.int64]:
        """Number of missing values of each feature, shape ``(n_features,)``."""
        return self.n_events - self.count

    @property
    def spread(self) -> NDArray[np.float64]:
        """Standard deviation of each feature, shape ``(n_features,)``; exactly 0 where all values are one."""
        spread = np.sqrt(self.squares / np.maximum(self.count, 1))
        return np.where(self.highest > self.lowest, spread, 0.0)

    def quantiles(self, levels: NDArray[np.float64]) -> Matrix:
        """Return the quantiles of each feature, shape ``(n_levels, n_features)``.

        A feature that has a value so rarely that none is in the sample gets its mean at every level.
        """
        sample = self.sample.features
        known = np.where(is_missing(sample, self.sentinels), np.nan, sample)
        unseen = np.isnan(known).all(axis=0)
        known[:, unseen] = self.mean[unseen]
        return np.asarray(np.nanquantile(known, levels, axis=0), dtype=np.float64)


class InputTransform(Declaration):
    """From the feature matrix to the network's input, as plain data.

    ``y = clip((x - offset) * scale)`` for each feature, or between knots for ``quantile``; then one flag for
    each feature in ``flagged``. Computed in double precision, handed on in single. ``refused`` are the features
    that may not be missing, by their place: whoever scores events looks at them first.
    """

    features: tuple[str, ...]
    sentinels: tuple[tuple[float, ...], ...]
    fill: tuple[float, ...]
    flagged: tuple[int, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    clip: float | None
    knots: tuple[tuple[float, ...], ...] | None = None
    refused: dict[int, str] = Field(default_factory=dict)
    blocks: tuple[Block, ...] = ()

    @property
    def n_inputs(self) -> int:
        """Number of inputs of the network: features and flags."""
        return len(self.features) + len(self.flagged)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the network's inputs, in their order."""
        return self.features + tuple(f"{self.features[i]} is missing" for i in self.flagged)

    def missing(self, features: Matrix) -> NDArray[np.bool_]:
        """Return where values are missing, shape ``(n_events, n_features)``."""
        return is_missing(features, self.sentinels)

    def apply(self, features: Matrix) -> NDArray[np.float32]:
        """Return the network's input, shape ``(n_events, n_inputs)``, for features ``(n_events, n_features)``."""
        missing = self.missing(features)
        filled = np.where(missing, np.array(self.fill), features)
        result = np.empty((len(features), self.n_inputs), dtype=np.float32)
        result[:, : len(self.features)] = self._normalised(filled)
        result[:, len(self.features) :] = missing[:, list(self.flagged)]
        return result

    def _normalised(self, filled: Matrix) -> Matrix:
        if self.knots is not None:
            filled = self._ranks(filled, np.array(self.knots))
        y: Matrix = (filled - np.array(self.offset)) * np.array(self.scale)
        return y if self.clip is None else np.clip(y, -self.clip, self.clip, out=y)

    @staticmethod
    def _ranks(filled: Matrix, knots: Matrix) -> Matrix:
        """Return the interpolated rank, 0 to 1, of each value; knots have shape ``(n_knots, n_features)``.

        The number of intervals below a value, and how far it reaches into its own. Intervals of no width
        (several equal quantiles) are passed in one step.
        """
        ranks = np.empty_like(filled)
        for j, (x, knot) in enumerate(zip(filled.T, knots.T, strict=True)):
            below = np.clip(np.searchsorted(knot, x, side="right") - 1, 0, len(knot) - 2)
            low, high = knot[below], knot[below + 1]
            width = high - low
            share = np.where(width > 0, (np.clip(x, low, high) - low) / np.where(width > 0, width, 1), x >= high)
            ranks[:, j] = below + share
        return ranks / (len(knots) - 1)


def fit_transform(
    statistics: FeatureStatistics, names: tuple[str, ...], normalise: NormaliseSpec, missing: MissingSpec
) -> InputTransform:
    """Return the transform that follows from what was learnt on the training part.

    Raises:
        DataError: a feature has no value at all.

    """
    _refuse_unknown(statistics, names)
    offset, scale, knots = _method(statistics, normalise)
    policies = [missing.of(name) for name in names]
    median = statistics.quantiles(np.array([0.5]))[0]
    learnt = {"median": median, "mean": statistics.mean, "refuse": median}
    fill = [float(learnt[p.policy][i]) if isinstance(p.policy, str) else p.policy for i, p in enumerate(policies)]
    flagged = [i for i, p in enumerate(policies) if p.flag and statistics.n_missing[i]]
    return InputTransform(
        features=names,
        sentinels=tuple(p.values for p in policies),
        fill=tuple(fill),
        flagged=tuple(flagged),
        offset=tuple(offset.tolist()),
        scale=tuple(scale.tolist()),
        clip=None if normalise.method == "none" else normalise.clip,
        knots=knots,
        refused=missing.refused(names),
    )


def _refuse_unknown(statistics: FeatureStatistics, names: tuple[str, ...]) -> None:
    for name, count in zip(names, statistics.count, strict=True):
        if not count:
            msg = f"feature {name!r} has no value in any of the {statistics.n_events} training events: each is NaN, "
            raise DataError(msg + "infinite (as is what single precision cannot hold), or one of [features] missing")


def _method(statistics: FeatureStatistics, spec: NormaliseSpec) -> tuple[Any, Any, Any]:
    """Return offset, scale (each ``(n_features,)``) and knots of the declared method."""
    ones = np.ones_like(statistics.mean)
    match spec.method:
        case "standard":
            # The mean of equal values is not always that value to the last digit.
            centre = np.where(statistics.spread > 0, statistics.mean, statistics.lowest)
            return centre, _inverse(statistics.spread), None
        case "robust":
            low, middle, high = statistics.quantiles(np.array([0.25, 0.5, 0.75]))
            # Where half of the values are equal the quartiles say nothing; the standard deviation does.
            width = np.where(high > low, (high - low) / 1.349, statistics.spread)
            return middle, _inverse(width), None
        case "minmax":
            return statistics.lowest, _inverse(statistics.highest - statistics.lowest), None
        case "quantile":
            knots = statistics.quantiles(np.linspace(0, 1, N_KNOTS))
            return 0.5 * ones, np.sqrt(12) * ones, tuple(map(tuple, knots.tolist()))
        case "none":
            return 0 * ones, ones, None


def _inverse(width: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / width, and 1 for a constant feature, which is then 0 wherever it has that value."""
    return 1 / np.where(width > np.finfo(np.float64).tiny, width, 1.0)
