"""A declaration is read, or every problem is told at once in the words of the file."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from pipeline.declare import Declaration, read_declaration, read_toml
from pipeline.errors import DeclarationError


class Cut(Declaration):
    name: str
    keep: str = "1"


class Policy(Declaration):
    fill: Literal["median", "mean"] | float = "median"
    flag: bool = False


KEYS = "by, cuts, edges, epochs, label, policy, rules"


class Document(Declaration):
    cuts: Annotated[tuple[Cut, ...], Field(min_length=1)] = (Cut(name="all"),)
    policy: Policy = Policy()
    by: tuple[str, ...] | Literal["row"] = "row"
    rules: dict[str, Policy] = Field(default_factory=dict)
    label: str | Policy = "signal"
    epochs: int = Field(1, gt=0)
    edges: tuple[float, ...] = ()


def problems(document: dict[str, Any]) -> list[str]:
    with pytest.raises(DeclarationError, match=r"file\.toml: \d+ problem") as caught:
        read_declaration(document, Document, "file.toml")
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ({"epoch": 3}, f"epoch: unknown key (did you mean 'epochs'?); allowed here: {KEYS}"),
        ({"policy": {"flg": 1}}, "policy.flg: unknown key (did you mean 'flag'?); allowed here: fill, flag"),
        ({"cuts": [{"name": "a", "kep": 1}]},
         "cuts[a].kep: unknown key (did you mean 'keep'?); allowed here: keep, name"),
        ({"cuts": [{"name": "a"}, {"keep": "x"}]}, "cuts[1].name: is missing"),
        ({"cuts": []}, "cuts: received []; at least 1 is needed"),
        ({"cuts": "a"}, "cuts: received 'a'; allowed: a list [ … ]"),
        ({"cuts": {"name": "a"}},
         "cuts: received {'name': 'a'}; allowed: a list of tables, each under [[cuts]]"),
        ({"rules": "mean"}, "rules: received 'mean'; allowed: a table { … }"),
        ({"policy": "mean"}, "policy: received 'mean'; allowed: a table { fill, flag }"),
        ({"policy": ["mean"]}, "policy: received ['mean']; allowed: a table { fill, flag }"),
        ({"policy": [{"flag": True}]}, "policy: received [{'flag': True}]; allowed: one table [policy]"),
        ({"flag": True},
         f"flag: unknown key (there is one in [policy], [rules], [label]); allowed here: {KEYS}"),
        ({"policy": {"flag": "maybe"}}, "policy.flag: received 'maybe'; allowed: true or false"),
        ({"rules": {"met": {"flag": 7}}}, "rules.met.flag: received 7; allowed: true or false"),
        ({"epochs": "ten"}, "epochs: received 'ten'; allowed: a whole number"),
        ({"epochs": 0}, "epochs: received 0; it should be greater than 0"),
        ({"epochs": True}, "epochs: received true; allowed: a whole number"),
        ({"epochs": "3"}, "epochs: received '3'; allowed: a whole number"),
        ({"epochs": 2.5}, "epochs: received 2.5; allowed: a whole number"),
        ({"policy": {"flag": 1}}, "policy.flag: received 1; allowed: true or false"),
        ({"policy": {"flag": "true"}}, "policy.flag: received 'true'; allowed: true or false"),
        ({"policy": {"fill": "0.1"}}, "policy.fill: received '0.1'; allowed: 'median', 'mean' or a number"),
        ({"edges": [1, "2"]}, "edges[1]: received '2'; allowed: a number"),
        ({"edges": [True]}, "edges[0]: received true; allowed: a number"),
        ({"label": 3}, "label: received 3; allowed: a text in quotes or a table { fill, flag }"),
        ({"label": {"flag": "maybe"}}, "label.flag: received 'maybe'; allowed: true or false"),
        ({"label": {"flg": True}}, "label.flg: unknown key (did you mean 'flag'?); allowed here: fill, flag"),
        ({"by": ["run", 3]}, "by[1]: received 3; allowed: a text in quotes"),
        ({"by": "rows"}, "by: received 'rows'; allowed: a list [ … ] or 'row' (did you mean 'row'?)"),
        (
            {"policy": {"fill": "medain"}},
            "policy.fill: received 'medain'; allowed: 'median', 'mean' or a number (did you mean 'median'?)",
        ),
    ],
)  # fmt: skip
def test_a_problem_has_its_path_the_value_what_is_allowed_and_the_nearest_spelling(
    document: dict[str, Any], line: str
) -> None:
    assert problems(document) == [line]


def test_all_problems_are_told_at_once() -> None:
    found = problems({"epoch": 3, "epochs": 0, "cuts": [{}, {"name": 3}], "policy": {"flag": "x", "fill": "y"}})
    paths = [line.split(":")[0] for line in found]
    assert sorted(paths) == ["cuts[0].name", "cuts[3].name", "epoch", "epochs", "policy.fill", "policy.flag"]


def test_a_long_value_is_cut_short() -> None:
    assert all(len(line) < 140 for line in problems({"policy": "x" * 1000}))


def test_whole_numbers_stand_for_real_ones_and_1e4_for_10000() -> None:
    given = {"epochs": 1e4, "edges": [1, 2.5], "policy": {"fill": 3}, "rules": {"met": {"flag": True}}}
    found = read_declaration(given, Document, "file.toml")
    assert (found.epochs, type(found.epochs)) == (10_000, int)
    assert [type(edge) for edge in found.edges] == [float, float]
    assert (found.policy.fill, found.rules["met"].flag) == (3.0, True)


def test_a_declaration_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Cut(name="a").name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = [1,\nb = 2", r"not valid TOML.*line 2"),
        ("a = 1\na = 2", "not valid TOML"),
        (b"a = 1\nb = '\xff'", "no text file, so it is no experiment file: byte 0xff in line 2"),
    ],
)
def test_a_file_that_is_no_toml_says_where(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DeclarationError, match=message):
        read_toml(path)


def test_a_file_that_is_not_there_is_sought_among_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "pion-muon.toml").touch()
    with pytest.raises(DeclarationError, match=r"did you mean 'pion-muon\.toml'"):
        read_toml(tmp_path / "pion-mun.toml")
    with pytest.raises(DeclarationError, match="no file"):
        read_toml(tmp_path / "nowhere" / "pion-mun.toml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"is a folder; an experiment file is a TOML file$"):
        read_toml(tmp_path)
    (tmp_path / "pion-muon.toml").touch()
    with pytest.raises(DeclarationError, match=r"is a folder; .*; in it: pion-muon\.toml$"):
        read_toml(tmp_path)


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (b"root\x00\x00\xf6\x1c", r"events\.bin is a ROOT file; an experiment file is TOML"),
        (b"root\x00\x00\x00\x01", r"events\.bin is a ROOT file; an experiment file is TOML"),
        (b"PAR1\x15\x04\x15\xff", r"events\.bin is a Parquet file; an experiment file is TOML"),
        (b"\x1f\x8b\x08\x00", "no text file, so it is no experiment file: byte 0x8b in line 1"),
        (b"a = 1\x00", "no text file, so it is no experiment file: byte 0x00 in line 1"),
    ],
)
def test_a_file_of_events_is_no_experiment_file(tmp_path: Path, start: bytes, told: str) -> None:
    path = tmp_path / "events.bin"
    path.write_bytes(start)
    with pytest.raises(DeclarationError, match=told):
        read_toml(path)


def test_a_key_may_begin_like_a_root_file(tmp_path: Path) -> None:
    path = tmp_path / "good.toml"
    path.write_text("root = 1\n")
    assert read_toml(path) == {"root": 1}
