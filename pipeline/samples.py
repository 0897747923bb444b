"""Samples: which files hold which class of events.

Owns the ``[[samples]]`` section and the class of every event. Reading the files is ``sources``' work,
the event weights are ``weights``'.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from pipeline.chunk import Chunk
from pipeline.declare import Declaration
from pipeline.errors import ColumnTypeError, DeclarationError
from pipeline.layout import Layout
from pipeline.sources import expand_files

LEFT_OUT = -1
"""The class index of an event that its label leaves out."""

ALL_EVENTS = "events"
"""The one class of samples without a label, where ``[targets]`` say what is to be found."""

LabelValue = int | float | str | bool


class LabelSpec(Declaration):
    """A column that tells the class: every other key is a class with its value or values in that column."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, LabelValue | list[LabelValue]] = Field(init=False)

    column: str

    @model_validator(mode="after")
    def _has_classes(self) -> "LabelSpec":
        values = [value for values in self.classes.values() for value in values]
        if not self.classes:
            raise ValueError("names no class; write for instance { column = 'species', signal = 2 }")
        if len(set(values)) < len(values):  # 1, 1.0 and true are one value, as they are in a column
            raise ValueError("gives one value to two classes")
        return self

    @property
    def classes(self) -> dict[str, tuple[LabelValue, ...]]:
        """Class name → the values of the column that mean it."""
        return {
            name: tuple(value) if isinstance(value, list) else (value,)
            for name, value in self.__pydantic_extra__.items()
        }


def _as_text(value: object) -> object:
    """A number is an expression as well: ``weight = 2.5`` means what it says."""
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _refuse_layout(**chosen: Any) -> None:
    try:
        Layout(**chosen)
    except DeclarationError as error:
        raise ValueError(str(error)) from None


class SampleSpec(Declaration):
    """Events of one origin: a set of files of one layout; a label is needed unless there are ``[targets]``."""

    name: str = Field(min_length=1)
    label: str | LabelSpec = ALL_EVENTS
    files: tuple[str, ...] = Field(min_length=1)
    tree: str | None = None
    weight: Annotated[str, BeforeValidator(_as_text)] = "1"
    columns: tuple[str, ...] | None = None
    separator: str = ","

    @field_validator("columns")
    @classmethod
    def _are_different(cls, columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        _refuse_layout(columns=columns)
        return columns

    @field_validator("separator")
    @classmethod
    def _separates(cls, separator: str) -> str:
        _refuse_layout(separator=separator)
        return separator

    @property
    def layout(self) -> Layout:
        """How the files are laid out."""
        return Layout(tree=self.tree, columns=self.columns, separator=self.separator)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that this sample holds."""
        return (self.label,) if isinstance(self.label, str) else tuple(self.label.classes)

    @property
    def label_columns(self) -> frozenset[str]:
        """The columns that the label needs."""
        return frozenset() if isinstance(self.label, str) else frozenset({self.label.column})

    def paths(self, folder: Path) -> tuple[Path, ...]:
        """Return the files, sorted; relative names are relative to ``folder``."""
        return expand_files(self.files, folder)


def classes_of(samples: tuple[SampleSpec, ...]) -> tuple[str, ...]:
    """Return the class names in the order of their index: background first where there is one, then signal.

    With two classes of which one is called ``signal``, that one gets index 1, whatever comes first in the file.
    """
    names = list(dict.fromkeys(name for sample in samples for name in sample.class_names))
    names.sort(key=lambda name: (name == "signal") - (name == "background"))
    return tuple(names)


def class_indices(chunk: Chunk, sample: SampleSpec, classes: tuple[str, ...]) -> NDArray[np.int8]:
    """Return the class index of every event, shape ``(n_events,)``; ``LEFT_OUT`` where the label has no class.

    Raises:
        ColumnTypeError: the label column is jagged, or its values are of another kind than those declared.

    """
    if isinstance(sample.label, str):
        return np.full(len(chunk), classes.index(sample.label), dtype=np.int8)
    column = chunk[sample.label.column]
    if not isinstance(column, np.ndarray) or column.ndim != 1:
        msg = f"{chunk.source}: label column {sample.label.column!r} does not hold one value per event"
        raise ColumnTypeError(msg)
    result = np.full(len(chunk), LEFT_OUT, dtype=np.int8)
    for name, values in sample.label.classes.items():
        for value in values:
            result[_equals(column, value, chunk.source, sample.label.column)] = classes.index(name)
    return result


def _equals(column: NDArray[Any], value: LabelValue, source: str, name: str) -> NDArray[np.bool_]:
    holds_text = column.dtype == object
    if len(column) and holds_text != isinstance(value, str):
        kind, other = ("text", "number") if holds_text else ("numbers", "text")
        example = column[:1].tolist()[0]
        msg = f"{source}: label column {name!r} holds {kind} (first: {example!r}), but {value!r} is a {other}"
        raise ColumnTypeError(msg)
    return np.asarray(column == value, dtype=np.bool_)
