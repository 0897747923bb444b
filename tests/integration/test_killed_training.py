"""Kills at chosen moments: the training that is started again ends as one that nobody has killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnx
import pytest

from models.bundle import MODEL, load_bundle
from pipeline.simulate import simulate
from pipeline.sources import iter_chunks

PATIENCE = 120.0
N_EPOCHS = 30


@dataclass(frozen=True)
class Finished:
    """A training that came to its end: its home, and what it printed."""

    home: Path
    printed: dict[str, Any]

    @property
    def bundle(self) -> Path:
        return Path(self.printed["bundle"])

    @property
    def history(self) -> list[dict[str, Any]]:
        """All but the seconds, in which no two runs agree."""
        epochs = json.loads((self.bundle.parent / "history.json").read_text())
        return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in epochs]


def start(experiment: Path, home: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "deploy.cli", "train", str(experiment), "--json", "--quiet"]
    elsewhere = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL")
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    return subprocess.Popen(
        command,
        env={**environment, "WINNOW_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(experiment: Path, home: Path) -> Finished:
    process = start(experiment, home)
    printed, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    return Finished(home, json.loads(printed))


def kill_when(is_time: Callable[[], bool], experiment: Path, home: Path) -> None:
    """Start the training and kill it at a moment of its own life."""
    process, deadline = start(experiment, home), time.monotonic() + PATIENCE
    while process.poll() is None and not is_time() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    told = process.communicate()
    assert process.returncode == -signal.SIGKILL, told


def epoch_of_checkpoint(home: Path) -> int:
    """Return after which epoch the checkpoint was written; 0: there is none."""
    paths = list((home / "trainings").glob("*/checkpoint"))
    return len(json.loads(paths[0].read_bytes().split(b"\n")[1])["state"]["history"]) if paths else 0


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events that need more memory than they may have, and a checkpoint after every epoch."""
    sample = simulate("gaussians", tmp_path_factory.mktemp("events"), 20_000)
    text = sample.experiment.read_text().replace("[training]", "[training]\ncheckpoint_seconds = 0\nmemory_gib = 1e-6")
    text = text.replace("[64, 64, 64]", "[32, 32]").replace("batch_size = 1024", "batch_size = 64")
    sample.experiment.write_text(text.replace("patience = 6", f"patience = {N_EPOCHS}"))
    return sample.experiment


@pytest.fixture(scope="module")
def unkilled(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finish(experiment, tmp_path_factory.mktemp("unkilled"))


@dataclass(frozen=True)
class Killed:
    """What three kills left, one after the other, and the run after them."""

    unfinished_shuffle: list[Path]
    epochs: list[int]
    finished: Finished


@pytest.fixture(scope="module")
def killed(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Kill in the middle of shuffling, after the first checkpoint, and some epochs later; then let it be."""
    home = tmp_path_factory.mktemp("killed")

    def unfinished_shuffle() -> list[Path]:
        return list((home / "trainings").glob("*/.train.npy.*.tmp"))

    kill_when(lambda: bool(unfinished_shuffle()), experiment, home)
    left, epochs = unfinished_shuffle(), []
    for n_epochs in (1, 4):
        kill_when(lambda wanted=n_epochs: epoch_of_checkpoint(home) >= wanted, experiment, home)
        epochs.append(epoch_of_checkpoint(home))
    return Killed(left, epochs, finish(experiment, home))


def test_the_kills_came_in_the_middle_of_shuffling_and_between_epochs(killed: Killed) -> None:
    assert len(killed.unfinished_shuffle) == 1
    assert 1 <= killed.epochs[0] <= killed.epochs[1] < N_EPOCHS
    assert killed.epochs[1] >= 4


def test_the_last_run_went_on_from_the_last_checkpoint(killed: Killed, unkilled: Finished) -> None:
    assert killed.finished.printed["training"]["resumed_after"] == killed.epochs[-1]
    assert unkilled.printed["training"]["resumed_after"] == 0


def test_the_history_is_that_of_a_run_that_nobody_killed(killed: Killed, unkilled: Finished) -> None:
    assert killed.finished.history == unkilled.history
    assert len(unkilled.history) == N_EPOCHS
    assert killed.finished.printed["auc"] == unkilled.printed["auc"]


def graph_of(run: Finished) -> bytes:
    """Return the exported graph without its remark, in which TensorFlow counts what a process has traced."""
    model = onnx.load(run.bundle / MODEL)
    model.graph.doc_string = ""
    return model.SerializeToString(deterministic=True)


def test_the_exported_network_is_the_same_byte_for_byte(killed: Killed, unkilled: Finished) -> None:
    assert graph_of(killed.finished) == graph_of(unkilled)


def test_every_event_gets_the_same_score_bit_for_bit(killed: Killed, unkilled: Finished, experiment: Path) -> None:
    [chunk] = iter_chunks(experiment.with_name("new_gaussians.csv"))
    scores = [load_bundle(run.bundle).score(chunk).view(np.int32) for run in (killed.finished, unkilled)]
    assert np.array_equal(*scores)


def test_only_the_run_that_finished_has_registered_a_version(killed: Killed) -> None:
    printed = killed.finished.printed
    address = f"sqlite:///{killed.finished.home}/mlflow.db"
    client = mlflow.MlflowClient(address, registry_uri=address)
    [version] = client.search_model_versions("name = 'gaussians'")
    assert (str(version.version), version.run_id) == (printed["version"], printed["run_id"])
    assert printed["promoted"]


def test_nothing_of_the_killed_runs_is_left_among_the_trainings(killed: Killed, unkilled: Finished) -> None:
    for run in (killed.finished, unkilled):
        assert list((run.home / "trainings").iterdir()) == []
