"""Missing values: what counts as missing, and what each feature does about it.

Owns the policy. NaN and ±inf always count; sentinels such as -999 where they are declared. What takes
a missing value's place is learnt in ``normalise``, on the training part alone.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.blocks import Block, InputSpec, is_absent
from pipeline.declare import Declaration
from pipeline.errors import DataError

Policy = Literal["median", "mean", "refuse"] | float


class MissingPolicy(Declaration):
    """What one feature does about missing values.

    ``values`` are sentinels. ``policy`` says what takes their place: the median or mean of the training
    part, a number of one's own (in the feature's unit), or nothing (``refuse``: an error that counts them, when
    events are prepared and when they are scored).
    With ``flag`` the network gets one more input, 1 where the value was missing, for every feature that
    has missing values in the training part.
    """

    values: tuple[float, ...] = ()
    policy: Policy = "median"
    flag: bool = False


class MissingOverride(Declaration):
    """What one feature does otherwise than all; what is not said here stays as it is for all."""

    values: tuple[float, ...] | None = None
    policy: Policy | None = None
    flag: bool | None = None


class MissingSpec(MissingPolicy):
    """``[features] missing``: the policy for all features, and ``overrides`` for some, by name.

    That is what stands among the inputs, also those of a collection; the pixels of an image, or the image's name
    where they are many columns. Of an element that is not there nothing is missing.
    """

    overrides: dict[str, MissingOverride] = Field(default_factory=dict)

    def of(self, feature: str) -> MissingPolicy:
        """Return the policy that holds for ``feature``."""
        general = self.model_dump(exclude={"overrides"})
        own = self.overrides[feature].model_dump(exclude_none=True) if feature in self.overrides else {}
        return MissingPolicy(**{**general, **own})

    def of_columns(self, inputs: InputSpec) -> tuple[MissingPolicy, ...]:
        """Return the policy of each column of the feature matrix; a presence, always 0 or 1, is never missing."""
        policies = [MissingPolicy(policy=0.0)] * inputs.n_columns
        for variable in inputs.variables:
            policy = self.of(variable.text)
            for place in variable.columns:
                policies[place] = policy
        return tuple(policies)

    def refused(self, inputs: InputSpec) -> dict[int, str]:
        """Return the columns of the feature matrix that may not be missing, by their place."""
        policies = zip(inputs.names, self.of_columns(inputs), strict=True)
        return {place: name for place, (name, found) in enumerate(policies) if found.policy == "refuse"}


def is_missing(features: NDArray[np.float64], sentinels: Sequence[Sequence[float]]) -> NDArray[np.bool_]:
    """Return where values are missing; both of shape ``(n_events, n_features)``, one list of sentinels a feature.

    The comparison is made in single precision, because a sentinel such as -99.99 that was stored in single
    precision is not the double-precision number of the experiment file; a value too large for single
    precision counts as infinite, and so does a sentinel.
    """
    with np.errstate(over="ignore"):
        single = features.astype(np.float32)
        # NaN equals nothing, so it stands where a feature has fewer sentinels than others.
        rows = [np.array(row, dtype=np.float32) for row in zip_longest(*sentinels, fillvalue=np.nan)]
    missing = ~np.isfinite(single)
    for row in rows:
        missing |= single == row
    return missing


def refuse_missing(
    features: NDArray[np.float64],
    refused: Mapping[int, str],
    sentinels: Sequence[Sequence[float]],
    source: str,
    blocks: Sequence[Block] = (),
) -> None:
    """Refuse events in which a feature is missing that may not be; elements that are not there miss nothing.

    Args:
        features: shape ``(n_events, n_features)``.
        refused: the features whose policy is ``refuse``: place in the matrix → name.
        sentinels: one list for each feature of the matrix.
        source: what the message calls the events.
        blocks: those of the matrix.

    Raises:
        DataError: the message counts the missing values of the first such feature.

    """
    if not refused:
        return
    places = list(refused)
    missing = is_missing(features[:, places], [sentinels[place] for place in places])
    if blocks:
        missing &= ~is_absent(features, blocks)[:, places]
    for name, n_missing in zip(refused.values(), missing.sum(axis=0), strict=True):
        if n_missing:
            msg = f"{source}: feature {name!r} is missing in {n_missing} of {len(features)} events"
            raise DataError(f"{msg}, and its policy is 'refuse'; 'median', 'mean' or a number would take their place")
