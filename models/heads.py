"""Heads: how a network ends, and what it is trained for.

Owns the size of the last layer, how its output is read, which losses make sense of it, and which of them it is unless
the experiment names another. Networks are trained on the output *before* the last activation; how that is read, for a
score and for a loss that compares it with the label, is an ``Output``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from models.losses import CHOICES, DECISIONS, DISTANCES, Loss, Reading, Tensor, keras_loss
from pipeline.errors import DataError
from pipeline.targets import TargetFacts, TargetTransform, standard, unchanged

if TYPE_CHECKING:
    import keras

Sought = Literal["class", "flags", "quantities"]
"""What a network finds: an event's class, or its ``[targets]``, each 0 or 1, or each a number."""

JudgedAs = Literal["signal", "class", "flags", "quantities"]
"""By what a network is judged: one score of two classes is looked at in another way than the scores of several."""


SMALLEST_SPREAD = 1e-5
"""Share of a target's mean below which its spread is a matter of the last two digits of single precision."""


@dataclass(frozen=True)
class Output:
    """How the last layer's output z is read.

    ``value`` is what a loss compares with the label; ``score`` is what the network says in the end.
    """

    value: Reading
    score: Reading


def _sigmoid(z: Tensor) -> Tensor:
    from keras import ops

    return ops.sigmoid(z)


def _line(z: Tensor) -> Tensor:
    """Return 0 at -1 and 1 at 1: a label of 0 or 1 is a target of -1 or 1 for z."""
    return (1 + z) / 2


def _bent_line(z: Tensor) -> Tensor:
    """Return the sigmoid that touches the line at z = 0: it rises with z everywhere and leaves 0 to 1 nowhere."""
    return _sigmoid(2 * z)


def _step(z: Tensor) -> Tensor:
    from keras import ops

    return ops.cast(z > 0, "float32")


def _softmax(z: Tensor) -> Tensor:
    from keras import ops

    return ops.softmax(z)


def _itself(z: Tensor) -> Tensor:
    return z


SIGMOID = Output(_sigmoid, _sigmoid)
SOFTMAX = Output(_softmax, _softmax)
LINEAR = Output(_line, _bent_line)
STEP = Output(_line, _step)
"""Decides; where a loss wants a distance it gets the line's, since a step has no slope to learn from."""

QUANTITY = Output(_itself, _itself)


@dataclass(frozen=True)
class Head:
    """One way to end a network.

    ``seeks`` says what for; ``fits`` whether so many classes will do, and ``needs`` what would; ``prefix`` begins the
    name of each output where there are several.
    """

    seeks: Sought
    needs: str
    output: Output
    losses: Mapping[str, Loss]
    default_loss: str
    prefix: str = "score"
    fits: Callable[[int], bool] = lambda n_classes: n_classes >= 1
    is_single: bool = False

    @property
    def judged_as(self) -> JudgedAs:
        """By what a network that ends like this is judged."""
        return "signal" if self.is_single else self.seeks

    def n_outputs(self, n_classes: int, n_targets: int = 0) -> int:
        """Return the size of the last layer."""
        if self.seeks == "class":
            return 1 if self.is_single else n_classes
        return n_targets

    def output_names(self, classes: Sequence[str], targets: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the columns that hold what the network says: ``score``, or one for each output."""
        if self.is_single:
            return (self.prefix,)
        return tuple(f"{self.prefix}_{name}" for name in (classes if self.seeks == "class" else targets))

    def loss(self, name: str | None = None, n_classes: int = 2) -> "keras.losses.Loss":
        """Return the loss of that name, or the default, for Keras."""
        name = name or self.default_loss
        unfolded = n_classes if self.seeks == "class" and not self.is_single else None
        return keras_loss(name, self.losses[name], self.output.value, unfolded)

    def target_transform(self, facts: Sequence[TargetFacts]) -> TargetTransform | None:
        """Return how targets become what is trained on; ``None`` where that is the class.

        Raises:
            DataError: a flag is neither 0 nor 1, or a quantity is the same in all training events.
        """
        if self.seeks == "class":
            return None
        if problems := self.target_problems(facts):
            raise DataError("; ".join(problems))
        return standard(facts) if self.seeks == "quantities" else unchanged(facts)

    def target_problems(self, facts: Sequence[TargetFacts]) -> list[str]:
        """Return what is wrong with the targets of all events, as one sentence each."""
        if self.seeks == "flags":
            return [
                f"target {fact.name!r} is {fact.lowest:g} in all events: there is nothing to learn"
                for fact in facts
                if fact.lowest == fact.highest and not fact.n_no_flag
            ] + [
                f"target {fact.name!r} is a flag, 0 or 1, for this head, and {fact.n_no_flag} events have another value"
                f" (they go from {fact.lowest:g} to {fact.highest:g}); head = 'regression' takes any number"
                for fact in facts
                if fact.n_no_flag
            ]
        return [problem for fact in facts if (problem := _quantity_problem(fact))]


def _quantity_problem(fact: TargetFacts) -> str:
    if not fact.spread:
        return f"target {fact.name!r} is {fact.mean:g} in all training events: there is nothing to learn"
    if fact.spread < SMALLEST_SPREAD * abs(fact.mean):
        msg = f"target {fact.name!r} is {fact.mean:g} with a spread of {fact.spread:g}: single precision would lose it"
        return f"{msg}; subtract a constant in its expression"
    return ""


HEADS: Mapping[str, Head] = {
    "binary": Head(
        seeks="class",
        needs="two classes",
        output=SIGMOID,
        losses=DECISIONS,
        default_loss="cross-entropy",
        fits=lambda n_classes: n_classes == 2,
        is_single=True,
    ),
    "softmax": Head(
        seeks="class",
        needs="two classes or more",
        output=SOFTMAX,
        losses=CHOICES,
        default_loss="cross-entropy",
        fits=lambda n_classes: n_classes >= 2,
    ),
    "multi-label": Head(
        seeks="flags",
        needs="[targets], each 0 or 1",
        output=SIGMOID,
        losses=DECISIONS,
        default_loss="cross-entropy",
    ),
    "regression": Head(
        seeks="quantities",
        needs="[targets], each a number",
        output=QUANTITY,
        losses=DISTANCES,
        default_loss="squared-error",
        prefix="predicted",
    ),
}
