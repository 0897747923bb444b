"""What the training loop promises: weights count, the best network stays, and a broken loss is explained."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from models.backend import backend_name
from models.build import ModelSpec, build, head_of
from models.checkpoint import checkpoints_at
from models.metrics import weighted_auc
from models.optimization import OPTIMIZERS
from models.training import (
    EarlyStoppingSpec,
    ReduceOnPlateauSpec,
    TrainingEvents,
    TrainingRecord,
    TrainingSpec,
    train,
    training_events,
)
from pipeline.dataset import EventArrays
from pipeline.errors import TrainingError
from pipeline.missing import MissingSpec
from pipeline.normalise import InputTransform, NormaliseSpec
from pipeline.progress import Progress, nobody_watches
from pipeline.shuffle import EventsInMemory
from pipeline.table import EventTable, Packing, pack, table_of

PLAIN = ModelSpec(options={"widths": [8], "batch_norm": False, "dropout": 0})
DEFAULT = ModelSpec(options={"widths": [8, 8]})
STANDING_STILL = TrainingSpec(epochs=1, optimizer="sgd", learning_rate=1e-12)


def toy(n_events: int, seed: int, distance: float = 1.5) -> EventTable:
    generator = np.random.default_rng(seed)
    labels = (np.arange(n_events) % 2).astype(np.float32)
    inputs = generator.normal(size=(n_events, 2)) + distance / np.sqrt(2) * (labels[:, None] - 0.5)
    return pack(inputs.astype(np.float32), labels, np.ones(n_events))


def weighted(events: EventTable, weights: NDArray[Any]) -> EventTable:
    return pack(events.inputs, events.labels, weights)


def mislabelled(events: EventTable) -> EventTable:
    return pack(events.inputs, 1 - events.labels, events.weights)


def trained_on(
    events: EventTable, validation: EventTable, spec: TrainingSpec, model: ModelSpec = PLAIN, seed: int = 1
) -> tuple[Any, TrainingRecord]:
    network = build(model, 2, 2, seed)
    sources = TrainingEvents(EventsInMemory(events), EventsInMemory(validation))
    return network, train(network, head_of(model).loss(), spec, sources, ("pt", "eta"), seed)


def loss_by_hand(network: Any, events: EventTable) -> float:
    """Return Σ w (log(1 + e^z) - y z) / Σ w."""
    z = np.asarray(network(events.inputs), dtype=np.float64)[:, 0]
    w = events.weights.astype(np.float64)
    return float((w * (np.logaddexp(0, z) - events.labels * z)).sum() / w.sum())


def scores(network: Any, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.asarray(network(inputs), dtype=np.float64)[:, 0]))


LABELS = toy(100, seed=1).labels
WEIGHTS = {
    "all one": np.ones(100),
    "signal doubled": 1 + LABELS,
    "background doubled": 2 - LABELS,
    "some negative": np.where(np.arange(100) % 10 < 2, -1.0, 1.5),
    "some zero": (np.arange(100) % 3 > 0).astype(float),
    "far from one": np.linspace(1e-6, 3e-6, 100),
}


@pytest.mark.parametrize(
    ("case", "batch_size"), [*((case, 99) for case in WEIGHTS), *(("some negative", size) for size in (7, 100, 5_000))]
)
def test_both_losses_are_the_weighted_means_that_numpy_gives(case: str, batch_size: int) -> None:
    weights = WEIGHTS[case]
    events, validation = weighted(toy(100, 1), weights), weighted(toy(100, 2), weights[::-1])
    spec = STANDING_STILL.model_copy(update={"batch_size": batch_size})
    network, record = trained_on(events, validation, spec)
    assert record.history[0]["loss"] == pytest.approx(loss_by_hand(network, events), rel=1e-5)
    assert record.history[0]["validation_loss"] == pytest.approx(loss_by_hand(network, validation), rel=1e-5)


def test_events_of_no_weight_change_neither_loss() -> None:
    weights = (np.arange(100) < 60).astype(float)
    events = weighted(toy(100, 1), weights)
    some = EventTable(events.rows[:60])
    with_them, without = (trained_on(e, e, STANDING_STILL)[1].history[0] for e in (events, some))
    assert with_them["loss"] == pytest.approx(without["loss"], rel=1e-5)
    assert with_them["validation_loss"] == pytest.approx(without["validation_loss"], rel=1e-5)


def test_an_event_of_weight_two_pulls_like_two_events() -> None:
    events = toy(40, 1)
    twice = EventTable(np.concatenate([events.rows, events.rows[1::2]]))
    # Keras divides a batch's loss by its number of events: 40 and 60 here.
    specs = [TrainingSpec(epochs=1, optimizer="sgd", learning_rate=rate, batch_size=60) for rate in (0.2, 0.3)]
    by_weight, _ = trained_on(weighted(events, 1 + events.labels), events, specs[0])
    by_number, _ = trained_on(twice, events, specs[1])
    for one, other in zip(by_weight.get_weights(), by_number.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


OVERFITTING = TrainingSpec(
    epochs=50, learning_rate=0.05, early_stopping=EarlyStoppingSpec(patience=3), reduce_on_plateau=None
)


def test_training_stops_when_nothing_improves_and_leaves_the_best_weights() -> None:
    events = toy(400, 1)
    validation = mislabelled(toy(400, 2))
    network, record = trained_on(events, validation, OVERFITTING)
    losses = [epoch["validation_loss"] for epoch in record.history]
    assert len(losses) == record.best_epoch + 3 < 50
    assert "validation_loss has not improved for 3 epochs" in record.stopped_because
    assert loss_by_hand(network, validation) == pytest.approx(min(losses), rel=1e-5)
    assert losses[record.best_epoch - 1] == min(losses) < losses[-1]


def test_with_early_stopping_switched_off_all_epochs_run_and_the_best_weights_stay_all_the_same() -> None:
    spec = TrainingSpec.model_validate({**OVERFITTING.model_dump(), "early_stopping": False, "epochs": 6})
    assert spec.early_stopping is None
    validation = mislabelled(toy(400, 2))
    network, record = trained_on(toy(400, 1), validation, spec)
    assert len(record.history) == 6
    best = min(epoch["validation_loss"] for epoch in record.history)
    assert loss_by_hand(network, validation) == pytest.approx(best, rel=1e-5)


def test_an_improvement_below_min_delta_is_none() -> None:
    stopping = EarlyStoppingSpec(patience=2, min_delta=10.0)
    _, record = trained_on(toy(100, 1), toy(100, 2), OVERFITTING.model_copy(update={"early_stopping": stopping}))
    assert (len(record.history), record.best_epoch) == (3, 1)


@pytest.mark.parametrize(
    ("start", "expected"),
    [(1e-2, [1e-2, 1e-2, 1e-3, 1e-4, 5e-5, 5e-5]), (1e-6, [1e-6] * 6)],
    ids=["down to the minimum", "never up to the minimum"],
)
def test_the_rate_falls_on_a_plateau(start: float, expected: list[float]) -> None:
    plateau = ReduceOnPlateauSpec(factor=0.1, patience=1, minimum=5e-5)
    spec = TrainingSpec(epochs=6, learning_rate=start, early_stopping=None, reduce_on_plateau=plateau)
    _, record = trained_on(toy(400, 1), mislabelled(toy(400, 1)), spec)
    assert [epoch["learning_rate"] for epoch in record.history] == pytest.approx(expected)


def test_the_same_seed_gives_the_same_history_and_another_seed_another() -> None:
    spec, events, validation = TrainingSpec(epochs=2, batch_size=64), toy(500, 1), toy(500, 2)
    runs = [trained_on(events, validation, spec, DEFAULT, seed)[1].history for seed in (1, 1, 2)]
    first, again, other = ([(e["loss"], e["validation_loss"]) for e in history] for history in runs)
    assert first == again
    assert first != other


@pytest.mark.parametrize("n_events", [65, 64, 3, 1])
def test_a_last_batch_of_one_event_is_trained_on_with_batch_norm_too(n_events: int) -> None:
    events = toy(n_events, 1)
    network, record = trained_on(events, events, TrainingSpec(epochs=2, batch_size=64), DEFAULT)
    assert all(np.isfinite(epoch["loss"]) for epoch in record.history)
    assert all(np.isfinite(w).all() for w in network.get_weights())


def with_input(events: EventTable, value: float) -> EventTable:
    inputs = events.inputs.copy()
    inputs[17, 1] = value
    return pack(inputs, events.labels, events.weights)


HEAVY = np.where(np.arange(100) < 4, 3e38, 1.0)


@pytest.mark.parametrize(
    ("events", "validation", "rate", "message"),
    [
        (
            with_input(toy(100, 1), 3e38),
            toy(100, 2),
            1e-3,
            r"'eta' reaches 3e\+38 after normalisation in a training event",
        ),
        (
            with_input(toy(100, 1), np.nan),
            toy(100, 2),
            1e-3,
            r"'eta' reaches nan after normalisation in a training event",
        ),
        (
            toy(100, 1),
            with_input(toy(100, 2), -3e38),
            1e-3,
            r"'eta' reaches -3e\+38 after normalisation in a validation event",
        ),
        (toy(100, 1), toy(100, 2), 1e30, r"in epoch \d.*no input or weight is extreme: the learning rate 1e\+30"),
        (weighted(toy(100, 1), HEAVY), toy(100, 2), 1e-3, r"a training event has the training weight 3e\+38"),
    ],
    ids=["an input", "not a number", "an input in validation", "the learning rate", "a weight"],
)
def test_the_cause_of_a_loss_that_is_not_finite_is_named(
    events: EventTable, validation: EventTable, rate: float, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TrainingError, match=message):
        trained_on(events, validation, TrainingSpec(epochs=5, learning_rate=rate, optimizer="sgd"))
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (toy(0, 1), "the validation part has no events"),
        (weighted(toy(10, 1), np.zeros(10)), "the weights of the 10 validation events add up to 0"),
        (weighted(toy(10, 1), -np.ones(10)), "add up to -10; a mean loss needs a positive sum"),
    ],
    ids=["no events", "zero", "negative"],
)
def test_a_part_that_cannot_have_a_mean_loss_is_refused(validation: TrainingEvents, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        trained_on(toy(10, 1), validation, STANDING_STILL)


def test_an_unknown_optimizer_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"received 'adma' \(did you mean 'adam'\?\); there are: adadelta"):
        TrainingSpec(optimizer="adma")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(optimizer: str) -> None:
    spec = TrainingSpec(epochs=3, batch_size=20, optimizer=optimizer, learning_rate=1e-2)
    _, record = trained_on(toy(400, 1), toy(400, 2), spec)
    assert record.history[-1]["loss"] < record.history[0]["loss"]


SHORT = TrainingSpec(epochs=5, batch_size=64, learning_rate=1e-2)


def test_labels_that_mean_nothing_give_an_auc_of_one_half() -> None:
    events, fresh = toy(2_000, 1, distance=0), toy(4_000, 2, distance=0)
    network, _ = trained_on(events, toy(500, 3, distance=0), SHORT, DEFAULT)
    # The error of the AUC of n + n events without separation is 1 / √(6 n): 0.0091 here.
    assert weighted_auc(scores(network, fresh.inputs), fresh.labels) == pytest.approx(0.5, abs=4 * 0.0091)


def test_a_trained_network_comes_near_the_best_auc_there_is() -> None:
    fresh = toy(10_000, 2)
    network, _ = trained_on(toy(4_000, 1), toy(1_000, 3), SHORT, DEFAULT)
    # Two unit Gaussians 1.5 apart: Φ(1.5 / √2) = 0.8556; its error with 5,000 + 5,000 events is 0.0037.
    assert weighted_auc(scores(network, fresh.inputs), fresh.labels) == pytest.approx(0.8556, abs=4 * 0.0037)


def test_raising_a_signal_like_feature_lowers_no_score() -> None:
    network, _ = trained_on(toy(4_000, 1, 3.0), toy(1_000, 3, 3.0), SHORT, PLAIN)
    events = toy(500, 2, 3.0).inputs
    change = scores(network, events + np.float32([0.5, 0])) - scores(network, events)
    assert change.min() > -0.01
    assert change.mean() > 0.03


def test_the_last_digits_of_a_large_number_reach_the_network(
    learn: Callable[[NDArray[np.float64], NormaliseSpec, MissingSpec], InputTransform],
) -> None:
    times = 1.6e9 + toy(2_000, 1).inputs.astype(np.float64)
    rows = np.arange(2_000)
    arrays = EventArrays(
        times,
        np.empty((2_000, 0)),
        (rows % 2).astype(np.int8),
        np.empty((2_000, 0)),
        rows,
        rows,
        rows,
        np.ones(2_000),
        np.ones(2_000, np.float32),
    )
    events = table_of(arrays, Packing(learn(times, NormaliseSpec(), MissingSpec())))
    network, _ = trained_on(events, events, SHORT, DEFAULT)
    assert weighted_auc(scores(network, events.inputs), events.labels) > 0.82


SMALL = ModelSpec(options={"widths": [8]})
"""With batch norm and dropout, as they are by default."""

DISHEARTENING = "momentum, smaller steps on a plateau"
"""Its validation events have the wrong labels: the first epoch is the best, and the rate falls after the fourth."""

KINDS: dict[str, dict[str, Any]] = {
    "adam": {},
    DISHEARTENING: {
        "optimizer": "momentum",
        "learning_rate": 0.01,
        "reduce_on_plateau": {"factor": 0.1, "patience": 3},
    },
    "averaged weights": {"averaged_weights": {"decay": 0.9}},
    "warm-up, then a cosine": {
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "schedule": {"warm_up_epochs": 2, "decay": "cosine", "final": 0.1},
    },
    "events on disk": {"memory_gib": 1e-4},
    "Keras' own loop": {"compiled": False},
}


@dataclass(frozen=True)
class Attempt:
    """A run of a training that came to its end, and where its checkpoints lie."""

    folder: Path
    network: Any
    record: TrainingRecord

    @property
    def history(self) -> list[dict[str, Any]]:
        """All but the seconds, in which no two runs agree."""
        return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in self.record.history]

    @property
    def bits(self) -> list[bytes]:
        return [array.tobytes() for array in self.network.get_weights()]


Attempts = Callable[[str], Attempt]


def arrays_of(events: EventTable) -> EventArrays:
    rows, weights = np.arange(len(events)), events.weights
    features = events.inputs.astype(np.float64)
    return EventArrays(
        features,
        features[:, :0],
        events.labels.astype(np.int8),
        features[:, :0],
        rows,
        rows,
        rows,
        weights.astype(np.float64),
        weights,
    )


def attempt(kind: str, folder: Path, transform: InputTransform, progress: Progress = nobody_watches) -> Attempt:
    """Train for six epochs, or go on to their end, with a checkpoint after every one."""
    spec = TrainingSpec.model_validate({"epochs": 6, "batch_size": 64, **KINDS[kind]})
    validation = mislabelled(toy(3_008, 2)) if kind == DISHEARTENING else toy(3_008, 2)
    network, parts = build(SMALL, 2, 2, seed=1), (arrays_of(toy(3_008, 1)), arrays_of(validation))
    with checkpoints_at(folder / "checkpoint", "key", every_seconds=0.0) as checkpoints:
        events = training_events(*parts, Packing(transform), spec, folder, seed=1)
        loss = head_of(SMALL).loss()
        record = train(network, loss, spec, events, ("pt", "eta"), 1, checkpoints, progress)
    return Attempt(folder, network, record)


def interrupt_in_epoch_4(work: str, n_events: int, total: int | None) -> None:
    """Do what Ctrl-C does, after the first steps of the epoch."""
    if work.startswith("train, epoch 4/6"):
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def two_inputs(learn: Callable[[NDArray[np.float64], NormaliseSpec, MissingSpec], InputTransform]) -> InputTransform:
    return learn(toy(3_008, 1).inputs.astype(np.float64), NormaliseSpec(), MissingSpec())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, two_inputs: InputTransform) -> Attempts:
    """``uninterrupted(kind)``: the training in one go; each is run once, when it is first asked for."""
    return cache(lambda kind: attempt(kind, tmp_path_factory.mktemp("whole"), two_inputs))


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory, two_inputs: InputTransform) -> Attempts:
    """``resumed(kind)``: the same, interrupted in the fourth epoch and started again."""

    def run(kind: str) -> Attempt:
        folder = tmp_path_factory.mktemp("resumed")
        with pytest.raises(KeyboardInterrupt):
            attempt(kind, folder, two_inputs, interrupt_in_epoch_4)
        return attempt(kind, folder, two_inputs)

    return cache(run)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_was_interrupted_gives_the_same_bit_for_bit(
    kind: str, uninterrupted: Attempts, resumed: Attempts
) -> None:
    whole, again = uninterrupted(kind), resumed(kind)
    assert again.history == whole.history
    assert again.bits == whole.bits
    assert (again.record.best_epoch, again.record.stopped_because) == (
        whole.record.best_epoch,
        "all 6 epochs were run",
    )


def test_these_trainings_have_their_best_epoch_before_or_after_the_interruption(uninterrupted: Attempts) -> None:
    best = {kind: uninterrupted(kind).record.best_epoch for kind in KINDS}
    assert best.pop(DISHEARTENING) == 1
    assert min(best.values()) > 4


def test_the_events_of_one_of_these_trainings_lie_on_disk_in_several_blocks(uninterrupted: Attempts) -> None:
    folders = {kind: uninterrupted(kind).folder for kind in KINDS}
    assert [kind for kind, folder in folders.items() if (folder / "train.npy").exists()] == ["events on disk"]
    assert (folders["events on disk"] / "train.npy").stat().st_size > 2 * 1024 * 16


def test_the_record_says_after_which_epoch_training_went_on(uninterrupted: Attempts, resumed: Attempts) -> None:
    assert uninterrupted("adam").record.resumed_after == 0
    assert resumed("adam").record.resumed_after == 3


def test_a_checkpoint_of_the_last_epoch_ends_the_training_at_once_with_the_same_result(
    uninterrupted: Attempts, two_inputs: InputTransform
) -> None:
    whole, told = uninterrupted("adam"), []
    again = attempt("adam", whole.folder, two_inputs, lambda *message: told.append(message))
    assert (again.bits, again.record.history) == (whole.bits, whole.record.history)
    assert (again.record.resumed_after, again.record.best_epoch) == (6, whole.record.best_epoch)
    assert not [work for work, *_ in told if work.startswith("train, epoch")]


@pytest.mark.parametrize("kind", ["adam", "Keras' own loop"])
def test_the_history_holds_the_norm_of_the_gradient_in_every_layer_and_epoch(kind: str, resumed: Attempts) -> None:
    """Names are those of the layers in this network, whatever else the process has built."""
    norms = [epoch["gradient_norms"] for epoch in resumed(kind).record.history]
    assert [list(epoch) for epoch in norms] == [["dense", "logits"]] * 6
    assert all(norm > 0 for epoch in norms for norm in epoch.values())


def test_the_history_holds_the_rate_of_a_plateau_that_began_before_the_interruption(resumed: Attempts) -> None:
    rates = [epoch["learning_rate"] for epoch in resumed(DISHEARTENING).record.history]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-2, 1e-2, 1e-3, 1e-3])


def test_the_history_holds_the_rate_of_every_epochs_last_step(uninterrupted: Attempts) -> None:
    """47 steps an epoch: warm up over 94, then a cosine over 188, which is over in 187 strides."""
    rates = [epoch["learning_rate"] for epoch in uninterrupted("warm-up, then a cosine").record.history]
    done = (47 * np.arange(1, 5) - 1) / 187
    expected = [0.5, 1.0, *(0.1 + 0.9 * (1 + np.cos(np.pi * done)) / 2)]
    assert rates == pytest.approx([1e-3 * share for share in expected], rel=1e-6)
    assert rates[-1] == pytest.approx(1e-4, rel=1e-6)


def test_a_cosine_turns_the_rule_for_a_plateau_off() -> None:
    assert TrainingSpec().reduce_on_plateau is not None
    assert TrainingSpec.model_validate({"schedule": {"decay": "cosine"}}).reduce_on_plateau is None
    assert TrainingSpec.model_validate({"schedule": {"warm_up_epochs": 1}}).reduce_on_plateau is not None


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            {"schedule": {"decay": "cosine"}, "reduce_on_plateau": {"patience": 2}},
            "reduce_on_plateau and schedule.decay = 'cosine' both lower the rate; give one of them",
        ),
        (
            {"epochs": 3, "schedule": {"warm_up_epochs": 4}},
            "received warm_up_epochs = 4 with epochs = 3: the full rate would never be reached; allowed: at most 3",
        ),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSpec.model_validate(declared)


def test_the_record_says_how_training_was_run(uninterrupted: Attempts) -> None:
    record = uninterrupted("adam").record
    assert record.is_compiled
    assert record.compile_seconds > 0
    assert record.backend == backend_name()
    has_only_a_cpu = all(name.startswith("cpu") for name in keras.distribution.list_devices())
    assert (record.device == "cpu") == has_only_a_cpu


def test_the_record_of_keras_own_loop_says_that_nothing_was_compiled(uninterrupted: Attempts) -> None:
    record = uninterrupted("Keras' own loop").record
    assert (record.is_compiled, record.compile_seconds) == (False, 0.0)
