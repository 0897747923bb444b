"""Grammar: from the text of an expression to the steps that compute it.

Owns the two styles a physicist may write in, ROOT's (``&&``, ``TMath::Sqrt``, ``Length$``) and numexpr's
(``&``, ``sqrt``, ``count``), and says where a text goes wrong. What the steps do is in ``operations``.

formulate's ROOT grammar reads the text, after a pass over its words that does what that grammar cannot:
every column, quoted text and function of ours goes in as a numbered name (so that a column called
``tau`` or ``lambda`` is a column, not a constant or a keyword), an index is put in parentheses so that
it may be a condition, and ``& | ~`` become ``&& || !``. That is the same thing only where no bare
comparison stands beside them, so such a text is refused, as is ``a < b < c``. ``^`` is ROOT's power.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import NamedTuple, NoReturn

import formulate
import lark
from formulate import AST
from formulate.identifiers import NUMEXPR_CONSTANTS

from pipeline.errors import ColumnTypeError, ExpressionError, nearest_spelling
from pipeline.operations import ANY_ARGUMENTS, FUNCTIONS, ONE_ARGUMENT, SIGNS, TWO_ARGUMENTS, apply

Constant = bool | int | float | str


class Step(NamedTuple):
    """One step of a stack machine: take ``n_arguments`` results, leave one.

    ``operation`` is a key of the tables in ``operations``, or ``column``, or the type name of a constant
    (``bool``, ``int``, ``float``, ``str``), which keeps ``1`` and ``1.0`` different steps.
    """

    operation: str
    n_arguments: int = 0
    value: Constant = ""

    @property
    def is_constant(self) -> bool:
        """Whether the step leaves a constant."""
        return self.operation in ("bool", "int", "float", "str")


Program = tuple[Step, ...]

_WORD = re.compile(
    r"""(?P<space>\s+)
    |(?P<text>"[^"]*"|'[^']*')
    |(?P<quoted>`[^`]+`)
    |(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    |(?P<name>[^\W\d]\w*(?:(?:\.|::)[^\W\d]\w*)*\$?)
    |(?P<sign>&&|\|\||\*\*|[<>=!]=|[-+*/%<>!~&|^()\[\],])""",
    re.VERBOSE,
)
_ALIASES = {
    "ln": "log", "fabs": "abs", "power": "pow", "len": "count", "length": "count",
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2",
    "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
}  # fmt: skip
_BARE_CONSTANTS = {"true", "false", "True", "False", "pi", "inf", "nan"}
_CONSTANTS = {**NUMEXPR_CONSTANTS, "inf": math.inf, "neginf": -math.inf, "nan": math.nan}
_REWRITTEN = {"[": "[(", "]": ")]", "&": "&&", "|": "||", "~": "!"}
_COMPARISONS = {"<", ">", "<=", ">=", "==", "!="}
_HINTS = {
    "=": "write == to compare",
    "?": "write where(condition, a, b)",
    "and": "write && or &",
    "or": "write || or |",
    "not": "write ! or ~",
}


class _Word(NamedTuple):
    kind: str
    text: str
    start: int


def program_of(text: str) -> Program:
    """Return the steps that compute ``text``, in the order of a stack machine, constants folded.

    Raises:
        ExpressionError: where the text is no expression: where reading stopped, and how to mend it.

    """
    words = list(_words(text))
    _refuse_ambiguous(text, words)
    draft = _Draft(text)
    for word, following in pairwise([*words, _Word("end", "", len(text))]):
        draft.write(word, following.text)
    tree = draft.parse()
    return _folded(text, _postfix(tree, draft.steps))


def column_program(name: str) -> Program:
    """Return the program that is one column, whatever its name looks like."""
    return (Step("column", value=name),)


def _stop(text: str, position: int, advice: str) -> NoReturn:
    rest = text[position : position + 20].strip()
    where = f"stopped at character {position + 1}, before {rest!r}" if rest else "stopped at its end"
    msg = f"{text!r} is no expression: reading {where}; {advice}"
    raise ExpressionError(msg)


def _words(text: str) -> Iterator[_Word]:
    position = 0
    while position < len(text):
        found = _WORD.match(text, position)
        if found is None or found.group() in _HINTS:
            sign = found.group() if found else text[position]
            _stop(text, position, _HINTS.get(sign, "this sign has no meaning here"))
        if found.lastgroup != "space":
            yield _Word(str(found.lastgroup), found.group(), position)
        position = found.end()


def _refuse_ambiguous(text: str, words: list[_Word]) -> None:
    """Refuse what ROOT and Python read differently, level by level of parentheses."""
    levels: list[set[str]] = [set()]
    has_power = any(word.text == "^" for word in words)
    for word in words:
        level = levels[-1]
        if word.text in ("(", "["):
            levels.append(set())
        elif word.text in (")", "]") and len(levels) > 1:
            levels.pop()
        elif word.text == ",":
            level.clear()
        elif word.text in ("&&", "||"):
            level.discard("comparison")
        elif word.text in ("&", "|") and word.kind == "sign":
            _refuse_beside(text, word, level, has_power)
            level.add("bitwise")
        elif word.text in _COMPARISONS:
            _refuse_comparison(text, word, level)
            level.add("comparison")


def _refuse_beside(text: str, word: _Word, level: set[str], has_power: bool) -> None:
    if has_power:
        _stop(text, word.start, "beside & and |, ^ could be a power or 'exclusive or': write ** or !=")
    if "comparison" in level:
        _stop(text, word.start, f"{word.text} binds before the comparison: write (a > 1) & (b > 2)")


def _refuse_comparison(text: str, word: _Word, level: set[str]) -> None:
    if "bitwise" in level:
        _stop(text, word.start, "& and | bind before a comparison: write (a > 1) & (b > 2)")
    if "comparison" in level:
        _stop(text, word.start, "comparisons do not chain: write a < b && b < c, or use parentheses")


@dataclass
class _Draft:
    """The text as formulate is to read it, and what the numbered names in it stand for."""

    text: str
    steps: dict[str, Step] = field(default_factory=dict)
    pieces: list[str] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    call_is_open: bool = False

    def write(self, word: _Word, following: str) -> None:
        if self.call_is_open:  # this word is the parenthesis that the function's name brought along
            self.call_is_open = False
            return
        self.origins.append(word.start)
        self.pieces.append(f"{self._rewritten(word, following)} ")

    def _rewritten(self, word: _Word, following: str) -> str:
        if word.kind == "text":
            return self._numbered(Step("str", value=word.text[1:-1]))
        if word.kind == "quoted":
            return self._numbered(Step("column", value=word.text[1:-1]))
        if word.kind == "name":
            return self._call(word) if following == "(" else self._name(word)
        if word.kind == "number" and word.text.isdigit():
            return word.text.lstrip("0") or "0"
        return _REWRITTEN.get(word.text, word.text)

    def _numbered(self, step: Step) -> str:
        name = f"v{len(self.steps)}"
        self.steps[name] = step
        return name

    def _name(self, word: _Word) -> str:
        if word.text in _BARE_CONSTANTS:
            return word.text
        if word.text.endswith("$") or "::" in word.text:
            _stop(self.text, word.start, f"{word.text} is a function: write {word.text}(…)")
        return self._numbered(Step("column", value=word.text))

    def _call(self, word: _Word) -> str:
        """Open a call; formulate refuses functions it does not know, so ours are an argument of ``sum``."""
        plain = word.text.removeprefix("TMath::").removesuffix("$").casefold()
        function = _ALIASES.get(plain, plain)
        if function in FUNCTIONS:
            self.call_is_open = True
            return f"sum({self._numbered(Step(function))},"
        if word.text.startswith("TMath::") and _is_constant_call(word.text):
            return word.text
        known = ", ".join(sorted(FUNCTIONS))
        near = nearest_spelling(plain, [*FUNCTIONS, *_ALIASES])
        _stop(self.text, word.start, f"there is no function {word.text!r}{near}; there are: {known}")

    def parse(self) -> AST.AST:
        try:
            return formulate.from_root("".join(self.pieces))
        except formulate.ParseError as problem:
            _stop(self.text, self._origin(problem.lark_error), "a name, a number or a closing is missing here")
        except (SyntaxError, ValueError) as problem:
            _stop(self.text, 0, str(problem))

    def _origin(self, problem: lark.LarkError) -> int:
        position = getattr(problem, "pos_in_stream", None)
        token = getattr(problem, "token", None)
        if position is None or getattr(token, "type", "") == "$END" or not self.origins:
            return len(self.text)
        starts = [0, *accumulate(len(piece) for piece in self.pieces)]
        return self.origins[min(bisect_right(starts, position), len(self.origins)) - 1]


def _is_constant_call(name: str) -> bool:
    try:
        return isinstance(formulate.from_root(f"{name}()"), AST.Symbol)
    except ValueError:
        return False


def _postfix(tree: AST.AST, steps: dict[str, Step]) -> list[Step]:
    """Walk the tree without recursion, so that a thousand terms are no deeper than one."""
    waiting, program = [tree], []
    while waiting:
        step, children = _taken_apart(waiting.pop(), steps)
        program.append(step)
        waiting.extend(children)
    return program[::-1]


def _taken_apart(node: AST.AST, steps: dict[str, Step]) -> tuple[Step, tuple[AST.AST, ...]]:
    match node:
        case AST.Literal(value=value):
            return _constant(value), ()
        case AST.Symbol(name=name):
            return steps.get(name) or _constant(_CONSTANTS[name]), ()
        case AST.UnaryOperator(operator=operator, operand=operand):
            return Step(operator, 1), (operand,)
        case AST.BinaryOperator(operator=operator, left=left, right=right):
            return Step(operator, 2), (left, right)
        case AST.Matrix(var=value, indices=indices):
            return Step("index", 1 + len(indices)), (value, *indices)
        case AST.Call(arguments=(AST.Symbol(name=name), *arguments)):
            return steps[name]._replace(n_arguments=len(arguments)), tuple(arguments)
    raise AssertionError(node)


def _constant(value: Constant) -> Step:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        value = float(value) if abs(value) < 10**308 else math.copysign(math.inf, value)
    return Step(type(value).__name__, value=value)


def _folded(text: str, program: list[Step]) -> Program:
    folded: list[Step] = []
    for step in program:
        _check_arguments(text, step)
        arguments = folded[len(folded) - step.n_arguments :] if step.n_arguments else []
        if arguments and all(argument.is_constant for argument in arguments):
            del folded[-len(arguments) :]
            step = _computed(text, step, arguments)
        folded.append(step)
    return tuple(folded)


def _computed(text: str, step: Step, arguments: list[Step]) -> Step:
    try:
        result = apply(step.operation, [argument.value for argument in arguments])
    except (ExpressionError, ColumnTypeError) as problem:
        msg = f"in {text!r}: {problem}"
        raise ExpressionError(msg) from problem
    return _constant(result.item() if hasattr(result, "item") else result)


def _check_arguments(text: str, step: Step) -> None:
    if (step.operation in SIGNS and step.operation != "pow") or step.operation not in FUNCTIONS:
        return
    wanted = 1 if step.operation in ONE_ARGUMENT else 2 if step.operation in TWO_ARGUMENTS else 3
    if step.operation in ANY_ARGUMENTS:
        wanted = max(1, step.n_arguments)
    if step.n_arguments != wanted:
        msg = f"in {text!r}: {step.operation} takes {wanted} argument(s), and was given {step.n_arguments}"
        raise ExpressionError(msg)
