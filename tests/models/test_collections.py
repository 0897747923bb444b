"""What every architecture of collections promises: it learns what no line separates, and padding is nothing to it."""

import functools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from models.build import ModelSpec, build, head_of, scoring_network
from models.bundle import ScoringGraph
from models.export import assert_parity, export_onnx
from models.metrics import weighted_auc
from pipeline.blocks import Block
from pipeline.missing import MissingSpec
from pipeline.normalise import InputTransform, NormaliseSpec
from pipeline.table import EventTable, pack

Array = NDArray[Any]
Learn = Callable[[Array, NormaliseSpec, MissingSpec], InputTransform]
LENGTH = 4
SETS = {"element_widths": [8], "widths": [8], "dropout": 0}
CELLS = {"units": [6], "widths": [6], "dropout": 0, "batch_norm": False}
SPECS: dict[str, tuple[str, dict[str, Any]]] = {
    "sum": ("sets", {**SETS, "pooling": "sum"}),
    "mean": ("sets", {**SETS, "pooling": "mean"}),
    "max": ("sets", {**SETS, "pooling": "max"}),
    "attention": ("sets", {**SETS, "pooling": "attention"}),
    "rnn": ("recurrent", {**CELLS, "cell": "rnn", "bidirectional": True}),
    "gru": ("recurrent", {**CELLS, "cell": "gru"}),
    "lstm": ("recurrent", {**CELLS, "cell": "lstm"}),
}


def jets(length: int = LENGTH) -> tuple[Block, ...]:
    return (Block(name="jets", kind="collection", start=1, shape=(length, 3)),)


def spec_of(name: str) -> ModelSpec:
    architecture, options = SPECS[name]
    return ModelSpec(architecture=architecture, options=options)


def events_of(met: Array, values: Array, present: Array) -> Array:
    """Return inputs: one flat number, then elements of two values and a presence."""
    elements = np.concatenate([values, present[:, :, None]], axis=2)
    return np.column_stack([met, elements.reshape(len(met), -1)]).astype(np.float32)


def at_random_places(values: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    """Return elements in the order in which they come, absent ones between them, and one event in fifty empty."""
    n_events, n_present, n_values = values.shape
    present = generator.random((n_events, LENGTH)).argsort(axis=1) < n_present
    found = np.zeros((n_events, LENGTH, n_values))
    found[present] = values.reshape(-1, n_values)
    return found, present & (generator.random((n_events, 1)) > 0.02)


def pairs(n_events: int, seed: int = 1) -> EventTable:
    """Draw two directions in a plane, back to back in signal: only together do they tell."""
    generator, labels = np.random.default_rng(seed), np.arange(n_events) % 2
    one = generator.uniform(0, 2 * np.pi, n_events)
    angles = np.column_stack([one, one + np.pi * labels + generator.uniform(-1, 1, n_events)])
    values, present = at_random_places(np.stack([np.cos(angles), np.sin(angles)], axis=2), generator)
    return pack(events_of(generator.normal(size=n_events), values, present), labels, np.ones(n_events))


def sequences(n_events: int, seed: int = 1) -> EventTable:
    """Draw two numbers of a sign and one of the other: only the order tells, and no element alone."""
    generator, labels = np.random.default_rng(seed), np.arange(n_events) % 2
    signs = np.where(labels[:, None] == 1, [1, 1, -1], [1, -1, 1]) * generator.choice([-1, 1], (n_events, 1))
    numbers = np.stack([signs + generator.normal(0, 0.3, signs.shape), generator.normal(size=signs.shape)], axis=2)
    values, present = at_random_places(numbers, generator)
    return pack(events_of(generator.normal(size=n_events), values, present), labels, np.ones(n_events))


@dataclass(frozen=True)
class Taught:
    """A trained network and events that it has not seen."""

    spec: ModelSpec
    network: Any
    events: EventTable

    def scores(self, inputs: Array) -> Array:
        return np.asarray(self.network(inputs.astype(np.float32), training=False))[:, 0]


@functools.cache
def taught_once(name: str, teach: Callable[..., Any]) -> Taught:
    spec = spec_of(name)
    toy = pairs if spec.architecture == "sets" else sequences
    return Taught(spec, teach(spec, toy(1000), jets(), n_epochs=12), toy(600, seed=2))


@pytest.fixture
def taught(request: Any, teach: Callable[..., Any]) -> Taught:
    return taught_once(request.param, teach)


ALL = pytest.mark.parametrize("taught", SPECS, indirect=True)
EMPTY = events_of(np.zeros(1), np.zeros((1, LENGTH, 2)), np.zeros((1, LENGTH)))


def auc_of_the_best_line(events: EventTable) -> float:
    x = np.column_stack([events.inputs, np.ones(len(events))]).astype(np.float64)
    return weighted_auc(x @ np.linalg.lstsq(x, events.labels, rcond=None)[0], events.labels)


@pytest.mark.parametrize("toy", [pairs, sequences])
def test_no_line_separates_these_events(toy: Callable[[int], EventTable]) -> None:
    assert auc_of_the_best_line(toy(5000)) < 0.55


@ALL
def test_what_no_line_separates_is_learnt(taught: Taught) -> None:
    assert weighted_auc(taught.scores(taught.events.inputs), taught.events.labels) > 0.85


@ALL
def test_what_stands_in_an_absent_element_changes_no_score(taught: Taught) -> None:
    inputs = taught.events.inputs.copy()
    elements = inputs[:, 1:].reshape(-1, LENGTH, 3)
    garbage = np.random.default_rng(1).normal(0, 1e4, elements.shape)
    elements[:, :, :2] = np.where(elements[:, :, 2:] == 1, elements, garbage)[:, :, :2]
    inputs[:, 1:] = elements.reshape(len(inputs), -1)
    assert np.abs(inputs - taught.events.inputs).max() > 1e4
    np.testing.assert_array_equal(taught.scores(inputs), taught.scores(taught.events.inputs))


@ALL
def test_the_same_event_padded_to_a_longer_one_has_the_same_score(taught: Taught) -> None:
    inputs, more = taught.events.inputs, np.zeros((len(taught.events), 9), dtype=np.float32)
    longer = build(taught.spec, inputs.shape[1] + 9, 2, 1, jets(LENGTH + 3))
    longer.set_weights(taught.network.get_weights())
    found = np.asarray(longer(np.concatenate([inputs, more], axis=1)))[:, 0]
    np.testing.assert_allclose(found, taught.scores(inputs), rtol=1e-5, atol=1e-6)


@ALL
def test_an_event_without_elements_has_a_score_and_flat_inputs_count_in_it(taught: Taught) -> None:
    other = EMPTY + np.eye(1, EMPTY.shape[1], dtype=np.float32)
    found = taught.scores(np.concatenate([EMPTY, other]))
    assert np.isfinite(found).all()
    assert found[0] != found[1]


@ALL
def test_the_order_of_the_elements_is_nothing_to_sets_and_everything_to_recurrent_ones(taught: Taught) -> None:
    inputs = taught.events.inputs
    reversed_elements = inputs[:, 1:].reshape(-1, LENGTH, 3)[:, [1, 0, 3, 2]].reshape(len(inputs), -1)
    difference = np.abs(taught.scores(np.column_stack([inputs[:, 0], reversed_elements])) - taught.scores(inputs))
    assert (difference.max() < 1e-5) == (taught.spec.architecture == "sets")
    assert difference.max() < 1e-5 or np.median(difference) > 0.1


def together(networks: list[Any]) -> Any:
    """Return one network whose score is the mean of all; it is exported once for them all."""
    inputs = keras.Input(networks[0].input_shape[1:])
    copies = [keras.models.clone_model(network) for network in networks]
    for place, (copy, network) in enumerate(zip(copies, networks, strict=True)):
        copy.set_weights(network.get_weights())
        copy.name = f"{network.name}_{place}"
    means = keras.layers.Average()([copy(inputs) for copy in copies])
    return scoring_network(keras.Model(inputs, means), head_of(spec_of("sum")))


def test_all_are_exported_and_score_as_in_keras(teach: Callable[..., Any], learn: Learn, tmp_path: Path) -> None:
    scoring = together([taught_once(name, teach).network for name in SPECS])
    features = sequences(2000, seed=3).inputs.astype(np.float64)
    transform = learn(features, NormaliseSpec(method="none"), MissingSpec())
    export_onnx(scoring, transform, tmp_path / "m.onnx")
    assert assert_parity(tmp_path / "m.onnx", scoring, transform, features, seed=0) < 2e-6
    found = ScoringGraph(tmp_path / "m.onnx").score(np.concatenate([EMPTY, features]))
    assert np.ptp(found) > 0.05
    assert found[0] == pytest.approx(float(scoring(EMPTY)[0, 0]), abs=2e-6)


@ALL
def test_the_keras_file_opens_in_plain_keras_and_scores_the_same(taught: Taught, tmp_path: Path) -> None:
    taught.network.save(tmp_path / "network.keras")
    content = zipfile.ZipFile(tmp_path / "network.keras").read("config.json")
    opened = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    assert b'"module": "models' not in content
    assert b"Lambda" not in content
    np.testing.assert_array_equal(np.asarray(opened(taught.events.inputs))[:, 0], taught.scores(taught.events.inputs))
