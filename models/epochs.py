"""Epochs: events from memory or disk, block by block, through a compiled program.

Owns what happens between two looks of the training loop: which spans of steps a block is cut into, what lies
on the device, and the falling back to Keras' own loop where a network cannot be compiled.
"""

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from models.compiled.keras_program import KerasProgram
from models.compiled.program import Program, Span, Trainee, assign, spans, values_of
from models.decorrelation import Decorrelation
from models.layers import with_fast_layers
from models.optimization import VALIDATION_BATCH, OptimizationSpec, trainee_of
from pipeline.ahead import ahead
from pipeline.errors import TrainingError
from pipeline.shuffle import Block, EventSource

log = logging.getLogger(__name__)

EVENTS_AT_ONCE = 65_536
"""Events in one call of the program: few enough to show progress and to be interrupted, many enough to cost nothing."""


def _tensorflow(trainee: Trainee) -> Program:
    from models.compiled.tensorflow_program import TensorFlowProgram

    return TensorFlowProgram(trainee)


def _jax(trainee: Trainee) -> Program:
    from models.compiled.jax_program import JaxProgram

    return JaxProgram(trainee)


PROGRAMS: Mapping[str, Callable[[Trainee], Program]] = {"tensorflow": _tensorflow, "jax": _jax}
"""Keras backend → its compiled program."""


class Epoch(NamedTuple):
    """What training on every event once gave: the mean weighted loss, and each layer's norm of the gradient."""

    loss: float
    gradient_norms: dict[str, float]


class Epochs:
    """Runs epochs of a trainee; make it with ``begin_epochs``.

    ``why_not_compiled`` is empty where it was; ``compile_seconds`` is what compiling took.
    """

    def __init__(
        self, trainee: Trainee, program: Program, batch_size: int, train: EventSource, validation: EventSource
    ) -> None:
        self.trainee, self._program, self._batch_size = trainee, program, batch_size
        self._train, self._validation = train, validation
        self._resident: dict[int, Any] = {}
        self.why_not_compiled, self.compile_seconds = "", 0.0

    @property
    def device(self) -> str:
        """What the epochs run on."""
        return self._program.device

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps, that of the tail batch included."""
        return -(-self._train.n_events // self._batch_size)

    def run(self, random: np.random.Generator, rates: NDArray[np.float32], progress: Callable[[int], None]) -> Epoch:
        """Train on every event once and return what that gave; it stops early where the loss is not finite.

        Args:
            random: decides the order of the events.
            rates: learning rate of each step, shape ``(steps_per_epoch,)``.
            progress: told how many events more are done.
        """
        measured = self.trainee.optimizer
        measured.begin()
        loss = self._trained(random, self._program.place(rates), progress) / self._train.sum_of_weights
        return Epoch(loss, measured.norms(self.steps_per_epoch))

    def _trained(self, random: np.random.Generator, rates: Any, progress: Callable[[int], None]) -> float:
        """Train on every event once and return the sum of weight times loss."""
        total, step = 0.0, 0
        with closing(ahead(self._train.shuffled(random))) as blocks:
            for block in blocks:
                rows, order = self._place(block, self._train), self._program.place(block.order)
                for span in spans(block.n_events, self._batch_size, step, EVENTS_AT_ONCE):
                    total += self._program.train(rows, order, rates, span)
                    if not np.isfinite(total):
                        return total
                    progress(span.n_steps * span.batch_size)
                step += -(-block.n_events // self._batch_size)
                del rows, order, block  # before there are others
        return total

    def judge(self) -> tuple[float, float, list[NDArray[np.float32]]]:
        """Return the mean weighted loss on the validation events, the penalty, and the weights that have them.

        The weights are averaged if that is asked for.
        """
        with self._averages_in_place():
            weights = self.trainee.network.get_weights()
            loss, penalty = self._validation_losses().tolist()
            return loss, penalty, weights

    def _validation_losses(self) -> NDArray[np.float64]:
        total, source = np.zeros(2), self._validation
        with closing(ahead(source.in_order())) as blocks:
            for block in blocks:
                batch_size = min(VALIDATION_BATCH, len(block.rows))
                rows = self._place(block, source)
                total += self._program.loss(rows, batch_size, -(-block.n_events // batch_size))
                del rows, block  # before there are others
        return total / source.sum_of_weights

    def _place(self, block: Block, source: EventSource) -> Any:
        """Bring a block's rows to the device, where they stay if they are all that there is."""
        if block.n_events < source.n_events:
            return self._program.place(self._padded(block.rows, source))
        if id(source) not in self._resident:
            self._resident[id(source)] = self._program.place(self._padded(block.rows, source))
        return self._resident[id(source)]

    def _padded(self, rows: NDArray[np.float32], source: EventSource) -> NDArray[np.float32]:
        """Return rows to be judged with events of no weight appended until all batches are full."""
        missing = -len(rows) % min(VALIDATION_BATCH, len(rows)) if source is self._validation else 0
        return np.concatenate([rows, np.zeros((missing, rows.shape[1]), dtype=np.float32)]) if missing else rows

    @contextmanager
    def _averages_in_place(self) -> Iterator[None]:
        weights = self.trainee.weights if self.trainee.averages else []
        kept = values_of(weights)
        assign(weights, values_of(self.trainee.averages))
        try:
            yield
        finally:
            assign(weights, kept)

    def compile(self, train: Block, validation: Block) -> None:
        """Compile everything that an epoch will need, by asking for no step of it; nothing changes.

        Args:
            train: a block to train on, for its shape.
            validation: a block to be judged on, likewise.
        """
        started, rates = time.monotonic(), self._program.place(np.zeros(self.steps_per_epoch, dtype=np.float32))
        rows, order = self._place(train, self._train), self._program.place(train.order)
        n_events, tail = self._train.n_events, self._train.n_events % self._batch_size
        for batch_size in {self._batch_size if n_events >= self._batch_size else tail, tail} - {0}:
            self._program.train(rows, order, rates, Span(0, 0, 0, batch_size))
        batch_size = min(VALIDATION_BATCH, len(validation.rows))
        self._program.loss(self._place(validation, self._validation), batch_size, 0)
        self.compile_seconds = time.monotonic() - started


def begin_epochs(
    network: "keras.Model",
    loss: "keras.losses.Loss",
    spec: OptimizationSpec,
    train: EventSource,
    validation: EventSource,
    seed: int,
    decorrelation: Decorrelation | None = None,
) -> Epochs:
    """Return compiled epochs of a faster copy of the network, or Keras' own epochs of the network itself.

    The copy's weights are ``epochs.trainee.network``'s; the network keeps its own until it is given others.

    Raises:
        TrainingError: the device has not enough memory.
        DataError: events cannot be read.
    """
    why, first = "[training] compiled is false", (next(train.in_order()), next(validation.in_order()))
    if spec.compiled:
        try:
            epochs = _fast_epochs(network, loss, spec, train, validation, seed, decorrelation)
            epochs.compile(*first)
            return epochs
        except MemoryError:
            raise
        except Exception as error:  # whatever a compiler raises; what is wrong with the network, Keras says as well
            _heed_interruption(error)
            _refuse_shortage(error)
            why = _first_line(error)
            log.warning("training runs in Keras' own loop, several times slower, in single precision: %s", why)
    trainee = trainee_of(network, loss, spec, train.shape.n_targets, decorrelation)
    epochs = Epochs(trainee, KerasProgram(trainee), spec.batch_size, train, validation)
    epochs.why_not_compiled = why
    return epochs


def _fast_epochs(
    network: "keras.Model",
    loss: "keras.losses.Loss",
    spec: OptimizationSpec,
    train: EventSource,
    validation: EventSource,
    seed: int,
    decorrelation: Decorrelation | None,
) -> Epochs:
    backend = keras.backend.backend()
    if backend not in PROGRAMS:
        raise NotImplementedError(f"there is no compiled epoch for Keras' backend {backend}")
    policy = None if spec.precision == "float32" else spec.precision
    copy = with_fast_layers(network, seed, policy)
    trainee = trainee_of(copy, loss, spec, train.shape.n_targets, decorrelation)
    return Epochs(trainee, PROGRAMS[backend](trainee), spec.batch_size, train, validation)


def _heed_interruption(error: Exception) -> None:
    """End where a signal wanted so: what its handler raised within a compiler comes out wrapped in another error."""
    if found := re.search(r"SystemExit: (\d+)", str(error)):
        sys.exit(int(found[1]))
    if "KeyboardInterrupt" in str(error):
        raise KeyboardInterrupt from None


def _refuse_shortage(error: Exception) -> None:
    if "RESOURCE_EXHAUSTED" in str(error) or type(error).__name__ == "ResourceExhaustedError":
        msg = f"the device has too little memory ({_first_line(error)})"
        raise TrainingError(f"{msg}; a smaller [training] memory_gib or batch_size needs less") from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
