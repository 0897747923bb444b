"""The epoch step by step through Keras: the way out where a network cannot be compiled, slower and just as right."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from models.backend import accelerator
from models.compiled.program import Span, Trainee, assign
from pipeline.errors import TrainingError


class KerasProgram:
    """A ``Program`` of ``keras.Model.train_on_batch``, which is a step of ``fit``."""

    def __init__(self, trainee: Trainee) -> None:
        if trainee.decorrelation:
            raise TrainingError("[training] decorrelate needs the compiled epoch, and Keras' own loop would run here")
        self._trainee = trainee
        # TensorFlow's XLA has just failed, or was not wanted; JAX without its compiler would crawl.
        jit_compile = False if keras.backend.backend() == "tensorflow" else "auto"
        trainee.network.compile(trainee.optimizer, trainee.loss, jit_compile=jit_compile)

    @property
    def device(self) -> str:
        """The first device that is no CPU, as Keras calls it, or ``cpu``."""
        return accelerator() or "cpu"

    def place(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array itself: Keras takes NumPy's."""
        return array

    def train(self, rows: NDArray[Any], order: NDArray[Any], rates: NDArray[Any], span: Span) -> float:
        """Train on a span and return the sum of weight times loss over its events."""
        total = 0.0
        for step in range(span.n_steps):
            first = span.first_event + step * span.batch_size
            chosen = rows[order[first : first + span.batch_size]]
            total += self._step(chosen, rates[span.first_step + step]) * len(chosen)
        return total

    def _step(self, rows: NDArray[Any], rate: np.float32) -> float:
        trainee, network = self._trainee, self._trainee.network
        trainee.optimizer.learning_rate.assign(rate)
        inputs, labels, weights = self._batch(rows)
        network.reset_metrics()  # or the loss would be a mean over former steps
        penalty = sum(float(v.regularizer(v.value)) for v in network.trainable_variables if v.regularizer)
        mean = float(network.train_on_batch(inputs, labels, sample_weight=weights)) - penalty
        if trainee.averages:
            values = [variable.value for variable in trainee.weights]
            averages = [average.value for average in trainee.averages]
            assign(trainee.averages, trainee.averaged(averages, values, trainee.optimizer.iterations.value))
        return mean

    def loss(self, rows: NDArray[Any], batch_size: int, n_batches: int) -> NDArray[np.float64]:
        """Return the sums of weight times loss and penalty of the first batches of rows, in inference."""
        total = np.zeros(2)
        for start in range(0, n_batches * batch_size, batch_size):
            inputs, labels, weights = self._batch(rows[start : start + batch_size])
            outputs = self._trainee.network(inputs, training=False)
            total += np.asarray(ops.convert_to_numpy(self._trainee.judged(labels, outputs, weights)))
        return total

    def _batch(self, rows: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        return tuple(np.asarray(ops.convert_to_numpy(array)) for array in self._trainee.batch(rows))
