"""What convolutional networks promise: shapes wherever they are, poolings that leave something, graphs that agree."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from models.build import ModelSpec, build, head_of, scoring_network
from models.bundle import ScoringGraph
from models.export import PARITY_TOLERANCE, assert_parity, export_onnx
from models.metrics import weighted_auc
from pipeline.blocks import Block
from pipeline.errors import DeclarationError
from pipeline.missing import MissingSpec
from pipeline.normalise import InputTransform, NormaliseSpec
from pipeline.table import EventTable, pack

Learn = Callable[[NDArray[Any], NormaliseSpec, MissingSpec], InputTransform]
SHAPES: dict[str, tuple[int, ...]] = {"square": (9, 9, 1), "row": (12, 1)}


def blocks_of(kind: str) -> tuple[Block, ...]:
    return (Block(name="cutout", kind="image", start=1, shape=SHAPES[kind]),)


def spec_of(**options: Any) -> ModelSpec:
    small = {"filters": [6], "widths": [8], "pool": 3, "dropout": 0}
    return ModelSpec(architecture="convolutional", options={**small, **options})


def streaks(x: Any, y: Any, generator: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw a streak in any direction, and two of half its brightness that cross: their means are the same."""
    n_events = len(x)
    angle = generator.uniform(0, np.pi, (n_events, 1, 1))
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    one, other = (np.exp(-(u**2) / 12 - v**2) for u, v in ((along, across), (across, along)))
    return one, (one + other) / 2


def toy(kind: str, n_events: int, seed: int = 1) -> EventTable:
    """Draw images at a random place: a streak or a cross; along a row, a narrow bump or a wide one, of one integral."""
    generator, labels = np.random.default_rng(seed), np.arange(n_events) % 2
    if kind == "square":
        centre = generator.uniform(3, 5, (2, n_events, 1, 1))
        signal, background = streaks(np.arange(9) - centre[0], np.arange(9)[:, None] - centre[1], generator)
    else:
        away = (np.arange(12) - generator.uniform(0, 12, (n_events, 1))) % 12 - 6  # a ring has no middle
        signal, background = (np.exp(-((away / width) ** 2) / 2) / width for width in (0.7, 1.4))
    pixels = np.where(labels.reshape(-1, *[1] * (signal.ndim - 1)) == 1, signal, background).reshape(n_events, -1)
    inputs = np.column_stack([generator.normal(size=n_events), 3 * pixels + generator.normal(0, 0.4, pixels.shape)])
    return pack(inputs.astype(np.float32), labels, np.ones(n_events))


@functools.cache
def taught(kind: str, teach: Callable[..., Any]) -> Any:
    return teach(spec_of(), toy(kind, 1000), blocks_of(kind), n_epochs=20)


KINDS = pytest.mark.parametrize("kind", SHAPES)


@KINDS
def test_no_line_separates_these_events(kind: str) -> None:
    train, test = toy(kind, 4000), toy(kind, 4000, seed=2)
    line = np.linalg.lstsq(train.inputs.astype(np.float64), train.labels - 0.5, rcond=None)[0]
    assert weighted_auc(test.inputs @ line, test.labels) < 0.6


@KINDS
def test_shapes_are_told_apart_wherever_they_are(kind: str, teach: Callable[..., Any]) -> None:
    events = toy(kind, 600, seed=2)
    assert weighted_auc(np.asarray(taught(kind, teach)(events.inputs))[:, 0], events.labels) > 0.9


@KINDS
def test_what_was_learnt_is_exported_and_scores_as_in_keras(
    kind: str, teach: Callable[..., Any], learn: Learn, tmp_path: Path
) -> None:
    scoring = scoring_network(taught(kind, teach), head_of(spec_of()))
    features = toy(kind, 2000, seed=3).inputs.astype(np.float64)
    transform = learn(features, NormaliseSpec(method="none"), MissingSpec())
    export_onnx(scoring, transform, tmp_path / "m.onnx")
    assert assert_parity(tmp_path / "m.onnx", scoring, transform, features, seed=0) < PARITY_TOLERANCE
    assert np.ptp(ScoringGraph(tmp_path / "m.onnx").score(features)) > 0.3
    taught(kind, teach).save(tmp_path / "network.keras")
    opened = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_array_equal(opened(features[:50]), taught(kind, teach)(features[:50]))


def layers_of(**options: Any) -> list[str]:
    image = Block(name="cutout", kind="image", start=0, shape=(8, 8, 3))
    spec = ModelSpec(architecture="convolutional", options={"widths": [8], **options})
    return [type(layer).__name__ for layer in build(spec, 192, 2, 1, (image,)).layers[2:]]


def test_a_stage_is_its_convolutions_then_a_pooling_then_dropout() -> None:
    layer = ["Conv2D", "BatchNormalization", "Activation"]
    dense = ["Flatten", "Dense", "BatchNormalization", "Activation", "Dropout", "Dense"]
    stage = [*layer, *layer, "MaxPooling2D", "Dropout"]
    assert layers_of(filters=[4, 4], convolutions=2) == [*stage, *stage, *dense]


def test_what_is_switched_off_is_not_there() -> None:
    found = layers_of(filters=[4], pool=1, dropout=0, batch_norm=False)
    assert found == ["Conv2D", "Activation", "Flatten", "Dense", "Activation", "Dense"]


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((6, 9, 1), {}, "6 x 9 pixels, 3 poolings by 2 leave nothing; give filters for 2 at most, or a smaller pool"),
        ((30, 2), {"pool": 4}, "30 pixels, 3 poolings by 4 leave nothing; give filters for 2 at most"),
        ((1, 40, 1), {}, "1 x 40 pixels, 3 poolings by 2 leave nothing; give pool = 1"),
    ],
)
def test_an_image_of_which_poolings_leave_nothing_is_refused(
    shape: tuple[int, ...], options: dict[str, int], message: str
) -> None:
    spec = ModelSpec(architecture="convolutional", options={"filters": [8, 8, 8], **options})
    with pytest.raises(DeclarationError, match=rf"model\.options: of image 'stamp', {message}"):
        build(spec, int(np.prod(shape)), 2, 1, (Block(name="stamp", kind="image", start=0, shape=shape),))


def test_a_window_that_looks_beyond_the_image_is_refused() -> None:
    spec = ModelSpec(architecture="convolutional", options={"window": 40})
    block = Block(name="stamp", kind="image", start=0, shape=(16, 16, 1))
    with pytest.raises(DeclarationError, match="a window of 40 pixels is larger than image 'stamp', 16 x 16 pixels"):
        build(spec, 256, 2, 1, (block,))


@pytest.mark.parametrize(("shape", "pool"), [((8, 8, 1), 2), ((1, 40, 1), 1), ((30, 2), 3)])
def test_an_image_of_which_one_pixel_is_left_is_enough(shape: tuple[int, ...], pool: int) -> None:
    spec = ModelSpec(architecture="convolutional", options={"filters": [8, 8, 8], "pool": pool})
    block = Block(name="stamp", kind="image", start=0, shape=shape)
    assert build(spec, int(np.prod(shape)), 2, 1, (block,)).output_shape == (None, 1)
