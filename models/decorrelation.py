"""Decorrelation: a network whose score does not tell a variable, usually a mass.

Owns the ``decorrelate`` key of ``[training]``, the two penalties that punish a score for what it tells of the
variable's rank, and how far a score does so in the end. A penalty looks at the events of one class alone, by default
background, whose shape is what a search relies on. Weights enter it as their positive part: a distance correlation,
or a guess, of events that count less than nothing has no meaning.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from models.losses import Reading, Tensor
from pipeline.dataset import EventArrays
from pipeline.declare import Declaration
from pipeline.errors import DataError
from pipeline.nuisance import Nuisance, Ranks

if TYPE_CHECKING:
    import keras

BLOCK = 1024
"""Events among which distances are taken: there are as many as the square of it."""

FEWEST = 32.0
"""Effective events below which a block has no say: of few events each correlation is large by chance."""

SMALLEST_BATCH = 4 * int(FEWEST)
"""Batches of fewer events would have too few of one class, and of weights that differ."""

N_BINS = 10
"""Bins of the rank among which the adversary guesses."""

N_BUMPS = 16
ADVERSARY_WIDTH = 32
ADVERSARY_LEAD = 5.0
"""How much further a step takes the adversary's guess: one that lags behind punishes what is no longer so."""

SMALLEST = 1e-12

Dependence = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Scores, ranks and weights of the events that count, each ``(n_events,)`` → what the score tells of the rank."""


class DecorrelateSpec(Declaration):
    """The ``decorrelate`` key of ``[training]``: the score shall not tell ``variable``, a spectator.

    ``strength`` times the penalty is added to what training makes small; ``within`` says for which events.
    """

    variable: str
    method: Literal["distance-correlation", "adversary"] = "distance-correlation"
    strength: float = Field(10.0, gt=0, allow_inf_nan=False)
    within: Literal["background", "all"] = "background"


@dataclass(frozen=True, eq=False)
class Decorrelation:
    """The penalty on a batch, made by ``decorrelation_of``; ``variables`` are those that it learns itself."""

    spec: DecorrelateSpec
    read: Reading
    dependence: Dependence
    variables: "Sequence[keras.Variable]" = ()

    def penalty(self, targets: Tensor, outputs: Tensor, weights: Tensor) -> Tensor:
        """Return strength times dependence, a number.

        Args:
            targets: shape ``(n_events, n_targets + 1)``: 0 for background first, and the rank last.
            outputs: of the last layer, shape ``(n_events, 1)``.
            weights: shape ``(n_events,)``.
        """
        return self._punished(self.dependence, targets, outputs, weights)

    def judged(self, targets: Tensor, outputs: Tensor, weights: Tensor) -> Tensor:
        """Return strength times the distance correlation, whatever the penalty is.

        An adversary's own opinion would praise the epochs in which it was wrong.
        """
        return self._punished(_in_blocks, targets, outputs, weights)

    def _punished(self, dependence: Dependence, targets: Tensor, outputs: Tensor, weights: Tensor) -> Tensor:
        from keras import ops

        ranks = targets[:, -1]
        counted = ranks >= 0
        if self.spec.within == "background":
            counted = ops.logical_and(counted, targets[:, 0] < 0.5)
        shares = ops.where(counted, ops.relu(weights), 0.0)
        return self.spec.strength * dependence(self.read(ops.cast(outputs, "float32"))[:, 0], ranks, shares)


def nuisance_of(spec: DecorrelateSpec, spectators: Sequence[str], train: EventArrays) -> Nuisance:
    """Return the variable's place among the spectators, and its ranks among the training events that it matters for.

    Raises:
        DataError: it has one value, or none, in all of these events.
    """
    column = spectators.index(spec.variable)
    values = np.asarray(train.spectators[:, column])
    values = values[np.asarray(train.label) == 0] if spec.within == "background" else values
    if not len(known := values[np.isfinite(values)]) or np.ptp(known) == 0:
        what = f"is {known[0]:g}" if len(known) else "is missing"
        msg = (
            f"[training] decorrelate: {spec.variable!r} {what} in all {len(values)} training events of {spec.within!r}"
        )
        raise DataError(f"{msg}, so that no score depends on it")
    return Nuisance(column=column, ranks=Ranks.learn(known))


def decorrelation_of(spec: DecorrelateSpec, read: Reading) -> Decorrelation:
    """Return the penalty that is asked for; ``read`` makes scores of outputs."""
    return METHODS[spec.method](spec, read)


def distance_correlation(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Return the squared distance correlation of two variables, each ``(n_events,)``: 0 to 1, 0 if independent.

    It is the same in every unit: a score cannot hide by being small.

    References:
        Székely, Rizzo, Bakirov, "Measuring and testing dependence by correlation of distances", Annals of Statistics 35
        (2007) 2769, definition 3; Kasieczka, Shih, "DisCo fever", Phys. Rev. Lett. 125 (2020) 122001 (as a penalty,
        with weights).
    """
    from keras import ops

    shares = weights / ops.maximum(ops.sum(weights), SMALLEST)
    a, b = _centred_distances(x, shares), _centred_distances(y, shares)
    pairs = shares[:, None] * shares[None, :]
    covariance, *variances = (ops.sum(pairs * product) for product in (a * b, a * a, b * b))
    return covariance / ops.sqrt(ops.maximum(variances[0] * variances[1], SMALLEST))


def _centred_distances(x: Tensor, shares: Tensor) -> Tensor:
    """Return |x_i - x_j| less the means of row and column, plus that of all, in units of the latter.

    Shape ``(n_events, n_events)``.
    """
    from keras import ops

    distances = ops.absolute(x[:, None] - x[None, :])
    means = ops.sum(distances * shares[None, :], axis=1)
    mean = ops.sum(means * shares)
    return (distances - means[:, None] - means[None, :] + mean) / ops.maximum(mean, SMALLEST)


def _in_blocks(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Return the distance correlation, in a large batch the weighted mean of those of its blocks."""
    from keras import ops

    total, says = 0.0, 0.0
    for start in range(0, x.shape[0], BLOCK):
        block = slice(start, start + BLOCK)
        weight = _say(weights[block])
        total += weight * distance_correlation(x[block], y[block], weights[block])
        says += weight
    return total / ops.maximum(says, SMALLEST)


def _say(weights: Tensor) -> Tensor:
    """Return the sum of weights, and 0 where there are too few of them."""
    from keras import ops

    total = ops.sum(weights)
    effective = ops.square(total) / ops.maximum(ops.sum(ops.square(weights)), SMALLEST)
    return ops.where(effective >= FEWEST, total, 0.0)


def _distance_correlation(spec: DecorrelateSpec, read: Reading) -> Decorrelation:
    return Decorrelation(spec, read, _in_blocks)


def _adversary(spec: DecorrelateSpec, read: Reading) -> Decorrelation:
    """Return a penalty by a network that guesses the rank from the score and learns to, while the other learns not to.

    The penalty is by how much its cross-entropy is below that of a blind guess. Its own variables are led down its
    cross-entropy by the same step that leads the network up, ``strength`` times as steep.

    References:
        Louppe, Kagan, Cranmer, "Learning to pivot with adversarial networks", NeurIPS 2017, equation 2; Ganin,
        Lempitsky, "Unsupervised domain adaptation by backpropagation", ICML 2015 (the reversal of a gradient).
    """
    import keras
    from keras import ops

    layers = [keras.layers.Dense(ADVERSARY_WIDTH, activation="tanh"), keras.layers.Dense(N_BINS)]
    guess = keras.Sequential([keras.Input((N_BUMPS,)), *layers], name="adversary")

    def gained(scores: Tensor, ranks: Tensor, weights: Tensor) -> Tensor:
        bins = ops.clip(ops.cast(ranks * N_BINS, "int32"), 0, N_BINS - 1)
        # The penalty is strength times this: dividing here leaves the adversary's own step as it is without.
        z = ADVERSARY_LEAD * guess(_bumps(_reversed(scores, spec.strength)))
        logarithms = ops.sum(ops.one_hot(bins, N_BINS) * ops.log_softmax(z), axis=-1)
        # With few events nothing is gained, and nothing learnt.
        shares = weights / ops.maximum(ops.sum(weights), SMALLEST) * ops.cast(_say(weights) > 0, "float32")
        return _with_slope(np.log(N_BINS) * ops.sum(shares) + ops.sum(shares * logarithms), -1 / spec.strength)

    return Decorrelation(spec, read, gained, guess.trainable_variables)


def _bumps(scores: Tensor) -> Tensor:
    """Return how near each score is to places between 0 and 1, shape ``(n_events, N_BUMPS)``.

    From these even a linear guess can follow any curve, so that the adversary has little to learn.
    """
    from keras import ops

    places = np.linspace(0, 1, N_BUMPS, dtype=np.float32)
    return ops.exp(-ops.square((scores[:, None] - places) * N_BUMPS) / 2)


def _reversed(x: Tensor, strength: float) -> Tensor:
    """Return x, with a gradient that is -``strength`` times its own."""
    return _with_slope(x, -strength)


def _with_slope(x: Tensor, slope: float) -> Tensor:
    """Return x, with a gradient that is ``slope`` times its own."""
    from keras import ops

    return slope * x + (1 - slope) * ops.stop_gradient(x)


METHODS: Mapping[str, Callable[[DecorrelateSpec, Reading], Decorrelation]] = {
    "distance-correlation": _distance_correlation,
    "adversary": _adversary,
}
