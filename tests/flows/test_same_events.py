"""Which experiments may be compared: those with the same test events; all others are told why not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.experiment import load_experiment
from flows.same_events import Prepared, require_same_events, require_same_task
from pipeline.errors import DeclarationError
from pipeline.prepare import prepare

SAMPLE = '[[samples]]\nname = "{0}"\nlabel = "{0}"\nfiles = ["{0}.csv"]\n'
EXPERIMENT = f"""
[experiment]
name = "same"
{SAMPLE.format("signal")}
{SAMPLE.format("background")}
[features]
inputs = ["x", "y"]
[split]
by = ["event"]
"""


@pytest.fixture
def prepared(tmp_path: Path):
    """``prepared(text, …)``: datasets of experiments, named a, b, …"""
    generator = np.random.default_rng(1)
    for name in ("signal", "background"):
        values = {column: generator.normal(size=60) for column in "xyz"}
        pd.DataFrame({"event": np.arange(60), **values}).to_csv(tmp_path / f"{name}.csv", index=False)

    def make(*texts: str) -> dict[str, Prepared]:
        found = {}
        for name, text in zip("abc", texts, strict=False):
            (tmp_path / f"{name}.toml").write_text(text)
            content = load_experiment(tmp_path / f"{name}.toml").content
            found[name] = Prepared(content, (prepare(content, tmp_path, tmp_path / "store"),))
        return found

    return make


def test_features_normalisation_and_balance_may_differ(prepared):
    other = EXPERIMENT.replace('["x", "y"]', '["z"]') + '[normalise]\nmethod = "robust"\n[weights]\nbalance = "none"\n'
    found = prepared(EXPERIMENT, other, EXPERIMENT)
    require_same_events(found)
    assert found["a"].inputs == found["c"].inputs != found["b"].inputs


CONTENT = EXPERIMENT.replace('["event"]', '"content"')
SIGNAL, BACKGROUND = SAMPLE.format("signal"), SAMPLE.format("background")
SWAPPED = EXPERIMENT.replace('label = "s', "?").replace('label = "b', 'label = "s').replace("?", 'label = "b')
SWAPPED = SWAPPED.replace('"bignal"', '"background"').replace('"sackground"', '"signal"')
REFUSED = {
    "other features where they are the identity": (
        CONTENT,
        CONTENT.replace('"y"]', '"z"]'),
        r"the events of the test part differ; \[split\] by = 'content' \(the default\) has an event's part follow from "
        r"the columns that its features need, and only 'a' needs y and only 'b' needs z; write the same in each file: "
        r'\[split\] by = \["run", "event"\], the columns',
    ),
    "columns that are declared to identify an event": (
        CONTENT + '[columns]\nevent = { kind = "id" }\n',
        EXPERIMENT,
        r'write the same in each file: \[split\] by = \["event"\], the columns that identify an event, or by = "row"',
    ),
    "another salt": (EXPERIMENT, EXPERIMENT + "salt = 'other'\n", "the events .* what is declared differently: split"),
    "a cut": (EXPERIMENT, EXPERIMENT + "[[select]]\nname = 'c'\nkeep = 'x > -1'\n", "declared differently: select"),
    "another weight": (
        EXPERIMENT,
        EXPERIMENT.replace('label = "signal"', 'label = "signal"\nweight = "2 + z"'),
        "the physics weights of the test part differ; what is declared differently: samples",
    ),
    "another order": (
        EXPERIMENT,
        EXPERIMENT.replace(SIGNAL, "?").replace(BACKGROUND, SIGNAL).replace("?", BACKGROUND),
        "they are the same in another order: declare samples and files in the same order",
    ),
    "swapped classes": (
        EXPERIMENT,
        SWAPPED,
        "the classes of the test part differ; what is declared differently: samples",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REFUSED)
def test_other_test_events_are_refused_with_the_reason(prepared, mistake):
    first, second, told = REFUSED[mistake]
    with pytest.raises(DeclarationError, match=rf"same test events can be compared\n  'a' and 'b': .*{told}"):
        require_same_events(prepared(first, second))


def test_every_experiment_at_fault_is_told(prepared):
    found = prepared(EXPERIMENT, EXPERIMENT + "salt = 'b'\n", EXPERIMENT + "salt = 'c'\n")
    with pytest.raises(DeclarationError, match=r"'a' and 'b': .*\n  'a' and 'c': "):
        require_same_events(found)


def test_other_targets_are_told_before_anything_is_prepared(prepared, tmp_path):
    texts = [
        EXPERIMENT.replace("[split]", f"[targets]\n{target}\n[split]") + '[model]\nhead = "regression"\n'
        for target in ('energy = "z"', 'time = "z"', 'energy = "2 * z"')
    ]
    paths = [tmp_path / f"{name}.toml" for name in "abc"]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    found = {path.stem: load_experiment(path).content for path in paths}
    told = r"that find the same can be compared\n  'a' and 'b': the targets differ: "
    with pytest.raises(DeclarationError, match=told):
        require_same_task(found)
    told = r"the targets of the test part differ; what is declared .*: targets"
    with pytest.raises(DeclarationError, match=told):
        require_same_events(prepared(texts[0], texts[2]))
