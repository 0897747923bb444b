"""Resumption: what a killed training leaves behind, and the next run of the same training takes up.

Owns the folder of a training that is under way, how long it is kept, and which trainings are the same: those of
one dataset, one declaration, one seed, one code, one set of libraries. Nothing of another training is ever used.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from flows.experiment import Experiment
from flows.home import trainings
from flows.provenance import code_version, software
from models.backend import machine
from models.checkpoint import NOWHERE, Checkpoint, Checkpoints, checkpoints_at
from pipeline.abandoned import DAY, remove_abandoned
from pipeline.dataset import Manifest, hash_of
from pipeline.errors import WinnowError

LIBRARIES = {"jax": ("jax", "jaxlib")}
"""Keras' backend → its distributions, where they are not one of its name."""

TEMPORARY = ".tmp"

ABANDONED_AFTER = DAY
"""Seconds without a sign of life after which a temporary folder is taken for that of a killed process."""

FORGOTTEN_AFTER = 30 * DAY
"""Seconds after which nobody is expected to go on with a killed training."""


@dataclass(frozen=True)
class Workplace:
    """Where a training keeps what it would need again: a folder for its events, and its checkpoints."""

    folder: Path
    checkpoints: Checkpoints


def training_key(experiment: Experiment, manifest: Manifest, backend: str) -> str:
    """Return the hash of everything that decides what a training gives, to the last digit.

    ``backend`` is Keras' name for it, which is also that of its distribution.
    """
    declared = {
        "model": experiment.model.model_dump(mode="json"),
        "training": experiment.training.model_dump(mode="json", exclude={"checkpoint_seconds"}),
        "seed": experiment.experiment.seed,
    }
    libraries = {**software(), **{name: metadata.version(name) for name in LIBRARIES.get(backend, (backend,))}}
    return hash_of([declared, manifest.content, manifest.key, code_version(), libraries, backend, machine()])


@contextmanager
def workplace(key: str, checkpoint_seconds: float) -> Iterator[Workplace]:
    """Give one training its folder, which stays where the process is killed or interrupted, and else goes.

    A second process with the same training gets a folder of its own, without checkpoints. What processes that were
    killed have left, and nobody has come back for, is removed on the way.
    """
    folder = trainings() / key
    with checkpoints_at(folder / "checkpoint", key, checkpoint_seconds) as checkpoints:
        trainings().mkdir(parents=True, exist_ok=True)
        # Only now: taking the lock was a sign of life in this training's folder.
        _clear_up()
        if checkpoints is NOWHERE:
            with tempfile.TemporaryDirectory(dir=trainings(), suffix=TEMPORARY) as temporary:
                yield Workplace(Path(temporary), _SignsOfLife(Path(temporary)))
            return
        # Whoever was at work here and did not finish is dead: the lock was free.
        for unfinished in folder.glob(f".*{TEMPORARY}"):
            _remove(unfinished)
        try:
            yield Workplace(folder, checkpoints)
        except WinnowError:
            _remove(folder)
            raise
        _remove(folder)


class _SignsOfLife:
    """Keeps no checkpoints; that its folder is in use shows in the folder's age, epoch by epoch."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> None:
        pass

    def offer(self, make: Callable[[], Checkpoint], at_once: bool = False) -> None:
        with suppress(OSError):
            os.utime(self._folder)


def _clear_up() -> None:
    temporary = set(trainings().glob(f"*{TEMPORARY}"))
    remove_abandoned(temporary, ABANDONED_AFTER)
    remove_abandoned(set(trainings().iterdir()) - temporary, FORGOTTEN_AFTER)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
