"""Writing ROOT files: every branch of the input with branches appended, under the same tree name.

Owns the types of the branches that are written. Leaves reading to ``root_files``, and that a file appears whole
or not at all to ``sinks``. What surprised us:

- ``file["tree"] = …`` would write an RNTuple; a TTree needs ``mktree``, which takes one counter branch
  for all arrays that share it but makes every counter ``int32`` (``_restore_counter_types``).
- A ``std::vector`` branch is written as a variable-length array with a counter ``n<branch>``, because that is
  all that can be written; a ``Float16_t`` becomes a float. Values are the same.
- An array of fixed-size arrays (``x[n][3]``) is refused: uproot would write it, and lose values.
- Other trees, histograms and objects of the file are not copied.
"""

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from pipeline.errors import UnwritableError
from pipeline.formats.root_files import form_of, is_rntuple, kind_of_form, opened_tree, without_cycle
from pipeline.layout import Layout

log = logging.getLogger(__name__)

EVENTS_A_BASKET = 100_000  # 100 kB for the narrowest branch; small baskets read several times slower
BYTES_IN_WAITING = 64 * 2**20
_REFUSALS = (TypeError, ValueError, NotImplementedError, AssertionError, KeyError)


class RootWriter:
    """Writes blocks of every branch of ``like`` with branches appended, under the same tree name."""

    def __init__(self, path: Path, like: Path, layout: Layout, new_columns: Mapping[str, np.dtype[Any]]) -> None:
        with opened_tree(like, layout) as (tree, name):
            name = without_cycle(name)
            title = str(getattr(tree, "title", ""))
            plan = _rntuple_plan(tree, new_columns) if is_rntuple(tree) else _ttree_plan(tree, like)
            counters = {} if is_rntuple(tree) else _counters(tree, plan, set(new_columns))
            counter_types = {c: plan[c] for c in counters.values() if c in plan}
            compression = _compression(tree.file.compression)
        if isinstance(plan, dict):
            plan |= {column: _branch_type(dtype) for column, dtype in new_columns.items()}
        self._where, self._is_rntuple = f"{like}: {name}", not isinstance(plan, dict)
        self._waiting: list[dict[str, Any]] = []
        self._file = uproot.recreate(path, compression=compression)
        try:
            if self._is_rntuple:
                self._tree = self._file.mkrntuple(name, plan)
            else:
                self._tree = self._file.mktree(name, plan, title=title, counter_name=lambda b: counters.get(b, b))
                _restore_counter_types(self._tree, counter_types)
        except BaseException as error:
            self._file.close()
            if isinstance(error, _REFUSALS):
                raise _refusal(f"{like}: {name}", plan, error) from error
            raise

    def write(self, original: Mapping[str, Any], added: Mapping[str, NDArray[Any]]) -> None:
        """Append a block; small ones wait for each other, so that baskets are large."""
        new = {name: _as_root(values) for name, values in added.items()}
        self._waiting.append({**original, **new})
        n_events = sum(len(next(iter(block.values()))) for block in self._waiting)
        n_bytes = sum(array.nbytes for block in self._waiting for array in block.values())
        if n_events >= EVENTS_A_BASKET or n_bytes >= BYTES_IN_WAITING:
            self._flush()

    def close(self) -> None:
        """Write what waits, and close the file."""
        try:
            self._flush()
        finally:
            self._file.close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        joined = {name: _joined([block[name] for block in waiting]) for name in waiting[0]}
        try:
            self._tree.extend(ak.zip(joined, depth_limit=1) if self._is_rntuple else joined)
        except _REFUSALS as error:
            raise UnwritableError(f"{self._where}: a block of events cannot be written ({_one_line(error)})") from error


def _joined(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else ak.concatenate(parts)


def _as_root(values: NDArray[Any]) -> ak.Array:
    return ak.Array(list(values)) if values.dtype.kind in "OU" else ak.Array(np.ascontiguousarray(values))


def _branch_type(dtype: np.dtype[Any]) -> Any:
    return "string" if dtype.kind in "OU" else dtype


def _rntuple_plan(tree: Any, new_columns: Mapping[str, np.dtype[Any]]) -> Any:
    form = tree.to_akform()[0]
    empty = [ak.Array(np.empty(0, d) if d.kind not in "OU" else [""]) for d in new_columns.values()]
    added = [array.layout.form for array in empty]
    return ak.forms.RecordForm([*form.contents, *added], [*form.fields, *new_columns])


def _ttree_plan(tree: Any, like: Path) -> dict[str, Any]:
    """Return the type of every branch, in the order of the tree.

    Raises:
        UnwritableError: some branches hold objects, structs or split classes; all of them are named.

    """
    plan = {branch.name: _written_type(branch) for branch in tree.branches}
    refused = [f"{b.name!r} ({b.typename})" for b in tree.branches if plan[b.name] is None]
    if refused:
        msg = (
            f"{like}: {', '.join(refused)} cannot be written to a ROOT file: only numbers, booleans, strings, "
            f"and arrays of numbers or booleans can; {_advice(refused)}"
        )
        raise UnwritableError(msg)
    return plan


def _written_type(branch: Any) -> Any:
    form = form_of(branch)
    if form is None or len(branch.branches) > 0:
        return None
    kind = kind_of_form(form)
    if kind == "string":
        return "string"
    if kind == "fixed" or kind in ("integer", "float", "boolean"):
        return np.dtype(_subdtype(form))
    of_numbers = kind == "jagged" and kind_of_form(form.content) != "fixed"
    return str(form.type) if of_numbers else None


def _subdtype(form: Any) -> tuple[str, tuple[int, ...]]:
    if isinstance(form, ak.forms.RegularForm):
        primitive, shape = _subdtype(form.content)
        return primitive, (form.size, *shape)
    return form.primitive, tuple(form.inner_shape)


def _refusal(where: str, plan: Any, error: BaseException) -> UnwritableError:
    """Return one line that names the branches that uproot does not write, found by trying each alone."""
    single = _single_plans(plan)
    refused = [f"{name!r} ({_one_line(found)})" for name, found in single.items() if not _is_written(name, found)]
    if not refused:
        return UnwritableError(f"{where} cannot be written to a ROOT file ({_one_line(error)})")
    return UnwritableError(f"{where} has a type that cannot be written: {', '.join(refused)}; {_advice(refused)}")


def _advice(refused: list[str]) -> str:
    return f"drop {'it' if len(refused) == 1 else 'them'} from the input first"


def _single_plans(plan: Any) -> dict[str, Any]:
    return plan if isinstance(plan, dict) else dict(zip(plan.fields, plan.contents, strict=True))


def _is_written(name: str, found: Any) -> bool:
    with uproot.recreate(io.BytesIO()) as file:
        try:
            if isinstance(found, ak.forms.Form):
                file.mkrntuple("alone", ak.forms.RecordForm([found], [name]))
            else:
                file.mktree("alone", {name: found})
        except _REFUSALS:
            return False
    return True


def _one_line(found: Any) -> str:
    said = found.type if isinstance(found, ak.forms.Form) else found
    return " ".join(str(said).split())[:160]


def _counters(tree: Any, plan: Mapping[str, Any], taken: set[str]) -> dict[str, str]:
    """Return the counter of each variable-length branch: the one it had, or a new ``n<branch>``."""
    counters: dict[str, str] = {}
    lists = [b for b in tree.branches if isinstance(plan[b.name], str) and plan[b.name] != "string"]
    for branch in lists:
        if branch.count_branch is not None:
            counters[branch.name] = branch.count_branch.name
            continue
        log.info("%s has no counter in the input: it is written as an array with one", branch.name)
        name = f"n{branch.name}"
        while name in plan or name in taken or name in counters.values():
            name = f"n{name}"
        counters[branch.name] = name
    return counters


def _restore_counter_types(tree: Any, types: Mapping[str, np.dtype[Any]]) -> None:
    """Give counters the type that they had in the input, where that is not ``int32``.

    uproot has no public way to say so; before the first block the branch list can still be changed and
    the (empty) tree be laid out again.
    """
    changed = {name: dtype for name, dtype in types.items() if np.dtype(dtype) != np.int32}
    if not changed:
        return
    cascading = tree._cascading
    for datum in cascading._branch_data:
        if datum.get("fName") in changed:
            like = cascading._branch_np(datum["fName"], changed[datum["fName"]], changed[datum["fName"]])
            datum.update({key: like[key] for key in ("dtype", "fTitle", "branch_type")})
    cascading._relocate(tree._file, tree._file.sink)


def _compression(found: Any) -> Any:
    """Return a fast level: none stays none, LZ4 stays LZ4, and zlib, LZMA and Zstandard become Zstandard 1."""
    if found is None or found.level == 0:
        return None
    return uproot.LZ4(1) if isinstance(found, uproot.LZ4) else uproot.ZSTD(1)
