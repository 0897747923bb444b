"""The files of a simulated sample: named columns in, one ROOT or CSV file out, whole or not at all.

Owns how simulated events are put on disk. What is in them belongs to the simulations; scored events
are written by ``sinks``, which has an original file to stay faithful to and is another matter.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.csv
import uproot

from pipeline.chunk import Column
from pipeline.durable import write_whole

Events: TypeAlias = Mapping[str, Column]
"""Columns by name. A jagged column of records named ``hit`` becomes ``nhit``, ``hit_<field>``, … in ROOT."""

Files: TypeAlias = Mapping[str, Events]
"""Events by the name of the file that they belong in."""

BLOCK = 100_000
"""Events in one ROOT basket: large enough to be quick, small enough that a reader has blocks to work with."""


def write_events(path: Path, events: Events, tree: str = "events") -> Path:
    """Write events to ``path`` as its suffix says, and return it; a reader never sees half a file.

    NaN becomes a blank in CSV. A file that is already there is replaced.
    """
    writers = {
        ".root": lambda draft: _write_root(draft, events, tree),
        ".csv": lambda d: _write_csv(d, events),
    }
    return write_whole(path, writers[path.suffix])


def _write_root(path: Path, events: Events, tree: str) -> None:
    types = {name: _branch_type(column) for name, column in events.items()}
    n_events = len(next(iter(events.values())))
    with uproot.recreate(path, compression=uproot.ZSTD(3)) as file:
        branches = file.mktree(tree, types)
        for start in range(0, n_events, BLOCK):
            branches.extend({name: column[start : start + BLOCK] for name, column in events.items()})


def _branch_type(column: Column) -> object:
    if isinstance(column, np.ndarray):
        return np.dtype((column.dtype, column.shape[1:]))
    return ak.type(column).content


def _write_csv(path: Path, events: Events) -> None:
    table = pa.table({name: pa.array(column, from_pandas=True) for name, column in events.items()})
    unquoted = pyarrow.csv.WriteOptions(quoting_style="none", quoting_header="none")
    pyarrow.csv.write_csv(table, path, unquoted)
