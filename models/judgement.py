"""Judgement: what every evaluation has, whatever the network finds.

Owns what training, promotion and reports may ask of any evaluation, and how its headline is written down and read
again.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from models.headline import Headline
from models.histograms import ClassCount
from models.plain import plain
from models.scored import Measured


class Judgement(Protocol):
    """An evaluation of a network of any head; numbers are those of the test part unless their name says otherwise."""

    @property
    def headline(self) -> Headline:
        """The one number by which the network is known."""

    @property
    def counts(self) -> tuple[ClassCount, ...]:
        """What each part holds."""

    def metrics(self) -> dict[str, float]:
        """Return the numbers that exist under the names that they have everywhere."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain lists and dictionaries; a number that does not exist is ``None``."""


def record_of(found: Judgement) -> dict[str, Any]:
    """Return what is written down of an evaluation: all of it, and which of its numbers is the headline."""
    return {"headline": plain(asdict(found.headline)), **found.to_json()}


def recorded_headline(record: Mapping[str, Any]) -> Headline:
    """Return the headline of a record; one from before there were several heads has its AUC for it."""
    said = record.get("headline", {"name": "auc", "label": "AUC", "higher_is_better": True, "value": record.get("auc")})
    value, error = said["value"]["value"], said["value"]["error"]
    measured = Measured(_number(value), _number(error))
    return Headline(said["name"], said["label"], measured, said["higher_is_better"])


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
