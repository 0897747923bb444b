"""How fast a network is trained, beside what ``keras.Model.fit`` does with the same network in the same run.

The reference: 28 → 4 x (128, batch norm, ReLU, dropout 0.1) → 1. Run with ``KERAS_BACKEND=jax`` for JAX.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.build import ModelSpec, build, head_of
from models.epochs import Epochs, begin_epochs
from models.optimization import OptimizationSpec
from pipeline.shuffle import EventsInMemory, EventsOnDisk, EventSource, shuffle_to_disk
from pipeline.table import EventTable, pack

N_EVENTS, N_INPUTS, ROUNDS = 400_000, 28, 5
N_WEIGHTS = N_INPUTS * 128 + 3 * 128 * 128 + 128
"""Of the matrices: an event costs two operations for each, forwards, and four backwards."""


@pytest.fixture(scope="module")
def table() -> EventTable:
    generator = np.random.default_rng(1)
    inputs = generator.normal(size=(N_EVENTS, N_INPUTS)).astype(np.float32)
    return pack(inputs, inputs[:, 0] * inputs[:, 1] + inputs[:, 2] > 0, np.ones(N_EVENTS))


def compiled_epochs(source: EventSource, batch_size: int) -> Epochs:
    spec = ModelSpec()
    network, loss = build(spec, N_INPUTS, 2, seed=1), head_of(spec).loss()
    few = EventsInMemory(EventTable(np.ones((10, N_INPUTS + 2), dtype=np.float32)))
    epochs = begin_epochs(network, loss, OptimizationSpec(batch_size=batch_size), source, few, seed=1)
    assert not epochs.why_not_compiled
    return epochs


def epoch_of(epochs: Epochs) -> Callable[[], int]:
    rates = np.full(epochs.steps_per_epoch, 1e-3, dtype=np.float32)

    def work() -> int:
        epochs.run(np.random.default_rng(1), rates, lambda _: None)
        return N_EVENTS

    return work


def fit_of(table: EventTable, batch_size: int, **options: Any) -> Callable[[], int]:
    """Return one epoch as most notebooks have it: NumPy arrays, ``compile`` and ``fit`` with their defaults."""
    logits = build(ModelSpec(), N_INPUTS, 2, seed=1)
    network = keras.Model(logits.input, keras.layers.Activation("sigmoid")(logits.output))
    network.compile("adam", "binary_crossentropy", **options)
    inputs, labels = table.inputs.copy(), table.labels.copy()

    def work() -> int:
        network.fit(inputs, labels, batch_size=batch_size, verbose=0)
        return N_EVENTS

    return work


def matrix_product() -> int:
    """Multiply single precision matrices, and return the number of operations."""
    one, other = (np.ones(shape, dtype=np.float32) for shape in ((8192, 1024), (1024, 1024)))
    for _ in range(4):
        one @ other
    return 4 * 2 * 8192 * 1024 * 1024


def rates_of(*works: Callable[[], int]) -> list[list[float]]:
    """Return the rate of each work in each round, one after the other, so that whatever else there is hits all."""
    found: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    for _ in range(ROUNDS):
        for work, rates in zip(works, found, strict=True):
            started = time.perf_counter()
            rates.append(work() / (time.perf_counter() - started))
    return found


def median_ratio(ones: list[float], others: list[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(ones, others, strict=True)), 2)


def noted(benchmark: Any, **numbers: float) -> None:
    benchmark.extra_info.update({f"{keras.backend.backend()}_{name}": value for name, value in numbers.items()})


@pytest.mark.parametrize("batch_size", [1024, 256])
def test_an_epoch_against_fit(benchmark: Any, table: EventTable, batch_size: int) -> None:
    epoch = epoch_of(compiled_epochs(EventsInMemory(table), batch_size))
    ours, plain, jitted = rates_of(epoch, fit_of(table, batch_size), fit_of(table, batch_size, jit_compile=True))
    noted(
        benchmark,
        events_per_second=round(statistics.median(ours)),
        times_plain_fit=median_ratio(ours, plain),
        times_fit_with_jit_compile=median_ratio(ours, jitted),
        plain_fit_events_per_second=round(statistics.median(plain)),
    )
    benchmark.pedantic(epoch, rounds=1)


@pytest.mark.parametrize("batch_size", [1024, 8192])
def test_share_of_the_matrix_product_rate(benchmark: Any, table: EventTable, batch_size: int) -> None:
    epoch = epoch_of(compiled_epochs(EventsInMemory(table), batch_size))
    ours, product = rates_of(epoch, matrix_product)
    share = median_ratio([6 * N_WEIGHTS * rate for rate in ours], product)
    noted(
        benchmark,
        events_per_second=round(statistics.median(ours)),
        share_of_matrix_product_rate=share,
        matrix_product_gflops=round(statistics.median(product) / 1e9),
    )
    benchmark.pedantic(epoch, rounds=1)


def test_out_of_memory_against_in_memory(benchmark: Any, table: EventTable, tmp_path: Path) -> None:
    path, n_blocks = tmp_path / "events.npy", 8
    shuffle_to_disk(iter([table]), N_EVENTS, N_INPUTS, path, np.random.default_rng(1), 2**25)
    on_disk = EventsOnDisk.open(path, 1024, 1024 * (N_EVENTS // 1024 // n_blocks))
    streamed, resident = (epoch_of(compiled_epochs(s, 1024)) for s in (on_disk, EventsInMemory(table)))
    from_disk, from_memory = rates_of(streamed, resident)
    noted(benchmark, share_of_the_speed_in_memory=median_ratio(from_disk, from_memory))
    benchmark.pedantic(streamed, rounds=1)


FIRST_STEP = """
import time
import numpy as np
from models.build import ModelSpec, build, head_of
from models.compiled.program import Span
from models.epochs import begin_epochs
from models.optimization import OptimizationSpec
from pipeline.shuffle import EventsInMemory
from pipeline.table import EventTable

rows = np.random.default_rng(1).normal(size=(1024, 30)).astype(np.float32)
source = EventsInMemory(EventTable(abs(rows)))
spec = ModelSpec()
started = time.perf_counter()
network, loss = build(spec, 28, 2, seed=1), head_of(spec).loss()
epochs = begin_epochs(network, loss, OptimizationSpec(batch_size=1024), source, source, seed=1)
epochs.run(np.random.default_rng(1), np.ones(1, dtype=np.float32), lambda _: None)
print(time.perf_counter() - started)
"""


def test_time_to_the_first_step(benchmark: Any) -> None:
    command, seconds = [sys.executable, "-c", FIRST_STEP], []
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(float(done.stdout.split()[-1]))
    noted(benchmark, seconds_to_the_first_step=round(statistics.median(seconds), 1))
    benchmark.pedantic(subprocess.run, (command,), {"capture_output": True, "check": True}, rounds=1)


ELEVEN_MILLION = """
import sys
import numpy as np
from pathlib import Path
from models.build import ModelSpec, build, head_of
from models.epochs import begin_epochs
from models.optimization import OptimizationSpec
from pipeline.shuffle import EventsOnDisk, shuffle_to_disk
from pipeline.table import pack

def tables():
    generator = np.random.default_rng(1)
    for _ in range(110):
        inputs = generator.normal(size=(100_000, 28)).astype(np.float32)
        yield pack(inputs, inputs[:, 0] > 0, np.ones(len(inputs)))

path, spec = Path(sys.argv[1]), ModelSpec()
shuffle_to_disk(tables(), 11_000_000, 28, path, np.random.default_rng(1), 2**30)
source = EventsOnDisk.open(path, 1024, 1024 * 2048)
network, loss = build(spec, 28, 2, seed=1), head_of(spec).loss()
epochs = begin_epochs(network, loss, OptimizationSpec(batch_size=1024), source, source, seed=1)
epochs.run(np.random.default_rng(1), np.full(epochs.steps_per_epoch, 1e-3, dtype=np.float32), lambda _: None)
epochs.judge()
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 2**20)
"""


def test_memory_of_an_epoch_of_eleven_million_events(benchmark: Any, tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process' memory is read from Linux' /proc")
    command = [sys.executable, "-c", ELEVEN_MILLION, str(tmp_path / "events.npy")]
    done = benchmark.pedantic(subprocess.run, (command,), {"capture_output": True, "text": True, "check": True})
    noted(benchmark, peak_gib_of_11_million_events=round(float(done.stdout.split()[-1]), 2))
