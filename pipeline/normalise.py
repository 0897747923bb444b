"""Normalising: the transform that follows from what is learnt about each feature.

Owns the ``InputTransform`` from the feature matrix to what the network sees: missing values replaced, features
normalised, flags appended. The transform is data: it goes into the bundle as JSON and into the network's
file as a few operations, so that nobody normalises twice or differently. What is learnt, and from which events, is
``feature_statistics``' business.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.blocks import Block, InputSpec, Variable, groups_of, variable_of_columns
from pipeline.declare import Declaration
from pipeline.errors import DataError
from pipeline.feature_statistics import FeatureStatistics
from pipeline.missing import MissingSpec, is_missing

Matrix = NDArray[np.float64]

N_KNOTS = 65
LINEAR = np.linspace(0.0, 1.0, N_KNOTS)
"""The knots between which 0 stays 0 and 1 stays 1, as a presence is to."""


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


class InputTransform(Declaration):
    """From the feature matrix to the network's input, as plain data.

    ``y = clip((x - offset) * scale)`` for each feature, or between knots for ``quantile``; then one flag for
    each feature in ``flagged``. Computed in double precision, handed on in single. ``refused`` are the features
    that may not be missing, by their place: whoever scores events looks at them first. ``blocks`` are the features
    that belong together; in them, what is not there counts as missing, and a presence is handed on as it is.
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
    def groups(self) -> dict[str, tuple[int, ...]]:
        """The features that are looked at as one, by name: each flat one, and each block as a whole."""
        return groups_of(self.features, self.blocks)

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
    statistics: FeatureStatistics, inputs: InputSpec, normalise: NormaliseSpec, missing: MissingSpec
) -> InputTransform:
    """Return the transform that follows from what was learnt about the variables of ``inputs`` in the training part.

    Raises:
        DataError: a feature has no value at all.

    """
    _refuse_unknown(statistics, inputs.variables)
    variable_of = variable_of_columns(inputs.variables, inputs.n_columns)

    def of_columns(of_variables: NDArray[Any], of_presence: Any) -> NDArray[Any]:
        return np.concatenate([of_variables, [of_presence]])[variable_of]

    offset, scale, knots = _method(statistics, normalise)
    policies = missing.of_columns(inputs)
    median = of_columns(statistics.quantiles(np.array([0.5]))[0], 0.0)
    learnt = {"median": median, "mean": of_columns(statistics.mean, 0.0), "refuse": median}
    fill = [float(learnt[p.policy][i]) if isinstance(p.policy, str) else p.policy for i, p in enumerate(policies)]
    has_missing = of_columns(statistics.n_missing > 0, False)
    # A flag for an element would be told of one that is not there as well, and count as an input without an order.
    padded = {
        column for block in inputs.blocks if block.kind == "collection" for column in range(block.start, block.stop)
    }
    return InputTransform(
        features=inputs.names,
        sentinels=tuple(p.values for p in policies),
        fill=tuple(fill),
        flagged=tuple(i for i, p in enumerate(policies) if p.flag and has_missing[i] and i not in padded),
        offset=tuple(of_columns(offset, 0.0).tolist()),
        scale=tuple(of_columns(scale, 1.0).tolist()),
        clip=None if normalise.method == "none" else normalise.clip,
        knots=None if knots is None else tuple(map(tuple, of_columns(knots.T, LINEAR).T.tolist())),
        refused=missing.refused(inputs),
        blocks=inputs.blocks,
    )


def _refuse_unknown(statistics: FeatureStatistics, variables: Sequence[Variable]) -> None:
    for variable, count in zip(variables, statistics.count, strict=True):
        if not count:
            name = variable.name
            msg = f"feature {name!r} has no value in any of the {statistics.n_events} training events: each is NaN, "
            raise DataError(msg + "infinite (as is what single precision cannot hold), or one of [features] missing")


def _method(statistics: FeatureStatistics, spec: NormaliseSpec) -> tuple[Any, Any, Any]:
    """Return offset, scale (each ``(n_variables,)``) and knots ``(n_knots, n_variables)`` of the declared method."""
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
            return 0.5 * ones, np.sqrt(12) * ones, knots
        case "none":
            return 0 * ones, ones, None


def _inverse(width: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / width, and 1 for a constant feature, which is then 0 wherever it has that value."""
    return 1 / np.where(width > np.finfo(np.float64).tiny, width, 1.0)
