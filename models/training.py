"""Training: the loop that a reader can follow.

Owns the ``[training]`` section, the loop over epochs and everything that watches it: early stopping, smaller
steps on a plateau, the best weights, checkpoints, the guard against a non-finite loss. How *one epoch* is run is
``epochs``' work; what one step does is ``optimization``'s.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypedDict

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, PositiveInt, model_validator

from models.backend import backend_name
from models.checkpoint import NOWHERE, Checkpoint, Checkpoints
from models.decorrelation import Decorrelation
from models.optimization import VALIDATION_BATCH, OptimizationSpec
from models.schedules import ScheduleSpec, learning_rates, problem
from pipeline.dataset import EventArrays
from pipeline.declare import Declaration
from pipeline.errors import TrainingError
from pipeline.progress import Progress, nobody_watches
from pipeline.shuffle import EventSource, source_of
from pipeline.table import Packing

if TYPE_CHECKING:
    import keras

    from models.epochs import Epochs

log = logging.getLogger(__name__)

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


Off = Annotated[Literal[False] | None, AfterValidator(lambda _: None)]
"""TOML has no word for nothing, so that ``false`` says it."""


class TrainingSpec(OptimizationSpec):
    """The ``[training]`` section. ``early_stopping`` and ``reduce_on_plateau`` are on; ``false`` switches one off.

    A cosine schedule says itself how the rate falls: ``reduce_on_plateau`` is off then, and refused if given.
    Events that need more than ``memory_gib`` GiB are shuffled on disk and streamed. A checkpoint is written at the
    end of an epoch, ``checkpoint_seconds`` after the last one.
    """

    epochs: PositiveInt = 100
    early_stopping: EarlyStoppingSpec | Off = EarlyStoppingSpec()
    reduce_on_plateau: ReduceOnPlateauSpec | Off = ReduceOnPlateauSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    memory_gib: float = Field(1.0, gt=0)
    checkpoint_seconds: float = Field(10.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _has_one_way_down(cls, given: Any) -> Any:
        schedule = given.get("schedule") if isinstance(given, dict) else None
        decay = schedule.get("decay") if isinstance(schedule, dict) else getattr(schedule, "decay", None)
        return {"reduce_on_plateau": None, **given} if decay == "cosine" else given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = [problem(self.schedule, self.epochs)]
        if self.schedule.decay == "cosine" and self.reduce_on_plateau:
            problems.append("reduce_on_plateau and schedule.decay = 'cosine' both lower the rate; give one of them")
        if self.averaged_weights and self.early_stopping and self.early_stopping.watch == "loss":
            problems.append("early_stopping.watch = 'loss' is that of the last weights, not of averaged_weights")
        if any(problems):
            raise ValueError("; ".join(filter(None, problems)))
        return self


class EpochRecord(TypedDict):
    """What one epoch gave: weighted losses, the learning rate of its last step, and how long gradients were.

    ``gradient_norms`` has, for each layer that learns a kernel, from input to output, the root mean square over the
    steps of the norm that the gradient with respect to its kernels had before any clipping.

    ``penalty`` is that of ``decorrelate`` on the validation events.
    """

    epoch: int
    loss: float
    validation_loss: float
    penalty: float
    learning_rate: float
    seconds: float
    gradient_norms: dict[str, float]


def objective(record: EpochRecord) -> float:
    """Return what makes one epoch better than another: what is hidden from the score costs loss, and counts as much."""
    return record["validation_loss"] + record["penalty"]


EpochWatch = Callable[[EpochRecord], str]
"""Hears of every epoch, of those before a kill as well; returns why no other may follow, or an empty text."""


def nobody_objects(epoch: EpochRecord) -> str:
    """Let training go on."""
    return ""


@dataclass(frozen=True)
class TrainingRecord:
    """What training gave; the network itself has the best weights by then.

    ``seconds`` are those of all epochs, also of epochs before a kill; compiling took ``compile_seconds`` more, this
    time. ``resumed_after`` is the epoch of the checkpoint, or 0.
    """

    history: tuple[EpochRecord, ...]
    best_epoch: int
    stopped_because: str
    seconds: float
    events_per_second: float
    device: str
    backend: str
    is_compiled: bool
    compile_seconds: float
    resumed_after: int


@dataclass(frozen=True, eq=False)
class TrainingEvents:
    """Events to train on, in blocks of whole batches but for the last, and events to be judged on."""

    train: EventSource
    validation: EventSource

    def parts(self) -> dict[str, EventSource]:
        """Return both under their names."""
        return {"training": self.train, "validation": self.validation}


def training_events(
    train: EventArrays,
    validation: EventArrays,
    packing: Packing,
    spec: TrainingSpec,
    folder: Path,
    seed: int,
) -> TrainingEvents:
    """Return the events of two parts as the network sees them, shuffled in ``folder`` where memory is short."""
    memory = spec.memory_gib * 2**30 / max(1, len(train) + len(validation))

    def source(name: str, part: EventArrays, batch_size: int) -> EventSource:
        path, random = folder / f"{name}.npy", np.random.default_rng(seed)
        return source_of(part, packing, path, random, int(memory * len(part)), batch_size)

    return TrainingEvents(source("train", train, spec.batch_size), source("validation", validation, VALIDATION_BATCH))


@dataclass
class _Watch:
    """How long a loss has not improved."""

    best: float = np.inf
    epochs_without: int = 0

    def has_improved(self, value: float, min_delta: float = 0.0) -> bool:
        improved = value < self.best - min_delta
        self.best = value if improved else self.best
        self.epochs_without = 0 if improved else self.epochs_without + 1
        return bool(improved)


@dataclass
class _Loop:
    """Where the loop is: everything that it remembers from one epoch to the next but the weights."""

    epoch: int = 0
    factor: float = 1.0
    best_epoch: int = 0
    stopping: _Watch = field(default_factory=_Watch)
    plateau: _Watch = field(default_factory=_Watch)
    history: list[EpochRecord] = field(default_factory=list)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        watches = {name: _Watch(**state[name]) for name in ("stopping", "plateau")}
        return cls(**{**state, **watches})

    def take(self, record: EpochRecord, spec: TrainingSpec) -> bool:
        """Enter an epoch and return whether it is the best one so far."""
        self.epoch = record["epoch"]
        self.history.append(record)
        stopping = spec.early_stopping or EarlyStoppingSpec()
        watched = objective(record) if stopping.watch == "validation_loss" else record["loss"]
        is_best = self.stopping.has_improved(watched, stopping.min_delta)
        if is_best:
            self.best_epoch = self.epoch
        if spec.reduce_on_plateau and not self.plateau.has_improved(objective(record)):
            self._step_down(spec.learning_rate, spec.reduce_on_plateau)
        return is_best

    def _step_down(self, rate: float, spec: ReduceOnPlateauSpec) -> None:
        if self.plateau.epochs_without >= spec.patience:
            self.plateau.epochs_without = 0
            # A rate that was declared below the minimum stays where it is.
            self.factor = min(self.factor, max(spec.minimum / rate, self.factor * spec.factor))

    def why_stop(self, spec: TrainingSpec) -> str:
        """Return why no epoch follows, or an empty text."""
        stopping = spec.early_stopping
        if stopping and self.stopping.epochs_without >= stopping.patience:
            return f"{stopping.watch} has not improved for {stopping.patience} epochs"
        return f"all {spec.epochs} epochs were run" if self.epoch >= spec.epochs else ""


def train(
    network: "keras.Model",
    loss: "keras.losses.Loss",
    spec: TrainingSpec,
    events: TrainingEvents,
    input_names: tuple[str, ...],
    seed: int,
    checkpoints: Checkpoints = NOWHERE,
    progress: Progress = nobody_watches,
    watch: EpochWatch = nobody_objects,
    decorrelation: Decorrelation | None = None,
) -> TrainingRecord:
    """Train the network and leave the best weights in it.

    The order of the events, dropout and everything else random follow from ``seed``. Where ``checkpoints`` hold a
    former run of the same training that was killed, it goes on from there, with the same result bit for bit on the
    same machine and backend.

    Raises:
        TrainingError: a part has no events or no positive sum of weights, or the loss is not finite; the
            message names the input, the weight or the learning rate that caused it.
    """
    from models.compiled.program import assign
    from models.epochs import begin_epochs

    _refuse_weightless(events)
    progress("train, compiling", 0, spec.epochs * events.train.n_events)
    epochs = begin_epochs(network, loss, spec, events.train, events.validation, seed, decorrelation)
    loop, best, variables = _Loop(), network.get_weights(), epochs.trainee.variables
    if found := checkpoints.load():
        loop, best = _Loop.from_json(found.state), list(found.best)
        assign(variables, found.variables)
        log.info("training goes on after epoch %d", loop.epoch)
        progress(f"train, going on after epoch {loop.epoch}", 0, spec.epochs * events.train.n_events)
    resumed_after, report = loop.epoch, _reporter(progress, spec, loop, events.train.n_events)
    objection = ""
    for record in loop.history:
        objection = watch(record)
    while not (stopped := loop.why_stop(spec) or objection):
        record, weights = _run_epoch(epochs, loop, spec, seed, report)
        _refuse_non_finite(record, weights, events, input_names, spec.learning_rate * loop.factor)
        best = weights if loop.take(record, spec) else best
        # The last one is needed if the process is killed in what follows the training.
        checkpoints.offer(partial(_checkpoint, loop, variables, best), at_once=bool(loop.why_stop(spec)))
        objection = watch(record)
    network.set_weights(best)
    n_done = (loop.epoch - resumed_after) * events.train.n_events
    progress(f"train, best of {loop.epoch} epochs: {loop.best_epoch}", 0, n_done)
    return _record(epochs, loop, stopped, events.train.n_events, resumed_after)


def _run_epoch(
    epochs: "Epochs", loop: _Loop, spec: TrainingSpec, seed: int, report: Callable[[int], None]
) -> tuple[EpochRecord, list[NDArray[np.float32]]]:
    """Run the next epoch; return what it gave and the weights that are judged by it."""
    started, epoch = time.monotonic(), loop.epoch + 1
    rate = spec.learning_rate * loop.factor
    rates = learning_rates(spec.schedule, rate, epoch, spec.epochs, epochs.steps_per_epoch)
    # A generator of its own for each epoch, so that nothing of it has to be remembered.
    done = epochs.run(np.random.default_rng([seed, epoch]), rates, report)
    validation_loss, penalty, weights = epochs.judge()
    record = EpochRecord(
        epoch=epoch,
        loss=done.loss,
        validation_loss=validation_loss,
        penalty=penalty,
        learning_rate=float(rates[-1]),
        seconds=time.monotonic() - started,
        gradient_norms=done.gradient_norms,
    )
    return record, weights


def _checkpoint(loop: _Loop, variables: list["keras.Variable"], best: list[NDArray[np.float32]]) -> Checkpoint:
    from models.compiled.program import values_of

    return Checkpoint(asdict(loop), values_of(variables), tuple(best))


def _reporter(progress: Progress, spec: TrainingSpec, loop: _Loop, n_events: int) -> Callable[[int], None]:
    """Return what tells progress of the epoch that is running, and of the losses of the one before."""
    total = (spec.epochs - loop.epoch) * n_events

    def report(n_done: int) -> None:
        last = loop.history[-1] if loop.history else None
        losses = f", loss {last['loss']:.4f} / {last['validation_loss']:.4f}" if last else ""
        progress(f"train, epoch {loop.epoch + 1}/{spec.epochs}{losses}", n_done, total)

    return report


def _record(epochs: "Epochs", loop: _Loop, stopped: str, n_events: int, resumed_after: int) -> TrainingRecord:
    seconds = sum(record["seconds"] for record in loop.history)
    log.info("trained %d epochs in %.1f s: %s", loop.epoch, seconds, stopped)
    return TrainingRecord(
        history=tuple(loop.history),
        best_epoch=loop.best_epoch,
        stopped_because=stopped,
        seconds=seconds,
        events_per_second=loop.epoch * n_events / seconds,
        device=epochs.device,
        backend=backend_name(),
        is_compiled=not epochs.why_not_compiled,
        compile_seconds=epochs.compile_seconds,
        resumed_after=resumed_after,
    )


def _refuse_weightless(events: TrainingEvents) -> None:
    for part, source in events.parts().items():
        if not source.n_events:
            raise TrainingError(f"the {part} part has no events")
        # NaN is not refused here: it will be found, and told, in the loss.
        if source.sum_of_weights <= 0:
            msg = f"the weights of the {source.n_events} {part} events add up to {source.sum_of_weights:g}"
            raise TrainingError(f"{msg}; a mean loss needs a positive sum: more events, or [weights] negative = 'drop'")


def _refuse_non_finite(
    record: EpochRecord,
    weights: list[NDArray[np.float32]],
    events: TrainingEvents,
    names: tuple[str, ...],
    rate: float,
) -> None:
    """Stop when a loss is not finite, and say which input or weight is the cause as far as they can tell."""
    losses = record["loss"], record["validation_loss"]
    # A ReLU can turn NaN into 0: the loss looks well although half of the network is lost.
    if np.isfinite(losses).all() and all(np.isfinite(array).all() for array in weights):
        return
    what = "a weight of the network" if np.isfinite(losses).all() else "the loss"
    text = f"{what} is not finite in epoch {record['epoch']}"
    for part, source in events.parts().items():
        inputs, weight = _furthest(source)
        value = inputs[column := int(np.argmax(_distance(inputs)))]
        if not abs(value) <= EXTREME:
            text += f": input {names[column]!r} reaches {value:g} after normalisation in a {part} event"
            raise TrainingError(
                f"{text}; a cut, a sentinel in [features] missing or a [normalise] method would mend it"
            )
        if not abs(weight) <= EXTREME:
            text += f": a {part} event has the training weight {weight:g}, where the mean is"
            raise TrainingError(
                f"{text} {source.sum_of_weights / source.n_events:g}; look at the weights of the samples"
            )
    text += f", and no input or weight is extreme: the learning rate {rate:g} is the likely cause"
    raise TrainingError(f"{text}; try {rate / 10:g}")


def _furthest(source: EventSource) -> tuple[NDArray[np.float32], float]:
    """Return, of each input and of the weight, the value furthest from 0; not a number is further than all."""
    furthest = np.zeros(source.shape.n_columns, dtype=np.float32)
    for block in source.in_order():
        # Column by column, since this runs only where memory may be short.
        found = np.array([column[np.argmax(_distance(column))] for column in block.rows.T])
        furthest = np.where(_distance(found) > _distance(furthest), found, furthest)
    return furthest[: source.shape.n_inputs], float(furthest[-1])


def _distance(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.nan_to_num(np.abs(values), nan=np.inf)
