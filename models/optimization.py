"""Optimization: what one step of training does with a gradient.

Owns the keys of ``[training]`` that say so: the loss and the penalties beside it, the optimiser and its rate,
clipping, decay and caps of weights, averaged weights, precision; and how a ``Trainee`` is made of them.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from models.decorrelation import DecorrelateSpec, Decorrelation
from models.losses import LOSSES
from pipeline.declare import Declaration
from pipeline.errors import nearest_spelling

if TYPE_CHECKING:
    import keras

    from models.compiled.program import Trainee

OPTIMIZERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {"weight_decay": 0.004}),
    "rmsprop": ("RMSprop", {}),
    "adagrad": ("Adagrad", {}),
    "adadelta": ("Adadelta", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "sgd": ("SGD", {}),
    "gradient-descent": ("SGD", {}),
}
"""Name in the experiment file → Keras class and its arguments."""

VALIDATION_BATCH = 4096
"""Events at a time for the validation loss: any number gives the same but for rounding."""

NOT_DECAYED = ["bias", "gamma", "beta"]
"""Variables that weight decay leaves alone: pulling an offset or a scale to 0 makes no network simpler."""


class ClippingSpec(Declaration):
    """Shorten gradients that are too long: ``norm`` of all together, ``variable_norm`` of each, ``value`` by element.

    References:
        Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", ICML 2013, algorithm 1.
    """

    norm: float | None = Field(None, gt=0)
    variable_norm: float | None = Field(None, gt=0)
    value: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = sorted(self.model_dump(exclude_none=True))
        if len(given) != 1:
            raise ValueError(f"give one of norm, variable_norm, value; received {', '.join(given) or 'none'}")
        return self


class AveragingSpec(Declaration):
    """Judge and keep an exponential average of the weights, batch norm's statistics among them, not the last ones.

    References:
        Polyak, Juditsky, SIAM J. Control Optim. 30 (1992) 838; Izmailov et al., UAI 2018 (averages generalise).
    """

    decay: float = Field(0.999, gt=0, lt=1)


class OptimizationSpec(Declaration):
    """The keys of ``[training]`` that say what one step does.

    ``loss`` is that of architecture and head where none is named. ``l1`` and ``l2`` add so much times the sum of
    absolute or squared weights to what is made small, and to no loss that is reported; ``weight_decay`` is decoupled
    from the gradient (AdamW's way, for every optimiser). All three spare biases and batch norm. ``max_norm`` caps the
    length of each unit's incoming weights after every step; ``decorrelate`` hides a variable from the score, which
    takes the compiled epoch; ``compiled = false`` has Keras' own loop run the epochs,
    for comparison.

    References:
        Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019; Srivastava et al., JMLR 15 (2014)
        1929, section 5.1 (max-norm).
    """

    batch_size: PositiveInt = 1024
    loss: str | None = None
    optimizer: str = "adam"
    learning_rate: float = Field(1e-3, gt=0)
    l1: float = Field(0.0, ge=0)
    l2: float = Field(0.0, ge=0)
    weight_decay: float | None = Field(None, ge=0)
    gradient_clipping: ClippingSpec | None = None
    max_norm: float | None = Field(None, gt=0)
    averaged_weights: AveragingSpec | None = None
    decorrelate: DecorrelateSpec | None = None
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    compiled: bool = True

    @field_validator("optimizer", "loss")
    @classmethod
    def _is_in_its_table(cls, name: str | None, info: ValidationInfo) -> str | None:
        table: Collection[str] = OPTIMIZERS if info.field_name == "optimizer" else LOSSES
        if name is not None and name not in table:
            hint = nearest_spelling(name, table)
            raise ValueError(f"received {name!r}{hint}; there are: {', '.join(sorted(table))}")
        return name


def trainee_of(
    network: "keras.Model",
    loss: "keras.losses.Loss",
    spec: OptimizationSpec,
    n_targets: int = 1,
    decorrelation: Decorrelation | None = None,
) -> "Trainee":
    """Make a trainee of a network, which is trained in place."""
    import keras

    from models.compiled.program import Trainee, values_of
    from models.gradients import kernels_of

    weights = network.trainable_variables
    _restrain([weight for weight in weights if len(weight.shape) > 1], spec)
    optimizer = _optimizer(spec)
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    trainee = Trainee(network, loss, optimizer, n_targets=n_targets, decorrelation=decorrelation)
    optimizer.build(trainee.trainable_variables)
    optimizer.measure(kernels_of(network))
    if spec.averaged_weights is None:
        return trainee
    # A variable that is made of another one's value may be that one.
    values = values_of(trainee.weights)
    averages = tuple(keras.Variable(value, trainable=False, name="average") for value in values)
    return replace(trainee, averages=averages, decay=spec.averaged_weights.decay)


def _optimizer(spec: OptimizationSpec) -> "keras.optimizers.Optimizer":
    import keras

    from models.gradients import measuring

    name, arguments = OPTIMIZERS[spec.optimizer]
    if spec.weight_decay is not None:
        arguments = {**arguments, "weight_decay": spec.weight_decay}
    if clip := spec.gradient_clipping:
        limits = {"global_clipnorm": clip.norm, "clipnorm": clip.variable_norm, "clipvalue": clip.value}
        arguments = {**arguments, **limits}
    return measuring(getattr(keras.optimizers, name))(learning_rate=spec.learning_rate, **arguments)


def _restrain(kernels: "list[keras.Variable]", spec: OptimizationSpec) -> None:
    import keras

    for kernel in kernels:
        if spec.l1 or spec.l2:
            kernel.regularizer = keras.regularizers.L1L2(spec.l1, spec.l2)
        if spec.max_norm is not None:
            # All axes but the last lead into one unit.
            kernel.constraint = keras.constraints.MaxNorm(spec.max_norm, axis=list(range(len(kernel.shape) - 1)))
