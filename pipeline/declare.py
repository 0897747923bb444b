"""Declarations: a TOML file in, frozen values out, every problem at once.

Owns how a declaration is read and how its problems are told. What may be declared belongs to the
modules that obey it: each has its own ``Declaration`` at the top (``SplitSpec`` in ``splitting``, …).

All sections are read and all their problems told. A rule that holds *between* sections (the head fits the
classes) is judged when each of them is right: of values that are wrong it could only mislead.
"""

import tomllib
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import DeclarationError, nearest_spelling


class Declaration(BaseModel):
    """One section of an experiment file: frozen, and nothing in it that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


D = TypeVar("D", bound=Declaration)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        DeclarationError: the file is not there, no text or not TOML; the message gives line and column.

    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        neighbours = [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        raise DeclarationError(f"no file {path}{nearest_spelling(path.name, neighbours)}") from None
    except IsADirectoryError:
        raise DeclarationError(f"{path} is a folder; an experiment file is a TOML file{_toml_in(path)}") from None
    except OSError as error:
        raise DeclarationError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return tomllib.loads(_decoded(content, path))
    except tomllib.TOMLDecodeError as error:
        raise DeclarationError(f"{path} is not valid TOML: {error}") from None


def _toml_in(folder: Path) -> str:
    names = sorted(path.name for path in folder.glob("*.toml"))
    return f"; in it: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}" if names else ""


_DATA_STARTS = {b"root": "ROOT", b"PAR1": "Parquet"}
"""First bytes of the files of events that somebody may name where the experiment file belongs."""


def _decoded(content: bytes, path: Path) -> str:
    try:
        text, broken = content.decode(), content.find(b"\0")
    except UnicodeDecodeError as error:
        text, broken = "", error.start
    if broken < 0:
        return text
    if kind := _DATA_STARTS.get(content[:4]):
        msg = f"{path} is a {kind} file; an experiment file is TOML, and names its files of events in [[samples]]"
        raise DeclarationError(msg)
    line = content.count(b"\n", 0, broken) + 1
    where = f"byte 0x{content[broken]:02x} in line {line} is not UTF-8 text"
    raise DeclarationError(f"{path} is no text file, so it is no experiment file: {where}")


def read_declaration(document: dict[str, Any], kind: type[D], where: str) -> D:
    """Turn a document into a frozen declaration of ``kind``.

    Raises:
        DeclarationError: one line for every problem: its path in the file, what was received, what is
            allowed, and the nearest spelling.

    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise declaration_error(where, problems_of(error, document, kind)) from None


def problems_of(error: ValidationError, document: dict[str, Any], kind: type[Declaration]) -> list[str]:
    """Return one line for every place in a document where pydantic found a problem."""
    found: dict[str, list[tuple[ErrorDetails, type[Declaration]]]] = {}
    for problem in error.errors():
        path, model = _locate(problem, document, kind)
        found.setdefault(path, []).append((problem, model))
    lines = {path: _tell(problems, _has_inner(path, found)) for path, problems in found.items()}
    return [f"{path}: {text}" if path else text for path, text in lines.items() if text]


def _has_inner(path: str, paths: Iterable[str]) -> bool:
    return any(other.startswith((f"{path}.", f"{path}[")) for other in paths)


def declaration_error(where: str, problems: Sequence[str]) -> DeclarationError:
    """Return the error that lists ``problems``, one a line."""
    noun = "problem" if len(problems) == 1 else "problems"
    return DeclarationError(f"{where}: {len(problems)} {noun}\n" + "\n".join(f"  {p}" for p in problems))


def _tell(problems: list[tuple[ErrorDetails, type[Declaration]]], has_inner: bool) -> str:
    """Say what is wrong at one place in the words of the experiment file.

    There is one problem, or one for each form that a value may have: ``policy`` is a word or a number. What
    pydantic says of the other forms is left out where a form was recognised and found wrong (``has_inner``, or
    another problem beside); so is a list that it calls too short because it threw out the wrong items.
    """
    forms = [text for problem, _ in problems if (text := _form(problem))]
    others = [(problem, model) for problem, model in problems if not _form(problem)]
    if has_inner:
        others = [pair for pair in others if pair[0]["type"] != "too_short"]
    elif not others:
        value = problems[0][0]["input"]
        return f"received {_shown(value)}; allowed: {' or '.join(dict.fromkeys(forms))}{_hint(problems)}"
    return "; ".join(dict.fromkeys(_tell_one(problem, model) for problem, model in others))


def _form(problem: ErrorDetails) -> str:
    """Return what form of value is allowed, where the problem is that the value has another form."""
    if problem["type"] == "literal_error":
        return str(problem["ctx"]["expected"]).replace(" or ", ", ")
    return next((words for start, words in _FORMS.items() if problem["type"].startswith(start)), "")


_FORMS = {
    "string_type": "a text in quotes",
    "int_": "a whole number",
    "float_": "a number",
    "bool_": "true or false",
    "tuple_": "a list [ … ]",
    "list_": "a list [ … ]",
    "dict_": "a table { … }",
    "model_": "a table { … }",
}


def _hint(problems: list[tuple[ErrorDetails, type[Declaration]]]) -> str:
    """Return the nearest of the words that are allowed."""
    expected = [str(p["ctx"]["expected"]) for p, _ in problems if p["type"] == "literal_error"]
    names = [name.strip(" '") for text in expected for name in text.replace(" or ", ",").split(",")]
    return nearest_spelling(str(problems[0][0]["input"]), names)


def _tell_one(problem: ErrorDetails, model: type[Declaration]) -> str:
    match problem["type"]:
        case "extra_forbidden":
            allowed = sorted(model.model_fields)
            hint = nearest_spelling(str(problem["loc"][-1]), allowed)
            return f"unknown key{hint}; allowed here: {', '.join(allowed) or 'none'}"
        case "missing":
            return "is missing"
        case "value_error":
            return f"{problem['ctx']['error']}"
        case "too_short":
            return f"received {_shown(problem['input'])}; at least {problem['ctx']['min_length']} is needed"
    said = problem["msg"].replace("Input should", "it should").replace("String should", "the text should")
    return f"received {_shown(problem['input'])}; {said}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _locate(problem: ErrorDetails, document: Any, kind: type[Declaration]) -> tuple[str, type[Declaration]]:
    """Return the path of a problem as a reader of the file would write it, and the section's model.

    Pydantic adds the names of union members to its locations; those are in no file and are left out.
    """
    path, model, value = "", kind, document
    annotation: Any = None
    for position, key in enumerate(problem["loc"], 1):
        is_absent = problem["type"] == "missing" and position == len(problem["loc"])
        if isinstance(key, int) and isinstance(value, list | tuple):
            value = value[key] if key < len(value) else None
            name = value.get("name") if isinstance(value, dict) else None
            path += f"[{name or key}]"
            models = _models_in(annotation)
        elif isinstance(key, str) and key in model.model_fields:
            annotation, path = model.model_fields[key].annotation, f"{path}.{key}"
            value = value.get(key) if isinstance(value, dict) else None
            models = _models_in(annotation) if isinstance(value, dict) else []
        elif isinstance(key, str) and isinstance(value, dict) and key in value:
            value, path = value[key], f"{path}.{key}"
            models = _models_in(annotation)
        elif is_absent:
            path, models = f"{path}.{key}", []
        else:
            models = [m for m in _models_in(annotation) if m.__name__ in str(key)]
        model = models[0] if models else model
    return path.lstrip("."), model


def _models_in(annotation: Any) -> list[type[Declaration]]:
    """Return the declarations that an annotation such as ``tuple[SampleSpec, ...]`` names."""
    if isinstance(annotation, type) and issubclass(annotation, Declaration):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, Annotated, tuple, list, dict):
        return [m for inner in get_args(annotation) for m in _models_in(inner)]
    return []
