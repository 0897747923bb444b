"""Blocks: neighbouring columns of the feature matrix that belong together.

Owns what a block is: the elements of a collection, or the pixels of an image, in a row of plain numbers. A network
that knows the block gives its columns their shape back; to any other they are columns as all others.
"""

import math
from typing import Literal

from pipeline.declare import Declaration


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
