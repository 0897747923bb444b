"""What it costs to judge: the AUC beside one plain sort of the scores, the bootstrap, and everything together."""

import os
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
from pipeline.simulate import DEFAULT_SEED, simulate

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


WHOLE = """
import sys, time
from pathlib import Path
from flows.experiment import load_experiment
from flows.train import train_experiment

seconds = {}

def timed(step, *arguments):
    started = time.perf_counter()
    result = step(*arguments)
    seconds[step.__name__] = time.perf_counter() - started
    return result

outcome = train_experiment(load_experiment(Path(sys.argv[1])), timed)
test = sum(count.events for count in outcome.evaluation.counts if count.part == "test")
status = Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) / 2**20
print(seconds["evaluate_networks"], seconds["write_findings"], test, peak)
"""

ASKED = """
spectators = ["x_1"]
[evaluation]
calibration = "isotonic"
templates = true
working_points = [
    { name = "tight", background_rejection = 50 },
    { name = "flat", signal_efficiency = 0.5, bins = { variable = "x_1", edges = [-10, -1, 0, 1, 10] } },
]
"""


@pytest.mark.parametrize("baselines", [[], ["fisher", "logistic", "trees"]], ids=["alone", "with baselines"])
def test_evaluation_and_report_of_a_million_test_events(benchmark: Any, baselines: list[str], tmp_path: Path) -> None:
    """28 inputs, weights of both signs, and all that [evaluation] has; the rivals are trained on 150,000 events."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process' memory is read from Linux' /proc")
    sample = simulate(
        "gaussians",
        tmp_path,
        1_300_000,
        DEFAULT_SEED,
        dimensions=28,
        weights=True,
        negative_fraction=0.1,
        format="root",
    )
    text = sample.experiment.read_text().partition("[evaluation]")[0]
    spectators, evaluation = ASKED.split("[evaluation]")
    text = text.replace("[features]", f"[features]{spectators}").replace("epochs = 30", "epochs = 1")
    text = text.replace("train = 0.6, validation = 0.2, test = 0.2", "train = 0.12, validation = 0.11, test = 0.77")
    sample.experiment.write_text(f"{text}[evaluation]\nbaselines = {baselines}{evaluation}")
    command = [sys.executable, "-c", WHOLE, str(sample.experiment)]
    environment = {**os.environ, "WINNOW_HOME": str(tmp_path / "home")}
    options = {"capture_output": True, "text": True, "check": True, "env": environment}
    done = benchmark.pedantic(subprocess.run, (command,), options)
    evaluating, reporting, events, peak = map(float, done.stdout.split()[-4:])
    benchmark.extra_info.update(
        test_events=int(events), seconds_of_evaluation=round(evaluating, 1), seconds_of_report=round(reporting, 1),
        peak_gib=round(peak, 2),
    )  # fmt: skip
