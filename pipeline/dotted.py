"""Dotted names: the values of a nested document, each under one name, as ``training.early_stopping.patience``."""

from collections.abc import Iterator, Mapping
from typing import Any


def flattened(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with its name; the items of a list of tables go by their own names, or by their numbers."""
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for i, item in enumerate(value):
                yield from flattened(item, f"{prefix}{key}.{item.get('name', i)}.")
        else:
            yield f"{prefix}{key}", value


def with_value(document: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return a copy of a document with another value; what is above it is made where it is not there, or no table."""
    key, _, rest = name.partition(".")
    above = document.get(key)
    inner = above if isinstance(above, Mapping) else {}
    return {**document, key: with_value(inner, rest, value) if rest else value}


def value_at(document: Mapping[str, Any], name: str) -> Any:
    """Return the value of that name, or ``None`` where there is none."""
    key, _, rest = name.partition(".")
    value = document.get(key)
    if not rest:
        return value
    return value_at(value, rest) if isinstance(value, Mapping) else None
