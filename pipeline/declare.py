"""Declarations: a TOML file in, frozen values out, every problem at once.

Owns how a declaration is read and how its problems are told. What may be declared belongs to the
modules that obey it: each has its own ``Declaration`` at the top (``SplitSpec`` in ``splitting``, …).
"""

import tomllib
import types
from collections.abc import Sequence
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
        DeclarationError: the file is not there, not UTF-8 or not TOML; the message gives line and column.

    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        neighbours = [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        raise DeclarationError(f"no file {path}{nearest_spelling(path.name, neighbours)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise DeclarationError(f"{path} is not valid TOML: {error}") from None


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
    """Return one line for every problem that pydantic found in a document."""
    return list(dict.fromkeys(_tell(problem, document, kind) for problem in error.errors()))


def declaration_error(where: str, problems: Sequence[str]) -> DeclarationError:
    """Return the error that lists ``problems``, one a line."""
    noun = "problem" if len(problems) == 1 else "problems"
    return DeclarationError(f"{where}: {len(problems)} {noun}\n" + "\n".join(f"  {p}" for p in problems))


def _tell(problem: ErrorDetails, document: dict[str, Any], kind: type[Declaration]) -> str:
    """Say one of pydantic's problems in the words of the experiment file."""
    path, model = _locate(problem["loc"], document, kind)
    allowed = sorted(model.model_fields)
    name = str(problem["loc"][-1]) if problem["loc"] else ""
    match problem["type"]:
        case "extra_forbidden":
            text = f"unknown key{nearest_spelling(name, allowed)}; allowed here: {', '.join(allowed)}"
        case "missing":
            text = "is missing"
        case "literal_error":
            choices = problem["ctx"]["expected"]
            names = [c.strip(" '") for c in choices.replace(" or ", ",").split(",")]
            hint = nearest_spelling(str(problem["input"]), names)
            text = f"received {_shown(problem['input'])}; allowed: {choices}{hint}"
        case "value_error":
            text = f"{problem['ctx']['error']}"
        case _:
            text = f"received {_shown(problem['input'])}; {problem['msg'].lower()}"
    return f"{path}: {text}" if path else text


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _locate(location: tuple[int | str, ...], document: Any, kind: type[Declaration]) -> tuple[str, type[Declaration]]:
    """Return the path of a problem as a reader of the file would write it, and the section's model.

    Pydantic adds the names of union members to its locations; those are in no file and are left out.
    """
    path, model, value = "", kind, document
    annotation: Any = None
    for key in location:
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
        elif isinstance(key, str) and _is_missing(key, location, value):
            path, models = f"{path}.{key}", []
        else:
            models = [m for m in _models_in(annotation) if m.__name__ == key]
        model = models[0] if models else model
    return path.lstrip("."), model


def _is_missing(key: str, location: tuple[int | str, ...], value: Any) -> bool:
    return key == location[-1] and isinstance(value, dict)


def _models_in(annotation: Any) -> list[type[Declaration]]:
    """Return the declarations that an annotation such as ``tuple[SampleSpec, ...]`` names."""
    if isinstance(annotation, type) and issubclass(annotation, Declaration):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, Annotated, tuple, list, dict):
        return [m for inner in get_args(annotation) for m in _models_in(inner)]
    return []
