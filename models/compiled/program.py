"""What the training loop sees of an epoch's arithmetic, whatever compiles it.

Owns the seam: the ``Trainee`` (a network and everything that a training step changes), the ``Span`` of steps
that is asked for, and the ``Program`` that runs it. The state lives in the trainee's Keras variables before and
after every call, so that checkpoints, averages and the best weights need to know of no backend.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from models.decorrelation import Decorrelation

Tensor = Any
"""An array of the backend."""


@dataclass(frozen=True, eq=False)
class Trainee:
    """A network in training and everything that a step changes; ``averages`` are those of ``weights``.

    ``averages`` is empty where none are asked for. A row has ``n_targets`` targets, the last of which is a rank
    if there is a ``decorrelation``. The optimiser is one that measures gradients.
    """

    network: "keras.Model"
    loss: "keras.losses.Loss"
    optimizer: "keras.optimizers.Optimizer"
    averages: Sequence["keras.Variable"] = ()
    decay: float = 0.0
    n_targets: int = 1
    decorrelation: Decorrelation | None = None

    @property
    def trainable_variables(self) -> list["keras.Variable"]:
        """What a gradient is taken for: the network's, then those of a penalty that learns itself."""
        others = self.decorrelation.variables if self.decorrelation else ()
        return [*self.network.trainable_variables, *others]

    @property
    def variables(self) -> list["keras.Variable"]:
        """Everything that a step changes, dropout's counters and the optimiser's moments included."""
        network = self.network
        return [
            *self.trainable_variables,
            *network.non_trainable_variables,
            *self.optimizer.variables,
            *self.averages,
        ]

    @property
    def weights(self) -> list["keras.Variable"]:
        """What decides the network's output: its trainable variables, and the statistics of batch norms."""
        return numbers_of(self.network.trainable_variables, self.network.non_trainable_variables)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return inputs, targets ``(n, n_targets)`` and weights ``(n,)`` of packed rows ``(n, n_columns)``."""
        first = -1 - self.n_targets
        inputs, targets, weights = rows[:, :first], rows[:, first:-1], rows[:, -1]
        shape = self.network.input_shape[1:]
        return inputs if len(shape) == 1 else ops.reshape(inputs, (-1, *shape)), targets, weights

    def mean_loss(self, labels: Tensor, outputs: Tensor, weights: Tensor) -> Tensor:
        """Return the sum of weight times loss over the number of events, as ``fit`` has it; in single precision."""
        labels = labels[:, :-1] if self.decorrelation else labels
        return self.loss(labels, ops.cast(outputs, "float32"), sample_weight=weights)

    def penalties(self, targets: Tensor, outputs: Tensor, weights: Tensor) -> list[Tensor]:
        """Return what is made small beside the mean loss and the network's own penalties: one number, or none."""
        return [self.decorrelation.penalty(targets, outputs, weights)] if self.decorrelation else []

    def judged(self, targets: Tensor, outputs: Tensor, weights: Tensor) -> Tensor:
        """Return the sums over a batch of weight times loss, and of weight times its penalty, shape ``(2,)``."""
        penalty = self.decorrelation.judged(targets, outputs, weights) if self.decorrelation else 0.0
        loss = self.mean_loss(targets, outputs, weights) * weights.shape[0]
        return ops.stack([loss, ops.cast(penalty, "float32") * ops.sum(weights)])

    def averaged(self, averages: Sequence[Tensor], values: Sequence[Tensor], n_steps: Tensor) -> list[Tensor]:
        """Return the averages after a step; early ones follow faster, so that the start is soon forgotten."""
        n_steps = ops.cast(n_steps, "float32")
        share = 1 - ops.minimum(self.decay, (1 + n_steps) / (10 + n_steps))
        return [average + share * (value - average) for average, value in zip(averages, values, strict=True)]


@dataclass(frozen=True)
class Span:
    """Consecutive steps: the first takes ``order[first_event :][:batch_size]`` at the rate ``rates[first_step]``."""

    first_event: int
    first_step: int
    n_steps: int
    batch_size: int


class Program(Protocol):
    """The arithmetic of training; ``place`` brings arrays to the device once, for many calls."""

    @property
    def device(self) -> str:
        """What it runs on, in words: ``cpu``, or the accelerator's name."""

    def place(self, array: NDArray[Any]) -> Tensor:
        """Return the array as the program takes it, on the device."""

    def train(self, rows: Tensor, order: Tensor, rates: Tensor, span: Span) -> float:
        """Train on a span and return the sum of weight times loss over its events.

        Args:
            rows: placed, shape ``(capacity, n_columns)``: inputs, targets, weight.
            order: placed, int32, shape ``(capacity,)``: which row comes when.
            rates: placed, float32, shape ``(n_steps_of_the_epoch,)``: the learning rate of each step.
            span: the steps; none of them only compiles.
        """

    def loss(self, rows: Tensor, batch_size: int, n_batches: int) -> NDArray[np.float64]:
        """Return the sums of weight times loss and penalty of the first ``n_batches`` batches of rows, in inference."""


def spans(n_events: int, batch_size: int, first_step: int, events_at_once: int) -> list[Span]:
    """Return the spans that cover a block: about ``events_at_once`` events each, the tail batch as one of its own."""
    n_full, tail = divmod(n_events, batch_size)
    at_once = max(1, events_at_once // batch_size)
    found = [
        Span(start * batch_size, first_step + start, min(at_once, n_full - start), batch_size)
        for start in range(0, n_full, at_once)
    ]
    return found + [Span(n_full * batch_size, first_step + n_full, 1, tail)] * bool(tail)


def numbers_of(trainable: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    """Return what can be averaged: weights and statistics, but no counter and no seed."""
    is_number = [keras.backend.is_float_dtype(keras.backend.standardize_dtype(value.dtype)) for value in other]
    return [*trainable, *(value for value, keep in zip(other, is_number, strict=True) if keep)]


def values_of(variables: Sequence["keras.Variable"]) -> tuple[NDArray[Any], ...]:
    """Return copies of the variables' values."""
    return tuple(np.array(ops.convert_to_numpy(variable.value)) for variable in variables)


def assign(variables: Sequence["keras.Variable"], values: Sequence[Any]) -> None:
    """Give variables their values, in the same order."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
