"""What forbids training is told with the samples, the weights, and what can be done."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.plan import DataSpec
from pipeline.rehearsal import rehearse

N = 300
SPECIES = {"column": "species", "signal": 2, "background": [0, 1]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    events = {"event": np.arange(N), "pt": np.linspace(1.0, 9.0, N), "w": np.full(N, -0.5), "species": np.arange(N) % 3}
    for name in ("muons", "pions"):
        pd.DataFrame(events).to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def found(folder: Path, weight: str = "1", label: Any = "signal", **sections: Any) -> tuple[str, tuple[str, ...]]:
    """Return all problems in one text, and the notes."""
    samples = [
        {"name": "muons", "label": label, "files": ["muons.csv"], "weight": weight},
        {"name": "pions", "label": "background", "files": ["pions.csv"]},
    ]
    spec = {"samples": samples, "features": {"inputs": ["pt"]}, "split": {"by": ["event"]}, **sections}
    rehearsal = rehearse(DataSpec.model_validate(spec), folder)
    return "; ".join(rehearsal.problems), rehearsal.notes


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"weight": "w"}, r"up to -[\d.]+ \(sample 'muons' with weight 'w' gives -.*\[weights\] negative = 'absolute'"),
        ({"weight": "0 * w", "weights": {"negative": "absolute"}}, "gives 0.*: more events, or another weight"),
        ({"weight": "w", "weights": {"negative": "drop"}}, "every weight 'w' of sample 'muons' .* 'absolute' would"),
        ({"select": [{"name": "hard", "keep": "pt > 10"}]}, "cut 'hard' leaves none of the 300 in sample 'muons'"),
        ({"split": {"by": ["w"]}}, r"has no events in the .* of 300 in all.*agree in 'w' \(\[split\] by\) stay"),
        (
            {"label": {**SPECIES, "signal": 7}},
            "sample 'muons': label column 'species' has no event with signal = 7; it has 0 .100., 1 .100., 2 .100.",
        ),
    ],
    ids=["negative", "zero", "dropped", "cut", "one identity", "label"],
)  # fmt: skip
def test_a_class_that_cannot_be_trained_says_why_and_what_to_do(
    folder: Path, declared: dict[str, Any], told: str
) -> None:
    assert re.search(told, found(folder, **declared)[0])


def test_an_absent_class_is_told_once_and_not_noted_again(folder: Path) -> None:
    problems, notes = found(folder, label={**SPECIES, "signal": 7})
    assert (problems.count("it has 0"), notes) == (1, ())


def test_a_value_that_is_absent_from_a_class_that_has_others_is_only_noted(folder: Path) -> None:
    problems, notes = found(folder, label={**SPECIES, "background": [0, 5]})
    assert problems == ""
    assert notes == (
        "sample 'muons': label column 'species' has no event with background = 5; it has 0 (100), 1 (100), 2 (100)",
    )


def test_an_empty_sample_is_named(folder: Path) -> None:
    (folder / "muons.csv").write_text("event,pt,w,species\n")
    assert "class 'signal' has no events: the files of sample 'muons' are empty" in found(folder)[0]
