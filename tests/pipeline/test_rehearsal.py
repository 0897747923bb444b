"""A rehearsal finds what preparing would refuse, all of it, and writes nothing."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.plan import DataSpec
from pipeline.prepare import prepare
from pipeline.rehearsal import rehearse

N = 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("muons", "pions"):
        columns = {"event": np.arange(N), "pt": np.linspace(1.0, 9.0, N), "weight": np.full(N, -1.0)}
        pd.DataFrame(columns).to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def declared(
    weight: str = "1", files: Sequence[str] = ("muons.csv",), inputs: Sequence[str] = ("pt",), **sections: Any
) -> DataSpec:
    samples = [
        {"name": "muons", "label": "signal", "files": files, "weight": weight},
        {"name": "pions", "label": "background", "files": ["pions.csv"]},
    ]
    features = {"inputs": inputs}
    return DataSpec.model_validate({"samples": samples, "features": features, "split": {"by": ["event"]}, **sections})


def test_a_derived_column_that_nobody_uses_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y,kind\n" + "".join(f"{i},{i % 7},{i % 2}\n" for i in range(60)))
    document = {
        "samples": [{"name": "a", "files": ["a.csv"], "label": {"column": "kind", "signal": 1, "background": 0}}],
        "derive": {"unused": "2 * y", "far": "cos(unused)", "used": "x + 1"},
        "features": {"inputs": ["used"]},
        "split": {"by": "row"},
    }
    assert not rehearse(DataSpec.model_validate(document), tmp_path).problems


def test_a_rehearsal_counts_the_events_that_preparing_would_write(folder: Path) -> None:
    found = rehearse(declared(), folder)
    events = prepare(declared(), folder, folder / "prepared").manifest.events
    assert {part: sum(counts.values()) for part, counts in found.parts.items()} == {
        "train": events.train,
        "validation": events.validation,
        "test": events.test,
    }


def test_a_rehearsal_without_problems_says_so(folder: Path) -> None:
    assert "no problem found" in rehearse(declared(), folder).to_text()


def test_every_file_is_looked_at_whatever_is_wrong_with_another(folder: Path) -> None:
    (folder / "muons.csv").write_text("event,mass\n1,2\n")
    (folder / "pions.csv").unlink()
    told = "\n".join(rehearse(declared(), folder).problems)
    assert re.search(r"no file matches 'pions.csv'(.|\n)*no column 'pt'", told)


@pytest.mark.parametrize(
    "spec",
    [
        declared(weight="weight"),
        declared(inputs=("pt", "log(-pt)")),
        declared(files=["*.csv"]),
        declared(select=[{"name": "none", "keep": "pt > 100"}]),
    ],
    ids=["no positive sum of weights", "a feature without values", "a file twice", "no events"],
)
def test_a_rehearsal_finds_what_preparing_refuses(spec: DataSpec, folder: Path) -> None:
    told = "; ".join(rehearse(spec, folder).problems)
    with pytest.raises(DataError, match=re.escape(told) + "$"):
        prepare(spec, folder, folder / "prepared")
    assert told


def test_a_column_that_several_files_lack_is_told_once_with_the_files(folder: Path) -> None:
    (problem,) = rehearse(declared(inputs=("ptt",)), folder).problems
    assert problem == (
        f"each of 2 files ({folder / 'muons.csv'} of sample 'muons', {folder / 'pions.csv'} of sample 'pions')"
        " has no column 'ptt' (did you mean 'pt'?); it has: event, pt, weight"
    )


def test_a_feature_that_looks_wrong_is_a_note_and_no_problem(folder: Path) -> None:
    events = pd.read_csv(folder / "muons.csv")
    events.loc[::3, "pt"] = -999.0
    events.to_csv(folder / "muons.csv", index=False)
    found = rehearse(declared(), folder)
    assert (found.problems, len(found.notes)) == ((), 1)
    assert "look at:\n  'pt' is exactly -999 in" in found.to_text()
    assert found.to_json()["notes"] == list(found.notes)


def test_notes_wait_until_every_file_can_be_read(folder: Path) -> None:
    (folder / "pions.csv").unlink()
    assert rehearse(declared(inputs=("weight",)), folder).notes == ()


def test_the_missing_share_of_a_feature_is_told_where_it_has_missing_values(folder: Path) -> None:
    pd.read_csv(folder / "muons.csv").assign(pt=np.nan).to_csv(folder / "muons.csv", index=False)
    found = rehearse(declared(inputs=("pt", "event * 2"), split={"by": "row"}), folder)
    in_training = found.parts["train"]
    assert found.missing == {"pt": in_training["signal"] / sum(in_training.values())}
    assert found.to_json()["missing"] == found.missing
    share = f"{100 * found.missing['pt']:.0f} %"
    assert f"pt               {share} of its values in the training events are missing" in found.to_text()


def test_a_rehearsal_leaves_nothing_behind(folder: Path) -> None:
    before = sorted(folder.iterdir())
    rehearse(declared(), folder)
    assert sorted(folder.iterdir()) == before
