"""Flows on a temporary server: what they return is what the steps return, and what they show can be read back."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.experiment import load_experiment
from flows.score import ScoreOptions, score_files
from flows.tracking.server import connect
from pipeline.errors import DataError, DeclarationError, RegistryError
from pipeline.layout import Layout

pytestmark = [
    # Prefect closes its database and its sockets when it is collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

STEPS = [
    "begin run",
    "prepare events",
    "train network",
    "export network",
    "evaluate networks",
    "make bundle",
    "write findings",
    "register bundle",
    "promote if better",
]


@pytest.fixture(scope="session")
def flows_module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The module, imported where it leaves its folder in a place of this session's."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WINNOW_HOME", str(tmp_path_factory.mktemp("prefect")))
        from flows import orchestrate
    return orchestrate


@pytest.fixture(scope="session")
def server(flows_module: ModuleType) -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def flows(flows_module, server) -> ModuleType:
    return flows_module


def artifact(key: str) -> Any:
    from prefect.artifacts import Artifact

    return Artifact.get(key)


def task_names() -> list[str]:
    """The names of the tasks of the last flow run, in the order in which they were started."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort

    with get_client(sync_client=True) as client:
        [last] = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
        wanted = FlowRunFilter(id={"any_": [last.id]})
        runs = client.read_task_runs(flow_run_filter=wanted, sort=TaskRunSort.END_TIME_DESC)
    return [run.name.rpartition("-")[0] for run in sorted(runs, key=lambda run: run.start_time)]


@pytest.fixture
def trained_by_flow(flows, trained_copy) -> dict[str, Any]:
    return flows.train_flow(str(trained_copy.file.path))


def test_the_train_flow_runs_the_steps_and_records_them_in_mlflow(trained_by_flow, trained_copy):
    assert (trained_by_flow["version"], trained_by_flow["promoted"]) == ("4", False)
    assert trained_by_flow["auc"] == trained_copy.outcome.evaluation.auc.value
    assert task_names() == STEPS
    client = connect()
    assert client.get_run(trained_by_flow["run_id"]).info.status == "FINISHED"
    assert len(client.get_metric_history(trained_by_flow["run_id"], "validation_loss")) == 3
    table = {row["metric"]: row["value"] for row in json.loads(artifact("gaussians-metrics").data)}
    assert table["auc"] == trained_by_flow["auc"]
    assert "roc.png" in artifact("gaussians-roc").data
    assert trained_by_flow["run_id"] in artifact("gaussians-roc").description


def test_the_score_flow_gives_what_scoring_gives(flows, trained, tmp_path):
    (tmp_path / "empty.csv").touch()
    files = [str(trained.new_events), str(tmp_path / "empty.csv")]
    record = flows.score_flow("gaussians", files, str(tmp_path / "by flow"))
    score_files(trained.reference, [trained.new_events], tmp_path / "directly")
    name = trained.new_events.name
    assert (tmp_path / "by flow" / name).read_bytes() == (tmp_path / "directly" / name).read_bytes()
    assert (record["events_in"], record["events_out"], record["version"]) == (600, 600, "2")
    assert artifact("winnow-score").data == (
        "600 events of 1 files scored by gaussians version 2\n"
        f"- {tmp_path}/empty.csv: {tmp_path}/empty.csv is empty (0 bytes)"
    )


def test_options_reach_the_score_flow_and_the_watcher_is_told(flows, trained, tmp_path):
    frame, bare = pd.read_csv(trained.new_events), tmp_path / "bare.csv"
    frame.to_csv(bare, index=False, header=False, sep=";")
    options = ScoreOptions(Layout(columns=tuple(frame), separator=";"), "p")
    told: list[int] = []
    record = flows.score_with_prefect(
        "gaussians", [bare], tmp_path / "out", options, lambda work, n, total: told.append(n)
    )
    assert (record["quarantined"], record["events_out"], sum(told)) == ([], 600, 600)
    found = pd.read_csv(tmp_path / "out" / "bare.csv", sep=";", header=None).iloc[:, -1]
    from pipeline.chunk import chunk_of_frame

    assert np.array_equal(found.to_numpy(np.float32), trained.reference.bundle.score(chunk_of_frame(frame)))


def test_the_watch_flow_scores_what_is_new(flows, trained, tmp_path):
    incoming, out = tmp_path / "incoming", tmp_path / "scored"
    incoming.mkdir()
    assert flows.watch_flow("gaussians", str(incoming / "*.csv"), str(out))["files"] == []
    counts = []
    for name in ("first.csv", "second.csv"):
        (incoming / name).write_bytes(trained.new_events.read_bytes())
        (incoming / "notes.txt").write_text("no events")
        record = flows.watch_flow("gaussians", str(incoming / "*.csv"), str(out))
        counts.append((len(record["files"]), len(record["already_scored"])))
    assert counts == [(1, 0), (2, 1)]
    assert sorted(path.name for path in out.glob("*.csv")) == ["first.csv", "second.csv"]


def test_a_refusal_passes_through_a_flow_as_it_is(flows, trained):
    with pytest.raises(RegistryError, match="no model 'gausians' in the registry"):
        flows.score_flow("gausians", [str(trained.new_events)], "out")


@pytest.mark.parametrize(("error", "is_retried"), [(OSError("disk"), True), (DataError("bad file"), False)])
def test_only_what_the_machine_may_have_caused_is_tried_again(flows, error, is_retried):
    from prefect.states import Failed

    assert flows._was_the_machine(None, None, Failed(data=error)) is is_retried


def scheduled(trained, schedule: str):
    path = trained.file.path.with_name("scheduled.toml")
    path.write_text(trained.file.text.partition("[schedule]")[0] + schedule)
    return load_experiment(path)


def test_deployments_are_what_the_schedule_declares(flows, trained):
    train, score = flows.deployments_of(trained.file)
    folder = trained.file.folder
    assert (train.name, score.name) == ("train gaussians", "score gaussians")
    assert train.parameters == {"experiment": str(folder / "gaussians.toml")}
    assert score.parameters == {
        "model": "gaussians",
        "watch": str(folder / "incoming/*.csv"),
        "out": str(folder / "scored"),
    }
    assert [schedule.schedule.cron for schedule in train.schedules] == ["0 3 * * *"]
    assert [schedule.schedule.interval for schedule in score.schedules] == [timedelta(minutes=10)]
    assert all(Path(value).is_absolute() for value in train.parameters.values())


def test_two_runs_of_one_deployment_never_overlap(flows, trained):
    for deployment in flows.deployments_of(trained.file):
        assert deployment.concurrency_limit == 1
        assert deployment.concurrency_options.collision_strategy == "CANCEL_NEW"


def test_a_deployment_names_its_flow_by_module_so_that_any_process_finds_it(flows, trained):
    assert [d.entrypoint for d in flows.deployments_of(trained.file)] == [
        "flows.orchestrate.train_flow",
        "flows.orchestrate.watch_flow",
    ]


@pytest.mark.parametrize(
    ("schedule", "names"),
    [
        ("", []),
        ("[schedule]\n", []),
        ('[schedule]\ntrain = "0 3 * * *"\n', ["train gaussians"]),
        ('[schedule]\nscore = { every = "1h", watch = "/in/*.root", out = "/out" }\n', ["score gaussians"]),
    ],
)
def test_what_is_not_scheduled_is_not_deployed(flows, trained, schedule, names):
    assert [deployment.name for deployment in flows.deployments_of(scheduled(trained, schedule))] == names


@pytest.mark.parametrize("cron", ["0 0 L * *", "0 0 * * MON#1", "5/15 * * * *", "0 0 1 jan *"])
def test_what_the_experiment_file_takes_for_a_cron_line_prefect_takes_too(flows, trained, cron):
    [deployment] = flows.deployments_of(scheduled(trained, f'[schedule]\ntrain = "{cron}"\n'))
    assert deployment.schedules[0].schedule.cron == cron


def test_schedules_without_a_server_are_refused(flows, trained):
    with pytest.raises(DeclarationError, match="schedules need a Prefect server: set PREFECT_API_URL, or use `winnow"):
        flows.serve_schedules([trained.file])


def test_experiments_without_a_schedule_are_refused(flows, trained, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(DeclarationError, match=r"no \[schedule\] section in .*scheduled\.toml"):
        flows.serve_schedules([scheduled(trained, "")])
