"""Building: from the ``[model]`` section to a Keras network.

Owns the table of architectures and how architecture and head are put together. An architecture is a
function from the input to the last hidden layer; adding one is that function and one line in the table.
Where it is known by its loss, or by how its output is read, the line says so, and the head's do not count.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from models.anatomy import is_numbered
from models.backend import set_up_compiler
from models.convolutional import ConvolutionalOptions, convolutional, too_small
from models.dense import DeepDenseOptions, MlpOptions, ResidualOptions, deep_dense, mlp, residual
from models.heads import HEADS, LINEAR, STEP, Head, Output
from models.linear import FisherOptions, NoOptions, linear_layers, no_hidden_layer
from models.parts import parts_of, with_noise
from models.recurrent import RecurrentOptions, recurrent
from models.sets import SetsOptions, sets
from pipeline.blocks import Block
from pipeline.declare import Declaration, problems_of
from pipeline.errors import DeclarationError, nearest_spelling
from pipeline.targets import TargetTransform

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Architecture:
    """The hidden part of a network and the options that it understands.

    ``hidden`` is given the inputs or, where it ``sees`` blocks of a kind, ``Parts`` of them; ``problem`` says what is
    wrong with such a block. ``loss``, unless the experiment names one, and ``output`` are the head's where there are
    none here; ``learning_rate`` is that of an experiment that names none.
    """

    options: type[Declaration]
    hidden: Callable[[Any, Any], "keras.KerasTensor"]
    sees: Literal["vector", "collection", "image"] = "vector"
    loss: str | None = None
    output: Output | None = None
    learning_rate: float | None = None
    problem: Callable[[Any, Block], str] = lambda options, block: ""


LINEAR_RATE = 1e-2

ARCHITECTURES: Mapping[str, Architecture] = {
    "convolutional": Architecture(ConvolutionalOptions, convolutional, sees="image", problem=too_small),
    "deep-dense": Architecture(DeepDenseOptions, deep_dense),
    "fisher": Architecture(
        FisherOptions, linear_layers, loss="squared-error", output=LINEAR, learning_rate=LINEAR_RATE
    ),
    "logistic": Architecture(NoOptions, no_hidden_layer, learning_rate=LINEAR_RATE),
    "mlp": Architecture(MlpOptions, mlp),
    "perceptron": Architecture(NoOptions, no_hidden_layer, loss="perceptron", output=STEP, learning_rate=LINEAR_RATE),
    "recurrent": Architecture(RecurrentOptions, recurrent, sees="collection"),
    "residual": Architecture(ResidualOptions, residual),
    "sets": Architecture(SetsOptions, sets, sees="collection"),
}


SECTIONS: Mapping[str, str] = {
    "collection": "[features.collections.jets] with, for example, inputs = ['jet_pt', 'jet_eta'] and length = 6",
    "image": "[features.images.cutout] with, for example, pixels = 'flux' and shape = [16, 16]",
}
"""What an architecture may see beside a vector → how it is declared."""


class ModelSpec(Declaration):
    """The ``[model]`` section; ``noise`` is the spread of Gaussian noise on the normalised inputs in training.

    References:
        C. M. Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7 (1995) 108.
    """

    architecture: str = "deep-dense"
    head: str = "binary"
    options: dict[str, Any] = Field(default_factory=dict)
    noise: float = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _is_in_the_tables(self) -> Self:
        problems = [_unknown("architecture", self.architecture, ARCHITECTURES), _unknown("head", self.head, HEADS)]
        if not problems[0]:
            problems += self._option_problems()
        if not any(problems) and ARCHITECTURES[self.architecture].output and self.head != "binary":
            problems.append(
                f"architecture {self.architecture!r} decides between two classes: head = 'binary' is its own"
            )
        if any(problems):
            raise ValueError("; ".join(filter(None, problems)))
        return self

    def _option_problems(self) -> list[str]:
        kind = ARCHITECTURES[self.architecture].options
        try:
            kind.model_validate(self.options)
        except ValidationError as error:
            return [f"options.{problem}" for problem in problems_of(error, self.options, kind)]
        return []

    @property
    def resolved_options(self) -> Declaration:
        """The architecture's options with their defaults filled in."""
        return ARCHITECTURES[self.architecture].options.model_validate(self.options)


def _unknown(what: str, name: str, table: Mapping[str, Any]) -> str:
    if name in table:
        return ""
    return f"{what} = {name!r} is not known{nearest_spelling(name, table)}; there are: {', '.join(sorted(table))}"


def head_of(spec: ModelSpec) -> Head:
    """Return the head that the model declares, with what its architecture says otherwise."""
    head, architecture = HEADS[spec.head], ARCHITECTURES[spec.architecture]
    return replace(head, output=architecture.output or head.output, default_loss=architecture.loss or head.default_loss)


def block_problems(spec: ModelSpec, blocks: Sequence[Block]) -> list[str]:
    """Return what is wrong with the blocks for the architecture that the model declares, one line each."""
    architecture, options = ARCHITECTURES[spec.architecture], spec.resolved_options
    seen = _seen(architecture, blocks)
    if architecture.sees in SECTIONS and not seen:
        msg = f"model.architecture = {spec.architecture!r} needs one {architecture.sees} at least"
        return [f"{msg}, and [features] has none; write {SECTIONS[architecture.sees]}"]
    return [f"model.options: {problem}" for block in seen if (problem := architecture.problem(options, block))]


def _seen(architecture: Architecture, blocks: Sequence[Block]) -> list[Block]:
    return [block for block in blocks if block.kind == architecture.sees]


def build(
    spec: ModelSpec, n_inputs: int, n_classes: int, seed: int, blocks: Sequence[Block] = (), n_targets: int = 0
) -> "keras.Model":
    """Build the network, from ``(n_events, n_inputs)`` to logits ``(n_events, n_outputs)``, with seeded weights.

    Of the blocks in the inputs the architecture sees those of its kind; the others are inputs as any.

    Raises:
        DeclarationError: there is no block of that kind, or one that the architecture can do nothing with.
    """
    import keras

    if problems := block_problems(spec, blocks):
        raise DeclarationError("; ".join(problems))
    set_up_compiler()
    keras.utils.set_random_seed(seed % 2**32)
    architecture = ARCHITECTURES[spec.architecture]
    inputs = keras.Input((n_inputs,), name="inputs")
    noisy = with_noise(inputs, spec.noise, blocks)
    seen = parts_of(noisy, _seen(architecture, blocks)) if architecture.sees in SECTIONS else noisy
    hidden = architecture.hidden(seen, spec.resolved_options)
    logits = keras.layers.Dense(head_of(spec).n_outputs(n_classes, n_targets), name="logits")(hidden)
    return _numbered(keras.Model(inputs, logits, name=spec.architecture))


def _numbered(network: "keras.Model") -> "keras.Model":
    """Number layers that have no name of their own from the input on, where Keras counts all of a process.

    What is recorded by a layer's name can then be compared: between folds, and with a run before a restart.
    """
    seen = Counter[str]()
    for layer in filter(is_numbered, network.operations):
        kind = re.sub(r"_\d+$", "", layer.name)
        layer.name = f"{kind}_{seen[kind]}" if seen[kind] else kind
        seen[kind] += 1
    return network


def scoring_network(network: "keras.Model", head: Head, targets: TargetTransform | None = None) -> "keras.Model":
    """Return the same network with its output read as a score, or as targets in their own units."""
    import keras
    import numpy as np

    said = head.output.score(network.outputs[0])
    if targets is not None and not targets.changes_nothing:
        said = said * np.array(targets.scale, np.float32) + np.array(targets.offset, np.float32)
    return keras.Model(network.input, said, name="scoring")
