"""The epoch as one program of JAX: a jitted loop over pure steps, on CPU, GPU or TPU.

The variables' values go in and come out as lists of arrays; nothing is copied between calls.
"""

from typing import Any

import jax
import keras
import numpy as np
from jax import lax
from numpy.typing import NDArray

from models.compiled.program import Span, Trainee, assign, numbers_of

State = tuple[list[Any], list[Any], list[Any], list[Any]]
"""Values of the trainable and other variables of the network, of the optimiser's variables, of the averages."""


class JaxProgram:
    """A ``Program`` of ``jax.jit``; compiled once for each batch size and shape of the rows."""

    def __init__(self, trainee: Trainee) -> None:
        self._trainee = trainee
        # Which of the optimiser's variables is the learning rate: the only one that is set from outside.
        rate = trainee.optimizer.learning_rate
        self._rate_index = next(i for i, variable in enumerate(trainee.optimizer.variables) if variable is rate)
        self._training = jax.jit(self._train, static_argnums=0)
        self._inference = jax.jit(self._infer, static_argnums=0)

    @property
    def device(self) -> str:
        """The kind of the first device: ``cpu``, or the accelerator's name."""
        return str(jax.devices()[0].device_kind)

    def place(self, array: NDArray[Any]) -> Any:
        """Return the array on the device."""
        return jax.device_put(array)

    def train(self, rows: jax.Array, order: jax.Array, rates: jax.Array, span: Span) -> float:
        """Train on a span and return the sum of weight times loss over its events."""
        numbers = (np.int32(n) for n in (span.first_event, span.first_step, span.n_steps))
        state, total = self._training(span.batch_size, self._state(), rows, order, rates, *numbers)
        assign(self._trainee.variables, [value for values in state for value in values])
        return float(total)

    def loss(self, rows: jax.Array, batch_size: int, n_batches: int) -> NDArray[np.float64]:
        """Return the sums of weight times loss and penalty of the first batches of rows, in inference."""
        trainable, other, *_ = self._state()
        return np.asarray(self._inference(batch_size, trainable, other, rows, np.int32(n_batches)), dtype=np.float64)

    def _state(self) -> State:
        network = self._trainee.network
        return (
            [variable.value for variable in self._trainee.trainable_variables],
            [variable.value for variable in network.non_trainable_variables],
            [variable.value for variable in self._trainee.optimizer.variables],
            [variable.value for variable in self._trainee.averages],
        )

    def _train(
        self,
        batch_size: int,
        state: State,
        rows: Any,
        order: Any,
        rates: Any,
        first_event: Any,
        first_step: Any,
        n_steps: Any,
    ) -> tuple[State, Any]:
        def step(index: Any, carried: tuple[State, Any]) -> tuple[State, Any]:
            state, total = carried
            chosen = lax.dynamic_slice_in_dim(order, first_event + index * batch_size, batch_size)
            state, mean = self._step(state, rows[chosen], rates[first_step + index])
            return state, total + mean * batch_size

        done: tuple[State, Any] = lax.fori_loop(0, n_steps, step, (state, np.float32(0)))
        return done

    def _step(self, state: State, rows: Any, rate: Any) -> tuple[State, Any]:
        trainable, other, optimizer, averages = state
        gradient = jax.value_and_grad(self._objective, has_aux=True)
        (_, (mean, other)), gradients = gradient(trainable, other, rows)
        optimizer = [rate if i == self._rate_index else value for i, value in enumerate(optimizer)]
        trainable, optimizer = self._trainee.optimizer.stateless_apply(optimizer, gradients, trainable)
        if averages:
            n_steps = optimizer[0]  # the optimiser's first variable: the number of steps so far
            averages = self._trainee.averaged(averages, numbers_of(self._given(trainable)[0], other), n_steps)
        return (trainable, other, optimizer, averages), mean

    def _objective(self, trainable: list[Any], other: list[Any], rows: Any) -> tuple[Any, tuple[Any, list[Any]]]:
        inputs, labels, weights = self._trainee.batch(rows)
        of_network, scope = self._given(trainable)
        outputs, other, penalties = self._trainee.network.stateless_call(
            of_network, other, inputs, training=True, return_losses=True
        )
        mean = self._trainee.mean_loss(labels, outputs, weights)
        with scope:
            penalties = [*penalties, *self._trainee.penalties(labels, outputs, weights)]
        return mean + sum(penalties), (mean, other)

    def _given(self, trainable: list[Any]) -> tuple[list[Any], keras.StatelessScope]:
        """Return the values of the network's variables, and a scope in which the others have theirs."""
        variables, n_of_network = self._trainee.trainable_variables, len(self._trainee.network.trainable_variables)
        others = zip(variables[n_of_network:], trainable[n_of_network:], strict=True)
        return trainable[:n_of_network], keras.StatelessScope(state_mapping=list(others))

    def _infer(self, batch_size: int, trainable: list[Any], other: list[Any], rows: Any, n_batches: Any) -> Any:
        def add(index: Any, total: Any) -> Any:
            batch = lax.dynamic_slice_in_dim(rows, index * batch_size, batch_size)
            inputs, labels, weights = self._trainee.batch(batch)
            outputs, _ = self._trainee.network.stateless_call(of_network, other, inputs, training=False)
            with scope:
                return total + self._trainee.judged(labels, outputs, weights)

        of_network, scope = self._given(trainable)
        return lax.fori_loop(0, n_batches, add, np.zeros(2, dtype=np.float32))
