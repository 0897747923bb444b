"""A rehearsal finds what preparing would refuse, all of it, and writes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.plan import DataSpec
from pipeline.prepare import prepare
from pipeline.rehearsal import Rehearsal, rehearse

N = 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("muons", "pions"):
        columns = {"event": np.arange(N), "pt": np.linspace(1.0, 9.0, N), "weight": np.full(N, -1.0)}
        pd.DataFrame(columns).to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def declared(weight: str = "1", inputs: tuple[str, ...] = ("pt",), **sections: Any) -> DataSpec:
    samples = [
        {"name": "muons", "label": "signal", "files": ["muons.csv"], "weight": weight},
        {"name": "pions", "label": "background", "files": ["pions.csv"]},
    ]
    features = {"inputs": inputs}
    return DataSpec.model_validate({"samples": samples, "features": features, "split": {"by": ["event"]}, **sections})


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
    problems = rehearse(declared(), folder).problems
    assert ["'muons'" in problems[0], "'pions'" in problems[1]] == [True, True]


@pytest.mark.parametrize(
    "spec",
    [
        declared(weight="weight"),
        declared(inputs=("pt", "log(-pt)")),
        declared(inputs=("where(event == 7, 1 / 0, pt)", "pt"), split={"by": "row"}),
        declared(select=[{"name": "none", "keep": "pt > 100"}]),
    ],
    ids=["no positive sum of weights", "a feature without values", "an identity is free", "no events"],
)
def test_a_rehearsal_finds_what_preparing_refuses(spec: DataSpec, folder: Path) -> None:
    assert refusal(spec, folder) == "; ".join(rehearse(spec, folder).problems)


def refusal(spec: DataSpec, folder: Path) -> str:
    try:
        prepare(spec, folder, folder / "prepared")
    except DataError as error:
        return str(error)
    return ""


def test_a_rehearsal_leaves_nothing_behind(folder: Path) -> None:
    before = sorted(folder.iterdir())
    assert isinstance(rehearse(declared(), folder), Rehearsal)
    assert sorted(folder.iterdir()) == before
