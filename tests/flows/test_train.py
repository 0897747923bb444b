import json
from pathlib import Path

import mlflow
import numpy as np
import pytest

from flows.experiment import load_experiment
from flows.provenance import code_version
from flows.tracking.registry import PREVIOUS_CHAMPION_TAG, fetch
from flows.tracking.runs import tracked_run
from flows.tracking.server import connect
from flows.train import promote_if_better, train_experiment
from models.bundle import load_bundle
from pipeline.errors import TrainingError
from pipeline.sources import iter_chunks


@pytest.fixture
def run(trained):
    return connect().get_run(trained.outcome.run_id)


@pytest.fixture
def artifact(trained):
    """``artifact(name)``: the path of a file that the champion's run holds."""
    address = f"sqlite:///{trained.home}/mlflow.db"

    def find(name):
        run_id = trained.outcome.run_id
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=name, tracking_uri=address))

    return find


def test_the_first_version_is_champion_a_better_one_takes_over_and_an_equal_one_does_not(trained):
    decisions = [outcome.decision for outcome in trained.outcomes]
    assert [outcome.version for outcome in trained.outcomes] == ["1", "2", "3"]
    assert [decision.is_promoted for decision in decisions] == [True, True, False]
    assert decisions[1].difference.value > 3 * decisions[1].difference.error > 0
    assert (decisions[2].difference.value, decisions[2].difference.error) == (0.0, 0.0)


def test_the_champion_before_is_recorded(trained):
    model = connect().get_registered_model("gaussians")
    assert model.aliases["champion"] == 2
    assert model.tags[PREVIOUS_CHAMPION_TAG] == "1"


def test_training_again_gives_the_same_scores_bit_for_bit(trained):
    once, again = (load_bundle(outcome.bundle) for outcome in trained.outcomes[1:])
    [chunk] = iter_chunks(trained.new_events)
    assert np.array_equal(once.score(chunk).view(np.int32), again.score(chunk).view(np.int32))
    assert once.digest != again.digest  # they came about at other times, and say so


def test_the_run_holds_the_resolved_experiment_as_parameters(run):
    assert run.data.params["experiment.name"] == "gaussians"
    assert run.data.params["training.learning_rate"] == "0.001"
    assert run.data.params["samples.gaussians.files"] == "['gaussians.csv']"
    assert run.data.params["weights.negative"] == "keep"


@pytest.mark.parametrize("name", ["loss", "validation_loss", "learning_rate"])
def test_the_run_holds_every_epoch(trained, name):
    history = connect().get_metric_history(trained.outcome.run_id, name)
    recorded = sorted((metric.step, metric.value) for metric in history)
    assert recorded == [(epoch["epoch"], epoch[name]) for epoch in trained.outcome.trainings[0].history]
    assert len(recorded) == 3


def test_the_run_holds_the_gradients_of_every_epoch(trained):
    history = trained.outcome.trainings[0].history
    for layer in ("dense", "dense_1", "logits"):
        metrics = connect().get_metric_history(trained.outcome.run_id, f"gradient_norm/{layer}")
        recorded = sorted((metric.step, metric.value) for metric in metrics)
        assert recorded == [(epoch["epoch"], epoch["gradient_norms"][layer]) for epoch in history]


def test_the_run_holds_the_final_numbers(trained, run):
    evaluation, metrics = trained.outcome.evaluation, run.data.metrics
    assert metrics["auc"] == evaluation.auc.value
    assert metrics["auc_error"] == evaluation.auc.error
    assert metrics["background_efficiency_at_0.8"] == evaluation.working_points[1].quoted.background_efficiency.value
    assert (metrics["events_read"], metrics["events_cut"]) == (3000, 0)


def test_the_run_holds_the_roc_as_picture_and_as_table(trained, artifact):
    assert artifact("figures/roc.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    table, roc = json.loads(artifact("roc.json").read_text()), trained.outcome.evaluation.roc
    assert table["columns"] == ["fpr", "tpr", "threshold"]
    assert table["data"][0] == [0.0, 0.0, None]
    # MLflow's tables have ten decimals.
    expected = np.column_stack([roc.fpr, roc.tpr, roc.thresholds])[1:]
    np.testing.assert_allclose(np.array(table["data"][1:], dtype=np.float64), expected, rtol=0, atol=1e-10)


def test_the_run_holds_the_cut_flow(artifact):
    table = json.loads(artifact("cut_flow.json").read_text())
    assert table["columns"][:3] == ["sample", "step", "events"]
    assert [row[:3] for row in table["data"]] == [
        [f"gaussians: {label}", step, 1500] for label in ("background", "signal") for step in ("read", "no outliers")
    ]


def test_the_run_holds_the_experiment_file_as_it_was_written(trained, artifact):
    assert artifact("experiment.toml").read_text() == trained.file.path.read_text()


def test_the_run_says_which_data_and_which_code(trained, run):
    [given] = run.inputs.dataset_inputs
    assert given.dataset.digest == trained.outcome.datasets[0].manifest.content[:32]
    assert run.data.tags["winnow.code"] == code_version()
    assert run.data.tags["winnow.experiment"] == trained.file.content.hash
    assert run.info.status == "FINISHED"


def test_the_bundle_says_where_it_comes_from(trained):
    provenance = trained.reference.bundle.manifest.provenance
    assert provenance["run"] == trained.outcome.run_id
    assert provenance["dataset"] == trained.outcome.datasets[0].manifest.content
    assert provenance["experiment"] == trained.file.content.hash
    assert (provenance["code"], provenance["seed"]) == (code_version(), str(trained.file.content.experiment.seed))


def test_events_in_are_events_out(trained):
    events = trained.outcome.to_json()["events"]
    assert events["read"] == events["kept"] + events["cut"] + events["left_out"] == 3000
    assert events["kept"] == events["train"] + events["validation"] + events["test"]


def test_the_report_and_the_bundle_lie_in_one_folder_of_the_home(trained):
    outcome = trained.outcome
    assert outcome.report.is_file()
    assert outcome.report.parent == outcome.bundle.parent
    assert outcome.bundle.parent.parent == trained.home / "runs"


def test_a_training_that_fails_is_recorded_as_failed_and_registers_nothing(trained_copy):
    hopeless = trained_copy.file.path.with_name("hopeless.toml")
    hopeless.write_text(trained_copy.file.text.replace("learning_rate = 1e-3", "learning_rate = 1e30"))
    with pytest.raises(TrainingError, match="finite"):
        train_experiment(load_experiment(hopeless))
    client = connect()
    [experiment] = [e for e in client.search_experiments() if e.name == "gaussians"]
    [failed] = [r for r in client.search_runs([experiment.experiment_id]) if r.info.status == "FAILED"]
    assert failed.data.tags["error"].startswith("TrainingError: ")
    assert failed.data.params["training.learning_rate"] == "1e+30"
    assert [v.version for v in client.search_model_versions("name = 'gaussians'")] == [3, 2, 1]


def test_a_champion_that_cannot_be_read_keeps_its_place_and_the_new_version_is_kept(trained_copy):
    client = connect()
    (fetch(client, "gaussians", "2").folder / "model.onnx").write_bytes(b"")
    outcome = trained_copy.outcomes[2]
    with tracked_run("gaussians") as tracked:
        decision = promote_if_better(trained_copy.file, "3", load_bundle(outcome.bundle), outcome.datasets, tracked)
    assert (decision.is_promoted, decision.difference) == (False, None)
    assert decision.reason.startswith("the champion, version 2, cannot be compared with: ")
    assert client.get_registered_model("gaussians").aliases["champion"] == 2
