"""Suspicion: what looks wrong with a feature although it is allowed.

Owns the rules of thumb: a code for "missing" that nobody declared, a value absurdly far out, a feature that is
mostly missing or always the same. They only speak; what is refused is refused where events are read. The rules
are to stay silent on healthy data: a note that comes every time is read by nobody.
"""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.feature_statistics import FeatureStatistics
from pipeline.missing import MissingPolicy, MissingSpec
from pipeline.normalise import NormaliseSpec

CODES = (-99.0, -999.0, -9999.0, -99999.0, -999999.0, 999.0, 9999.0, 99999.0, 999999.0)
"""What files write for a value that is not there."""

ROUND_CODES = (-1000.0, 99.0, 1000.0)
"""As well, but real values end here too, so that only a lonely one is suspicious."""

LONELY = 3.0
"""Widths of the other values (from 1 % to 99 %) between these and a code."""

REPEATED = 0.001
"""Share of events from which on a code at the edge of the values is suspicious without being lonely."""

FEWEST_REPEATS = 3

FAR = 1e4
"""Interquartile ranges from the median: a value from beyond decides what is learnt of all the others."""

LARGEST = float(np.finfo(np.float32).max)

_HARM = {
    "standard": "decides mean and spread",
    "minmax": "decides the range",
    "none": "goes into the network as it is",
    "robust": "decides the spread, for the quartiles are equal",
}
"""What one value does that is far out, by method of normalisation; between quantiles it does nothing."""


@dataclass(frozen=True, eq=False)
class _Feature:
    """One feature: its values in the sample of events, and what is known of it from all of them.

    ``text`` is what ``[features] missing`` calls it, and ``of`` what its values are values of.
    """

    name: str
    text: str
    of: str
    policy: MissingPolicy
    has_own_codes: bool
    values: NDArray[np.float64]
    n_sampled: int
    beyond: NDArray[np.float64]
    lowest: float
    highest: float


def suspicions(statistics: FeatureStatistics, missing: MissingSpec, normalise: NormaliseSpec) -> list[str]:
    """Return one sentence for everything about the training part's features that deserves a look; often none."""
    notes: list[str] = []
    for i, (name, share) in enumerate(missing_shares(statistics).items()):
        if not statistics.count[i]:
            continue  # refused elsewhere
        feature = _feature(statistics, i, missing)
        if feature.lowest == feature.highest:
            notes.append(
                f"{name!r} is {feature.lowest:g} wherever it has a value: it cannot tell one class from another"
            )
        else:
            notes += _about_codes(feature) + _about_far_values(feature, normalise)
        notes += _about_beyond(feature) + _about_missing(feature, share)
    return notes


def missing_shares(statistics: FeatureStatistics) -> dict[str, float]:
    """Return the share of the training events in which each feature is missing, 0 to 1; of a block, of its values."""
    shares = statistics.n_missing / np.maximum(statistics.n_values, 1)
    return dict(zip(map(str, statistics.variables), map(float, shares), strict=True))


def percent(share: float) -> str:
    """Return a share (0 to 1) as a person writes it: ``33 %``, ``0.05 %``."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _feature(statistics: FeatureStatistics, place: int, missing: MissingSpec) -> _Feature:
    variable, sampled, known = statistics.variables[place], statistics.sampled(place), statistics.known(place)
    lowest, highest = float(statistics.lowest[place]), float(statistics.highest[place])
    override = missing.overrides.get(variable.text)
    return _Feature(
        variable.name,
        variable.text,
        variable.of_what,
        missing.of(variable.text),
        override is not None and override.values is not None,
        # An extreme value is looked at even where the sample has passed it by.
        np.concatenate([known, [value for value in (lowest, highest) if value not in known]]),
        len(sampled),
        sampled[np.isfinite(sampled) & (np.abs(sampled) > LARGEST)],
        lowest,
        highest,
    )


def _suspected(feature: _Feature) -> list[float]:
    """Return the undeclared codes at the edges of a feature's values; never all values there are."""
    possible = np.isin(feature.values, CODES + ROUND_CODES)
    plain = feature.values[~possible]
    if not possible.any() or not plain.size:
        return []
    codes = (float(code) for code in np.unique(feature.values[possible]))
    return [code for code in codes if _is_suspicious(code, int((feature.values == code).sum()), plain)]


def _is_suspicious(code: float, times: int, plain: NDArray[np.float64]) -> bool:
    if plain.min() <= code <= plain.max():
        return False
    low, high = np.quantile(plain, [0.01, 0.99])
    if not low - LONELY * (high - low) <= code <= high + LONELY * (high - low):
        return True
    usual = len(plain) / len(np.unique(plain))
    often = times >= FEWEST_REPEATS and times > REPEATED * (len(plain) + times) and times > 10 * usual
    return often and code in CODES


def _about_codes(feature: _Feature) -> list[str]:
    codes = _suspected(feature)
    if not codes:
        return []
    shares = [(feature.values == code).sum() / feature.n_sampled for code in codes]
    told = " and ".join(f"{code:.0f} in {percent(share)}" for code, share in zip(codes, shares, strict=True))
    values = f"values = {[*feature.policy.values, *codes]}"
    if feature.has_own_codes:
        values = f"overrides = {{ {json.dumps(feature.text, ensure_ascii=False)} = {{ {values} }} }}"
    return [
        f"{feature.name!r} is exactly {told} of the {feature.of}: if that means missing,"
        f" write [features] missing = {{ {values} }}"
    ]


def _about_far_values(feature: _Feature, normalise: NormaliseSpec) -> list[str]:
    values = feature.values[~np.isin(feature.values, _suspected(feature))]
    low, q25, median, q75, high = np.quantile(values, [0.01, 0.25, 0.5, 0.75, 0.99])
    if normalise.method == "quantile" or (normalise.method == "robust" and q75 > q25):
        return []
    # Where half of the values, or nearly all, are equal, the next wider measure has to say what is usual.
    width = (q75 - q25) or (high - low) or max(abs(median), 1.0)
    reached = max(values.min(), values.max(), key=lambda value: abs(value - median))
    if abs(reached - median) <= FAR * width:
        return []
    better = "robust" if q75 > q25 else "quantile"
    return [
        f"{feature.name!r} reaches {reached:g}, where half of the values lie in [{q25:.4g}, {q75:.4g}]:"
        f" one such value {_HARM[normalise.method]}; write [normalise] method = {better!r}, or cut it away"
    ]


def _about_beyond(feature: _Feature) -> list[str]:
    """Tell of numbers that single precision cannot hold, unless such a one is declared to be a code."""
    if not feature.beyond.size or max(map(abs, feature.policy.values), default=0.0) > LARGEST:
        return []
    reached = max(feature.beyond.tolist(), key=abs)
    share = percent(len(feature.beyond) / feature.n_sampled)
    return [
        f"{feature.name!r} reaches {reached:g}, too large for single precision: it counts as missing in {share} of"
        f" the {feature.of}"
    ]


def _about_missing(feature: _Feature, share: float) -> list[str]:
    """Tell of a feature that is mostly missing, where neither a flag nor a number of its own says so to the network."""
    if share <= 0.5 or feature.policy.flag or not isinstance(feature.policy.policy, str):
        return []
    return [
        f"{feature.name!r} is missing in {percent(share)} of the {feature.of}, and the network is not told where;"
        " add flag = true to [features] missing, or leave it out"
    ]
