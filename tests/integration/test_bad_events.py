"""Bad events from end to end: what `winnow train` makes of them is a defined answer, or a refusal that names the cause.

One class missing, a sum of weights that is not positive, scores that are all equal or NaN, no background left above the
best cuts: none of them may pass as a number that looks well.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.experiment import load_experiment
from flows.home import runs
from flows.tracking.server import connect
from flows.train import TrainingOutcome, train_experiment
from pipeline.chunk import chunk_of
from pipeline.errors import DataError, TrainingError
from pipeline.splitting import PARTS, SplitSpec, assign_parts, event_identities

N = 2000
EXPERIMENT = """
[experiment]
name = "bad-events"
[[samples]]
name = "events"
files = ["events.csv"]
label = { column = "label", signal = 1, background = 0 }
weight = "w"
[features]
inputs = ["x", "y"]
spectators = ["mass"]
[split]
by = ["event"]
folds = FOLDS
[model]
options = { widths = [8], dropout = 0.0 }
[training]
epochs = 2
batch_size = 128
learning_rate = RATE
optimizer = "sgd"
[evaluation]
replicas = 20
templates = true
calibration = "isotonic"
working_points = [{ name = "tight", background_rejection = 20 }]
"""


def events(shift: float = 1.0, **columns: Any) -> pd.DataFrame:
    generator = np.random.default_rng(4)
    label = generator.integers(0, 2, N)
    found = {name: generator.normal(size=N) + shift * label for name in ("x", "y")}
    base = {"label": label, "event": np.arange(N), "mass": generator.exponential(50.0, N), "w": np.ones(N)}
    return pd.DataFrame({**base, **found, **columns})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_HOME", str(tmp_path / "home"))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)


def trained(folder: Path, frame: pd.DataFrame, rate: float = 0.1, folds: int = 1) -> TrainingOutcome:
    frame.to_csv(folder / "events.csv", index=False)
    text = EXPERIMENT.replace("RATE", str(rate)).replace("FOLDS", str(folds))
    (folder / "bad.toml").write_text(text)
    return train_experiment(load_experiment(folder / "bad.toml"))


def written(outcome: TrainingOutcome) -> Any:
    """What the bundle keeps of the evaluation, which no reader of JSON may stumble over."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads((outcome.bundle / "evaluation.json").read_text(), parse_constant=refuse)


def assert_nothing_is_left() -> None:
    assert not list(runs().glob("*"))
    assert not connect().search_registered_models()


@pytest.mark.parametrize("kept", [0, 1])
def test_a_class_without_events_is_refused_with_the_labels_that_there_are(tmp_path: Path, kept: int) -> None:
    gone = {0: "signal", 1: "background"}[kept]
    with pytest.raises(DataError, match=f"class '{gone}' has no events: .*label column 'label'.* it has {kept}"):
        trained(tmp_path, events(label=np.full(N, kept)))
    assert_nothing_is_left()


@pytest.mark.parametrize(("light", "heavy", "folds"), [(-1.0, 0.5, 1), (0.0, 0.0, 2)])
def test_a_class_without_a_positive_sum_of_weights_is_refused(
    tmp_path: Path, light: float, heavy: float, folds: int
) -> None:
    frame = events()
    signal = np.where(frame.event % 2, light, heavy)
    with pytest.raises(DataError, match=r"class 'signal': the weights of its .* training events add up to "):
        trained(tmp_path, frame.assign(w=np.where(frame.label == 1, signal, 1.0)), folds=folds)
    assert_nothing_is_left()


def test_folds_that_could_not_be_judged_together_are_refused_before_any_network_is_trained(tmp_path: Path) -> None:
    frame, split = events(), SplitSpec(by=("event",), folds=2)
    identities = event_identities(chunk_of({"event": frame.event.to_numpy()}), split, "events", "events.csv", ())
    validates = [assign_parts(identities, split, fold) == PARTS.index("validation") for fold in range(split.folds)]
    weights = np.where((frame.label == 1) & np.any(validates, axis=0), -1.0, 1.0)
    with pytest.raises(DataError, match="the validation part cannot be judged: signal weights add up to -"):
        trained(tmp_path, frame.assign(w=weights), folds=split.folds)
    assert_nothing_is_left()
    client = connect()
    [run] = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert not any("loss" in name for name in run.data.metrics)


def test_equal_scores_have_an_area_of_one_half_and_no_cut_that_would_separate(tmp_path: Path) -> None:
    outcome = trained(tmp_path, events(x=np.ones(N), y=np.ones(N)))
    record = written(outcome)
    assert record["auc"] == {"value": 0.5, "error": 0.0}
    assert record["overtraining"]["verdict"] == "none seen"
    assert {point["quoted"]["background_efficiency"]["value"] for point in record["working_points"]} == {1.0}
    assert "cannot be met" in record["named_points"][0]["problem"]
    assert "scores are" in record["calibrated"]["problem"]
    assert record["spectators"][0]["correlation"]["background"] == {"value": None, "error": None}


def test_a_network_that_would_give_nan_scores_is_refused_with_its_learning_rate(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"not finite in epoch 1.*the learning rate 1e\+30 is the likely cause"):
        trained(tmp_path, events(), rate=1e30)
    assert_nothing_is_left()


def test_without_background_above_the_best_cuts_nothing_is_infinitely_significant(tmp_path: Path) -> None:
    record = written(trained(tmp_path, events(shift=8.0)))
    scan, quoted = record["significance"]["scan"], record["significance"]["quoted"]
    asimov = np.array(scan["significances"]["asimov"], dtype=np.float64)
    is_clean = np.array(scan["n_background"]) < 10
    assert is_clean.any()
    assert np.isnan(asimov[is_clean]).all()
    assert (quoted["significances"]["asimov"]["value"] is None) == (quoted["n_background"] < 10)
    assert record["working_points"][0]["quoted"]["rejection"] == {"value": None, "error": None}
    assert (np.array(record["templates"]["templates"]["sums"]).sum(axis=1) > 0.0).all()
