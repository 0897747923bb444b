import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.tracking.registry import (
    DIGEST_TAG,
    PREVIOUS_CHAMPION_TAG,
    champion_version,
    fetch,
    promote_by_hand,
    register,
    set_champion,
    version_of,
)
from flows.tracking.runs import nested_run, tracked_run
from flows.tracking.server import connect, refuse_unwritable, tracking_address
from pipeline.errors import BundleError, RegistryError

METRICS = {"auc": 0.8, "unknown": float("nan")}


@pytest.fixture
def client(trained_copy) -> MlflowClient:
    return connect()


@pytest.fixture
def no_server(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def test_without_a_server_everything_is_kept_in_the_home(trained):
    assert tracking_address() == f"sqlite:///{trained.home}/mlflow.db"
    assert (trained.home / "mlflow.db").is_file()


def test_a_named_server_is_used(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000")
    assert tracking_address() == "http://tracking.example:5000"


def test_connecting_leaves_no_address_behind(trained, monkeypatch, tmp_path):
    connect()
    monkeypatch.setenv("WINNOW_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(RegistryError, match="no model 'gaussians' in the registry, and no such folder; models: none"):
        version_of("gaussians")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("below", [".", "home/of/winnow"])
def test_a_home_that_cannot_be_written_to_is_told_before_mlflow_is_asked(monkeypatch, tmp_path, below):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("WINNOW_HOME", str(closed / below))
    with pytest.raises(RegistryError, match="closed cannot be written to; set WINNOW_HOME to a folder that can"):
        connect()


@pytest.mark.parametrize(
    ("there", "writable", "told"),
    [
        ({"/", "/data"}, {"/"}, "/data"),
        ({"/"}, set(), "/"),
        ({"/", "/data", "/data/home"}, {"/data"}, "/data/home"),
        ({"/", "/data", "/data/home", "/data/home/mlflow.db"}, {"/data/home"}, "/data/home/mlflow.db"),
        ({"/", "/data", "/data/home", "/data/home/mlflow.db"}, {"/data/home/mlflow.db"}, "/data/home"),
    ],
)
def test_what_cannot_be_written_to_is_named(monkeypatch, there, writable, told):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    may = {os.F_OK: there, os.W_OK: writable}
    with pytest.raises(RegistryError, match=f"^{told} cannot be written to; set WINNOW_HOME"):
        refuse_unwritable(Path("/data/home/mlflow.db"), lambda path, mode: str(path) in may[mode])


def test_a_database_of_ones_own_is_moved_by_its_own_variable(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////data/mlflow.db")
    with pytest.raises(RegistryError, match=r"^/data cannot be written to; set MLFLOW_TRACKING_URI to a database"):
        refuse_unwritable(Path("/data/mlflow.db"), lambda path, mode: mode == os.F_OK and path.suffix != ".db")


@pytest.mark.parametrize(
    ("reference", "version"),
    [("gaussians", "2"), ("gaussians@champion", "2"), ("gaussians/1", "1"), ("gaussians/3", "3")],
)
def test_a_reference_means_one_version(trained, reference, version):
    assert version_of(reference) == ("gaussians", version)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        (
            "gausians",
            r"no model 'gausians' in the registry \(did you mean 'gaussians'\?\), and no such folder; models: ",
        ),
        ("gaussians@champoin", r"has no 'gaussians@champoin'; versions: \[3, 2, 1\]; aliases: @champion = 2"),
        ("gaussians/9", r"has no 'gaussians/9'; versions: \[3, 2, 1\]"),
        ("gaussians/two", r"has no 'gaussians/two'; versions: \[3, 2, 1\]"),
        ("gaussians/", r"has no 'gaussians/'"),
        ("runs/of/mine", r"no model 'runs' in the registry, and no such folder"),
    ],
)
def test_a_reference_to_nothing_says_what_there_is(trained, reference, told):
    with pytest.raises(RegistryError, match=told):
        version_of(reference)


def test_a_bundle_is_fetched_once_and_kept_under_its_digest(trained_copy, client):
    bundle = fetch(client, "gaussians", "2")
    assert bundle.digest == trained_copy.reference.bundle.digest
    assert bundle.folder == trained_copy.home / "bundles" / bundle.digest
    shutil.rmtree(trained_copy.home / "artifacts")
    assert fetch(client, "gaussians", "2").folder == bundle.folder
    assert [p for p in bundle.folder.parent.iterdir() if p.name.endswith(".tmp")] == []


def test_a_bundle_that_was_altered_in_the_home_is_refused(trained_copy, client):
    folder = fetch(client, "gaussians", "2").folder
    (folder / "model.onnx").write_bytes(b"something else")
    with pytest.raises(BundleError, match=r"model\.onnx was altered"):
        fetch(client, "gaussians", "2")


def test_a_version_of_which_the_tag_is_not_the_bundles_is_refused(trained_copy, client):
    client.set_model_version_tag("gaussians", "2", DIGEST_TAG, "0" * 64)
    with pytest.raises(RegistryError, match="gaussians/2: the bundle in the registry is not the one that was"):
        fetch(client, "gaussians", "2")
    assert list((trained_copy.home / "bundles").glob("*.tmp")) == []


def test_a_version_that_somebody_else_registered_is_refused(client):
    client.create_registered_model("foreign")
    client.create_model_version("foreign", "somewhere")
    with pytest.raises(RegistryError, match=f"foreign/1 was not registered by Winnow: it has no tag '{DIGEST_TAG}'"):
        fetch(client, "foreign", "1")


def test_the_champion_before_is_remembered(client):
    set_champion(client, "gaussians", "3")
    assert champion_version(client, "gaussians") == "3"
    assert client.get_registered_model("gaussians").tags[PREVIOUS_CHAMPION_TAG] == "2"


def test_promoting_by_hand_goes_back_and_says_who_was_champion(client):
    assert promote_by_hand("gaussians/1") == {"model": "gaussians", "champion": "1", "previous": "2"}
    assert version_of("gaussians") == ("gaussians", "1")


def test_promoting_the_champion_again_does_not_forget_the_one_before(client):
    promote_by_hand("gaussians/2")
    assert client.get_registered_model("gaussians").tags[PREVIOUS_CHAMPION_TAG] == "1"


def test_promoting_what_is_not_there_is_refused(client):
    with pytest.raises(RegistryError, match="has no 'gaussians/7'"):
        promote_by_hand("gaussians/7")
    assert champion_version(client, "gaussians") == "2"


def test_a_model_without_champion_has_none(client):
    client.create_registered_model("young")
    assert champion_version(client, "young") is None
    assert champion_version(client, "unheard-of") is None


@pytest.mark.usefixtures("no_server")
def test_a_server_that_is_away_is_no_missing_champion():
    with pytest.raises(RegistryError, match=r"MLflow at http://127\.0\.0\.1:9 does not do what it is asked"):
        champion_version(connect(), "gaussians")


@pytest.mark.usefixtures("no_server")
def test_a_server_that_is_away_is_said_to_be_away():
    for question in (version_of, promote_by_hand):
        with pytest.raises(RegistryError, match=r"MLflow at http://127\.0\.0\.1:9 does not do what it is asked"):
            question("gaussians/1")
    with pytest.raises(RegistryError, match="does not do what it is asked"), tracked_run("gaussians"):
        pytest.fail("a run without a server")


def test_parameters_may_be_many_and_have_any_name(client):
    document = {"samples": [{"name": f"W+jets/{i}", "files": ["a", "b"]} for i in range(120)], "long": "x" * 9000}
    with tracked_run("parameters") as run:
        run.log_parameters(document)
    recorded = client.get_run(run.run_id).data.params
    assert recorded["samples.W_jets_7.name"] == "W+jets/7"
    assert (len(recorded), len(recorded["long"])) == (241, 6000)


def test_thousands_of_files_fit_into_a_dataset(client):
    files = [f"/store/data/2026/tracks_{i:05}.root sha256:{'0' * 64}" for i in range(5000)]
    with tracked_run("datasets") as run:
        run.log_dataset("tracks", "d" * 64, files)
    [recorded] = client.get_run(run.run_id).inputs.dataset_inputs
    source = json.loads(recorded.dataset.source)
    assert "5000" in recorded.dataset.source
    assert source["tags"]["files"] == files[: len(source["tags"]["files"])] != []


def test_a_number_that_is_none_is_left_out(client):
    with tracked_run("numbers") as run:
        run.log_metrics(METRICS)
    assert client.get_run(run.run_id).data.metrics == {"auc": 0.8}


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError("out of luck"), "FAILED"), (KeyboardInterrupt("Ctrl-C"), "KILLED"), (SystemExit(143), "KILLED")],
)
def test_a_run_that_ends_early_says_why(client, error, status):
    with pytest.raises(type(error), match=str(error)), tracked_run("failing") as run:
        raise error
    recorded = client.get_run(run.run_id)
    assert recorded.info.status == status
    assert recorded.data.tags["error"] == f"{type(error).__name__}: {error}"


def test_a_run_may_be_part_of_another_one_which_is_recorded_in_again_afterwards(client):
    with tracked_run("families", "all of them") as parent:
        with nested_run(parent, "one of them") as child:
            child.log_metrics({"auc": 0.7})
        parent.log_metrics({"best": 0.7})
    one, whole = (client.get_run(run.run_id) for run in (child, parent))
    assert (one.info.run_name, one.data.tags["mlflow.parentRunId"]) == ("one of them", parent.run_id)
    assert (one.data.metrics, whole.data.metrics) == ({"auc": 0.7}, {"best": 0.7})


def test_a_failure_of_a_part_is_not_one_of_the_whole(client):
    unlucky = pytest.raises(RuntimeError, match="out of luck")
    with tracked_run("families") as parent, unlucky, nested_run(parent, "unlucky") as child:
        raise RuntimeError("out of luck")
    assert [client.get_run(run.run_id).info.status for run in (child, parent)] == ["FAILED", "FINISHED"]


def test_a_run_can_be_gone_on_with_where_it_is_there(client):
    with tracked_run("families") as first:
        pass
    with tracked_run("families", run_id=first.run_id) as again:
        again.log_tags({"went": "on"})
    with tracked_run("families", run_id="0" * 32) as other:
        pass
    assert again.run_id == first.run_id != other.run_id
    assert client.get_run(first.run_id).data.tags["went"] == "on"


def test_a_run_whose_process_was_killed_can_be_marked_by_another_one(client):
    orphan = client.create_run(client.get_experiment_by_name("gaussians").experiment_id)
    with tracked_run("gaussians") as run:
        run.end_killed(orphan.info.run_id)
        run.end_killed("0" * 32)
    assert client.get_run(orphan.info.run_id).info.status == "KILLED"


def test_registering_names_the_version_its_bundle_and_its_numbers(trained_copy, client, caplog):
    bundle = trained_copy.reference.bundle
    with caplog.at_level(logging.INFO, "flows"), tracked_run("other") as run:
        assert register(run, bundle, "other", METRICS) == "1"
    version = client.get_model_version("other", "1")
    assert version.tags == {DIGEST_TAG: bundle.digest, "auc": "0.8"}
    assert version.run_id == run.run_id
    assert caplog.messages == ["registered other version 1"]
    assert fetch(client, "other", "1").digest == bundle.digest


def test_the_registered_model_is_data_and_a_module_that_reads_it(trained_copy, client):
    folder = next((trained_copy.home / "artifacts" / "models").rglob("MLmodel")).parent
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert "loader_module: models.bundle" in (folder / "MLmodel").read_text()
    assert not [name for name in names if Path(name).suffix in {".pkl", ".pickle", ".cloudpickle", ".joblib"}]


def test_tracking_imports_neither_keras_nor_tensorflow():
    program = (
        "import sys, flows.tracking.registry; sys.exit(str({'tensorflow', 'keras', 'tf2onnx'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == "set()"
