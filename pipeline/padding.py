"""Padding: lists of any length become columns of the feature matrix, as many for every event.

Owns the arithmetic from the elements of a collection, or the pixels of an image, to the columns of their block, what
is refused there, and the account of what a collection's length cuts off. Works on all events of a chunk at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.blocks import Block, CollectionSpec
from pipeline.chunk import Chunk, Column, flattened
from pipeline.errors import ColumnTypeError, DataError
from pipeline.operations import is_text, widened


def collection_columns(
    block: Block, columns: Sequence[tuple[str, Column]], is_ordered: bool, chunk: Chunk
) -> NDArray[np.float64]:
    """Return the columns of a collection, shape ``(n_events, length * (n_values + 1))``.

    Args:
        block: where they belong.
        columns: the lists of each value, with what they are called.
        is_ordered: whether there is one list more, by which the elements of an event stand in falling order.
        chunk: the events, for messages.

    Raises:
        ColumnTypeError: a column holds something else than lists of numbers.
        DataError: lists of one event differ in length.

    """
    values, counts = numbers_of_lists(block, columns, chunk)
    length, n_numbers = block.shape
    events = np.repeat(np.arange(len(chunk)), counts)
    places = np.arange(len(events)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = np.flatnonzero(places < length)
    elements = _falling(values.pop(), events)[kept] if is_ordered else kept
    result = np.full((len(chunk) * length, n_numbers), np.nan)
    result[:, -1] = 0.0
    result[events[kept] * length + places[kept]] = np.stack(
        [*(numbers[elements] for numbers in values), np.ones(len(kept))], axis=1
    )
    return result.reshape(len(chunk), length * n_numbers)


def _falling(order: NDArray[np.float64], events: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return where the elements stand that come first, second, … in each event; what is no number comes last."""
    return np.lexsort((np.where(np.isfinite(order), -order, np.nan), events))


def numbers_of_lists(
    block: Block, columns: Sequence[tuple[str, Column]], chunk: Chunk
) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
    """Return the elements of each list, one event after the other, and their number in each event.

    Raises:
        ColumnTypeError, DataError: as for ``collection_columns``.

    """
    found = [_elements(block, text, column, chunk) for text, column in columns]
    _, counts = found[0]
    for (text, _), (_, others) in zip(columns, found, strict=True):
        if (differ := np.flatnonzero(counts != others)).size:
            row = int(differ[0])
            where = f"{chunk.source}: event {chunk.number_of(row)}: collection {block.name!r}"
            msg = f"{where} has {counts[row]} elements by {columns[0][0]!r} and {others[row]} by {text!r}"
            raise DataError(
                f"{msg}; its columns need as many entries as each other (they differ in {differ.size} events)"
            )
    return [values for values, _ in found], counts


def _elements(block: Block, text: str, column: Column, chunk: Chunk) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    lists = _widened(text, column)
    if len(chunk) and lists.ndim != 2:
        what = "one value an event" if lists.ndim == 1 else "lists of lists"
        advice = "one number an event belongs into [features] inputs" if lists.ndim == 1 else "flatten them"
        where = f"{chunk.source}: {text!r} has {what}"
        raise ColumnTypeError(
            f"{where}, and collection {block.name!r} needs a list of numbers for each event; {advice}"
        )
    return _numbers(lists)


def image_columns(block: Block, text: str, column: Column, chunk: Chunk) -> NDArray[np.float64]:
    """Return the pixels of an image, shape ``(n_events, n_pixels)``, from a column of fixed size or lists of one size.

    Raises:
        ColumnTypeError: the column holds one number an event, or text.
        DataError: an event has another number of pixels than the image, or they have another shape.

    """
    pixels, n_pixels = _widened(text, column), math.prod(block.shape)
    image = f"image {block.name!r} of shape {' x '.join(map(str, block.shape))}"
    if len(chunk) and pixels.ndim == 1:
        msg = f"{chunk.source}: {text!r} has one value an event, and {image} needs {n_pixels}"
        raise ColumnTypeError(f"{msg}: name a column of so many, or one column for each pixel; [features] inputs else")
    if isinstance(pixels, np.ndarray) and pixels.ndim > 2 and pixels.shape[1:] not in (block.shape, _plain(block)):
        found = " x ".join(map(str, pixels.shape[1:]))
        raise DataError(
            f"{chunk.source}: {text!r} has shape {found} in an event, and {image} takes no other than its own"
        )
    values, counts = _numbers(pixels)
    if (wrong := np.flatnonzero(counts != n_pixels)).size:
        where = f"{chunk.source}: event {chunk.number_of(wrong[0])}: {text!r} has {counts[wrong[0]]} numbers"
        raise DataError(f"{where}, and {image} needs {n_pixels} (it is so in {wrong.size} of {len(chunk)} events)")
    return values.reshape(len(chunk), n_pixels)


def _plain(block: Block) -> tuple[int, ...]:
    return block.shape[:-1] if block.shape[-1] == 1 else block.shape


def _widened(text: str, column: Column) -> Any:
    widest = widened(text, column)
    if is_text(widest):
        raise ColumnTypeError(f"{text!r} is text, and numbers are needed")
    return widest


def _numbers(lists: Column) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values, counts = flattened(lists)
    return values.astype(np.float64), counts


@dataclass
class Truncation:
    """What the ``length`` of a collection cuts off."""

    n_events: int = 0
    n_elements: int = 0
    n_events_cut: int = 0
    n_elements_cut: int = 0
    longest: int = 0

    def update(self, counts: NDArray[np.int64], length: int) -> None:
        """Take in the numbers of elements of more events, shape ``(n_events,)``."""
        beyond = np.maximum(counts - length, 0)
        self.n_events += counts.size
        self.n_elements += int(counts.sum())
        self.n_events_cut += int(np.count_nonzero(beyond))
        self.n_elements_cut += int(beyond.sum())
        self.longest = max(self.longest, int(counts.max(initial=0)))

    def told(self, name: str, spec: CollectionSpec) -> list[str]:
        """Return one sentence where something was cut off, else none."""
        if not self.n_elements_cut:
            return []
        last = "the last" if spec.order is None else f"those of the smallest {spec.order!r}"
        return [
            f"collection {name!r}: length = {spec.length} cuts off {self.n_elements_cut:,} of {self.n_elements:,}"
            f" elements ({last}), in {self.n_events_cut:,} of {self.n_events:,} events; the longest has {self.longest}"
        ]
