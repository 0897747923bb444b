"""The headline: the one number by which a network is known, whatever it seeks.

Owns its form, in memory and in a record; which number it is belongs to each evaluation.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from models.plain import plain
from models.scored import Measured


@dataclass(frozen=True)
class Headline:
    """A number of the test part: its ``name`` in machines (``auc``, ``rms``), its ``label`` in words."""

    name: str
    label: str
    value: Measured
    higher_is_better: bool


def headed(headline: Headline, record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with its headline on top, in plain lists and dictionaries."""
    whole: dict[str, Any] = plain({"headline": asdict(headline), **record})
    return whole


def recorded_headline(record: Mapping[str, Any]) -> Headline:
    """Return the headline of a record that `headed` made; what did not exist is NaN again.

    Records from before there were headlines are known by their AUC.
    """
    found = record.get("headline") or {"name": "auc", "label": "AUC", "value": record["auc"], "higher_is_better": True}
    value = {key: float("nan") if number is None else float(number) for key, number in found["value"].items()}
    return Headline(found["name"], found["label"], Measured(**value), found["higher_is_better"])


def that_exist(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the numbers that are finite."""
    return {name: float(value) for name, value in metrics.items() if isfinite(value)}


def with_errors(measured: Mapping[str, Measured]) -> dict[str, float]:
    """Return each number under its name, and its error under that and ``_error``."""
    values = {name: one.value for name, one in measured.items()}
    return values | {f"{name}_error": one.error for name, one in measured.items()}
