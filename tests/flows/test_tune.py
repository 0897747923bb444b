"""A search from its first trial to the file with the best values, interrupted on the way."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from flows.experiment import ExperimentFile, load_experiment
from flows.tune import tune_experiment
from flows.tuned import TuningOutcome
from pipeline.errors import DeclarationError, TrainingError

EXPERIMENT = """
[experiment]
name = "searched"
seed = 7
[[samples]]
name = "both"
files = ["events.csv"]
label = { column = "label", signal = 1, background = 0 }
[features]
inputs = ["x", "y"]
[model]
architecture = "logistic"
[training]
epochs = 2
batch_size = 64
learning_rate = 1e-4
compiled = false
[tune]
trials = 6
[tune.search]
"training.learning_rate" = { low = 1e-3, high = 1.0, log = true }
"training.epochs" = { choices = [1, 2] }
"training.schedule.warm_up_epochs" = { choices = [1.25, 1.5] }
"""
"""Of one epoch there is no room for the warm-up: such trials fail."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("tuned")
    generator, label = np.random.default_rng(1), np.arange(400) % 2
    x, y = generator.normal(size=(2, 400)) + label
    pd.DataFrame({"label": label, "x": x, "y": y}).to_csv(folder / "events.csv", index=False)
    (folder / "searched.toml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WINNOW_HOME", str(folder / "home"))
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL"):
            environment.delenv(name, raising=False)
        yield folder


@dataclass(frozen=True)
class Searched:
    """A search of four trials, ended in the middle of the next one, and gone on with."""

    folder: Path
    file: ExperimentFile
    first: TuningOutcome
    whole: TuningOutcome

    def runs(self) -> dict[str, Run]:
        client = MlflowClient(f"sqlite:///{self.folder}/home/mlflow.db")
        [experiment] = [one for one in client.search_experiments() if one.name == "searched"]
        return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def interrupt(work: str, n_events: int, total: int | None) -> None:
    if "epoch 2" in work:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def searched(folder: Path) -> Searched:
    file = load_experiment(folder / "searched.toml")
    first = tune_experiment(file, trials=4, out=folder / "out")
    with pytest.raises(KeyboardInterrupt):
        tune_experiment(file, trials=12, out=folder / "out", progress=interrupt)
    return Searched(folder, file, first, tune_experiment(file, out=folder / "out"))


def test_the_first_trial_is_the_experiment_as_declared(searched: Searched) -> None:
    first = searched.whole.trials[0]
    assert first.is_declared
    assert first.settings == {"training.epochs": 2}  # the others do not lie where it is searched
    assert searched.whole.declared == first.loss


def test_the_best_trial_is_better_and_its_values_lie_on_the_axes(searched: Searched) -> None:
    best = searched.whole.best
    assert best.loss == min(trial.loss for trial in searched.whole.trials if trial.state == "complete")
    assert searched.whole.improvement == searched.whole.declared - best.loss > 0
    assert 1e-3 <= best.settings["training.learning_rate"] <= 1.0


def test_values_that_do_not_go_together_fail_and_cost_nothing_else(searched: Searched) -> None:
    failed = [trial for trial in searched.whole.trials if trial.state == "failed"]
    assert failed
    assert {trial.settings["training.epochs"] for trial in failed} == {1}
    assert "the full rate would never be reached" in failed[0].problem


def test_a_search_goes_on_where_it_was_ended(searched: Searched) -> None:
    first, whole = searched.first.trials, searched.whole.trials
    assert (len(first), len(whole)) == (4, 6)
    assert whole[:4] == first
    assert searched.first.run_id == searched.whole.run_id
    missing = set(range(whole[-1].number)) - {trial.number for trial in whole}
    assert len(missing) == 1  # the one that was ended is not among them


def test_every_trial_is_a_run_within_that_of_the_search(searched: Searched) -> None:
    runs = searched.runs()
    for trial in searched.whole.trials:
        run = runs[f"trial {trial.number}"]
        assert run.data.tags["mlflow.parentRunId"] == searched.whole.run_id
        assert run.data.tags["winnow.trial"] == trial.state
        assert run.info.status == ("FAILED" if trial.state == "failed" else "FINISHED")
    best = searched.whole.best
    run = runs[f"trial {best.number}"]
    assert run.data.params["training.learning_rate"] == str(best.settings["training.learning_rate"])
    assert run.data.metrics["best_validation_loss"] == best.loss


def test_the_interrupted_trial_is_marked_as_killed(searched: Searched) -> None:
    statuses = [run.info.status for name, run in searched.runs().items() if name.startswith("trial")]
    assert statuses.count("KILLED") == 1
    assert searched.runs()["tune searched"].info.status == "FINISHED"


def test_the_tuned_file_is_the_experiment_with_the_best_values(searched: Searched) -> None:
    best, path = searched.whole.best, searched.folder / "out" / "searched-tuned.toml"
    tuned = load_experiment(path).content
    assert searched.whole.written == path
    assert tuned.training.learning_rate == best.settings["training.learning_rate"]
    # Seen from where the file lies, so that both can be moved together.
    assert tuned.samples[0].files == ("../events.csv",)
    document, original = tomllib.loads(path.read_text()), tomllib.loads(EXPERIMENT)
    assert document.keys() == original.keys() - {"tune"}
    assert {name: document[name] for name in ("experiment", "features", "model")} == {
        name: original[name] for name in ("experiment", "features", "model")
    }
    assert path.read_text().startswith("# searched.toml with the values of the best of 6 trials: ")


def test_what_is_finished_is_not_done_again_and_an_edited_file_is_kept(searched: Searched) -> None:
    out = searched.folder / "out"
    assert tune_experiment(searched.file, out=out).trials == searched.whole.trials
    (out / "searched-tuned.toml").write_text("# mine\n")
    with pytest.raises(DeclarationError, match=r"searched-tuned\.toml is there already; move it, or name another"):
        tune_experiment(searched.file, out=out)
    assert (out / "searched-tuned.toml").read_text() == "# mine\n"


def test_what_a_score_shall_not_tell_counts_in_the_search_as_in_training(folder: Path) -> None:
    text = (
        EXPERIMENT.replace('name = "searched"', 'name = "hidden"').replace("compiled = false\n", "").split("[tune]")[0]
    )
    text = text.replace('inputs = ["x", "y"]', 'inputs = ["x"]\nspectators = ["y"]').replace("size = 64", "size = 200")
    text += 'decorrelate = { variable = "y", within = "all", strength = 3.0 }\n'
    text += '[tune]\ntrials = 1\n[tune.search]\n"training.learning_rate" = { low = 1e-5, high = 1.0 }\n'
    (folder / "hidden.toml").write_text(text)
    found = tune_experiment(load_experiment(folder / "hidden.toml"), out=folder / "out")
    client, run = MlflowClient(f"sqlite:///{folder}/home/mlflow.db"), found.best.run_id
    loss, penalty = ([one.value for one in client.get_metric_history(run, n)] for n in ("validation_loss", "penalty"))
    assert found.best.loss == pytest.approx(min(np.add(loss, penalty)))
    assert min(penalty) > 1e-3


def test_no_time_is_no_trial(folder: Path) -> None:
    (folder / "late.toml").write_text(EXPERIMENT.replace("seed = 7", "seed = 8"))
    with pytest.raises(TrainingError, match="none of 0 trials was complete"):
        tune_experiment(load_experiment(folder / "late.toml"), timeout=1e-9, out=folder / "out")


def test_without_a_section_an_example_for_this_architecture_is_shown(folder: Path) -> None:
    (folder / "plain.toml").write_text(EXPERIMENT.partition("[tune]")[0].replace("logistic", "residual"))
    with pytest.raises(
        DeclarationError, match=r"(?s)plain\.toml has no \[tune\] section.*\"model\.options\.blocks\" = "
    ):
        tune_experiment(load_experiment(folder / "plain.toml"))
