"""TOML as text: a document back into the form that people read and write.

Owns that what is read again is what was written. Comments are in no document, and so not in the text either.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any


def toml_text(document: Mapping[str, Any]) -> str:
    """Return a document as TOML: tables of the first level with a header each, what is in them in line."""
    plain = {key: value for key, value in document.items() if not _is_section(value)}
    sections = {key: value for key, value in document.items() if _is_section(value)}
    lines = [*_entries(plain)]
    for key, value in sections.items():
        header, tables = (f"[[{_key(key)}]]", value) if isinstance(value, list) else (f"[{_key(key)}]", [value])
        for table in tables:
            lines += ["", header, *_entries(table)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _is_section(value: Any) -> bool:
    is_list_of_tables = isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)
    return is_list_of_tables or isinstance(value, Mapping)


def _entries(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        yield f"{_key(key)} = {_value(value)}"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(_entries(value))} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _text(value: str) -> str:
    # JSON's escapes are TOML's; only DEL may stand for itself in the one and not in the other.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
