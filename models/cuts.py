"""Cuts: working points as they are asked for, and as a bundle stores and applies them.

Owns both declarations; how a threshold is found belongs to ``working_points``. An event *passes* when its score is at
or above the threshold, so that events of equal score pass together.

Bins of a variable cover everything: the outer two are open, so an event below the first edge or above the last
belongs to the nearest bin, in choosing, passing and quoting alike. An event at an inner edge belongs to the upper
bin. An event whose variable is NaN belongs to no bin: it has no say in a threshold, and never passes.
"""

import re
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, field_validator, model_validator

from pipeline.declare import Declaration
from pipeline.errors import DataError, DeclarationError

Quantity = Literal["signal_efficiency", "background_rejection", "purity"]

QUANTITIES: tuple[Quantity, ...] = ("signal_efficiency", "background_rejection", "purity")


class Bins(Declaration):
    """Bins of a variable, each between two of the ``edges``: every bin has its own threshold."""

    variable: str = Field(min_length=1)
    edges: Annotated[tuple[float, ...], Field(min_length=2)]

    @field_validator("edges")
    @classmethod
    def _rise(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if falls := [f"{high:g} follows {low:g}" for low, high in pairwise(edges) if not low < high]:
            raise ValueError(f"edges must rise, and {' and '.join(falls)}")
        return edges

    def places(self, values: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.intp]:
        """Return the bin of every event, in the ``shape`` of the scores: the nearest one if outside, -1 for NaN.

        Raises:
            DeclarationError: no values are given.
            DataError: the values are not numbers, or not one per score.

        """
        if values is None:
            raise DeclarationError(f"thresholds depend on {self.variable!r}: its values are needed, one per score")
        numbers = np.asarray(values)
        if numbers.dtype.kind not in "biuf":
            raise DataError(f"{self.variable!r} holds {numbers.dtype} values, and bins need numbers")
        if numbers.shape != shape:
            raise DataError(f"{self.variable!r} needs one value per score; received {numbers.shape} for {shape}")
        return np.where(np.isnan(numbers), -1, np.searchsorted(self.edges[1:-1], numbers, side="right"))


class WorkingPointSpec(Declaration):
    """One working point of the ``[evaluation]`` section: a name and exactly one request.

    The request is a ``signal_efficiency``, a ``background_rejection`` (1 / background efficiency) or a ``purity``
    (at the proportions of signal and background which the weights describe). With ``bins`` it is met in every bin.
    A threshold must let at least ``min_events`` events pass in every bin (signal for an efficiency, background for
    a rejection, of either class for a purity): raw numbers, against choices that are fluctuations.
    """

    name: str
    signal_efficiency: float | None = Field(None, gt=0.0, lt=1.0)
    background_rejection: float | None = Field(None, gt=1.0)
    purity: float | None = Field(None, gt=0.0, lt=1.0)
    bins: Bins | None = None
    min_events: int = Field(30, ge=1)

    @field_validator("name")
    @classmethod
    def _fit_a_column_name(cls, name: str) -> str:
        if re.fullmatch("[A-Za-z0-9_]+", name) is None:
            usable = re.sub("[^A-Za-z0-9]+", "_", name).strip("_") or "tight"
            msg = f"{name!r} cannot be part of a column name passes_…: letters, digits and _ can, as in {usable!r}"
            raise ValueError(msg)
        return name

    @model_validator(mode="after")
    def _request_one_thing(self) -> Self:
        if len(given := self._given()) != 1:
            raise ValueError(
                f"requests {' and '.join(given) or 'nothing'}; give exactly one of {', '.join(QUANTITIES)}"
            )
        return self

    @property
    def request(self) -> tuple[Quantity, float]:
        """What is requested, and how much of it."""
        return next(iter(self._given().items()))

    def _given(self) -> dict[Quantity, float]:
        return {quantity: value for quantity in QUANTITIES if (value := getattr(self, quantity)) is not None}


class Cut(Declaration):
    """A chosen working point, as a bundle stores it: what was requested, and the thresholds that came of it.

    One threshold, or one for each of its ``bins``.
    """

    name: str
    quantity: Quantity
    requested: float
    thresholds: Annotated[tuple[float, ...], Field(min_length=1)]
    bins: Bins | None = None

    @model_validator(mode="after")
    def _have_a_threshold_for_every_bin(self) -> Self:
        n_bins = 1 if self.bins is None else len(self.bins.edges) - 1
        if len(self.thresholds) != n_bins:
            raise ValueError(f"the number of thresholds is {len(self.thresholds)}, and of bins {n_bins}")
        return self

    def passes(self, scores: ArrayLike, values: ArrayLike | None = None) -> NDArray[np.bool_]:
        """Return which events pass, shape ``(n_events,)``.

        ``values`` are those of the variable of its bins, one per score; without bins they are not looked at.
        An event whose score or value is NaN does not pass. No events give an empty array.

        Raises:
            DeclarationError: the cut has bins, and no values are given.
            DataError: the values are not numbers, or not one per score.

        """
        score_array, thresholds = np.asarray(scores), np.asarray(self.thresholds)
        if self.bins is None:
            # An array's element, since a Python float would be rounded to the precision of the scores first.
            return np.asarray(score_array >= thresholds[0])
        places = self.bins.places(values, score_array.shape)
        return np.asarray((places >= 0) & (score_array >= thresholds[places]))
