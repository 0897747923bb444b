"""A document as TOML says the same when it is read again."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.toml_text import toml_text

WORDS = st.text(max_size=6)
PLAIN = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | WORDS
VALUES = PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(WORDS, PLAIN | st.lists(PLAIN, max_size=2), max_size=2)


@given(st.dictionaries(WORDS, VALUES, max_size=3))
def test_what_is_read_is_what_was_written(document: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(document)) == document


def test_sections_have_headers_and_what_is_in_them_is_in_line() -> None:
    document = {"samples": [{"name": "a"}, {"name": "b"}], "model": {"options": {"widths": [8, 8], "a b": 1e-05}}}
    assert toml_text(document).splitlines() == [
        "[[samples]]", 'name = "a"', "", "[[samples]]", 'name = "b"', "",
        "[model]", 'options = { widths = [8, 8], "a b" = 1e-05 }',
    ]  # fmt: skip


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "examples").glob("*.toml")), ids=lambda p: p.stem)
def test_every_example_survives(path: Path) -> None:
    document = tomllib.loads(path.read_text())
    assert tomllib.loads(toml_text(document)) == document
