"""What several rooms' tests share: where the real samples lie, and one small experiment, trained once a session."""

import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from flows.experiment import ExperimentFile
    from flows.reference import ModelReference
    from flows.train import TrainingOutcome

# The same examples in every run: what passed once passes again, and a failure can be looked at.
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")

ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL", "WINNOW_DATA")


def pytest_configure(config: pytest.Config) -> None:
    """Have XLA optimise a little: compiling takes most of the time of small trainings; benchmarks want all of it."""
    if not config.getoption("--benchmark-only"):
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real samples, or a skip that says where one was looked for."""
    beside_the_project = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("WINNOW_DATA", beside_the_project))
    if not folder.is_dir():
        pytest.skip(f"no real samples: set WINNOW_DATA (looked in {folder})")
    return folder


@dataclass(frozen=True)
class Trained:
    """Three versions of one model: a crippled first one, a better second one, and the same as the second again."""

    home: Path
    file: "ExperimentFile"
    new_events: Path
    outcomes: tuple["TrainingOutcome", "TrainingOutcome", "TrainingOutcome"]

    @property
    def outcome(self) -> "TrainingOutcome":
        """The champion's."""
        return self.outcomes[1]

    @property
    def reference(self) -> "ModelReference":
        """The champion."""
        from flows.reference import ModelReference
        from models.bundle import load_bundle

        return ModelReference(self.outcome.model, self.outcome.version, load_bundle(self.outcome.bundle))


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two Gaussians, 3,000 events, a few epochs."""
    from flows.experiment import load_experiment
    from flows.train import train_experiment
    from pipeline.simulate import simulate

    folder = tmp_path_factory.mktemp("trained")
    sample = simulate("gaussians", folder / "events", 3000)
    good = sample.experiment.read_text().replace("epochs = 30", "epochs = 3").replace("[64, 64, 64]", "[16, 16]")
    sample.experiment.write_text(good)
    crippled = sample.experiment.with_name("crippled.toml")
    crippled.write_text(good.replace("learning_rate = 1e-3", "learning_rate = 1e-9"))
    with pytest.MonkeyPatch.context() as environment, warnings.catch_warnings():
        # The warnings of third parties are each test's own business; here they would fail all tests at once.
        warnings.simplefilter("ignore")
        _settle_in(environment, folder / "home")
        files = [load_experiment(path) for path in (crippled, sample.experiment, sample.experiment)]
        outcomes = tuple(train_experiment(file) for file in files)
    return Trained(folder / "home", files[1], sample.new_files[0], outcomes)


@pytest.fixture
def trained(trained_once: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trained:
    """The trained experiment, its home being the home; nothing that lasts may be done to it."""
    _settle_in(monkeypatch, trained_once.home)
    monkeypatch.chdir(tmp_path)
    return trained_once


@pytest.fixture
def trained_copy(trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trained:
    """The trained experiment in a home of this test's own, where promotions and new versions harm nobody."""
    home = tmp_path / "home"
    shutil.copytree(trained.home, home)
    _settle_in(monkeypatch, home)
    return Trained(home, trained.file, trained.new_events, trained.outcomes)


def _settle_in(environment: pytest.MonkeyPatch, home: Path) -> None:
    environment.setenv("WINNOW_HOME", str(home))
    for name in ADDRESSES:
        environment.delenv(name, raising=False)
