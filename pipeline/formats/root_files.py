"""ROOT files: what is in one, and reading a TTree or RNTuple in bounded memory.

Owns reading alone; which format a file has is ``sources``, writing is ``root_writing``. What surprised us:

- Of several cycles of one tree (``events;1``, ``events;2``) only the newest is read: the older ones are
  backups of the same events.
- A file cut short can often be opened, and even read in part: its header says how long it should be, and
  that is held against what is there.
- Structs and collections of records become one column a member, spelt ``branch.member`` as ROOT does. Two
  sub-branches of one name cannot be told apart by that name and count as unreadable.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from pipeline.chunk import Chunk, Column
from pipeline.errors import UnreadableFileError, WinnowError, nearest_spelling
from pipeline.layout import ColumnKind, FileDescription, Layout, guarded, select_columns, unreadable

_NUMBERS: dict[str, ColumnKind] = {"i": "integer", "u": "integer", "f": "float", "b": "boolean"}
_BYTES_OF_A_STRING = 64
_BYTES_OF_AN_OFFSET = 8


@dataclass(frozen=True)
class _Source:
    """Where a column comes from: a branch, and the members that lead to it."""

    branch: str
    members: tuple[str, ...]
    kind: ColumnKind


def describe(path: Path, layout: Layout) -> FileDescription:
    """Return the tree, its columns, its exact number of events, and what else is in the file."""
    with _opened(path) as file:
        name = _tree_name(file, layout.tree, path)
        tree = file[name]
        kinds = {column: source.kind for column, source in _sources(tree).items()}
        return FileDescription("root", name, kinds, int(tree.num_entries), others=_others(file, name))


def count_events(path: Path, layout: Layout) -> int:
    """Return the exact number of entries of the tree."""
    with opened_tree(path, layout) as (tree, _):
        return int(tree.num_entries)


def read_chunks(
    path: Path,
    columns: Collection[str] | None,
    layout: Layout,
    chunk_bytes: int,
    keep_original: bool,
) -> Iterator[Chunk]:
    """Check the columns, then return the chunks; ``original`` is a dict of every branch that can be read."""
    found = describe(path, layout)
    wanted = select_columns(found.columns, columns, f"{path}: {found.tree}")
    return guarded(_chunks(path, layout, wanted, chunk_bytes, keep_original), path)


def _chunks(
    path: Path, layout: Layout, wanted: tuple[str, ...], chunk_bytes: int, keep_original: bool
) -> Iterator[Chunk]:
    first_event = 0
    with opened_tree(path, layout) as (tree, name):
        sources = _sources(tree)
        chosen = {column: sources[column] for column in wanted}
        branches = {source.branch for source in chosen.values()}
        whole = set(_top_level_forms(tree)) if keep_original else set()
        for arrays in _blocks(tree, branches | whole, chunk_bytes):
            n_events = len(next(iter(arrays.values())))
            read = {column: _column(arrays, source) for column, source in chosen.items()}
            original = {branch: arrays[branch] for branch in arrays if branch in whole} or None
            yield Chunk(read, n_events, first_event, f"{path.name}:{name}", original)
            first_event += n_events


@contextmanager
def opened_tree(path: Path, layout: Layout) -> Iterator[tuple[Any, str]]:
    """Open a file and give the TTree or RNTuple of the layout (or the only one), and its name."""
    with _opened(path) as file:
        name = _tree_name(file, layout.tree, path)
        yield file[name], name


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file; what the library raises then, or while it is open, is one line about the file."""
    try:
        with uproot.open(path, array_cache=None) as file:
            _refuse_truncated(path, int(file.file.fEND))
            yield file
    except WinnowError:
        raise
    # An RNTuple is read bit by bit as one asks about it, so that its corruption shows in any question.
    except Exception as error:
        raise unreadable(path, error) from error


def _refuse_truncated(path: Path, n_expected: int) -> None:
    n_bytes = path.stat().st_size
    if n_bytes < n_expected:
        msg = f"{path} cannot be read: it is truncated ({n_bytes:,} of {n_expected:,} bytes are there)"
        raise UnreadableFileError(msg)


def _tree_name(file: Any, wanted: str | None, path: Path) -> str:
    trees = [name for name, classname in _newest(file).items() if _is_tree(classname)]
    if wanted is not None:
        if without_cycle(wanted) in trees:
            return wanted
        msg = f"{path} has no tree {wanted!r}{nearest_spelling(wanted, trees)}; it has: {_listed(trees)}"
        raise UnreadableFileError(msg)
    if len(trees) != 1:
        what = "several trees" if trees else "neither a TTree nor an RNTuple"
        msg = f'{path} holds {what}: {_listed(trees)}; name one with tree = "…"'
        raise UnreadableFileError(msg)
    return trees[0]


def _others(file: Any, chosen: str) -> tuple[str, ...]:
    beside = {name: classname for name, classname in _newest(file).items() if name != without_cycle(chosen)}
    return tuple(f"{name} ({what})" for name, what in beside.items() if not what.startswith("TDirectory"))


def _newest(file: Any) -> dict[str, str]:
    """Return the class of the newest cycle of every object, also of those in directories, by path and name."""
    found: dict[str, dict[int, str]] = {}
    for key, classname in file.classnames(recursive=True).items():
        name, _, cycle = key.rpartition(";")
        found.setdefault(name, {})[int(cycle)] = classname
    return {name: classes[max(classes)] for name, classes in found.items()}


def without_cycle(name: str) -> str:
    """Return the name of a tree without the number of a cycle: ``tracks`` for ``tracks;2``."""
    return re.sub(r";\d+", "", name)


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _is_tree(classname: str) -> bool:
    return classname in ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")


def is_rntuple(tree: Any) -> bool:
    """Say whether a tree is an RNTuple; else it is a TTree."""
    return isinstance(tree, uproot.behaviors.RNTuple.HasFields)


# What columns there are ------------------------------------------------------------------------------------


def _sources(tree: Any) -> dict[str, _Source]:
    """Return where each column of a tree comes from, in the order of the tree."""
    found: dict[str, _Source] = {}
    for branch, form in _forms(tree):
        for members, kind in _members(form):
            column = ".".join((branch, *members))
            is_repeated = column in found
            found[column] = _Source(branch, members, "unreadable" if is_repeated else kind)
    return found


def _forms(tree: Any) -> Iterator[tuple[str, Any]]:
    if is_rntuple(tree):
        form = tree.to_akform()[0]
        yield from zip(form.fields, form.contents, strict=True)
        return
    for branch in tree.itervalues(recursive=True):
        if not isinstance(branch.interpretation, uproot.interpretation.grouped.AsGrouped):
            yield branch.name, form_of(branch)


def _top_level_forms(tree: Any) -> dict[str, Any]:
    """Return the form of every branch (field) that can be read whole."""
    if is_rntuple(tree):
        return dict(_forms(tree))
    forms = {branch.name: form_of(branch) for branch in tree.branches}
    return {name: form for name, form in forms.items() if form is not None}


def form_of(branch: Any) -> Any:
    """Return the Awkward form of a branch, or ``None`` for a type that cannot be read."""
    try:
        return branch.interpretation.awkward_form(branch.file)
    except Exception:
        # uproot has no common exception for "I do not know this type": no form means unreadable.
        return None


def _members(form: Any) -> Iterator[tuple[tuple[str, ...], ColumnKind]]:
    record = form.content if isinstance(form, ak.forms.ListOffsetForm) else form
    if not isinstance(record, ak.forms.RecordForm):
        yield (), kind_of_form(form)
        return
    for field, content in zip(record.fields, record.contents, strict=True):
        for members, kind in _members(content):
            in_list = record is not form
            usable = not in_list or kind in ("integer", "float", "boolean")
            yield (field, *members), ("unreadable" if not usable else "jagged" if in_list else kind)


def kind_of_form(form: Any) -> ColumnKind:
    """Return the kind of column that an Awkward form becomes."""
    if isinstance(form, ak.forms.NumpyForm):
        kind = _NUMBERS.get(np.dtype(form.primitive).kind, "unreadable")
        return "fixed" if form.inner_shape and kind != "unreadable" else kind
    if isinstance(form, ak.forms.RegularForm):
        return "fixed" if kind_of_form(form.content) in ("fixed", *_NUMBERS.values()) else "unreadable"
    if isinstance(form, ak.forms.ListOffsetForm):
        if form.parameter("__array__") == "string":
            return "string"
        return "jagged" if kind_of_form(form.content) in _NUMBERS.values() else "unreadable"
    return "unreadable"


def _column(arrays: Mapping[str, Any], source: _Source) -> Column:
    array = arrays[source.branch]
    for member in source.members:
        array = array[member]
    if source.kind == "jagged":
        return array
    if source.kind == "string":
        return np.array([*array.to_list(), None], dtype=object)[:-1]
    return ak.to_numpy(array)


# Reading in bounded memory ---------------------------------------------------------------------------------


def _blocks(tree: Any, names: set[str], chunk_bytes: int) -> Iterator[dict[str, Any]]:
    if not names:
        # No column is asked for, but the events count: the narrowest branch tells how many there are.
        names = {next(name for name, form in _forms(tree) if form is not None)}
    if is_rntuple(tree):
        yield from _rntuple_blocks(tree, names, chunk_bytes)
        return
    branches = [branch for branch in tree.itervalues(recursive=True) if branch.name in names]
    chosen = {branch.cache_key for branch in branches}
    yield from tree.iterate(
        filter_branch=lambda branch: branch.cache_key in chosen,
        step_size=_events_a_step(branches, int(tree.num_entries), chunk_bytes),
        library="ak",
        how=dict,
    )


def _events_a_step(branches: list[Any], n_events: int, chunk_bytes: int) -> int:
    """Return the most events of which no run of consecutive ones is expected to exceed ``chunk_bytes``."""
    grid, filled = _bytes_before(branches, n_events)
    step = n_events * min(1.0, chunk_bytes / max(filled[-1], 1.0))
    for _ in range(8):
        edges = np.append(np.arange(0, n_events, max(step, 1.0)), n_events)
        densest = float(np.diff(np.interp(edges, grid, filled)).max(initial=0.0))
        if densest <= 1.2 * chunk_bytes:
            break
        step *= chunk_bytes / densest
    return max(1, int(step))


def _bytes_before(branches: list[Any], n_events: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return event numbers, and the bytes that all events before each take in memory."""
    grid = np.unique(np.concatenate([[0, n_events], *(branch.entry_offsets for branch in branches)]))
    filled = np.zeros(len(grid))
    for branch in branches:
        edges = np.asarray(branch.entry_offsets)
        stored = np.asarray(branch.member("fBasketBytes")[: len(edges) - 1], dtype=float)
        if len(stored) != len(edges) - 1 or stored.sum() <= 0:
            stored = np.diff(edges).astype(float)
        stored *= max(float(branch.uncompressed_bytes), 1.0) / max(stored.sum(), 1.0)
        filled += np.interp(grid, edges, np.concatenate([[0.0], np.cumsum(stored)]))
        filled += grid * _overhead(branch)
    return grid, filled


def _overhead(branch: Any) -> int:
    form = form_of(branch)
    if not isinstance(form, ak.forms.ListOffsetForm):
        return 0
    return _BYTES_OF_A_STRING if kind_of_form(form) == "string" else _BYTES_OF_AN_OFFSET


def _rntuple_blocks(tree: Any, names: set[str], chunk_bytes: int) -> Iterator[dict[str, Any]]:
    """Yield slices of whole clusters: a part of a cluster costs as much to read as all of it."""
    stops = [int(cluster.num_first_entry + cluster.num_entries) for cluster in tree.cluster_summaries]
    start, bytes_an_event = 0, 0.0
    while start < tree.num_entries:
        fitting = start + chunk_bytes / bytes_an_event if bytes_an_event else 0
        stop = max([s for s in stops if s <= fitting], default=0)
        stop = stop if stop > start else min(s for s in stops if s > start)
        block = tree.arrays(filter_field=lambda field: field.path in names, entry_start=start, entry_stop=stop)
        bytes_an_event = max(block.nbytes / len(block), 1e-3)
        step = max(1, int(chunk_bytes / bytes_an_event))
        for first in range(0, len(block), step):
            yield {name: block[first : first + step, name] for name in block.fields}
        start = stop
