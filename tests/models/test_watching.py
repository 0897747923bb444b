"""Who watches a training hears of every epoch, and may end it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.build import ModelSpec, build, head_of
from models.checkpoint import checkpoints_at
from models.training import EpochRecord, TrainingEvents, TrainingRecord, TrainingSpec, train
from pipeline.shuffle import EventsInMemory
from pipeline.table import EventTable, pack

LOGISTIC = ModelSpec(architecture="logistic")
SPEC = TrainingSpec(epochs=5, compiled=False, learning_rate=0.1)


def toy(n_events: int) -> EventTable:
    labels = (np.arange(n_events) % 2).astype(np.float32)
    inputs = np.random.default_rng(1).normal(size=(n_events, 2)) + labels[:, None]
    return pack(inputs.astype(np.float32), labels, np.ones(n_events))


def trained(**how: Any) -> TrainingRecord:
    events = TrainingEvents(EventsInMemory(toy(64)), EventsInMemory(toy(32)))
    return train(build(LOGISTIC, 2, 2, 1), head_of(LOGISTIC).loss(), SPEC, events, ("x", "y"), 1, **how)


class Watch:
    """Objects after some epochs, and remembers those it heard of."""

    def __init__(self, patience: int) -> None:
        self.patience, self.heard = patience, list[int]()

    def __call__(self, epoch: EpochRecord) -> str:
        self.heard.append(epoch["epoch"])
        return "it is hopeless" if len(self.heard) >= self.patience else ""


def test_an_objection_ends_the_training_and_is_its_reason() -> None:
    watch = Watch(patience=2)
    record = trained(watch=watch)
    assert (watch.heard, len(record.history), record.stopped_because) == ([1, 2], 2, "it is hopeless")


def test_after_the_last_epoch_there_is_nothing_to_object_to() -> None:
    assert trained(watch=Watch(patience=5)).stopped_because == "all 5 epochs were run"


def test_epochs_before_a_kill_are_heard_of_as_well(tmp_path: Path) -> None:
    def interrupt(work: str, n_events: int, total: int | None) -> None:
        if "epoch 4" in work:
            raise KeyboardInterrupt

    watch = Watch(patience=99)
    with checkpoints_at(tmp_path / "checkpoint", "key", 0.0) as checkpoints, pytest.raises(KeyboardInterrupt):
        trained(checkpoints=checkpoints, progress=interrupt)
    with checkpoints_at(tmp_path / "checkpoint", "key", 0.0) as checkpoints:
        record = trained(checkpoints=checkpoints, watch=watch)
    assert (record.resumed_after, watch.heard) == (3, [1, 2, 3, 4, 5])
