"""Judgement: what every evaluation has, whatever the network finds."""

from typing import Any, Protocol

from models.headline import Headline
from models.histograms import ClassCount


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
