"""What finding files and telling their formats promises."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from pipeline.errors import UnreadableFileError
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
