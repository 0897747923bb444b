"""JSON events: the body of a request becomes a chunk of raw columns.

Owns the two forms that events may have (one list for each column, or one object for each event), how
JSON values become columns of the kinds that a model needs, and the sentences for bodies that are neither.
Leaves HTTP to ``service`` and everything about scores to ``models.bundle``.

A missing value is ``null``. NaN and infinities are not JSON: a body with them is refused, since half of
the JSON readers in use would have refused it as well.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import from_json

from pipeline.chunk import Chunk, Column
from pipeline.errors import ColumnTypeError, DataError, missing_column

SOURCE = "the request"

_WORDS = {str: "text", dict: "an object", list: "a list", int: "a number", float: "a number", bool: "a truth"}
_NUMBERS: set[type] = {int, float, bool, type(None)}
_TEXTS: set[type] = {str, type(None)}
_LISTS: set[type] = {list, type(None)}


class ScoringRequest(BaseModel):
    """Events to score: ``columns`` or ``events``, one of the two.

    ``columns`` has one list for each raw column, ``events`` one object for each event. Columns that the
    model does not need may be there; they are not looked at.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: dict[str, list[Any]] | None = None
    events: list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if (self.columns is None) == (self.events is None):
            raise ValueError('needs either "columns" (one list for each) or "events" (one object for each)')
        return self

    def entries(self, name: str) -> list[Any]:
        """Return what a column holds, one entry an event.

        Raises:
            MissingColumnError: the request, or one of its events, does not have the column.
        """
        if self.columns is not None:
            if name not in self.columns:
                raise missing_column(name, self.columns, SOURCE)
            return self.columns[name]
        events = self.events or []
        for i, event in enumerate(events):
            if name not in event:
                raise missing_column(name, event, f"event {i} of {SOURCE}")
        return [event[name] for event in events]


def read_request(body: bytes) -> ScoringRequest:
    """Read the body of a request.

    Raises:
        DataError: the body is not JSON, or is none of the two forms.
    """
    try:
        return ScoringRequest.model_validate(from_json(body, allow_inf_nan=False))
    except ValidationError as error:
        raise DataError(f"the body of {SOURCE} is of neither form: {_first_problem(error)}") from None
    except ValueError as error:
        if _is_json_but_for_nan(body):
            msg = f"{SOURCE} holds NaN or Infinity, which JSON does not have; write null for a missing value"
            raise DataError(msg) from None
        raise DataError(f"the body of {SOURCE} is not JSON: {error}") from None


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, problem["loc"])) or "the whole"
    return (
        f'at {where[:100]}: {problem["msg"]}; write {{"columns": {{"NAME": [..]}}}} or {{"events": [{{"NAME": ..}}]}}'
    )


def _is_json_but_for_nan(body: bytes) -> bool:
    try:
        from_json(body, allow_inf_nan=True)
    except ValueError:
        return False
    return True


def chunk_of_request(request: ScoringRequest, kinds: Mapping[str, str]) -> Chunk:
    """Return the columns in ``kinds`` (name → kind, as in a bundle's manifest) as a chunk.

    Raises:
        MissingColumnError: a column is not there.
        ColumnTypeError: a column holds what cannot be of its kind.
        DataError: columns differ in length, or a number is beyond double precision.
    """
    columns = {name: _COLUMN[kind](name, request.entries(name)) for name, kind in kinds.items()}
    return Chunk(columns, len(next(iter(columns.values()), ())), source=SOURCE)


def example_of(kinds: Mapping[str, str], sizes: Mapping[str, int]) -> Chunk:
    """Return one event with the columns in ``kinds``: what a model is tried with before it serves.

    Its lists have one entry each, or as many as ``sizes`` say, as an image has pixels.
    """
    event = {name: [0.0] * sizes.get(name, 1) if kind in _LISTED else _EXAMPLE[kind] for name, kind in kinds.items()}
    return chunk_of_request(ScoringRequest(events=[event]), kinds)


def _numbers(name: str, entries: Sequence[Any]) -> NDArray[Any]:
    types = _checked_types(name, entries, _NUMBERS, "numbers")
    if type(None) in types:
        entries = [np.nan if entry is None else entry for entry in entries]
    try:
        column = np.asarray(entries, dtype=None if entries else np.float64)
        if column.dtype == object:  # integers beyond 64 bits
            column = column.astype(np.float64)
        is_finite = not np.isinf(column).any()
    except OverflowError:
        is_finite = False
    if not is_finite:
        raise DataError(f"{SOURCE}: column {name!r} holds a number too large for double precision")
    return column


def _floats(name: str, entries: Sequence[Any]) -> NDArray[np.float64]:
    # Many writers of JSON turn 3.0 into 3; integer arithmetic on it would be another calculation.
    return _numbers(name, entries).astype(np.float64)


def _texts(name: str, entries: Sequence[Any]) -> NDArray[Any]:
    _checked_types(name, entries, _TEXTS, "text")
    return np.array(entries, dtype=object)


def _lists(name: str, entries: Sequence[Any]) -> ak.Array:
    _checked_types(name, entries, _LISTS, "a list for each event")
    lists = [entry or [] for entry in entries]
    content = list(chain.from_iterable(lists))
    read = _lists if any(isinstance(entry, list) for entry in content) else _numbers
    # From counts and not from the lists: so that a column without any entry is a column of lists as well.
    return ak.unflatten(read(name, content), np.array([len(entries) for entries in lists], dtype=np.int64))


_COLUMN: dict[str, Callable[[str, Sequence[Any]], Column]] = {
    "integer": _numbers,
    "float": _floats,
    "boolean": _numbers,
    "string": _texts,
    "fixed": _lists,
    "jagged": _lists,
}
_EXAMPLE = {"integer": 0, "float": 0.0, "boolean": False, "string": ""}
_LISTED = ("fixed", "jagged")


def _checked_types(name: str, entries: Sequence[Any], allowed: set[type], needed: str) -> set[type]:
    types = set(map(type, entries))
    if types <= allowed:
        return types
    wrong = next(entry for entry in entries if type(entry) not in allowed)
    shown = repr(wrong)[:60]
    msg = (
        f"{SOURCE}: column {name!r} needs {needed}, and holds {_WORDS[type(wrong)]} ({shown}); null is a missing value"
    )
    raise ColumnTypeError(msg)
