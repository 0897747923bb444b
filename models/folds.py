"""Folds: several networks, of which each event is scored by one that has not seen it.

Owns which of a bundle's k networks may score an event. One whose content is among the events of the experiment gets
the network that it tested; an event that is new to all of them gets the mean of the k scores.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

NEW = -1
"""In place of a fold: the event is new to every network, or its content was seen by all of them."""


@dataclass(frozen=True, eq=False)
class KnownEvents:
    """The events of an experiment: ``contents`` (rising) and ``folds``, as unsigned integers, both ``(n_contents,)``.

    A content that events of several folds have in common was seen by every network; its fold is ``n_folds``.
    """

    contents: NDArray[np.uint64]
    folds: NDArray[np.uint64]
    n_folds: int

    @classmethod
    def gather(cls, contents: NDArray[np.uint64], folds: NDArray[np.integer], n_folds: int) -> Self:
        """Take in events of any order, both arrays ``(n_events,)``."""
        order = np.lexsort((folds, contents))
        contents, folds = contents[order], folds[order].astype(np.uint64)
        first = np.flatnonzero(np.r_[True, contents[1:] != contents[:-1]]) if contents.size else np.arange(0)
        last = np.r_[first[1:], contents.size] - 1 if contents.size else first
        is_shared = folds[first] != folds[last]
        return cls(contents[first], np.where(is_shared, np.uint64(n_folds), folds[first]), n_folds)

    @classmethod
    def load(cls, path: Path, n_folds: int) -> Self:
        """Open what ``save`` wrote, as a memory map."""
        rows = np.load(path, mmap_mode="r")
        return cls(rows[0], rows[1], n_folds)

    def save(self, path: Path) -> None:
        """Write both arrays as the two rows of one ``.npy`` file."""
        np.save(path, np.stack([self.contents, self.folds]))

    def folds_of(self, contents: NDArray[np.uint64]) -> NDArray[np.int16]:
        """Return the network that may score each event, shape ``(n_events,)``; ``NEW`` where that is all of them."""
        if not self.contents.size:
            return np.full(contents.shape, NEW, dtype=np.int16)
        place = np.minimum(np.searchsorted(self.contents, contents), self.contents.size - 1)
        folds = self.folds[place].astype(np.int16)
        return np.where((self.contents[place] == contents) & (folds < self.n_folds), folds, np.int16(NEW))
