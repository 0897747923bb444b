"""Declarations: a TOML file in, frozen values out, every problem at once.

Owns how a declaration is read and how its problems are told. What may be declared belongs to the
modules that obey it: each has its own ``Declaration`` at the top (``SplitSpec`` in ``splitting``, …).

A number is a number: TOML tells 0.1 from "0.1" and 1 from true, and so does every declaration. Only where a number is
asked for may a whole one stand for a real one, and 1e4 for 10000.

All sections are read and all their problems told. A rule that holds *between* sections (the head fits the
classes) is judged when each of them is right: of values that are wrong it could only mislead.
"""

import tomllib
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails
from pydantic_core.core_schema import no_info_before_validator_function

from pipeline.errors import DeclarationError, nearest_spelling

UNTOUCHED = ("default", "metadata", "keys_schema")
"""What of a schema stays as it is; keys are texts wherever they are written down, also those that are numbers."""


def _strict(schema: Any) -> Any:
    if isinstance(schema, list | tuple):
        return type(schema)(map(_strict, schema))
    if not isinstance(schema, dict):
        return schema
    inner = {key: value if key in UNTOUCHED else _strict(value) for key, value in schema.items()}
    if inner.get("type") not in ("int", "float", "bool") or inner.get("strict"):
        return inner
    inner["strict"] = True
    return no_info_before_validator_function(_whole, inner) if inner["type"] == "int" else inner


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Declaration(BaseModel):
    """One section of an experiment file: frozen, and nothing in it that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return pydantic's own schema, strict about the kinds of numbers."""
        # Not pydantic's own strictness of everything, which takes no list for a tuple and no text for a path.
        return _strict(handler(source))  # type: ignore[no-any-return]


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
    lines = {path: _tell(path, problems, kind, _has_inner(path, found)) for path, problems in found.items()}
    return [f"{path}: {text}" if path else text for path, text in lines.items() if text]


def _has_inner(path: str, paths: Iterable[str]) -> bool:
    return any(other.startswith((f"{path}.", f"{path}[")) for other in paths)


def declaration_error(where: str, problems: Sequence[str]) -> DeclarationError:
    """Return the error that lists ``problems``, one a line."""
    noun = "problem" if len(problems) == 1 else "problems"
    return DeclarationError(f"{where}: {len(problems)} {noun}\n" + "\n".join(f"  {p}" for p in problems))


def _tell(
    path: str, problems: list[tuple[ErrorDetails, type[Declaration]]], kind: type[Declaration], has_inner: bool
) -> str:
    """Say what is wrong at one place in the words of the experiment file.

    There is one problem, or one for each form that a value may have: ``policy`` is a word or a number. What
    pydantic says of the other forms is left out where a form was recognised and found wrong (``has_inner``, or
    another problem beside); so is a list that it calls too short because it threw out the wrong items.
    """
    told = [(problem, model, _form(path, problem, model)) for problem, model in problems]
    forms = [form for *_, form in told if form]
    others = [(problem, model) for problem, model, form in told if not form]
    if has_inner:
        others = [pair for pair in others if pair[0]["type"] != "too_short"]
    elif not others:
        value = problems[0][0]["input"]
        return f"received {_shown(value)}; allowed: {' or '.join(dict.fromkeys(forms))}{_hint(problems)}"
    return "; ".join(dict.fromkeys(_tell_one(problem, model, kind) for problem, model in others))


def _form(path: str, problem: ErrorDetails, model: type[Declaration]) -> str:
    """Return what form of value is allowed, where the problem is that the value has another form."""
    match problem["type"]:
        case "literal_error":
            return str(problem["ctx"]["expected"]).replace(" or ", ", ").replace("False", "false")
        case "model_type" if _is_list_of_tables(problem["input"]):
            return f"one table [{path}]"
        case "model_type":
            return _table_of(problem["ctx"]["class_name"], model)
        case "tuple_type" if isinstance(problem["input"], dict) and _inner_models(str(problem["loc"][-1]), model):
            return f"a list of tables, each under [[{path}]]"
    return next((words for start, words in _FORMS.items() if problem["type"].startswith(start)), "")


def _is_list_of_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _table_of(name: str, model: type[Declaration]) -> str:
    """Return the keys of a declaration, which is ``model`` or one of its fields' (a union's has been found before)."""
    inner = next(m for m in (model, *_inner_models(None, model)) if m.__name__ == name)
    keys = [*inner.model_fields] + ["…"] * (inner.model_config.get("extra") == "allow")
    return f"a table {{ {', '.join(keys)} }}"


def _inner_models(key: str | None, model: type[Declaration]) -> list[type[Declaration]]:
    """Return the declarations that a field of a model may hold, or any of its fields."""
    fields = [field for name, field in model.model_fields.items() if key in (None, name)]
    return [inner for field in fields for inner in _models_in(field.annotation)]


_FORMS = {
    "string_type": "a text in quotes",
    "int_": "a whole number",
    "float_": "a number",
    "bool_": "true or false",
    "tuple_": "a list [ … ]",
    "list_": "a list [ … ]",
    "dict_": "a table { … }",
}


def _hint(problems: list[tuple[ErrorDetails, type[Declaration]]]) -> str:
    """Return the nearest of the words that are allowed."""
    expected = [str(p["ctx"]["expected"]) for p, _ in problems if p["type"] == "literal_error"]
    names = [name.strip(" '") for text in expected for name in text.replace(" or ", ",").split(",")]
    return nearest_spelling(str(problems[0][0]["input"]), names)


def _tell_one(problem: ErrorDetails, model: type[Declaration], kind: type[Declaration]) -> str:
    match problem["type"]:
        case "extra_forbidden":
            key, allowed = str(problem["loc"][-1]), sorted(model.model_fields)
            hint = nearest_spelling(key, allowed) or _elsewhere(key, kind)
            return f"unknown key{hint}; allowed here: {', '.join(allowed) or 'none'}"
        case "missing":
            return "is missing"
        case "value_error":
            return f"{problem['ctx']['error']}"
        case "too_short":
            return f"received {_shown(problem['input'])}; at least {problem['ctx']['min_length']} is needed"
    said = problem["msg"].replace("Input should", "it should").replace("String should", "the text should")
    return f"received {_shown(problem['input'])}; {said}"


def _elsewhere(key: str, kind: type[Declaration]) -> str:
    """Say which sections have a key of that name."""
    sections = [name for name in kind.model_fields if any(key in m.model_fields for m in _inner_models(name, kind))]
    return f" (there is one in [{'], ['.join(sections)}])" if sections else ""


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
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
            models = _models_in(annotation) if isinstance(value, dict) and position < len(problem["loc"]) else []
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
