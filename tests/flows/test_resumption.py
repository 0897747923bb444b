"""Resumption: a training finds what it left itself, nothing of another one's, and nothing piles up."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.experiment import Experiment
from flows.home import trainings
from flows.resumption import training_key, workplace
from models.checkpoint import Checkpoint
from pipeline.dataset import Manifest
from pipeline.errors import TrainingError

KEY = "a3f1"
DAY = 24 * 3600


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WINNOW_HOME", str(tmp_path))
    return tmp_path


def left_in_trainings() -> set[str]:
    return {str(path.relative_to(trainings())) for path in trainings().rglob("*")}


def after_epoch(epoch: int) -> Checkpoint:
    return Checkpoint({"epoch": epoch}, (np.zeros(3),), ())


def train_until(end: BaseException, key: str = KEY) -> None:
    """Have events shuffled and a checkpoint written, and then this happen."""
    with workplace(key, 0.0) as place:
        (place.folder / "train.npy").write_text("events")
        place.checkpoints.offer(lambda: after_epoch(3))
        raise end


def interrupt() -> Path:
    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        train_until(KeyboardInterrupt("Ctrl-C"))
    return trainings() / KEY


def leave(name: str, age: float) -> Path:
    """Leave a folder with files in trainings, and nobody who works there."""
    folder = trainings() / name
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "bucket-0").write_text("events")
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - age, time.time() - age))
    return folder


def open_another() -> None:
    with workplace("another", 0.0):
        pass


class TestKey:
    """Which trainings are the same."""

    @pytest.fixture
    def declared(self, trained: Any) -> dict[str, Any]:
        return json.loads(trained.file.content.model_dump_json())

    @pytest.fixture
    def manifest(self, trained: Any) -> Manifest:
        return trained.outcome.datasets[0].manifest

    @pytest.fixture
    def key_of(self, declared: dict[str, Any], manifest: Manifest) -> Callable[..., str]:
        """``key_of(section={...})``: the key with other values in a section."""

        def key(**changed: dict[str, Any]) -> str:
            sections = {name: {**declared[name], **values} for name, values in changed.items()}
            return training_key(Experiment.model_validate({**declared, **sections}), manifest, "tensorflow")

        return key

    def test_the_same_training_has_the_same_key(self, key_of: Callable[..., str]) -> None:
        assert key_of() == key_of()

    @pytest.mark.parametrize(
        "changed",
        [
            {"model": {"options": {"widths": [16, 17]}}},
            {"training": {"epochs": 31}},
            {"training": {"learning_rate": 2e-3}},
            {"training": {"precision": "mixed_bfloat16"}},
            {"training": {"compiled": False}},
            {"training": {"memory_gib": 0.5}},
            {"training": {"early_stopping": None}},
            {"training": {"schedule": {"warm_up_epochs": 1}}},
            {"experiment": {"seed": 8}},
        ],
        ids=str,
    )
    def test_what_decides_the_result_is_in_the_key(self, changed: Any, key_of: Callable[..., str]) -> None:
        assert key_of(**changed) != key_of()

    @pytest.mark.parametrize("field", ["content", "key"])
    def test_other_events_have_another_key(self, field: str, trained: Any, manifest: Manifest) -> None:
        other = manifest.model_copy(update={field: "0" * 64})
        experiment = trained.file.content
        assert training_key(experiment, other, "tensorflow") != training_key(experiment, manifest, "tensorflow")

    def test_another_backend_has_another_key(self, trained: Any, manifest: Manifest) -> None:
        keys = {training_key(trained.file.content, manifest, backend) for backend in ("tensorflow", "jax", "numpy")}
        assert len(keys) == 3

    @pytest.mark.parametrize(
        "changed",
        [
            {"experiment": {"question": "Another one?"}},
            {"experiment": {"name": "renamed"}},
            {"evaluation": {"signal_efficiencies": [0.7]}},
            {"promotion": {"better_than_champion_by": 0.01}},
            {"schedule": {"train": "0 4 * * *"}},
            {"training": {"checkpoint_seconds": 600.0}},
        ],
        ids=str,
    )
    def test_what_does_not_decide_the_result_is_not(self, changed: Any, key_of: Callable[..., str]) -> None:
        assert key_of(**changed) == key_of()


def test_a_training_that_ends_leaves_nothing() -> None:
    with workplace(KEY, 0.0) as place:
        (place.folder / "train.npy").write_text("events")
        place.checkpoints.offer(lambda: after_epoch(1))
        assert left_in_trainings() >= {f"{KEY}/train.npy", f"{KEY}/checkpoint"}
    assert left_in_trainings() == set()


def test_an_interrupted_training_finds_its_events_and_its_checkpoint_again() -> None:
    interrupt()
    assert left_in_trainings() == {KEY, f"{KEY}/train.npy", f"{KEY}/checkpoint"}
    with workplace(KEY, 0.0) as place:
        assert (place.folder / "train.npy").read_text() == "events"
        found = place.checkpoints.load()
    assert found is not None
    assert found.state == {"epoch": 3}


def test_a_training_that_is_refused_leaves_nothing_since_it_would_be_again() -> None:
    with pytest.raises(TrainingError, match="not finite"):
        train_until(TrainingError("the loss is not finite"))
    assert left_in_trainings() == set()


def test_an_error_that_may_pass_leaves_the_training_to_be_gone_on_with() -> None:
    with pytest.raises(OSError, match="No space left"):
        train_until(OSError("No space left on device"))
    assert left_in_trainings() == {KEY, f"{KEY}/train.npy", f"{KEY}/checkpoint"}


def test_another_training_finds_nothing_of_an_interrupted_one() -> None:
    interrupt()
    with workplace("another", 0.0) as place:
        assert place.checkpoints.load() is None
        assert not (place.folder / "train.npy").exists()


def test_a_second_process_gets_a_folder_of_its_own_and_no_checkpoints(caplog: pytest.LogCaptureFixture) -> None:
    folder = interrupt()
    with workplace(KEY, 0.0) as first, workplace(KEY, 0.0) as second:
        second.checkpoints.offer(lambda: after_epoch(9))
        assert first.folder == folder != second.folder
        assert second.checkpoints.load() is None
        assert list(second.folder.iterdir()) == []
    assert "another process trains with checkpoint" in caplog.text


@pytest.mark.parametrize(
    "end", [KeyboardInterrupt("the end"), TrainingError("the end"), SystemExit("the end")], ids=repr
)
def test_the_end_of_a_second_process_touches_nothing_of_the_first(end: BaseException) -> None:
    folder = interrupt()
    with workplace(KEY, 0.0):
        before = {path: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(type(end), match="the end"):
            train_until(end)
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
        assert list(trainings().iterdir()) == [folder]


@pytest.mark.parametrize(
    ("name", "age", "is_kept"),
    [
        ("tmpab12.tmp", DAY / 2, True),
        ("tmpab12.tmp", 1.1 * DAY, False),
        ("b7c2", 29 * DAY, True),
        ("b7c2", 31 * DAY, False),
    ],
)
def test_what_a_killed_process_left_is_kept_for_its_time(name: str, age: float, is_kept: bool) -> None:
    left = leave(name, age)
    open_another()
    assert left.exists() == is_kept


def test_one_fresh_file_keeps_a_folder() -> None:
    left = leave("tmpab12.tmp", 2 * DAY)
    (left / "deep" / "bucket-1").write_text("events")
    open_another()
    assert left.exists()


def test_a_second_process_shows_after_every_epoch_that_it_lives() -> None:
    with workplace(KEY, 0.0), workplace(KEY, 0.0) as second:
        os.utime(second.folder, (time.time() - 2 * DAY, time.time() - 2 * DAY))
        second.checkpoints.offer(lambda: after_epoch(1))
        open_another()
        assert second.folder.exists()


def test_a_training_that_is_gone_on_with_after_long_is_not_forgotten() -> None:
    folder = interrupt()
    for path in [folder, *folder.iterdir()]:
        os.utime(path, (time.time() - 31 * DAY, time.time() - 31 * DAY))
    with workplace(KEY, 0.0) as place:
        assert place.checkpoints.load() is not None


def test_an_unfinished_shuffle_is_removed_by_the_next_run_of_its_training() -> None:
    interrupt()
    leave(f"{KEY}/.train.npy.x1y2.tmp", 0.0)
    with workplace(KEY, 0.0):
        assert left_in_trainings() == {KEY, f"{KEY}/train.npy", f"{KEY}/checkpoint", f"{KEY}/.checkpoint.lock"}
