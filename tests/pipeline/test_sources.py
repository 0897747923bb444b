"""What finding files, telling their formats, and reading what is left of a file promises."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from pipeline.errors import UnreadableFileError
from pipeline.layout import Layout
from pipeline.sinks import open_sink
from pipeline.sources import count_events, describe, expand_files, iter_chunks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.csv", "a.csv", "deep/er/c.csv", "[x].csv", ".hidden.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x\n1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["a.csv"], ["a.csv"]),
        (["b.csv", "a.csv", "?.csv"], ["a.csv", "b.csv"]),
        (["**/*.csv"], ["[x].csv", "a.csv", "b.csv", "deep/er/c.csv"]),
        (["[x].csv"], ["[x].csv"]),
        ([], []),
    ],
)
def test_patterns_give_sorted_files_each_once(folder: Path, patterns: list[str], names: list[str]) -> None:
    assert expand_files(patterns, folder) == tuple(folder / name for name in names)


def test_absolute_patterns_are_taken_as_they_are(folder: Path) -> None:
    assert expand_files([str(folder / "?.csv")], Path("/")) == (folder / "a.csv", folder / "b.csv")


def test_the_data_folder_answers_where_the_experiment_has_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_DATA", str(folder / "deep"))
    assert expand_files(["er/*.csv", "a.csv"], folder) == (folder / "a.csv", folder / "deep" / "er" / "c.csv")


def test_a_pattern_without_files_says_where_was_looked_and_what_is_near(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_DATA", str(folder / "deep"))
    with pytest.raises(UnreadableFileError, match=r"'aa\.csv' in \S+ and \S+deep \(did you mean 'a\.csv'\?\)"):
        expand_files(["aa.csv", "a.csv"], folder)


def test_a_missing_file_is_answered_with_a_near_name(folder: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"No such file or directory \(did you mean 'a\.csv'\?\)"):
        iter_chunks(folder / "A.csv")


def test_a_file_that_may_not_be_read_is_not_taken_for_a_misspelt_one(folder: Path) -> None:
    (folder / "a.csv").chmod(0)
    if os.access(folder / "a.csv", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(UnreadableFileError, match=r"a\.csv cannot be opened: Permission denied$"):
        describe(folder / "a.csv")


def test_a_folder_that_may_not_be_looked_into_gives_no_hint(folder: Path) -> None:
    (folder / "deep").chmod(0)
    if os.access(folder / "deep", os.X_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(UnreadableFileError, match=r"d\.csv cannot be opened: Permission denied$"):
        describe(folder / "deep" / "d.csv")


def test_formats_are_told_by_content_whatever_the_name(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "one.csv") as file:
        file.mktree("t", {"x": "f4"}).extend({"x": np.zeros(2, "f4")})
    pq.write_table(pa.table({"x": [1, 2, 3]}), tmp_path / "two.root")
    (tmp_path / "three.parquet").write_text("x\n1\n")
    formats = [describe(tmp_path / name).format for name in ("one.csv", "two.root", "three.parquet")]
    assert formats == ["root", "parquet", "csv"]
    assert [count_events(str(tmp_path / name)) for name in ("one.csv", "two.root", "three.parquet")] == [2, 3, 1]


@pytest.mark.parametrize("name", ["a:b.root", "a b#.root"])
def test_odd_file_names_are_no_obstacle(tmp_path: Path, name: str) -> None:
    with uproot.recreate(tmp_path / name) as file:
        file.mktree("t", {"x": "f4"}).extend({"x": np.zeros(2, "f4")})
    assert [chunk.source for chunk in iter_chunks(str(tmp_path / name))] == [f"{name}:t"]


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(UnreadableFileError, match="noise"):
        list(iter_chunks(tmp_path / "noise"))


EVENTS = {name: np.random.default_rng(1).normal(size=4000) for name in ("x", "y")}


def write_ttree(path: Path) -> None:
    with uproot.recreate(path) as file:
        tree = file.mktree("TreeS", dict.fromkeys(EVENTS, "f8"))
        for first in range(0, 4000, 1000):
            tree.extend({name: values[first : first + 1000] for name, values in EVENTS.items()})


def write_rntuple(path: Path) -> None:
    with uproot.recreate(path) as file:
        file["TreeS"] = EVENTS


def write_gzipped(path: Path) -> None:
    rows = "".join(f"{x},{y}\n" for x, y in zip(*EVENTS.values(), strict=True))
    path.write_bytes(gzip.compress(f"x,y\n{rows}".encode()))


def write_parquet(path: Path) -> None:
    pq.write_table(pa.table(EVENTS), path, row_group_size=1000)


def rewrite(path: Path) -> None:
    score = {"score": np.dtype("f4")}
    with open_sink(path.with_name("out"), path, Layout(), score) as sink:
        for chunk in iter_chunks(path, ["x"], keep_original=True):
            sink.write(chunk, {"score": np.zeros(len(chunk), "f4")})


USES: dict[str, Callable[[Path], Any]] = {
    "describe": describe,
    "count": count_events,
    "read": lambda path: list(iter_chunks(path)),
    "write": rewrite,
}


@pytest.mark.parametrize("kept", [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("write", [write_ttree, write_rntuple, write_gzipped, write_parquet])
def test_a_file_cut_short_is_one_clear_line_whatever_it_is_used_for(
    tmp_path: Path, write: Callable[[Path], None], kept: float
) -> None:
    write(tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(content[: int(kept * len(content))])
    for use in USES.values():
        with pytest.raises(UnreadableFileError, match=r"cut cannot be read: it is truncated[^\n]*$"):
            use(tmp_path / "cut")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "whole"]
