"""Whatever trains does so with JAX as well: the tests of training, and the main job from events to scores."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pipeline.simulate import SimulatedSample, simulate

ROOT = Path(__file__).parents[2]
TESTS_OF_TRAINING = [
    *(
        f"tests/models/test_{name}.py"
        for name in ("epochs", "gradients", "layers", "losses", "optimization", "patches")
    ),
    "tests/models/test_collections.py::test_what_no_line_separates_is_learnt",
    "tests/models/test_convolutional.py::test_shapes_are_told_apart_wherever_they_are",
    "tests/models/test_decorrelation.py::test_the_score_forgets_the_mass_and_still_separates[distance-correlation]",
    "tests/models/test_heads.py::test_a_head_trains_compiled_and_says_the_same_when_exported",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed: install winnow[jax]"),
    pytest.mark.skipif(os.environ.get("KERAS_BACKEND") == "jax", reason="all tests run with JAX already"),
]


def with_jax(folder: Path, *arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a module of Python in a process that computes with JAX."""
    command = [sys.executable, "-m", *map(str, arguments)]
    variables = {**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, check=False)


def test_every_test_of_training_passes_with_jax(tmp_path: Path) -> None:
    ended = with_jax(ROOT, "pytest", *TESTS_OF_TRAINING, "-q", f"--basetemp={tmp_path / 'tests'}")
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]
    assert " passed" in ended.stdout


def winnow(tmp_path: Path, *arguments: object) -> dict[str, Any]:
    """Run a command that succeeds and return its record."""
    places = {"PYTHONPATH": str(ROOT), "WINNOW_HOME": str(tmp_path / "home")}
    ended = with_jax(tmp_path, "deploy.cli", *arguments, "--json", "--quiet", **places)
    assert ended.returncode == 0, ended.stderr
    assert "absl" not in ended.stderr
    record: dict[str, Any] = json.loads(ended.stdout)
    return record


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatedSample:
    """Two Gaussians, learnt in a few epochs, and none of the services that the environment may name."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL", "WINNOW_DATA"):
        monkeypatch.delenv(name, raising=False)
    sample = simulate("gaussians", tmp_path / "events", 3000)
    text = sample.experiment.read_text().replace("epochs = 30", "epochs = 10").replace("1e-3", "1e-2")
    sample.experiment.write_text(text)
    return sample


def test_the_main_job_runs_with_jax_and_its_bundle_scores(sample: SimulatedSample, tmp_path: Path) -> None:
    """Two unit Gaussians 1.5 apart: no AUC is better than Φ(1.5/√2) = 0.8556, and TensorFlow comes as near to it."""
    record = winnow(tmp_path, "train", sample.experiment)
    training = record["training"]
    assert (training["backend"], training["compiled"], record["promoted"]) == ("jax", True, True)
    assert record["auc"] == pytest.approx(0.8556, abs=3 * record["auc_error"])
    scored = winnow(tmp_path, "score", record["bundle"], sample.new_files[0], "--out", tmp_path / "scored")
    assert (scored["events_in"], scored["events_out"], scored["quarantined"]) == (600, 600, [])


def test_a_backend_that_is_not_known_is_refused_in_one_line(sample: SimulatedSample, tmp_path: Path) -> None:
    places = {"PYTHONPATH": str(ROOT), "WINNOW_HOME": str(tmp_path / "home"), "KERAS_BACKEND": "abacus"}
    ended = with_jax(tmp_path, "deploy.cli", "train", sample.experiment, "--quiet", **places)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"winnow: KERAS_BACKEND=abacus: .*; tensorflow comes with Winnow, .*\n", ended.stderr)
