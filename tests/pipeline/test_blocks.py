"""What is declared of collections and images, and which columns follow from it."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.blocks import InputSpec, groups_of, is_absent, variable_of_columns
from pipeline.declare import read_declaration
from pipeline.errors import DeclarationError
from pipeline.features import FeatureSpec

JETS = {"inputs": ["pt", "eta"], "length": 2}
STAMP = {"pixels": "flux", "shape": [1, 2]}
BOTH = InputSpec.model_validate({"inputs": ["met"], "images": {"stamp": STAMP}, "collections": {"jets": JETS}})


def test_columns_are_flat_inputs_then_collections_element_by_element_then_images() -> None:
    jets = ("jets.pt[0]", "jets.eta[0]", "jets.present[0]", "jets.pt[1]", "jets.eta[1]", "jets.present[1]")
    assert BOTH.names == ("met", *jets, "stamp[0]", "stamp[1]")
    assert [(b.name, b.kind, b.start, b.shape) for b in BOTH.blocks] == [
        ("jets", "collection", 1, (2, 3)),
        ("stamp", "image", 7, (1, 2, 1)),
    ]
    assert (BOTH.n_columns, list(BOTH.blocks[0].presence), list(BOTH.blocks[1].presence)) == (9, [3, 6], [])


def test_the_order_of_columns_does_not_hang_on_the_order_of_sections() -> None:
    names = [
        InputSpec.model_validate({"collections": dict.fromkeys(order, JETS)}).names
        for order in (["jets", "muons"], ["muons", "jets"])
    ]
    assert names[0] == names[1]


def test_a_value_of_all_elements_is_one_variable_and_so_are_all_pixels() -> None:
    found = {variable.name: list(variable.columns) for variable in BOTH.variables}
    assert found == {"met": [0], "jets.pt": [1, 4], "jets.eta": [2, 5], "stamp": [7, 8]}
    assert variable_of_columns(BOTH.variables, 9).tolist() == [0, 1, 2, 4, 1, 2, 4, 3, 3]


def test_a_block_is_looked_at_as_one() -> None:
    assert groups_of(BOTH.names, BOTH.blocks) == {"met": (0,), "jets": (1, 2, 3, 4, 5, 6), "stamp": (7, 8)}


def test_values_of_elements_that_are_not_there_are_absent_and_presences_are_not() -> None:
    features = np.array([[1.0, 5.0, np.nan, 1.0, np.nan, np.nan, 0.0, np.nan, 0.0]])
    assert np.flatnonzero(is_absent(features, BOTH.blocks)[0]).tolist() == [4, 5]


@pytest.mark.parametrize(
    ("shape", "block"), [([10], (10, 1)), ([4, 3], (4, 3, 1)), ([4, 3, 2], (4, 3, 2)), ([4, 3, 1], (4, 3, 1))]
)
def test_an_image_has_channels_and_a_row_of_pixels_no_height(shape: list[int], block: tuple[int, ...]) -> None:
    found = InputSpec.model_validate({"images": {"stamp": {"pixels": "flux", "shape": shape}}})
    assert found.blocks[0].shape == block


def test_everything_that_is_computed_is_a_text_once() -> None:
    jets = {**JETS, "order": "pt * 2"}
    layers = {"pixels": ["met", "a"], "shape": [2]}
    found = InputSpec.model_validate({"inputs": ["met"], "collections": {"jets": jets}, "images": {"layers": layers}})
    assert found.texts == ("met", "pt", "eta", "pt * 2", "a")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "there is no input"),
        ({"collections": {"jets": {**JETS, "length": 0}}}, "greater than or equal to 1"),
        ({"collections": {"jets": {**JETS, "inputs": ["pt", "pt"]}}}, "names an input twice: pt"),
        ({"inputs": ["jets"], "collections": {"jets": JETS}}, "need different names; used twice: jets"),
        ({"collections": {"jets": {**JETS, "inputs": ["present"]}}}, r"would be called 'jets.present\[0\]'"),
        ({"images": {"stamp": {"pixels": ["a", "b"], "shape": [3]}}}, r"2 columns, and shape = \[3\] needs 3"),
        ({"images": {"stamp": {"pixels": ["a", "a"], "shape": [2]}}}, "names a column twice: a"),
        ({"images": {"stamp": {"pixels": "flux", "shape": [2, 2, 2, 2]}}}, "at most 3"),
        ({"collections": {"jets": JETS}, "missing": {"overrides": {"ptt": {}}}}, "no input: 'ptt' .did you mean 'pt'"),
    ],
)
def test_a_section_that_cannot_be_obeyed_is_refused_when_declared(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeatureSpec.model_validate(section)


def test_a_misspelt_key_is_told_with_its_place_in_the_file() -> None:
    section = {"collections": {"jets": {"inputs": ["pt"], "lenght": 3}}}
    with pytest.raises(DeclarationError, match=r"collections\.jets\.lenght: unknown key .did you mean 'length'"):
        read_declaration(section, FeatureSpec, "a.toml")
