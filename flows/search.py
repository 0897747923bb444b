"""Searches: which settings of an experiment are varied, and between which values.

Owns the ``[tune]`` section, and what cannot be searched honestly. How a search is run is ``tune``'s.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, StrictFloat, StrictInt, model_validator

from models.build import ModelSpec
from pipeline.declare import Declaration
from pipeline.errors import DeclarationError, nearest_spelling

SECTIONS = ("model", "training")

NO_COMPARISON = "validation losses of different losses cannot be compared"
NO_EFFECT = "it changes how a training runs, and not what it gives"
NOT_SEARCHED = {
    "model.head": NO_COMPARISON,
    "training.loss": NO_COMPARISON,
    "training.decorrelate": "a lower validation loss is what it costs",
    "training.compiled": NO_EFFECT,
    "training.memory_gib": NO_EFFECT,
    "training.checkpoint_seconds": NO_EFFECT,
}

SUGGESTIONS = {
    "widths": "{ choices = [[64, 64], [128, 128, 128], [256, 256]] }",
    "width": "{ choices = [64, 128, 256] }",
    "blocks": "{ low = 2, high = 6 }",
    "dropout": "{ low = 0.0, high = 0.5 }",
}
"""Option of an architecture → what is worth a search."""

INSIDE = 0.381966
"""A place between the ends of a range, at which no range of some size has a round number."""


class Axis(Declaration):
    """The values that one setting may have: from ``low`` to ``high``, or one of ``choices``.

    Where both ends are whole numbers, so is everything between them. With ``log`` each factor of ten gets as much.
    """

    low: StrictInt | StrictFloat | None = None
    high: StrictInt | StrictFloat | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = Field(None, min_length=2)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        given = sorted(self.model_fields_set)
        if given not in (["choices"], ["high", "low"], ["high", "log", "low"]):
            raise ValueError(f"give low and high (and log), or choices; received {', '.join(given) or 'none'}")
        if self.low is not None and self.high is not None:
            if not self.low < self.high:
                raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}")
            if self.log and self.low <= 0:
                raise ValueError(f"with log = true, low is more than 0; received {self.low:g}")
        if self.choices and any(one in self.choices[:i] for i, one in enumerate(self.choices)):
            raise ValueError(f"a choice is there twice: {', '.join(map(repr, self.choices))}")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def contains(self, value: Any) -> bool:
        """Whether a value is one of these."""
        if self.low is None or self.high is None:
            return value in (self.choices or ())
        is_number = isinstance(value, int) if self.is_whole else isinstance(value, int | float)
        return is_number and not isinstance(value, bool) and self.low <= value <= self.high

    def examples(self) -> Iterator[Any]:
        """Yield values by which it shows whether a setting takes what is between them."""
        if self.low is None or self.high is None:
            yield from self.choices or ()
            return
        yield from (self.low, self.high)
        if not self.is_whole:
            yield self.low + INSIDE * (self.high - self.low)


class TuneSpec(Declaration):
    """The ``[tune]`` section: how many trials, for at most ``timeout`` seconds, of which settings.

    The time is looked at between trials. Until ``startup_trials`` are complete, settings are drawn at random and none
    is ended early; then those are whose best validation loss so far is worse than the median of the trials before them
    at the same epoch, but not within ``warm_up_epochs`` (``pruner = "none"``: never). The experiment as declared always
    runs to its end.
    """

    trials: PositiveInt = 30
    timeout: float | None = Field(None, gt=0)
    pruner: Literal["median", "none"] = "median"
    startup_trials: PositiveInt = 8
    warm_up_epochs: int = Field(3, ge=0)
    search: dict[str, Axis] = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_searched(self) -> Self:
        if problems := [f"search.{name!r}: {why}" for name in self.search if (why := self._why_not(name))]:
            raise ValueError("; ".join(problems))
        return self

    def _why_not(self, name: str) -> str:
        section, _, key = name.partition(".")
        if section not in SECTIONS:
            hint = nearest_spelling(section, SECTIONS)
            msg = f"only settings of [model] and [training] can be searched{hint}"
            return f"{msg}: others change the events, and losses on other events cannot be compared"
        if not key:
            return "a whole section is no setting; name one of it, as 'training.learning_rate'"
        if inner := [other for other in self.search if other.startswith(f"{name}.")]:
            return f"{inner[0]!r} is a part of it; search one of them"
        return next((why for key, why in NOT_SEARCHED.items() if f"{name}.".startswith(f"{key}.")), "")


def refused_values(spec: TuneSpec, vary: Callable[[dict[str, Any]], str | None], loss: str | None) -> Iterator[str]:
    """Yield one line for each setting that does not take its values.

    ``vary`` returns the loss that is trained with other values, and refuses them as the file would be.
    """
    for name, axis in spec.search.items():
        for value in axis.examples():
            try:
                found = vary({name: value})
            except DeclarationError as error:
                yield f"tune.search.{name!r}: {_in_one_line(error)}"
                break
            if found != loss:
                yield f"tune.search.{name!r}: with {value!r} the loss is {found!r}, else {loss!r}; {NO_COMPARISON}"
                break


def _in_one_line(error: DeclarationError) -> str:
    _, _, problems = str(error).partition("\n")
    return "; ".join(line.strip() for line in problems.splitlines())


def example_section(model: ModelSpec) -> str:
    """Return a ``[tune]`` section that fits the architecture."""
    options = [name for name in type(model.resolved_options).model_fields if name in SUGGESTIONS]
    lines = [
        "[tune]",
        "trials = 30",
        "",
        "[tune.search]",
        '"training.learning_rate" = { low = 1e-4, high = 1e-2, log = true }',
        '"training.batch_size" = { choices = [256, 1024, 4096] }',
        *(f'"model.options.{name}" = {SUGGESTIONS[name]}' for name in options),
    ]
    return "\n".join(lines)
