"""What a head promises: its outputs, its losses by their formulas, and that a network with it trains and exports."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.build import ModelSpec, build, head_of, scoring_network
from models.bundle import ScoringGraph
from models.export import assert_parity, export_onnx
from models.heads import HEADS
from models.training import TrainingEvents, TrainingSpec, train
from pipeline.blocks import InputSpec
from pipeline.errors import BundleError, DataError
from pipeline.feature_statistics import FeatureStatistics
from pipeline.missing import MissingSpec
from pipeline.normalise import InputTransform, NormaliseSpec, fit_transform
from pipeline.shuffle import EventsInMemory
from pipeline.table import EventTable, pack
from pipeline.targets import TargetFacts

Array = NDArray[np.float64]
SMALL = {"widths": [16], "dropout": 0.0}
N_EVENTS = 600


def softmax(z: Array) -> Array:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def of_true_class(labels: NDArray[Any], z: Array) -> Array:
    return softmax(z)[np.arange(len(z)), labels]


def one_hot(labels: NDArray[Any]) -> Array:
    return np.eye(3)[labels]


CATEGORICAL = {
    "cross-entropy": lambda y, z: -np.log(of_true_class(y, z)),
    "focal": lambda y, z: -np.log(of_true_class(y, z)) * (1 - of_true_class(y, z)) ** 2,
    "squared-error": lambda y, z: ((softmax(z) - one_hot(y)) ** 2).mean(axis=1),
    "absolute-error": lambda y, z: abs(softmax(z) - one_hot(y)).mean(axis=1),
}


def drawn() -> tuple[NDArray[Any], Array, Array]:
    generator = np.random.default_rng(3)
    return generator.integers(0, 3, 200), generator.normal(0, 2, (200, 3)), generator.uniform(-0.2, 2, 200)


@pytest.mark.parametrize("name", CATEGORICAL)
def test_a_loss_of_several_classes_is_the_weighted_mean_of_its_formula(name: str) -> None:
    labels, z, weights = drawn()
    loss = HEADS["softmax"].loss(name, n_classes=3)
    found = loss(labels[:, None].astype(np.float32), z.astype(np.float32), sample_weight=weights.astype(np.float32))
    assert float(found) == pytest.approx(np.mean(weights * CATEGORICAL[name](labels, z)), rel=1e-4)


def test_with_two_classes_a_softmax_has_the_loss_of_a_sigmoid_of_the_difference() -> None:
    labels, z, weights = drawn()
    labels, z = (labels > 0)[:, None].astype(np.float32), z[:, :2].astype(np.float32)
    one, two = HEADS["binary"].loss(), HEADS["softmax"].loss(n_classes=2)
    expected = float(one(labels, z[:, 1:] - z[:, :1], sample_weight=weights))
    assert float(two(labels, z, sample_weight=weights)) == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_labels_is_the_mean_of_their_own_losses() -> None:
    labels, z, _ = drawn()
    flags = one_hot(labels).astype(np.float32)
    expected = np.mean(np.logaddexp(0, z) - flags * z)
    assert float(HEADS["multi-label"].loss()(flags, z.astype(np.float32))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("head", "names"),
    [
        ("binary", ("score",)),
        ("softmax", ("score_background", "score_signal")),
        ("multi-label", ("score_energy", "score_depth")),
        ("regression", ("predicted_energy", "predicted_depth")),
    ],
)
def test_outputs_are_called_after_what_they_say(head: str, names: tuple[str, ...]) -> None:
    found = HEADS[head].output_names(("background", "signal"), ("energy", "depth"))
    assert found == names
    assert HEADS[head].n_outputs(2, 2) == len(names)


def facts(**values: Any) -> TargetFacts:
    known = {"name": "energy", "mean": 4.0, "spread": 2.0, "lowest": 0.0, "highest": 9.0, "n_no_flag": 3}
    return TargetFacts(**{**known, **values})


def test_a_flag_that_is_none_is_refused_with_its_count() -> None:
    with pytest.raises(DataError, match=r"target 'energy' is a flag, 0 or 1, .* and 3 events have another value"):
        HEADS["multi-label"].target_transform([facts()])


def test_a_flag_that_no_event_has_is_refused() -> None:
    never = TargetFacts(name="b", mean=0.0, spread=0.0, lowest=0.0, highest=0.0, n_no_flag=0)
    [problem] = HEADS["multi-label"].target_problems([never])
    assert problem == "target 'b' is 0 in all events: there is nothing to learn"


def test_a_quantity_that_never_changes_is_refused() -> None:
    with pytest.raises(DataError, match="target 'energy' is 4 in all training events: there is nothing to learn"):
        HEADS["regression"].target_transform([facts(spread=0.0)])


@pytest.mark.parametrize("architecture", ["perceptron", "fisher"])
def test_what_decides_between_two_classes_takes_no_other_head(architecture: str) -> None:
    with pytest.raises(ValueError, match=f"architecture '{architecture}' decides between two classes"):
        ModelSpec(architecture=architecture, head="softmax")


def events(head: str) -> EventTable:
    """Draw inputs of which the targets of a head are functions."""
    inputs = np.random.default_rng(1).normal(size=(N_EVENTS, 2))
    targets = {
        "softmax": np.digitize(inputs[:, 0], [-0.5, 0.5]),
        "multi-label": np.column_stack([inputs[:, 0] > 0, inputs[:, 1] > 1]),
        "regression": np.column_stack([inputs[:, 0] + inputs[:, 1], inputs[:, 0] ** 2 / 2]),
    }[head]
    return pack(inputs.astype(np.float32), targets.astype(np.float32), np.ones(N_EVENTS))


def as_it_is(features: Array) -> InputTransform:
    statistics = FeatureStatistics([(), ()])
    statistics.update(features, np.arange(len(features), dtype=np.uint64))
    return fit_transform(statistics, InputSpec(inputs=("x", "y")), NormaliseSpec(method="none"), MissingSpec())


@pytest.mark.parametrize("head", ["softmax", "multi-label", "regression"])
def test_a_head_trains_compiled_and_says_the_same_when_exported(head: str, tmp_path: Path) -> None:
    spec, table = ModelSpec(head=head, options=SMALL), events(head)
    network = build(spec, 2, 3, seed=1, n_targets=table.n_targets)
    training, source = TrainingSpec(epochs=8, batch_size=50, learning_rate=0.02), EventsInMemory(table)
    record = train(network, head_of(spec).loss(None, 3), training, TrainingEvents(source, source), ("x", "y"), seed=1)
    assert record.is_compiled
    assert record.history[-1]["loss"] < 0.5 * record.history[0]["loss"]
    features = table.inputs.astype(np.float64)
    scoring, transform, path = scoring_network(network, head_of(spec)), as_it_is(features), tmp_path / "model.onnx"
    export_onnx(scoring, transform, path, scoring.output_shape[-1])
    assert_parity(path, scoring, transform, features, seed=1, are_probabilities=head != "regression")
    assert ScoringGraph(path).score(features[:5]).shape == (5, scoring.output_shape[-1])


def test_a_small_quantity_has_a_small_tolerance(tmp_path: Path) -> None:
    """A lifetime of 1e-12 s: what two exports of it differ by is less than the tolerance of a probability."""
    spec, table = ModelSpec(architecture="logistic", head="regression"), events("regression")
    network = build(spec, 2, 1, seed=1, n_targets=2)
    first, other = (
        scoring_network(network, head_of(spec), head_of(spec).target_transform([facts(mean=m, spread=1e-13)] * 2))
        for m in (1e-12, 2e-12)
    )
    features, path = table.inputs.astype(np.float64), tmp_path / "model.onnx"
    export_onnx(first, as_it_is(features), path, 2)
    assert_parity(path, first, as_it_is(features), features, seed=1, are_probabilities=False)
    with pytest.raises(BundleError, match="ONNX and Keras scores of 1 events differ by 1e-12"):
        assert_parity(path, other, as_it_is(features), features, seed=1, are_probabilities=False)


def test_a_regression_answers_in_the_units_of_its_targets(tmp_path: Path) -> None:
    spec, table = ModelSpec(architecture="logistic", head="regression"), events("regression")
    network = build(spec, 2, 1, seed=1, n_targets=2)
    known = [facts(mean=50.0, spread=10.0), facts(name="depth", mean=-3.0, spread=0.5)]
    transform = head_of(spec).target_transform(known)
    said = np.asarray(scoring_network(network, head_of(spec), transform)(table.inputs))
    normalised = np.asarray(network(table.inputs))
    assert said == pytest.approx(normalised * [10.0, 0.5] + [50.0, -3.0], rel=1e-5)
