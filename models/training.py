"""Training: the loop that a reader can follow.

Owns the ``[training]`` section, the loop over epochs and everything that watches it: early stopping,
smaller steps on a plateau, the best weights, the guard against a non-finite loss. How *one epoch* is
run is behind ``Epochs``; here by Keras itself.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, field_validator

from pipeline.dataset import EventArrays
from pipeline.declare import Declaration
from pipeline.errors import TrainingError, nearest_spelling
from pipeline.normalise import InputTransform
from pipeline.progress import Progress, nobody_watches

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

OPTIMIZERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {}),
    "rmsprop": ("RMSprop", {}),
    "adagrad": ("Adagrad", {}),
    "adadelta": ("Adadelta", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "sgd": ("SGD", {}),
}
"""Name in the experiment file → Keras class and its arguments."""

VALIDATION_BATCH = 16_384
EXTREME = 1e3
"""An input further from 0, or a weight larger than this, is named as the cause of a loss that is not finite."""


class EarlyStoppingSpec(Declaration):
    """Stop after ``patience`` epochs in which ``watch`` did not fall by more than ``min_delta``."""

    watch: Literal["validation_loss", "loss"] = "validation_loss"
    patience: PositiveInt = 10
    min_delta: float = Field(0.0, ge=0)


class ReduceOnPlateauSpec(Declaration):
    """Multiply the learning rate by ``factor`` after ``patience`` epochs without improvement, down to ``minimum``."""

    factor: float = Field(0.3, gt=0, lt=1)
    patience: PositiveInt = 4
    minimum: float = Field(1e-6, ge=0)


class TrainingSpec(Declaration):
    """The ``[training]`` section. Without early stopping or plateau section the respective rule is off."""

    epochs: PositiveInt = 100
    batch_size: PositiveInt = 1024
    optimizer: str = "adam"
    learning_rate: float = Field(1e-3, gt=0)
    early_stopping: EarlyStoppingSpec | None = EarlyStoppingSpec()
    reduce_on_plateau: ReduceOnPlateauSpec | None = ReduceOnPlateauSpec()

    @field_validator("optimizer")
    @classmethod
    def _is_in_the_table(cls, name: str) -> str:
        if name not in OPTIMIZERS:
            hint = nearest_spelling(name, OPTIMIZERS)
            raise ValueError(f"received {name!r}{hint}; there are: {', '.join(sorted(OPTIMIZERS))}")
        return name


class EpochRecord(TypedDict):
    """What one epoch gave: weighted losses, and the learning rate that it was run with."""

    epoch: int
    loss: float
    validation_loss: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class TrainingRecord:
    """What training gave; the network itself has the best weights by then."""

    history: tuple[EpochRecord, ...]
    best_epoch: int
    stopped_because: str
    seconds: float
    events_per_second: float
    device: str
    backend: str


@dataclass(frozen=True, eq=False)
class TrainingEvents:
    """What the network sees of one part: inputs ``(n_events, n_inputs)``, labels and weights ``(n_events,)``."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sum_of_weights(self) -> float:
        """What a weighted mean over these events divides by."""
        return float(self.weights.sum(dtype=np.float64))


class Epochs(Protocol):
    """Whatever can run an epoch: the seam between the loop and the program that does the arithmetic."""

    def run(self, order: NDArray[np.int64], learning_rate: float) -> float:
        """Train on all events in this order and return the mean weighted loss."""

    def validation_loss(self) -> float:
        """Return the mean weighted loss on the validation events."""


def training_events(part: EventArrays, transform: InputTransform, block: int = 65_536) -> TrainingEvents:
    """Load one part as the network sees it; features are transformed block by block."""
    inputs = np.empty((len(part), transform.n_inputs), dtype=np.float32)
    for start in range(0, len(part), block):
        inputs[start : start + block] = transform.apply(part.features[start : start + block])
    return TrainingEvents(inputs, part.label.astype(np.float32), np.array(part.training_weight))


class KerasEpochs:
    """Epochs run by ``keras.Model.fit``."""

    def __init__(
        self,
        network: "keras.Model",
        loss: "keras.losses.Loss",
        spec: TrainingSpec,
        train: TrainingEvents,
        validation: TrainingEvents,
    ) -> None:
        import keras

        name, arguments = OPTIMIZERS[spec.optimizer]
        optimizer = getattr(keras.optimizers, name)(learning_rate=spec.learning_rate, **arguments)
        # XLA inside `fit` would compile anew in every call; the compiled epoch is what makes it worth it.
        network.compile(optimizer, loss, jit_compile=False)
        self._network, self._batch_size = network, spec.batch_size
        self._train, self._validation = train, validation

    def run(self, order: NDArray[np.int64], learning_rate: float) -> float:
        """Train on all events in this order, the tail batch too, and return the mean weighted loss."""
        events = self._train
        self._network.optimizer.learning_rate.assign(learning_rate)
        history = self._network.fit(
            events.inputs[order],
            events.labels[order],
            sample_weight=events.weights[order],
            batch_size=self._batch_size,
            shuffle=False,
            verbose=0,
        )
        return _per_weight(history.history["loss"][-1], events)

    def validation_loss(self) -> float:
        """Return the mean weighted loss on the validation events."""
        events = self._validation
        mean = self._network.evaluate(
            events.inputs, events.labels, sample_weight=events.weights, batch_size=VALIDATION_BATCH, verbose=0
        )
        return _per_weight(mean, events)


def _per_weight(mean: float, events: TrainingEvents) -> float:
    # Keras divides by the number of events; a mean over weights divides by their sum.
    return float(mean) * len(events) / events.sum_of_weights


class _Watch:
    """How long a loss has not improved."""

    def __init__(self, min_delta: float = 0.0) -> None:
        self.best, self.min_delta, self.epochs_without = np.inf, min_delta, 0

    def has_improved(self, value: float) -> bool:
        improved = value < self.best - self.min_delta
        self.best = value if improved else self.best
        self.epochs_without = 0 if improved else self.epochs_without + 1
        return bool(improved)


def train(
    network: "keras.Model",
    loss: "keras.losses.Loss",
    spec: TrainingSpec,
    events: TrainingEvents,
    validation: TrainingEvents,
    input_names: tuple[str, ...],
    seed: int,
    progress: Progress = nobody_watches,
) -> TrainingRecord:
    """Train the network and leave the best weights in it.

    Raises:
        TrainingError: a part has no events or no positive sum of weights, or the loss is not finite; the
            message names the input, the weight or the learning rate that caused it.
    """
    parts = {"training": events, "validation": validation}
    _refuse_weightless(parts)
    epochs: Epochs = KerasEpochs(network, loss, spec, events, validation)
    stopping = spec.early_stopping or EarlyStoppingSpec()
    watch, plateau = _Watch(stopping.min_delta), _Watch()
    random, learning_rate, history = np.random.default_rng(seed), spec.learning_rate, list[EpochRecord]()
    best_weights, best_epoch, stopped = network.get_weights(), 0, f"all {spec.epochs} epochs were run"
    started = time.monotonic()
    for epoch in range(1, spec.epochs + 1):
        record = _run_epoch(epochs, epoch, random.permutation(len(events)), learning_rate)
        weights = network.get_weights()
        _refuse_non_finite(record, weights, parts, input_names)
        history.append(record)
        progress(_told(record, spec.epochs), len(events), spec.epochs * len(events))
        if watch.has_improved(record[stopping.watch]):
            best_weights, best_epoch = weights, epoch
        elif spec.early_stopping and watch.epochs_without >= stopping.patience:
            stopped = f"{stopping.watch} has not improved for {stopping.patience} epochs"
            break
        if spec.reduce_on_plateau and not plateau.has_improved(record["validation_loss"]):
            learning_rate = _next_learning_rate(learning_rate, plateau, spec.reduce_on_plateau)
    network.set_weights(best_weights)
    return _training_record(history, best_epoch, stopped, time.monotonic() - started, len(events))


def _run_epoch(epochs: Epochs, epoch: int, order: NDArray[np.int64], learning_rate: float) -> EpochRecord:
    started = time.monotonic()
    loss = epochs.run(order, learning_rate)
    validation_loss = epochs.validation_loss() if np.isfinite(loss) else np.nan
    return EpochRecord(
        epoch=epoch,
        loss=loss,
        validation_loss=validation_loss,
        learning_rate=learning_rate,
        seconds=time.monotonic() - started,
    )


def _told(record: EpochRecord, n_epochs: int) -> str:
    return f"train, epoch {record['epoch']}/{n_epochs}, loss {record['loss']:.4f} / {record['validation_loss']:.4f}"


def _next_learning_rate(learning_rate: float, plateau: _Watch, spec: ReduceOnPlateauSpec) -> float:
    if plateau.epochs_without < spec.patience:
        return learning_rate
    plateau.epochs_without = 0
    # A rate that was declared below the minimum stays where it is.
    return min(learning_rate, max(spec.minimum, learning_rate * spec.factor))


def _training_record(
    history: list[EpochRecord], best_epoch: int, stopped: str, seconds: float, n_events: int
) -> TrainingRecord:
    import keras

    in_epochs = sum(record["seconds"] for record in history)
    log.info("trained %d epochs in %.1f s: %s", len(history), seconds, stopped)
    return TrainingRecord(
        history=tuple(history),
        best_epoch=best_epoch,
        stopped_because=stopped,
        seconds=seconds,
        events_per_second=len(history) * n_events / in_epochs,
        device=device_name(),
        backend=keras.backend.backend(),
    )


def device_name() -> str:
    """Return what the network is trained on, ``cpu`` or the accelerator's name."""
    import keras

    names = [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]
    return names[0] if names else "cpu"


def _refuse_weightless(parts: Mapping[str, TrainingEvents]) -> None:
    for part, events in parts.items():
        if not len(events):
            raise TrainingError(f"the {part} part has no events")
        # NaN is not refused here: it will be found, and told, in the loss.
        if events.sum_of_weights <= 0:
            msg = f"the weights of the {len(events)} {part} events add up to {events.sum_of_weights:g}"
            raise TrainingError(f"{msg}; a mean loss needs a positive sum: more events, or [weights] negative = 'drop'")


def _refuse_non_finite(
    record: EpochRecord,
    weights: list[NDArray[np.float32]],
    parts: Mapping[str, TrainingEvents],
    names: tuple[str, ...],
) -> None:
    """Stop when a loss is not finite, and say which input or weight is the cause as far as they can tell."""
    losses = record["loss"], record["validation_loss"]
    # A ReLU can turn NaN into 0: the loss looks well although half of the network is lost.
    if np.isfinite(losses).all() and all(np.isfinite(array).all() for array in weights):
        return
    what = "a weight of the network" if np.isfinite(losses).all() else "the loss"
    text = f"{what} is not finite in epoch {record['epoch']}"
    for part, events in parts.items():
        event, column = _furthest(events.inputs)
        value, weight = events.inputs[event, column], events.weights[_furthest(events.weights[:, None])[0]]
        if not abs(value) <= EXTREME:
            text += f": input {names[column]!r} reaches {value:g} after normalisation ({part} event {event})"
            raise TrainingError(
                f"{text}; a cut, a sentinel in [features] missing or a [normalise] method would mend it"
            )
        if not abs(weight) <= EXTREME:
            text += f": a {part} event has the training weight {weight:g}, where the mean is"
            raise TrainingError(f"{text} {events.sum_of_weights / len(events):g}; look at the weights of the samples")
    text += f", and no input or weight is extreme: the learning rate {record['learning_rate']:g} is the likely cause"
    raise TrainingError(f"{text}; try {record['learning_rate'] / 10:g}")


def _furthest(values: NDArray[np.float32]) -> tuple[int, int]:
    """Return row and column of the value furthest from 0; one that is not a number is further than all."""
    # Column by column, since this runs only where memory may be short and the inputs are all of it.
    rows = [int(np.argmax(np.abs(column))) for column in values.T]
    distances = np.abs([values[row, column] for column, row in enumerate(rows)])
    column = int(np.argmax(distances))
    return rows[column], column
