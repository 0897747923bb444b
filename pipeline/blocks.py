"""Blocks: neighbouring columns of the feature matrix that belong together.

Owns the sections ``[features.collections.NAME]`` and ``[features.images.NAME]``, and the order of all columns of the
feature matrix: flat inputs, collections, images, the latter two by their names. How lists become columns is
``padding``'s business.

An element that is not there has NaN for values and 0 for its presence: that is how statistics pass it by, how a
transform fills it in, and how a network knows that it is to be ignored.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.declare import Declaration
from pipeline.layout import repeated_names

PRESENT = "present"
Size = Annotated[int, Field(ge=1)]


class CollectionSpec(Declaration):
    """A section ``[features.collections.NAME]``: the numbers that are known of each element, as of each jet.

    ``inputs`` are jagged columns or expressions of them. With ``order``, another such one, the largest element comes
    first; equal ones stay in the order of the file, and one without a value comes last. ``length`` elements of an
    event are kept.
    """

    inputs: tuple[str, ...] = Field(min_length=1)
    order: str | None = None
    length: Size

    @model_validator(mode="after")
    def _are_different(self) -> Self:
        if twice := repeated_names(self.inputs):
            raise ValueError(f"names an input twice: {', '.join(twice)}")
        return self

    @property
    def block_shape(self) -> tuple[int, ...]:
        """Elements, and numbers for each: its values and its presence."""
        return self.length, len(self.inputs) + 1

    @property
    def texts(self) -> tuple[str, ...]:
        """All that has to be computed."""
        return self.inputs if self.order in (None, *self.inputs) else (*self.inputs, str(self.order))


class ImageSpec(Declaration):
    """A section ``[features.images.NAME]``: ``pixels`` row by row, a column of fixed size or a list of flat ones.

    ``shape`` is height and width, and channels where there are several; or the width alone, for a row of pixels.
    """

    pixels: str | Annotated[tuple[str, ...], Field(min_length=1)]
    shape: Annotated[tuple[Size, ...], Field(min_length=1, max_length=3)]

    @model_validator(mode="after")
    def _fills_the_shape(self) -> Self:
        if isinstance(self.pixels, str):
            return self
        if twice := repeated_names(self.pixels):
            raise ValueError(f"pixels names a column twice: {', '.join(twice)}")
        if len(self.pixels) != math.prod(self.shape):
            needed = f"shape = {list(self.shape)} needs {math.prod(self.shape)}"
            raise ValueError(f"pixels names {len(self.pixels)} columns, and {needed}, one for each pixel")
        return self

    @property
    def block_shape(self) -> tuple[int, ...]:
        """The shape with its channels."""
        return self.shape if len(self.shape) == 3 else (*self.shape, 1)

    @property
    def texts(self) -> tuple[str, ...]:
        """All that has to be computed."""
        return (self.pixels,) if isinstance(self.pixels, str) else self.pixels


class Block(Declaration):
    """Columns that belong together, in the feature matrix and in the network's inputs alike.

    ``shape`` is that of an event: ``(length, n_values + 1)`` for a collection, the last of an element being its
    presence, 1 or 0; ``(height, width, channels)`` or ``(width, channels)`` for an image. Columns are row by row.
    """

    name: str
    kind: Literal["collection", "image"]
    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        """The first column that is not in the block."""
        return self.start + math.prod(self.shape)

    @property
    def columns(self) -> range:
        """All columns of the block."""
        return range(self.start, self.stop)

    @property
    def presence(self) -> range:
        """The columns that say which elements are there; none of an image."""
        step = self.shape[-1]
        return range(self.start + step - 1, self.stop if self.kind == "collection" else self.start, step)


@dataclass(frozen=True)
class Variable:
    """Columns that share what is learnt: a flat input alone, one value of all elements, all pixels of an image.

    ``text`` is what ``[features] missing.overrides`` call it. ``presence`` are the columns that say where there is an
    element at all, one for each of ``columns``, or none where there always is. ``of_what`` it is a value, for messages.
    """

    name: str
    text: str
    columns: range
    presence: range = range(0)
    of_what: str = "training events"

    def __str__(self) -> str:
        return self.name


class InputSpec(Declaration):
    """What a network is given of each event: ``inputs``, one number each, then ``collections``, then ``images``."""

    inputs: tuple[str, ...] = ()
    collections: dict[str, CollectionSpec] = Field(default_factory=dict)
    images: dict[str, ImageSpec] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        groups = [*self.inputs, *self.collections, *self.images]
        if not groups:
            raise ValueError("there is no input: needed are inputs = [ … ], or a section of collections or images")
        if twice := repeated_names(groups):
            raise ValueError(f"inputs, collections and images need different names; used twice: {', '.join(twice)}")
        if twice := repeated_names(self.names):
            raise ValueError(f"two features would be called {twice[0]!r}; choose another name")
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns and expressions from which features are made, each once."""
        of_collections = (text for spec in self.collections.values() for text in spec.texts)
        of_images = (text for spec in self.images.values() for text in spec.texts)
        return tuple(dict.fromkeys((*self.inputs, *of_collections, *of_images)))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks, in the order of their columns; sorted, so that it does not hang on the order of a table."""
        found: list[Block] = []
        start = len(self.inputs)
        for kind, specs in (("collection", self.collections), ("image", self.images)):
            for name in sorted(specs):
                found.append(Block(name=name, kind=kind, start=start, shape=specs[name].block_shape))
                start = found[-1].stop
        return tuple(found)

    @property
    def n_columns(self) -> int:
        """Number of columns of the feature matrix."""
        return max([len(self.inputs), *(block.stop for block in self.blocks)])

    @property
    def variables(self) -> tuple[Variable, ...]:
        """What features there are, each with its columns; presences are none."""
        flat = [Variable(text, text, range(place, place + 1)) for place, text in enumerate(self.inputs)]
        return (*flat, *(variable for block in self.blocks for variable in self._variables_of(block)))

    def _variables_of(self, block: Block) -> list[Variable]:
        if block.kind == "image":
            pixels = self.images[block.name].pixels
            text = pixels if isinstance(pixels, str) else block.name
            return [Variable(block.name, text, block.columns, of_what="pixels of the training events")]
        of_what = "elements in the training events"
        return [
            Variable(f"{block.name}.{text}", text, block.columns[place :: block.shape[-1]], block.presence, of_what)
            for place, text in enumerate(self.collections[block.name].inputs)
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns: ``met``, ``jets.jet_pt[0]``, ``jets.present[0]``, ``cutout[0]``."""
        return (*self.inputs, *(name for block in self.blocks for name in self._names_of(block)))

    def _names_of(self, block: Block) -> list[str]:
        if block.kind == "image":
            return [f"{block.name}[{pixel}]" for pixel in range(math.prod(block.shape))]
        values = (*self.collections[block.name].inputs, PRESENT)
        return [f"{block.name}.{value}[{element}]" for element in range(block.shape[0]) for value in values]


def variable_of_columns(variables: Sequence[Variable], n_columns: int) -> NDArray[np.intp]:
    """Return the place of each column's variable, shape ``(n_columns,)``; of a presence, which has none, one beyond."""
    places = np.full(n_columns, len(variables), dtype=np.intp)
    for place, variable in enumerate(variables):
        places[variable.columns] = place
    return places


def groups_of(names: Sequence[str], blocks: Sequence[Block]) -> dict[str, tuple[int, ...]]:
    """Return the columns that are looked at as one, by name: each that is in no block, then each block as a whole."""
    in_blocks = {place for block in blocks for place in block.columns}
    flat = {name: (place,) for place, name in enumerate(names) if place not in in_blocks}
    return {**flat, **{block.name: tuple(block.columns) for block in blocks}}


def is_absent(features: NDArray[np.float64], blocks: Sequence[Block]) -> NDArray[np.bool_]:
    """Return which values are of elements that are not there; both of shape ``(n_events, n_features)``."""
    absent = np.zeros(features.shape, dtype=np.bool_)
    for block in blocks:
        if block.kind == "collection":
            absent[:, block.start : block.stop] = np.repeat(features[:, block.presence] == 0, block.shape[-1], axis=1)
        absent[:, block.presence] = False
    return absent
