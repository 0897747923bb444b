"""What the table of architectures promises: declarations checked early, networks that follow them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from pydantic import PositiveInt, ValidationError

from models.build import ARCHITECTURES, Architecture, ModelSpec, build, head_of, scoring_network
from pipeline.declare import Declaration


def small(**options: object) -> ModelSpec:
    return ModelSpec(options={"widths": [4, 3], **options})


def layers_of(spec: ModelSpec) -> list[str]:
    return [type(layer).__name__ for layer in build(spec, 2, 2, seed=1).layers]


@pytest.mark.parametrize("architecture", ["deep-dense", "residual"])
def test_layers_are_named_by_their_place_whatever_was_built_before(architecture: str) -> None:
    one, other = (build(ModelSpec(architecture=architecture), 3, 2, seed=1) for _ in range(2))
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    names = [layer.name for layer in one.layers if layer.count_params()]
    assert names[0] == "dense"
    assert {"dense_1", "batch_normalization", "batch_normalization_1", "logits"} <= set(names)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"architecture": "deep-dens"}, r"architecture = 'deep-dens' is not known \(did you mean 'deep-dense'\?\)"),
        ({"head": "binray"}, r"head = 'binray' is not known \(did you mean 'binary'\?\); there are: binary"),
        ({"options": {"width": [8]}}, r"options\.width: unknown key \(did you mean 'widths'\?\)"),
        ({"options": {"widths": []}}, r"options\.widths"),
        ({"options": {"dropout": 1.0}}, r"options\.dropout: received 1\.0; .*should be less than 1"),
        ({"options": {"activation": "rellu"}}, r"options\.activation: received 'rellu'.*did you mean 'relu'\?"),
    ],
)
def test_a_wrong_declaration_is_told_with_what_would_be_right(section: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelSpec.model_validate(section)


def test_all_problems_of_a_section_are_told_at_once() -> None:
    with pytest.raises(ValidationError, match=r"head = 'x'.*options\.widths.*options\.dropout"):
        ModelSpec.model_validate({"head": "x", "options": {"dropout": -1, "widths": [0]}})


def test_each_layer_is_dense_then_batch_norm_then_activation_then_dropout() -> None:
    block = ["Dense", "BatchNormalization", "Activation", "Dropout"]
    assert layers_of(small()) == ["InputLayer", *block, *block, "Dense"]


def test_what_is_switched_off_is_not_there() -> None:
    assert layers_of(small(batch_norm=False, dropout=0)) == ["InputLayer", *["Dense", "Activation"] * 2, "Dense"]


@pytest.mark.parametrize(("batch_norm", "n_parameters"), [(False, 12 + 15 + 4), (True, 8 + 16 + 12 + 12 + 4)])
def test_a_bias_is_there_exactly_where_no_batch_norm_has_one(batch_norm: bool, n_parameters: int) -> None:
    assert build(small(batch_norm=batch_norm), 2, 2, seed=1).count_params() == n_parameters


def test_the_same_seed_gives_the_same_network_and_another_seed_another() -> None:
    first, again, other = (build(small(), 2, 2, seed).get_weights()[0] for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("seed", [0, 2**32, 2**63])
def test_every_seed_that_a_file_can_hold_is_taken(seed: int) -> None:
    assert build(small(), 2, 2, seed).output_shape == (None, 1)


def test_a_score_is_the_sigmoid_of_the_logit() -> None:
    network = build(small(), 2, 2, seed=1)
    inputs = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    scores = np.asarray(scoring_network(network, head_of(small()))(inputs))
    assert scores == pytest.approx(1 / (1 + np.exp(-np.asarray(network(inputs)))), abs=1e-6)


def test_reading_a_model_section_does_not_wait_for_keras() -> None:
    code = "import sys; from models.build import ModelSpec; ModelSpec(); print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_an_architecture_of_ones_own_is_what_the_readme_says() -> None:
    """Its lines are run as they stand; the dots stand for the table that there is."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    [code] = re.findall(r"```python\n(class FunnelOptions.*?)```", readme, re.DOTALL)
    known = {"Declaration": Declaration, "PositiveInt": PositiveInt, "Architecture": Architecture}
    names: dict[str, Any] = {**known, "ARCHITECTURES": ARCHITECTURES}
    exec(code.replace("{...,", "{**ARCHITECTURES,"), names)
    funnel = names["ARCHITECTURES"]["funnel"]
    hidden = funnel.hidden(keras.Input((3,)), funnel.options(width=8))
    assert hidden.shape == (None, 4)
    assert names["ARCHITECTURES"].keys() == {*ARCHITECTURES, "funnel"}
    with pytest.raises(ValidationError, match="widht"):
        funnel.options.model_validate({"widht": 8})
