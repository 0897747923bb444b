"""What a training finds out beside its network: baselines, working points and probabilities, up to the scored file."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from flows.experiment import ExperimentFile, load_experiment
from flows.reference import ModelReference
from flows.score import score_files
from flows.tracking.server import connect
from flows.train import TrainingOutcome, train_experiment
from models.bundle import load_bundle
from pipeline.errors import DeclarationError

EXPERIMENT = """
[experiment]
name = "judged"
seed = 5
[[samples]]
name = "both"
files = ["events.csv"]
label = { column = "label", signal = 1, background = 0 }
[derive]
heavy = "mass * 10"
[features]
inputs = ["x", "y"]
spectators = ["heavy", "mass"]
[split]
by = ["event"]
[model]
options = { widths = [16], dropout = 0.0 }
[training]
epochs = 8
batch_size = 128
learning_rate = 1e-2
[evaluation]
baselines = ["logistic", "fisher"]
calibration = "platt"
expected_signal_fraction = 0.01
replicas = 50
templates = true
working_points = [
    { name = "tight", background_rejection = 20 },
    { name = "flat", signal_efficiency = 0.6, bins = { variable = "heavy", edges = [0, 500, 1000] } },
    { name = "dream", background_rejection = 1e9 },
]
"""


def events(n_events: int) -> pd.DataFrame:
    """Two Gaussians, of which signal grows fainter with the mass."""
    generator = np.random.default_rng(1)
    label, mass = np.arange(n_events) % 2, generator.uniform(0, 100, n_events)
    x, y = generator.normal(size=(2, n_events)) + label * (2.0 - 0.015 * mass)
    return pd.DataFrame({"event": np.arange(n_events), "label": label, "x": x, "y": y, "mass": mass})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFile:
    folder = tmp_path_factory.mktemp("judged")
    events(6_000).to_csv(folder / "events.csv", index=False)
    (folder / "judged.toml").write_text(EXPERIMENT)
    return load_experiment(folder / "judged.toml")


@pytest.fixture(scope="module")
def outcome(file: ExperimentFile) -> TrainingOutcome:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WINNOW_HOME", str(file.folder / "home"))
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL"):
            environment.delenv(name, raising=False)
        return train_experiment(file)


def scored(outcome: TrainingOutcome, file: ExperimentFile, out: Path) -> pd.DataFrame:
    reference = ModelReference("judged", "1", load_bundle(outcome.bundle))
    score_files(reference, [file.folder / "events.csv"], out)
    return pd.read_csv(out / "events.csv")


def test_the_leader_board_has_the_network_and_every_baseline(outcome: TrainingOutcome) -> None:
    board = outcome.evaluation.leader_board
    assert {standing.name for standing in board} == {"network", "logistic", "fisher"}
    network = next(standing for standing in board if standing.name == "network")
    assert network.value == outcome.evaluation.auc
    assert all(abs(standing.value.value - network.value.value) < 0.02 for standing in board)


def test_every_input_and_every_spectator_is_judged(outcome: TrainingOutcome) -> None:
    inputs, spectators = outcome.evaluation.inputs, outcome.evaluation.spectators
    assert inputs is not None
    assert {one.name for one in inputs.inputs} == {"x", "y"}
    assert all(one.importance.value > 5 * one.importance.error for one in inputs.inputs)
    assert [one.name for one in spectators] == ["heavy", "mass"]
    for one in spectators:
        assert one.correlation is not None
        assert one.correlation.signal.value < -0.2
        assert abs(one.correlation.background.value) < 4 * one.correlation.background.error


def test_templates_hold_every_class_of_the_sample_with_its_whole_yield(outcome: TrainingOutcome) -> None:
    found = outcome.evaluation.templates
    assert found is not None
    assert found.templates is not None
    assert set(zip(found.templates.names, found.templates.kinds, strict=True)) == {
        ("both: signal", "signal"),
        ("both: background", "background"),
    }
    assert found.templates.sums.sum(axis=1) == pytest.approx([3_000, 3_000])
    workspace = json.loads((outcome.report.parent / "templates" / "templates.json").read_text())
    assert {sample["name"] for sample in workspace["channels"][0]["samples"]} == {"both_signal", "both_background"}
    assert (outcome.report.parent / "templates" / "templates.root").exists()


def test_a_working_point_that_cannot_be_had_is_told_and_left_out(outcome: TrainingOutcome) -> None:
    dream = outcome.evaluation.named_points[2]
    assert (dream.name, dream.cut) == ("dream", None)
    assert "it cannot be had" in dream.problem
    assert "background_rejection = 1e+09 cannot be met" in dream.problem
    assert [cut.name for cut in load_bundle(outcome.bundle).manifest.cuts] == ["tight", "flat"]


def test_the_scored_file_has_a_column_for_every_working_point_and_the_probability(
    outcome: TrainingOutcome, file: ExperimentFile, tmp_path: Path
) -> None:
    found = scored(outcome, file, tmp_path)
    assert {"score", "passes_tight", "passes_flat", "probability"} <= set(found.columns)
    assert len(found) == 6_000
    background = found[found.label == 0]
    assert 1 / background.passes_tight.mean() == pytest.approx(20, rel=0.3)
    assert found.probability.corr(found.score, method="spearman") > 0.999


def test_the_efficiency_of_the_flat_working_point_is_flat(
    outcome: TrainingOutcome, file: ExperimentFile, tmp_path: Path
) -> None:
    found = scored(outcome, file, tmp_path)
    signal = found[found.label == 1]
    light, heavy = signal[signal.mass < 50], signal[signal.mass >= 50]
    assert light.passes_flat.mean() == pytest.approx(0.6, abs=0.06)
    assert heavy.passes_flat.mean() == pytest.approx(0.6, abs=0.06)
    assert light.passes_tight.mean() - heavy.passes_tight.mean() > 0.15


def test_probabilities_are_those_of_the_balance_that_is_expected(
    outcome: TrainingOutcome, file: ExperimentFile, tmp_path: Path
) -> None:
    """Weighted to one signal event in a hundred, the mean probability is the share of signal."""
    found = scored(outcome, file, tmp_path)
    weights = np.where(found.label == 1, 0.01, 0.99)
    assert np.average(found.probability, weights=weights) == pytest.approx(0.01, rel=0.15)


def test_the_registered_model_gives_what_the_scored_file_holds(
    outcome: TrainingOutcome, file: ExperimentFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = scored(outcome, file, tmp_path)
    monkeypatch.setenv("WINNOW_HOME", str(file.folder / "home"))
    connect()
    model = mlflow.pyfunc.load_model("models:/judged@champion")
    found = model.predict(expected[["x", "y", "mass"]])
    assert list(found.columns) == ["score", "passes_tight", "passes_flat", "probability"]
    assert np.array_equal(found.passes_flat, expected.passes_flat)
    assert np.array_equal(found.probability, expected.probability.astype(np.float32))


def test_bins_are_of_a_spectator(file: ExperimentFile, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(EXPERIMENT.replace('variable = "heavy"', 'variable = "havy"'))
    with pytest.raises(DeclarationError, match=r"has bins of 'havy', which is no spectator.*heavy"):
        load_experiment(tmp_path / "bad.toml")


def test_a_misspelt_baseline_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(EXPERIMENT.replace('"fisher"', '"fischer"'))
    with pytest.raises(DeclarationError, match=r"no baseline is called 'fischer'.*fisher"):
        load_experiment(tmp_path / "bad.toml")
