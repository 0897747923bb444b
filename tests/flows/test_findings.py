"""What a training writes down of itself: what was asked, the final numbers, and how it was trained."""

import tomllib
from pathlib import Path

import pytest

from flows.experiment import Experiment, load_experiment
from flows.findings import asked_of, training_summary
from models.training import EpochRecord, TrainingRecord

TEXT = """
[experiment]
name = "muons"
seed = 7
question = "Which are muons?"
[[samples]]
name = "tracks"
label = { column = "species", signal = [2, 3], background = 1 }
files = ["a.csv", "b.csv"]
[[select]]
name = "acceptance"
keep = 'pt > 20 && abs(eta) < 2.5'
[[select]]
name = "no zeros"
keep = 'eta != 0'
[derive]
ratio = "pt / energy"
[features]
inputs = ["pt", "eta"]
spectators = ["mass"]
missing = { values = [-999.0], flag = true, overrides = { pt = { policy = 0.0 } } }
[model]
options = { widths = [8, 8], batch_norm = true }
[evaluation]
templates = true
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    path = tmp_path / "experiment.toml"
    path.write_text(TEXT)
    return load_experiment(path).content


def test_what_was_asked_has_samples_then_cuts_then_the_sections_that_say_something(experiment: Experiment) -> None:
    assert list(asked_of(experiment)) == [
        "sample tracks", "cut acceptance", "cut no zeros", "derive", "features", "normalise", "weights", "split",
        "model", "training", "evaluation", "promotion",
    ]  # fmt: skip


def test_a_cut_is_its_expression(experiment: Experiment) -> None:
    assert asked_of(experiment)["cut acceptance"] == "pt > 20 && abs(eta) < 2.5"


def test_what_was_asked_reads_as_the_file_does(experiment: Experiment) -> None:
    sections = {key: text for key, text in asked_of(experiment).items() if not key.startswith("cut ")}
    asked = {key: tomllib.loads(f"it = {{ {text} }}")["it"] for key, text in sections.items()}
    assert asked["sample tracks"] == {
        "label": {"column": "species", "signal": [2, 3], "background": 1},
        "files": ["a.csv", "b.csv"], "weight": "1", "separator": ",",
    }  # fmt: skip
    assert asked["derive"] == {"ratio": "pt / energy"}
    assert asked["model"]["options"] == {"widths": [8, 8], "batch_norm": True}
    assert asked["features"]["missing"]["overrides"] == {"pt": {"policy": 0.0}}


def test_defaults_are_filled_in_and_what_stands_elsewhere_or_is_empty_is_left_out(experiment: Experiment) -> None:
    asked = asked_of(experiment)
    assert asked["weights"] == 'negative = "keep", balance = "classes"'
    assert asked["features"].startswith(
        'inputs = ["pt", "eta"], spectators = ["mass"], missing = { values = [-999.0], '
    )
    assert "templates = true" in asked["evaluation"]
    assert "baselines" not in asked["evaluation"]
    assert not {"seed", "question", "None", "null"} & set(" ".join(asked.values()).split())


def test_of_several_classes_what_nobody_can_ask_is_not_said_to_be_asked(tmp_path: Path) -> None:
    text = TEXT.replace("background = 1", "pions = 1, kaons = 0").replace("templates = true", "replicas = 50")
    path = tmp_path / "several.toml"
    path.write_text(text.replace('spectators = ["mass"]\n', "").replace("[model]", "[model]\nhead = 'softmax'"))
    assert asked_of(load_experiment(path).content)["evaluation"] == "replicas = 50"


def training(n_epochs: int, seconds: float, rate: float, *, is_compiled: bool = True) -> TrainingRecord:
    epochs = [
        EpochRecord(
            epoch=epoch,
            loss=0.5,
            validation_loss=0.6,
            learning_rate=1e-3,
            seconds=seconds / n_epochs,
            gradient_norms={},
        )
        for epoch in range(1, n_epochs + 1)
    ]
    return TrainingRecord(tuple(epochs), 1, "all epochs", seconds, rate, "CPU", "tensorflow", is_compiled, 2.0, 1)


def test_the_rate_of_several_trainings_is_all_their_events_over_all_their_seconds() -> None:
    found = training_summary([training(3, 10.0, 1_000.0), training(5, 30.0, 200.0)])
    assert (found["folds"], found["epochs"], found["seconds"]) == (2, 8, 40.0)
    assert found["events_per_second"] == (10_000.0 + 6_000.0) / 40.0
    assert (found["compile_seconds"], found["resumed_after"]) == (4.0, 2)


def test_trainings_are_compiled_where_each_one_is() -> None:
    assert training_summary([training(1, 1.0, 1.0)] * 2)["compiled"] is True
    assert training_summary([training(1, 1.0, 1.0), training(1, 1.0, 1.0, is_compiled=False)])["compiled"] is False


def test_a_training_that_took_no_time_has_no_rate() -> None:
    assert training_summary([training(1, 0.0, 0.0)])["events_per_second"] == 0.0
