"""Expressions: a line of text that computes a derived column, a cut or a weight from columns.

Owns what an expression is to the rest of the house: its text, the columns it needs, its value for a
chunk. The text is read by ``grammar``, never by Python; the arithmetic is in ``operations``. Where every
column is flat, numexpr computes the whole from a text written anew from the steps; lists, text, ``%``,
sums and products of integers, and very long expressions are computed step by step. Which way is taken never
depends on the number of events, so that one event alone gets the same value as in a file.

A missing value is NaN and behaves as IEEE 754 says: every comparison with it is false, except ``!=``;
``isnan`` asks for it. A division by zero or the logarithm of a negative number gives inf or NaN.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import awkward as ak
import numexpr
import numpy as np
from numpy.typing import NDArray

from pipeline.chunk import Chunk, Column
from pipeline.errors import ColumnTypeError, ExpressionError
from pipeline.grammar import Program, Step, column_program, program_of
from pipeline.operations import SIGNS, Value, apply, is_text, widened

_SIGN = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "mod": "%", "pow": "**",
    "lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "eq": "==", "neq": "!=", "and": "&&", "or": "||",
    "pos": "+", "neg": "-", "inv": "!",
}  # fmt: skip


@dataclass(frozen=True)
class Expression:
    """A column expression that was read; build it with ``parse_expression``.

    ``str(expression)`` writes it anew in ROOT style with every parenthesis, whatever style it came in.
    """

    text: str
    program: Program = field(repr=False)

    @property
    def columns(self) -> frozenset[str]:
        """The names of the columns it needs."""
        return frozenset(str(step.value) for step in self.program if step.operation == "column")

    def evaluate(self, chunk: Chunk) -> Column:
        """Compute the expression: shape ``(n_events,)``, ``(n_events, k)``, or jagged lists.

        A column alone is returned as it is; a constant is repeated for every event.

        Raises:
            MissingColumnError: the chunk lacks a column.
            ColumnTypeError: text is computed with.
            ExpressionError: lists of different lengths meet, or a list is wanted and there is none.

        """
        raw = {name: chunk[name] for name in sorted(self.columns)}
        if len(self.program) == 1 and raw:
            return raw[str(self.program[0].value)]
        try:
            columns = {name: widened(name, column) for name, column in raw.items()}
            return _for_every_event(_computed(self.program, columns), len(chunk))
        except (ExpressionError, ColumnTypeError) as problem:
            msg = f"in {self.text!r}: {problem}"
            raise type(problem)(msg) from problem

    def __str__(self) -> str:
        written: list[str] = []
        for step in self.program:
            start = len(written) - step.n_arguments
            written[start:] = [_written(step, written[start:])]
        return written[0]


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Expression:
    """Read an expression in ROOT style (``&&``, ``TMath::Sqrt``) or numexpr style (``&``, ``sqrt``).

    ``Jet_Pt[0]`` takes an entry (NaN where it is not there), ``Jet_Pt[Jet_Btag > 1]`` those that satisfy a
    condition; ``sum``, ``max``, ``min``, ``mean``, ``any``, ``all`` and ``count`` reduce the lists of each
    event. A name that is no word goes in backticks: ```energy (GeV)` / 2``; texts go in quotes.

    Raises:
        ExpressionError: where reading stopped, and how to mend it.

    >>> parse_expression("tau_pt > 20 && abs(tau_eta) < 2.5").columns == {"tau_pt", "tau_eta"}
    True

    """
    return Expression(text, program_of(text))


def expression_problem(text: str) -> str | None:
    """Return what is wrong with an expression, or ``None``; used where no file is known yet."""
    try:
        parse_expression(text)
    except ExpressionError as error:
        return str(error)
    return None


def column_or_expression(text: str, available: Collection[str]) -> Expression:
    """Return the column that is called exactly ``text``, or the expression that ``text`` writes.

    Raises:
        ExpressionError: ``text`` is neither.

    """
    return Expression(text, column_program(text)) if text in available else parse_expression(text)


def evaluate_flat(expression: Expression, chunk: Chunk, advice: str = "") -> NDArray[Any]:
    """Compute one number (or truth) an event, shape ``(n_events,)``; ``advice`` is for whoever has a list instead.

    Raises:
        ExpressionError: the result is a list for each event.
        ColumnTypeError: the result is text, or times.

    """
    result = expression.evaluate(chunk)
    if isinstance(result, ak.Array) or result.ndim != 1:
        msg = f"{expression.text!r} is a list for each event, and one number is needed: "
        raise ExpressionError(f"{msg}take one with [0], or reduce with sum(…), max(…) or count(…){advice}")
    if result.dtype.kind not in "biuf":
        held = "text (compare it, as in == 'pi')" if is_text(result) else str(result.dtype)
        msg = f"{expression.text!r} is {held}, and one number an event is needed"
        raise ColumnTypeError(msg)
    return result


def _written(step: Step, parts: list[str]) -> str:
    name = step.operation
    if name == "column":
        return f"`{step.value}`"
    if step.is_constant:
        return _written_constant(step)
    if name == "index":
        return parts[0] + "".join(f"[{index}]" for index in parts[1:])
    if name not in SIGNS:
        return f"{name}({', '.join(parts)})"
    return f"({_SIGN[name]}{parts[0]})" if len(parts) == 1 else f"({parts[0]} {_SIGN[name]} {parts[1]})"


def _written_constant(step: Step) -> str:
    if step.operation == "str":
        return f'"{step.value}"' if "'" in str(step.value) else f"'{step.value}'"
    return f"({step.value})" if str(step.value).startswith("-") else str(step.value)


def _for_every_event(result: Value, n_events: int) -> Column:
    if isinstance(result, ak.Array) or np.ndim(result) > 0:
        return result
    return np.full(n_events, result, dtype=object if isinstance(result, str) else None)


def _computed(program: Program, columns: Mapping[str, Value]) -> Value:
    kinds = tuple((name, _numexpr_kind(column)) for name, column in columns.items())
    text = _numexpr_text(program, kinds) if columns else None
    if text is None:
        return _step_by_step(program, columns)
    arrays = {f"c{position}": column for position, column in enumerate(columns.values())}
    # The text was written here from the steps alone, so there is nothing in it to sanitise.
    return numexpr.evaluate(text, {**arrays, **_UNITS}, {}, sanitize=False)


_UNITS = {"one": np.int64(1), "zero": np.int64(0), "unit": np.float64(1.0)}


def _step_by_step(program: Program, columns: Mapping[str, Value]) -> Value:
    results: list[Value] = []
    for step in program:
        if step.operation == "column":
            results.append(columns[str(step.value)])
        elif step.is_constant:
            results.append(step.value)
        else:
            start = len(results) - step.n_arguments
            results[start:] = [apply(step.operation, results[start:])]
    return results[0]


_OF_ONE_FLOAT = (
    "sqrt", "exp", "expm1", "log", "log10", "log1p", "floor", "ceil",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
)  # fmt: skip
# What numexpr computes: how it is written, what its arguments are made into, what comes out.
# Kinds are b (truth), i (int64), f (float64); "n" is a number of either kind.
_NUMEXPR: dict[str, tuple[str, str, str]] = {
    **{name: (f"({{}} {_SIGN[name]} {{}})", "nn", "n") for name in ("add", "sub", "mul")},
    # numexpr multiplies by the inverse of a constant, which rounds twice: the divisor is made a variable.
    "div": ("({} / ({} * unit))", "ff", "f"),
    "pow": ("({} ** {})", "ff", "f"),
    **{name: (f"({{}} {_SIGN[name]} {{}})", "nn", "b") for name in ("lt", "lte", "gt", "gte", "eq", "neq")},
    **{name: (f"{name}({{}})", "f", "f") for name in _OF_ONE_FLOAT},
    "arctan2": ("arctan2({}, {})", "ff", "f"),
    "and": ("({} & {})", "bb", "b"),
    "or": ("({} | {})", "bb", "b"),
    "inv": ("(~{})", "b", "b"),
    "neg": ("(-{})", "n", "n"),
    "pos": ("{}", "n", "n"),
    "abs": ("abs({})", "n", "f"),
    "where": ("where({}, {}, {})", "bnn", "n"),
}
_MADE_INTO = {
    ("b", "n"): "where({}, one, zero)",
    ("b", "f"): "where({}, 1.0, 0.0)",
    ("i", "f"): "({} * 1.0)",
    ("i", "b"): "({} != zero)",
    ("f", "b"): "(abs({}) > zero)",  # false for NaN
}
_LONGEST_FOR_NUMEXPR = 90  # steps: its compiler recurses, and has a limited number of registers
_WIDEST_FOR_NUMEXPR = 28  # columns


def _numexpr_kind(column: Value) -> str:
    flat = isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype.kind in "bif"
    return column.dtype.kind if flat else ""


@lru_cache(maxsize=4096)
def _numexpr_text(program: Program, kinds: tuple[tuple[str, str], ...]) -> str | None:
    """Write the program as numexpr reads it; None where numexpr would not compute the same."""
    if len(program) > _LONGEST_FOR_NUMEXPR or len(kinds) > _WIDEST_FOR_NUMEXPR or not all(dict(kinds).values()):
        return None
    names = {name: (f"c{position}", kind) for position, (name, kind) in enumerate(kinds)}
    written: list[tuple[str, str]] = []
    for step in program:
        start = len(written) - step.n_arguments
        part = _numexpr_part(step, written[start:], names)
        if part is None:
            return None
        written[start:] = [part]
    return written[0][0]


def _numexpr_part(
    step: Step, parts: list[tuple[str, str]], names: Mapping[str, tuple[str, str]]
) -> tuple[str, str] | None:
    if step.operation == "column":
        return names[str(step.value)]
    if step.is_constant:
        return _numexpr_constant(step)
    if step.operation not in _NUMEXPR:
        return None
    if step.operation == "abs" and parts[0][1] != "f":
        return None  # numexpr makes a float of it
    if step.operation in ("add", "sub", "mul") and "f" not in [kind for _, kind in parts]:
        return None  # numexpr wraps round where a result leaves int64
    template, wanted, result = _NUMEXPR[step.operation]
    made = [_MADE_INTO.get((kind, want), "{}").format(text) for (text, kind), want in zip(parts, wanted, strict=True)]
    if result == "n":
        result = "f" if "f" in [kind for (_, kind), want in zip(parts, wanted, strict=True) if want == "n"] else "i"
    return template.format(*made), result


def _numexpr_constant(step: Step) -> tuple[str, str] | None:
    value = step.value
    if isinstance(value, str) or not math.isfinite(value) or (abs(value) >= 2**63 and isinstance(value, int)):
        return None
    if isinstance(value, bool):  # numexpr cannot combine a constant truth with a column of them
        return ("(one > zero)" if value else "(one < zero)"), "b"
    kind = "i" if isinstance(value, int) else "f"
    return (f"({value!r})" if value < 0 else repr(value)), kind
