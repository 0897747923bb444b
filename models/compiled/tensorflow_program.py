"""The epoch as one XLA program of TensorFlow: a loop whose body is a whole training step.

Variables are changed in place; XLA keeps them on the device from step to step.
"""

from functools import cache, partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.compiled.program import Span, Trainee, assign


class TensorFlowProgram:
    """A ``Program`` of ``tf.function(jit_compile=True)``; compiled once for each batch size and shape of the rows."""

    def __init__(self, trainee: Trainee) -> None:
        self._trainee = trainee
        self._training = cache(partial(_compiled, self._train))
        self._inference = cache(partial(_compiled, self._infer))

    @property
    def device(self) -> str:
        """The first GPU's name, or ``cpu``."""
        accelerators = tf.config.list_physical_devices("GPU")
        details = tf.config.experimental.get_device_details(accelerators[0]) if accelerators else {}
        return str(details.get("device_name", "GPU")) if accelerators else "cpu"

    def place(self, array: NDArray[Any]) -> tf.Tensor:
        """Return the array as a tensor."""
        return tf.convert_to_tensor(array)

    def train(self, rows: tf.Tensor, order: tf.Tensor, rates: tf.Tensor, span: Span) -> float:
        """Train on a span and return the sum of weight times loss over its events."""
        numbers = (np.int32(n) for n in (span.first_event, span.first_step, span.n_steps))
        return float(self._training(span.batch_size)(rows, order, rates, *map(tf.constant, numbers)))

    def loss(self, rows: tf.Tensor, batch_size: int, n_batches: int) -> NDArray[np.float64]:
        """Return the sums of weight times loss and penalty of the first batches of rows, in inference."""
        return np.asarray(self._inference(batch_size)(rows, tf.constant(np.int32(n_batches))), dtype=np.float64)

    def _train(
        self, batch_size: int, rows: Any, order: Any, rates: Any, first_event: Any, first_step: Any, n_steps: Any
    ) -> tf.Tensor:
        def step(index: Any, total: Any) -> tuple[Any, Any]:
            # Not a slice: XLA would compile anew for each place that it begins at.
            chosen = tf.gather(order, first_event + index * batch_size + tf.range(batch_size))
            return index + 1, total + self._step(tf.gather(rows, chosen), tf.gather(rates, first_step + index))

        return _repeated(step, n_steps, tf.constant(0.0))

    def _step(self, rows: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        trainee, network, optimizer = self._trainee, self._trainee.network, self._trainee.optimizer
        inputs, labels, weights = trainee.batch(rows)
        with tf.GradientTape() as tape:
            outputs = network(inputs, training=True)
            mean = trainee.mean_loss(labels, outputs, weights)
            objective = tf.add_n([mean, *network.losses, *trainee.penalties(labels, outputs, weights)])
        variables = trainee.trainable_variables
        optimizer.learning_rate.assign(rate)
        optimizer.apply(tape.gradient(objective, [variable.value for variable in variables]), variables)
        if trainee.averages:
            assign(trainee.averages, trainee.averaged(trainee.averages, trainee.weights, optimizer.iterations))
        return mean * rows.shape[0]

    def _infer(self, batch_size: int, rows: Any, n_batches: Any) -> tf.Tensor:
        def add(index: Any, total: Any) -> tuple[Any, Any]:
            batch = tf.slice(rows, [index * batch_size, 0], [batch_size, rows.shape[1]])
            inputs, labels, weights = self._trainee.batch(batch)
            outputs = self._trainee.network(inputs, training=False)
            return index + 1, total + self._trainee.judged(labels, outputs, weights)

        return _repeated(add, n_batches, tf.zeros(2))


def _compiled(function: Any, batch_size: int) -> Any:
    return tf.function(partial(function, batch_size), jit_compile=True, autograph=False)


def _repeated(body: Any, n_times: Any, start: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(lambda index, _: index < n_times, body, (tf.constant(0), start))[1]
