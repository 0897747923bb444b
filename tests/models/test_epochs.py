"""What the compiled epoch promises: the arithmetic of ``fit``, every event once, and a way out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from models.build import ModelSpec, build, head_of
from models.compiled.program import spans
from models.epochs import Epochs, _heed_interruption, begin_epochs
from models.optimization import AveragingSpec, ClippingSpec, OptimizationSpec
from pipeline.errors import TrainingError
from pipeline.shuffle import Block, EventsInMemory
from pipeline.table import EventTable, pack

NO_DROPOUT = ModelSpec(options={"widths": [16, 16], "dropout": 0})
PLAIN = ModelSpec(options={"widths": [8], "batch_norm": False, "dropout": 0})
LOSS = head_of(PLAIN).loss


def toy(n_events: int, seed: int = 1) -> EventTable:
    generator = np.random.default_rng(seed)
    labels = (np.arange(n_events) % 2).astype(np.float32)
    inputs = generator.normal(size=(n_events, 3)) + labels[:, None]
    return pack(inputs.astype(np.float32), labels, generator.uniform(0.5, 1.5, n_events))


@dataclass(frozen=True)
class InBlocks:
    """The very order that the events would have in memory, in blocks of 64."""

    table: EventTable

    n_events = property(lambda self: len(self.table))
    shape = property(lambda self: self.table.shape)
    sum_of_weights = property(lambda self: self.table.sum_of_weights)

    def shuffled(self, random: np.random.Generator) -> Iterator[Block]:
        return self._cut(next(EventsInMemory(self.table).shuffled(random)).order)

    def in_order(self) -> Iterator[Block]:
        return self._cut(np.arange(len(self.table)))

    def _cut(self, order: NDArray[Any]) -> Iterator[Block]:
        for start in range(0, len(order), 64):
            rows = self.table.rows[order[start : start + 64]]
            padded = np.zeros((64, rows.shape[1]), dtype=np.float32)
            padded[: len(rows)] = rows
            yield Block(padded, np.arange(64, dtype=np.int32), len(rows))


def epochs_of(
    model: ModelSpec, spec: OptimizationSpec, source: Any = None, validation: EventTable | None = None
) -> Epochs:
    network = build(model, 3, 2, seed=1)
    source = source or EventsInMemory(toy(200))
    return begin_epochs(network, LOSS(), spec, source, EventsInMemory(validation or toy(50, 2)), seed=1)


def run(epochs: Epochs, n_epochs: int = 1, rate: float = 1e-2) -> list[float]:
    rates = np.full(epochs.steps_per_epoch, rate, dtype=np.float32)
    return [epochs.run(np.random.default_rng(epoch), rates, lambda _: None).loss for epoch in range(n_epochs)]


def weights_of(epochs: Epochs) -> list[NDArray[Any]]:
    return epochs.trainee.network.get_weights()


@pytest.mark.parametrize("n_events", [200, 205, 31], ids=["whole batches", "a tail", "less than a batch"])
def test_weights_and_losses_are_those_of_fit_in_the_same_order(n_events: int) -> None:
    table, network = toy(n_events), build(NO_DROPOUT, 3, 2, seed=1)
    epochs = epochs_of(NO_DROPOUT, OptimizationSpec(batch_size=40), EventsInMemory(table))
    network.compile(keras.optimizers.Adam(1e-2), LOSS())
    losses = []
    for epoch in range(3):
        rows = table.rows[next(EventsInMemory(table).shuffled(np.random.default_rng(epoch))).order]
        options = {"sample_weight": rows[:, -1], "batch_size": 40, "shuffle": False, "verbose": 0}
        losses += network.fit(rows[:, :-2], rows[:, -2:-1], **options).history["loss"]
    per_weight = np.array(losses) * n_events / table.sum_of_weights
    assert run(epochs, 3) == pytest.approx(per_weight.tolist(), rel=1e-4)
    for ours, theirs in zip(weights_of(epochs), network.get_weights(), strict=True):
        assert ours == pytest.approx(theirs, abs=2e-4)


@pytest.mark.parametrize("n_events", [256, 299])
def test_blocks_of_events_are_trained_on_as_if_they_were_one(n_events: int) -> None:
    spec, table = OptimizationSpec(batch_size=32), toy(n_events)
    whole, in_blocks = (epochs_of(NO_DROPOUT, spec, source) for source in (EventsInMemory(table), InBlocks(table)))
    assert run(whole, 2) == pytest.approx(run(in_blocks, 2), rel=1e-6)
    for one, other in zip(weights_of(whole), weights_of(in_blocks), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize(("n_events", "batch_size"), [(1000, 64), (64, 64), (63, 64), (65, 64), (1, 64), (130, 1)])
def test_spans_cover_every_event_and_every_step_once(n_events: int, batch_size: int) -> None:
    found = spans(n_events, batch_size, 7, events_at_once=128)
    covered = [(s.first_event + i * s.batch_size, s.batch_size) for s in found for i in range(s.n_steps)]
    steps = [s.first_step + i for s in found for i in range(s.n_steps)]
    assert np.cumsum([0] + [n for _, n in covered]).tolist() == [first for first, _ in covered] + [n_events]
    assert steps == list(range(7, 7 + len(steps)))


def test_progress_is_told_of_every_event() -> None:
    epochs, told = epochs_of(PLAIN, OptimizationSpec(batch_size=32), EventsInMemory(toy(205))), list[int]()
    epochs.run(np.random.default_rng(1), np.zeros(epochs.steps_per_epoch, dtype=np.float32), told.append)
    assert sum(told) == 205


def test_each_step_has_the_rate_that_it_is_given() -> None:
    epochs = epochs_of(PLAIN, OptimizationSpec(batch_size=100, optimizer="sgd"))
    before = weights_of(epochs)
    rates = np.array([0, 0.1], dtype=np.float32)
    order = next(EventsInMemory(toy(200)).shuffled(np.random.default_rng(1))).order
    epochs.run(np.random.default_rng(1), rates, lambda _: None)
    alone = epochs_of(PLAIN, OptimizationSpec(batch_size=100, optimizer="sgd"), EventsInMemory(_second(order)))
    run(alone, 1, 0.1)
    assert any((a != b).any() for a, b in zip(weights_of(epochs), before, strict=True))
    for one, other in zip(weights_of(epochs), weights_of(alone), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def _second(order: NDArray[Any]) -> EventTable:
    return EventTable(toy(200).rows[order[100:]])


def test_max_norm_caps_the_weights_into_each_unit() -> None:
    epochs = epochs_of(PLAIN, OptimizationSpec(batch_size=50, max_norm=0.3))
    run(epochs, 3)
    lengths = [np.linalg.norm(w, axis=0) for w in weights_of(epochs) if w.ndim > 1]
    assert all((length <= 0.3 * (1 + 1e-5)).all() for length in lengths)
    assert max(length.max() for length in lengths) == pytest.approx(0.3, rel=1e-4)


@pytest.mark.parametrize(
    ("clip", "largest"),
    [
        (ClippingSpec(norm=1e-3), lambda steps: np.sqrt(sum((step**2).sum() for step in steps))),
        (ClippingSpec(variable_norm=1e-3), lambda steps: max(np.linalg.norm(step) for step in steps)),
        (ClippingSpec(value=1e-3), lambda steps: max(np.abs(step).max() for step in steps)),
    ],
    ids=["all", "each variable", "each value"],
)
def test_a_clipped_gradient_is_as_long_as_is_allowed(clip: ClippingSpec, largest: Any) -> None:
    epochs = epochs_of(PLAIN, OptimizationSpec(batch_size=200, optimizer="sgd", gradient_clipping=clip))
    before = weights_of(epochs)
    run(epochs, 1, rate=1.0)
    steps = [after - b for after, b in zip(weights_of(epochs), before, strict=True)]
    assert largest(steps) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("given", [{}, {"norm": 1.0, "value": 1.0}])
def test_a_clipping_of_none_or_of_several_kinds_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give one of norm, variable_norm, value; received n"):
        ClippingSpec(**given)


def test_weight_decay_pulls_at_matrices_alone() -> None:
    quiet = EventTable(toy(200).rows * np.float32([1, 1, 1, 1, 1e-20]))
    epochs = epochs_of(
        PLAIN, OptimizationSpec(batch_size=200, optimizer="sgd", weight_decay=0.1), EventsInMemory(quiet)
    )
    network = epochs.trainee.network
    network.set_weights([np.ones_like(w) for w in network.get_weights()])
    run(epochs, 1, rate=0.5)
    expected = [1 - 0.1 * 0.5 if w.ndim > 1 else 1 for w in weights_of(epochs)]
    assert [float(w.mean()) for w in weights_of(epochs)] == pytest.approx(expected, rel=1e-5)


def test_averaged_weights_follow_their_recursion_and_are_those_that_are_judged() -> None:
    spec = OptimizationSpec(batch_size=200, averaged_weights=AveragingSpec(decay=0.5))
    epochs = epochs_of(NO_DROPOUT, spec)  # the statistics of its batch norms are averaged, too
    expected = weights_of(epochs)
    for step in range(1, 5):
        run(epochs)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = [decay * e + (1 - decay) * w for e, w in zip(expected, weights_of(epochs), strict=True)]
        loss, _, judged = epochs.judge()
    for one, other in zip(judged, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    epochs.trainee.network.set_weights(judged)
    z = np.asarray(epochs.trainee.network.predict(toy(50, 2).inputs, verbose=0), dtype=np.float64)[:, 0]
    losses = np.logaddexp(0, z) - toy(50, 2).labels * z
    assert loss == pytest.approx(np.average(losses, weights=toy(50, 2).weights), rel=1e-5)


def test_judging_leaves_the_network_in_training_as_it_is() -> None:
    epochs = epochs_of(PLAIN, OptimizationSpec(averaged_weights=AveragingSpec()))
    run(epochs)
    before = weights_of(epochs)
    epochs.judge()
    assert all((a == b).all() for a, b in zip(weights_of(epochs), before, strict=True))


@pytest.mark.parametrize("n_events", [1, 50, 4096, 4097, 10_000])
def test_the_validation_loss_is_the_weighted_mean_of_any_number_of_events(n_events: int) -> None:
    table = toy(n_events, 3)
    epochs = epochs_of(PLAIN, OptimizationSpec(), validation=table)
    z = np.asarray(epochs.trainee.network.predict(table.inputs, verbose=0), dtype=np.float64)[:, 0]
    losses = np.logaddexp(0, z) - table.labels * z
    assert epochs.judge()[0] == pytest.approx(np.average(losses, weights=table.weights), rel=1e-5)


def test_mixed_precision_trains_in_bfloat16_and_keeps_single_precision_weights() -> None:
    epochs = epochs_of(NO_DROPOUT, OptimizationSpec(batch_size=40, precision="mixed_bfloat16"))
    single = epochs_of(NO_DROPOUT, OptimizationSpec(batch_size=40))
    assert run(epochs, 3) == pytest.approx(run(single, 3), rel=0.05)
    hidden, last = epochs.trainee.network.layers[-2:]
    assert (hidden.compute_dtype, last.compute_dtype) == ("bfloat16", "float32")
    assert {w.dtype for w in weights_of(epochs)} == {np.dtype(np.float32)}


class Odd(keras.Model):  # type: ignore[misc]
    """A network that cannot be copied layer by layer, since its graph is written in Python."""

    input_shape = (None, 3)

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.dense.build(shape)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


class ThroughPython(keras.layers.Layer):  # type: ignore[misc]
    """A layer that leaves TensorFlow's graph, which XLA cannot follow."""

    def call(self, inputs: Any) -> Any:
        import tensorflow as tf

        through = tf.ensure_shape(tf.numpy_function(lambda array: array, [inputs], tf.float32), inputs.shape)
        return inputs + tf.stop_gradient(through - inputs)


def odd_network() -> Any:
    network = Odd()
    network.build((None, 3))
    return network


def network_through_python() -> Any:
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the layer is TensorFlow's")
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(1)(ThroughPython()(inputs)))


@pytest.mark.parametrize("make", [odd_network, network_through_python])
def test_what_cannot_be_compiled_is_trained_by_keras_with_one_warning(
    make: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    network = make()
    spec = OptimizationSpec(batch_size=50, averaged_weights=AveragingSpec())
    epochs = begin_epochs(network, LOSS(), spec, EventsInMemory(toy(205)), EventsInMemory(toy(50)), seed=1)
    losses = run(epochs, 4)
    assert losses[-1] < losses[0]
    assert np.isfinite(epochs.judge()[0])
    assert epochs.why_not_compiled
    assert [r.getMessage().partition(":")[0] for r in caplog.records if r.name.startswith("models")] == [
        "training runs in Keras' own loop, several times slower, in single precision"
    ]


@pytest.mark.parametrize(
    ("said", "ended"), [("REPLACED BY SystemExit: 143", SystemExit), ("KeyboardInterrupt: ", KeyboardInterrupt)]
)
def test_a_signal_within_a_compiler_is_no_reason_to_go_on_in_another_loop(said: str, ended: type) -> None:
    """What the handler raised comes out of XLA as the text of another error."""
    with pytest.raises(ended):
        _heed_interruption(RuntimeError(f"pybind11::error_already_set: ORIGINAL ResourceExhaustedError {said}"))
    _heed_interruption(RuntimeError("something else"))


def test_keras_own_loop_gives_the_same_when_it_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    spec = OptimizationSpec(batch_size=40, averaged_weights=AveragingSpec(decay=0.9))
    compiled, kerases = (epochs_of(NO_DROPOUT, spec.model_copy(update={"compiled": c})) for c in (True, False))
    assert run(compiled, 3) == pytest.approx(run(kerases, 3), rel=1e-4)
    assert compiled.judge()[0] == pytest.approx(kerases.judge()[0], rel=1e-4)
    assert not [record for record in caplog.records if record.name.startswith("models")]


def test_a_penalty_on_weights_is_trained_with_and_is_no_part_of_a_loss() -> None:
    def losses(compiled: bool) -> list[float]:
        inputs = keras.Input((3,))
        network = keras.Model(inputs, keras.layers.Dense(1, "linear", kernel_regularizer="l2")(inputs))
        network.set_weights([np.full((3, 1), 3, dtype=np.float32), np.zeros(1, dtype=np.float32)])
        sources = EventsInMemory(toy(205)), EventsInMemory(toy(50, 2))
        epochs = begin_epochs(network, LOSS(), OptimizationSpec(batch_size=40, compiled=compiled), *sources, seed=1)
        before = epochs.judge()[0]
        return [before, *run(epochs, 2), epochs.judge()[0]]

    z = toy(50, 2).inputs.astype(np.float64).sum(axis=1) * 3
    expected = np.average(np.logaddexp(0, z) - toy(50, 2).labels * z, weights=toy(50, 2).weights)
    assert losses(True)[0] == pytest.approx(expected, rel=1e-5)
    assert losses(True) == pytest.approx(losses(False), rel=1e-4)


class OutOfMemory(keras.layers.Layer):  # type: ignore[misc]
    """A layer for which the device has no memory."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory while trying to allocate 99 GiB")
        return inputs


def test_a_device_without_enough_memory_is_an_error_and_no_reason_for_a_slower_loop() -> None:
    inputs = keras.Input((3,))
    network = keras.Model(inputs, keras.layers.Dense(1)(OutOfMemory()(inputs)))
    sources = EventsInMemory(toy(205)), EventsInMemory(toy(50, 2))
    with pytest.raises(TrainingError, match=r"too little memory .*a smaller \[training\] memory_gib or batch_size"):
        begin_epochs(network, LOSS(), OptimizationSpec(), *sources, seed=1)
