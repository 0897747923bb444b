"""Checkpoints: what was written comes back bit for bit, or not at all."""

import hashlib
import json
import logging
import math
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from models.checkpoint import (
    DTYPES,
    NOWHERE,
    Checkpoint,
    CheckpointFile,
    checkpoints_at,
    read_checkpoint,
    write_checkpoint,
)

KEY = "a3f1"
SHAPES = [(), (1,), (0,), (0, 3), (2, 3, 4)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.checkpoint"


def after_epoch(epoch: int, n_weights: int = 5) -> Checkpoint:
    return Checkpoint({"epoch": epoch}, (np.full(n_weights, epoch, np.float32),), (np.array(epoch),))


def random_bits(kind: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return an array that may hold anything: NaN with a payload, -0, subnormal numbers."""
    if kind == np.bool_:
        return np.asarray(np.ones(shape, np.bool_))
    size = math.prod(shape) * kind.itemsize
    return np.frombuffer(np.random.default_rng(size).bytes(size), np.uint8).view(kind).reshape(shape)


def is_same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def epoch_of(path: Path) -> int | None:
    found = read_checkpoint(path, KEY)
    return found.state["epoch"] if found else None


def sealed(content: bytes, form: int = 1) -> bytes:
    return f"winnow checkpoint {form} {hashlib.sha256(content).hexdigest()}\n".encode() + content


@contextmanager
def a_disk_with_room_for(n_bytes: int) -> Iterator[None]:
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_array_comes_back_bit_for_bit(path: Path, name: str, shape: tuple[int, ...]) -> None:
    array = random_bits(DTYPES[name], shape)
    write_checkpoint(path, KEY, Checkpoint({}, (array,), (array, array)))
    found = read_checkpoint(path, KEY)
    assert found is not None
    assert (len(found.variables), len(found.best)) == (1, 2)
    assert all(is_same_bits(array, read) for read in found.variables + found.best)


def test_arrays_of_all_types_lie_one_after_the_other(path: Path) -> None:
    arrays = tuple(random_bits(kind, shape) for kind in DTYPES.values() for shape in SHAPES)
    write_checkpoint(path, KEY, Checkpoint({}, arrays, arrays[::-1]))
    found = read_checkpoint(path, KEY)
    assert found is not None
    assert len(found.variables) == len(found.best) == len(arrays)
    assert all(map(is_same_bits, found.variables, arrays))
    assert all(map(is_same_bits, found.best, arrays[::-1]))


def test_the_types_that_networks_use_can_be_kept() -> None:
    kinds: list[Any] = [np.float32, np.float64, np.int32, np.int64, np.uint32, ml_dtypes.bfloat16]
    assert {np.dtype(kind) for kind in kinds} <= set(DTYPES.values())


@pytest.mark.parametrize(
    "array",
    [np.arange(12.0).reshape(3, 4).T, np.arange(12.0)[::-2], np.broadcast_to(1.5, (2, 2)), np.arange(3.0, dtype=">f8")],
)
def test_an_array_that_lies_otherwise_in_memory_has_the_same_values(path: Path, array: NDArray[Any]) -> None:
    write_checkpoint(path, KEY, Checkpoint({}, (array,), ()))
    found = read_checkpoint(path, KEY)
    assert found is not None
    assert np.array_equal(found.variables[0], array)


def test_what_was_read_can_be_trained_further(path: Path) -> None:
    write_checkpoint(path, KEY, Checkpoint({}, (np.ones(1, np.int8), np.ones(2)), ()))
    found = read_checkpoint(path, KEY)
    assert found is not None
    assert all(array.flags.writeable and array.flags.aligned for array in found.variables)


def test_a_state_comes_back_with_every_float_exact(path: Path) -> None:
    state = {
        "best": math.inf,
        "worst": -math.inf,
        "history": [{"loss": 0.1 + 0.2, "rate": 5e-324, "name": "µ\n\ud800"}],
        "random": 2**127 + 1,
        "none": None,
    }
    write_checkpoint(path, KEY, Checkpoint({**state, "nan": math.nan, "zero": -0.0}, (), ()))
    found = read_checkpoint(path, KEY)
    assert found is not None
    assert math.isnan(found.state.pop("nan"))
    assert math.copysign(1, found.state.pop("zero")) == -1
    assert found.state == state


def test_where_nothing_was_written_nothing_is_found(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_checkpoint(path, KEY) is None
    assert not caplog.messages


@pytest.mark.parametrize("n_bytes", [0, 1, 17, 18, 20, 83, 84, 85, 120, -20, -1])
def test_a_file_that_was_cut_short_is_not_used(path: Path, caplog: pytest.LogCaptureFixture, n_bytes: int) -> None:
    write_checkpoint(path, KEY, after_epoch(1))
    path.write_bytes(path.read_bytes()[:n_bytes])
    assert read_checkpoint(path, KEY) is None
    assert "is not used, training starts afresh" in caplog.text


def test_no_flipped_bit_goes_unnoticed(path: Path) -> None:
    write_checkpoint(path, KEY, after_epoch(1))
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        assert read_checkpoint(path, KEY) is None, position


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is no checkpoint"),
        (b"PK\3\4 and so on", "the file is no checkpoint"),
        (sealed(b"{}\n", form=2), "it is not of format 1"),
        (sealed(b"{}\n") + b"more", "its content does not agree with its SHA-256"),
        (sealed(b'{"key": "b"}\n'), "it belongs to another training, b; this one is a3f1"),
    ],
)
def test_a_foreign_file_is_named_with_the_reason(
    path: Path, caplog: pytest.LogCaptureFixture, content: bytes, told: str
) -> None:
    path.write_bytes(content)
    assert read_checkpoint(path, KEY) is None
    assert caplog.messages[0].startswith(f"checkpoint {path} is not used, training starts afresh: {told}")


def test_the_checkpoint_of_another_training_is_not_used(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_checkpoint(path, "b2", after_epoch(1))
    assert read_checkpoint(path, KEY) is None
    assert "it belongs to another training, b2; this one is a3f1" in caplog.text


def test_a_file_with_python_objects_is_not_used(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    header = {"key": KEY, "state": {}, "variables": [["object", [1]]], "best": []}
    path.write_bytes(sealed(json.dumps(header).encode() + b"\n" + bytes(8)))
    assert read_checkpoint(path, KEY) is None
    assert "it holds an array of type object; allowed: bool" in caplog.text


@pytest.mark.parametrize("array", [np.array([{}]), np.array(["pt"]), np.zeros(1, "i4,f4"), np.ones(1, complex)])
def test_an_array_of_anything_but_plain_numbers_is_refused(path: Path, array: NDArray[Any]) -> None:
    write_checkpoint(path, KEY, after_epoch(1))
    with pytest.raises(TypeError, match="a checkpoint cannot hold an array of type"):
        write_checkpoint(path, KEY, Checkpoint({}, (), (array,)))
    assert epoch_of(path) == 1


@pytest.mark.parametrize("state", [{"loss": np.float32(1)}, {"epoch": np.int64(1)}, {"weights": np.ones(1)}])
def test_a_state_that_json_cannot_hold_is_refused(path: Path, state: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="is not JSON serializable"):
        write_checkpoint(path, KEY, Checkpoint(state, (), ()))
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("n_bytes", [0, 50, 100_000])
def test_a_write_that_fails_leaves_the_former_checkpoint_and_nothing_else(path: Path, n_bytes: int) -> None:
    write_checkpoint(path, KEY, after_epoch(1))
    with a_disk_with_room_for(n_bytes), pytest.raises(OSError, match="File too large"):
        write_checkpoint(path, KEY, after_epoch(2, n_weights=100_000))
    assert epoch_of(path) == 1
    assert list(path.parent.iterdir()) == [path]


KILLED_WHILE_WRITING = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from models.checkpoint import Checkpoint, write_checkpoint

signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # the signal kills at the first byte that is too many
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
write_checkpoint(Path(sys.argv[1]), "a3f1", Checkpoint({"epoch": 2}, (np.ones(100_000),), ()))
"""


@pytest.mark.parametrize("n_bytes", [1, 500_000])
def test_a_kill_in_mid_write_leaves_the_former_checkpoint(path: Path, n_bytes: int) -> None:
    write_checkpoint(path, KEY, after_epoch(1))
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, str(path), str(n_bytes)]
    assert subprocess.run(command, env=with_modules(), check=False).returncode < 0
    assert epoch_of(path) == 1
    assert len(list(path.parent.iterdir())) == 2
    write_checkpoint(path, KEY, after_epoch(3))
    assert epoch_of(path) == 3
    assert list(path.parent.iterdir()) == [path]


def test_a_checkpoint_that_must_be_is_written_before_its_time(path: Path) -> None:
    with checkpoints_at(path, KEY, every_seconds=1e6) as checkpoints:
        checkpoints.offer(never)
        checkpoints.offer(lambda: after_epoch(7), at_once=True)
    assert epoch_of(path) == 7


def test_a_training_that_breaks_leaves_its_checkpoint_to_the_next(path: Path) -> None:
    def broken_training() -> None:
        with checkpoints_at(path, KEY, every_seconds=0) as checkpoints:
            checkpoints.offer(lambda: after_epoch(4))
            raise KeyboardInterrupt("enough")

    with pytest.raises(KeyboardInterrupt, match="enough"):
        broken_training()
    with checkpoints_at(path, KEY) as checkpoints:
        found = checkpoints.load()
    assert found is not None
    assert found.state == {"epoch": 4}


def written_epochs(path: Path, offered_at: list[float], seconds_to_make: float = 0.0) -> list[int]:
    """Return which of the epochs, each ending at its time on a clock of our own, were written."""
    now, written = 0.0, list[int]()

    def made(epoch: int) -> Checkpoint:
        nonlocal now
        now += seconds_to_make
        written.append(epoch)
        return after_epoch(epoch)

    file = CheckpointFile(path, KEY, 10.0, lambda: now)
    for epoch, at in enumerate(offered_at, 1):
        now = at
        file.offer(partial(made, epoch))
    assert epoch_of(path) == (written[-1] if written else None)
    return written


def test_a_checkpoint_is_made_when_the_interval_is_over_and_not_before(path: Path) -> None:
    assert written_epochs(path, [1, 9.9, 10, 12, 19.9, 21, 30.9, 31]) == [3, 6, 8]


def test_a_training_shorter_than_the_interval_writes_nothing(path: Path) -> None:
    assert written_epochs(path, [1, 2, 9]) == []


def test_without_an_interval_every_checkpoint_is_written(path: Path) -> None:
    with checkpoints_at(path, KEY, every_seconds=0) as checkpoints:
        for epoch in range(1, 4):
            checkpoints.offer(partial(after_epoch, epoch))
            assert epoch_of(path) == epoch


def test_at_most_a_twentieth_of_the_time_goes_into_checkpoints(path: Path) -> None:
    """2 s for one that ends at 12 s: none for the 40 s after that."""
    assert written_epochs(path, [10, 25, 51, 53, 94, 95.5], seconds_to_make=2) == [1, 4, 6]


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_training(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with checkpoints_at(path, KEY, every_seconds=0) as checkpoints:
        checkpoints.offer(lambda: after_epoch(1))
        with a_disk_with_room_for(50):
            checkpoints.offer(lambda: after_epoch(2, n_weights=1000))
        assert epoch_of(path) == 1
        checkpoints.offer(lambda: after_epoch(3))
    assert epoch_of(path) == 3
    assert len(caplog.messages) == 1
    assert "no checkpoint was written, the one before it stays" in caplog.text


def test_one_training_has_the_checkpoint_and_the_second_goes_on_without(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with checkpoints_at(path, KEY) as first, checkpoints_at(path, KEY) as second:
        assert first is not NOWHERE
        assert second is NOWHERE
    assert caplog.messages == [
        f"another process trains with checkpoint {path}; this training goes on without checkpoints"
    ]


def test_the_second_leaves_the_first_its_lock(path: Path) -> None:
    with checkpoints_at(path, KEY) as first:
        for _ in range(2):
            with checkpoints_at(path, KEY) as second:
                assert second is NOWHERE
        assert isinstance(first, CheckpointFile)


def test_who_removed_the_folder_leaves_the_lock_of_the_next(tmp_path: Path) -> None:
    path = tmp_path / "training" / "checkpoint"
    with ExitStack() as other:
        with checkpoints_at(path, KEY):
            shutil.rmtree(path.parent)
            assert other.enter_context(checkpoints_at(path, KEY)) is not NOWHERE
        with checkpoints_at(path, KEY) as third:
            assert third is NOWHERE
    assert not list(path.parent.iterdir())


def test_checkpoints_of_other_names_do_not_wait_for_each_other(path: Path) -> None:
    with checkpoints_at(path, KEY) as first, checkpoints_at(path.with_name("other"), KEY) as second:
        assert NOWHERE not in (first, second)


HOLDER = """
import sys
from pathlib import Path
from models.checkpoint import checkpoints_at

with checkpoints_at(Path(sys.argv[1]), "a3f1"):
    print("held", flush=True)
    sys.stdin.read()
"""


def with_modules() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def test_a_killed_process_lets_its_checkpoint_go(path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=with_modules()) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with checkpoints_at(path, KEY) as checkpoints:
            assert checkpoints is NOWHERE
        holder.kill()
    with checkpoints_at(path, KEY) as checkpoints:
        assert checkpoints is not NOWHERE
    assert not list(path.parent.iterdir())


def test_a_folder_is_made_where_there_is_none(tmp_path: Path) -> None:
    with checkpoints_at(tmp_path / "a" / "b" / "run", KEY, every_seconds=0) as checkpoints:
        checkpoints.offer(lambda: after_epoch(1))
    assert epoch_of(tmp_path / "a" / "b" / "run") == 1


def test_a_place_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with checkpoints_at(tmp_path / "file" / "run", KEY) as checkpoints:
        assert checkpoints is NOWHERE
    assert "cannot be kept, training goes on without checkpoints" in caplog.text


def never() -> Checkpoint:
    raise AssertionError("made for nobody")


def test_nowhere_keeps_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), checkpoints_at(None, KEY, every_seconds=0) as checkpoints:
        checkpoints.offer(never)
        assert checkpoints.load() is None
    assert checkpoints is NOWHERE
    assert not caplog.messages
