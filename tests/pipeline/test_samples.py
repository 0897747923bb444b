"""Which class an event belongs to, from its sample or from a column."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.chunk import chunk_of
from pipeline.errors import ColumnTypeError, UnreadableFileError
from pipeline.samples import LEFT_OUT, SampleSpec, class_indices, classes_of

CLASSES = ("background", "signal")


def sample(label: Any, **more: Any) -> SampleSpec:
    return SampleSpec.model_validate({"name": "both", "label": label, "files": ["a.root"], **more})


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["signal", "background"], ("background", "signal")),
        (["signal", "pion"], ("pion", "signal")),
        (["star", "galaxy", "quasar"], ("star", "galaxy", "quasar")),
        (["tau", "background", "jet"], ("background", "tau", "jet")),
    ],
)
def test_background_comes_first_and_signal_last(labels: list[str], expected: tuple[str, ...]) -> None:
    assert classes_of(tuple(sample(label) for label in labels)) == expected


def test_every_event_of_a_sample_has_its_class() -> None:
    assert class_indices(chunk_of({"x": [1, 2]}), sample("signal"), CLASSES).tolist() == [1, 1]


@pytest.mark.parametrize("values", [[2, 1, 7, 3], [2.0, 1.0, np.nan, 3.0], np.array([2, 1, 9, 3], dtype=np.uint8)])
def test_a_column_tells_the_class_and_other_values_are_left_out(values: Any) -> None:
    spec = sample({"column": "species", "signal": 2, "background": [1, 3]})
    found = class_indices(chunk_of({"species": values}), spec, CLASSES)
    assert found.tolist() == [1, 0, LEFT_OUT, 0]


def test_texts_tell_the_class_and_none_is_left_out() -> None:
    spec = sample({"column": "species", "signal": "g", "background": "h"})
    found = class_indices(chunk_of({"species": np.array(["g", "h", "x", None], dtype=object)}), spec, CLASSES)
    assert found.tolist() == [1, 0, LEFT_OUT, LEFT_OUT]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["g", "h"], "holds text .first: 'g'., but 2 is a number"),
        ([[1], [1, 2]], "does not hold one value per event"),
        (np.eye(2), "does not hold one value per event"),
    ],
)
def test_a_label_column_of_another_kind_is_refused(column: Any, message: str) -> None:
    spec = sample({"column": "species", "signal": 2, "background": 1})
    with pytest.raises(ColumnTypeError, match=message):
        class_indices(chunk_of({"species": column}), spec, CLASSES)


@pytest.mark.parametrize("second", [1, 1.0, True, [5, 1]])
def test_one_value_cannot_mean_two_classes(second: Any) -> None:
    with pytest.raises(ValidationError, match="gives one value to two classes"):
        sample({"column": "species", "signal": 1, "background": second})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"label": {"column": "species"}}, "names no class"),
        ({"separator": ";;"}, "separator = ';;' is not a character"),
        ({"columns": ["a", "a"]}, "columns names 'a' more than once"),
        ({"files": []}, "at least 1 item"),
    ],
)
def test_a_sample_that_cannot_be_read_is_refused_when_declared(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        sample(**{"label": "signal", **more})


@pytest.mark.parametrize(("weight", "text"), [(2.5, "2.5"), (3, "3"), ("xsec * 2", "xsec * 2")])
def test_a_weight_is_an_expression_or_a_number(weight: Any, text: str) -> None:
    assert sample("signal", weight=weight).weight == text


def test_files_are_sorted_and_each_is_there_once(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv"):
        (tmp_path / name).touch()
    found = sample("signal", files=["*.csv", "a.csv"]).paths(tmp_path)
    assert [path.name for path in found] == ["a.csv", "b.csv"]


def test_a_pattern_without_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"no file matches 'a\.root'"):
        sample("signal").paths(tmp_path)
