"""Selection: ordered cuts, and the cut-flow that says what each of them did.

Owns which events pass and the count of those that do, per group (a sample, or a class). What a cut's
text means is `expressions`' business; keeping the events that pass, the count of those that a label leaves
out, and the step where negative weights are dropped, which joins the same cut-flow, are `ledger`'s.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from pipeline.chunk import Chunk
from pipeline.declare import Declaration
from pipeline.errors import DataError, nearest_spelling
from pipeline.expressions import column_or_expression, evaluate_flat, expression_problem
from pipeline.operations import truth

READ = "read"


class SelectSpec(Declaration):
    """One cut: its name in the cut-flow, and the expression that is true for the events it keeps."""

    name: str
    keep: str

    @field_validator("keep")
    @classmethod
    def _reads_as_an_expression(cls, keep: str) -> str:
        if problem := expression_problem(keep):
            raise ValueError(problem)
        return keep


def select(chunk: Chunk, cuts: Sequence[SelectSpec]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each cut's name, in order, with the mask of the events that pass it and all before it.

    Masks have shape ``(n_events,)``. An event passes where the expression is neither zero nor missing
    (NaN). With no cuts nothing is yielded.

    >>> for name, mask in select(chunk, cuts):
    ...     flow.update(sample, name, weights[mask])

    Raises:
        MissingColumnError: a cut needs a column that the chunk lacks.
        ExpressionError: a cut is a list for each event.

    """
    passed = np.ones(len(chunk), dtype=np.bool_)
    for cut in cuts:
        value = evaluate_flat(column_or_expression(cut.keep, chunk.columns), chunk)
        passed = passed & truth(value)
        yield cut.name, passed


class Tally(NamedTuple):
    """Events that survive a step: their number, the sum of their weights and of the squares of these."""

    events: int = 0
    weighted: float = 0.0
    squared: float = 0.0

    def plus(self, other: "Tally") -> "Tally":
        """Return the tally of both sets of events together."""
        return Tally(self.events + other.events, self.weighted + other.weighted, self.squared + other.squared)


class FlowRow(NamedTuple):
    """One line of a cut-flow table.

    The efficiencies are ratios of weighted sums, to the step before and to the first one; where that sum
    is zero they are 0.
    """

    step: str
    events: int
    weighted: float
    weighted_error: float
    efficiency: float
    cumulative_efficiency: float


@dataclass
class CutFlow:
    """How many events survive each step, raw and weighted, for each group (a sample or a class).

    A small state: start it with the names of the steps, ``update`` it chunk by chunk, ``merge`` those of
    several workers.
    """

    steps: tuple[str, ...]
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)

    @classmethod
    def start(cls, names: Iterable[str]) -> "CutFlow":
        """Return an empty cut-flow of the step ``read`` and then ``names``, in their order.

        Raises:
            DataError: a name comes twice.

        """
        steps = (READ, *names)
        twice = sorted({step for step in steps if steps.count(step) > 1})
        if twice:
            msg = f"every step of a cut-flow has its own name, and these come twice: {', '.join(twice)}"
            raise DataError(msg)
        return cls(steps)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups seen so far, sorted."""
        return tuple(sorted({group for group, _ in self.tallies}))

    def update(self, group: str, step: str, weights: NDArray[Any]) -> None:
        """Add the events of ``group`` that survive ``step``, by their physics weights ``(n_survivors,)``.

        Negative weights count as they are. No survivors make the group known all the same.

        Raises:
            DataError: the cut-flow was not started with this step.

        """
        if step not in self.steps:
            msg = f"no step {step!r}{nearest_spelling(step, self.steps)} in this cut-flow: {', '.join(self.steps)}"
            raise DataError(msg)
        values = np.asarray(weights, dtype=np.float64)
        added = Tally(len(values), float(values.sum()), float(np.square(values).sum()))
        self.tallies[group, step] = self._tally(group, step).plus(added)

    def merge(self, other: "CutFlow") -> "CutFlow":
        """Return the cut-flow of both sets of events together.

        Raises:
            DataError: the two have different steps.

        """
        if self.steps != other.steps:
            msg = f"cut-flows of different steps cannot merge: {', '.join(self.steps)}; {', '.join(other.steps)}"
            raise DataError(msg)
        keys = {**self.tallies, **other.tallies}
        return CutFlow(self.steps, {key: self._tally(*key).plus(other._tally(*key)) for key in keys})

    def rows(self, group: str | None = None) -> list[FlowRow]:
        """Return one row a step for ``group``, or for all groups together."""
        groups = self.groups if group is None else (group,)
        tallies = [self._together(groups, step) for step in self.steps]
        return [
            FlowRow(
                step,
                tally.events,
                tally.weighted,
                sqrt(tally.squared),
                _ratio(tally.weighted, before.weighted),
                _ratio(tally.weighted, tallies[0].weighted),
            )
            for step, tally, before in zip(self.steps, tallies, tallies[:1] + tallies, strict=False)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain lists and numbers, for ``json.dumps``."""
        groups = {group: [list(self._tally(group, step)) for step in self.steps] for group in self.groups}
        return {"steps": list(self.steps), "groups": groups}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> "CutFlow":
        """Return the cut-flow that ``to_json`` wrote.

        Raises:
            DataError: this is no cut-flow.

        """
        try:
            steps = tuple(state["steps"])
            tallies = {
                (group, step): Tally(*numbers)
                for group, rows in state["groups"].items()
                for step, numbers in zip(steps, rows, strict=True)
            }
        except (AttributeError, KeyError, TypeError, ValueError) as problem:
            msg = f"no cut-flow: 'steps' and 'groups' with three numbers a step are needed ({problem!r})"
            raise DataError(msg) from problem
        return cls(steps, tallies)

    def _tally(self, group: str, step: str) -> Tally:
        return self.tallies.get((group, step), Tally())

    def _together(self, groups: Iterable[str], step: str) -> Tally:
        total = Tally()
        for group in groups:
            total = total.plus(self._tally(group, step))
        return total


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
