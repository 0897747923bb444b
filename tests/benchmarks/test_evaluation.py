"""What it costs to judge: the AUC beside one plain sort of the scores, and the bootstrap in time and memory."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.metrics import weighted_auc

N_SCORES, ROUNDS = 10_000_000, 5


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def test_weighted_auc_against_one_sort(benchmark: Any) -> None:
    generator = np.random.default_rng(1)
    labels = generator.random(N_SCORES) < 0.5
    scores = (generator.normal(size=N_SCORES) + labels).astype(np.float32)
    weights = generator.gamma(2.0, size=N_SCORES)
    rounds = [
        (seconds_of(lambda: weighted_auc(scores, labels, weights)), seconds_of(lambda: np.sort(scores)))
        for _ in range(ROUNDS)
    ]
    benchmark.extra_info.update(
        times_one_sort=round(statistics.median(ours / sort for ours, sort in rounds), 2),
        seconds_of_one_sort=round(statistics.median(sort for _, sort in rounds), 2),
        seconds_of_the_auc=round(statistics.median(ours for ours, _ in rounds), 2),
    )
    benchmark.pedantic(weighted_auc, (scores, labels, weights), rounds=1)


BOOTSTRAP = """
import time
import numpy as np
from pathlib import Path
from models.bootstrap import bootstrap_roc

generator = np.random.default_rng(1)
labels = generator.random(1_000_000) < 0.5
scores = (generator.normal(size=labels.size) + labels).astype(np.float32)
weights = generator.gamma(2.0, size=labels.size)
wall, processor = time.perf_counter(), time.process_time()
bootstrap_roc(scores, labels, weights, random=generator, n_replicas=1000)
wall, processor = time.perf_counter() - wall, time.process_time() - processor
status = Path("/proc/self/status").read_text()
print(wall, processor, int(status.split("VmHWM:")[1].split()[0]) / 2**20)
"""


def test_a_thousand_replicas_of_a_million_weighted_events(benchmark: Any) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process' memory is read from Linux' /proc")
    command = [sys.executable, "-c", BOOTSTRAP]
    done = benchmark.pedantic(subprocess.run, (command,), {"capture_output": True, "text": True, "check": True})
    wall, processor, peak = map(float, done.stdout.split())
    benchmark.extra_info.update(
        seconds=round(wall, 1), seconds_of_processor=round(processor, 1), peak_gib=round(peak, 2)
    )
