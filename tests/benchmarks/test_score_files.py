"""How fast a ROOT file becomes a scored ROOT file, beside the recipe of most notebooks in the same run.

The recipe reads everything with uproot, calls ``predict`` with its defaults on the same network, and
writes everything with uproot.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from flows.reference import ModelReference
from flows.score import ScoreOptions, score_file
from models.bundle import Bundle
from pipeline.normalise import InputTransform

N_EVENTS = 400_000


@pytest.fixture(scope="module")
def events(names: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, generator = tmp_path_factory.mktemp("events") / "events.root", np.random.default_rng(1)
    with uproot.recreate(path) as file:
        tree = file.mktree("tracks", dict.fromkeys(names, np.float32))
        for _ in range(4):
            tree.extend({name: generator.normal(3, 5, N_EVENTS // 4).astype(np.float32) for name in names})
    return path


def plain_recipe(path: Path, target: Path, network: Any, transform: InputTransform) -> None:
    with uproot.open(path) as file:
        columns = file["tracks"].arrays(library="np")
    features = np.stack([columns[name] for name in transform.features], axis=1)
    inputs = (features - np.array(transform.offset)) * np.array(transform.scale)
    columns["score"] = network.predict(inputs.astype(np.float32), verbose=0)[:, 0]
    with uproot.recreate(target) as file:
        tree = file.mktree("tracks", {name: values.dtype for name, values in columns.items()})
        tree.extend(columns)


def test_root_file_to_scored_root_file(
    benchmark: Any, bundle: Bundle, network: Any, transform: InputTransform, events: Path, tmp_path: Path
) -> None:
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        plain_recipe(events, tmp_path / "plain.root", network, transform)
        seconds.append(time.perf_counter() - started)
    reference, target = ModelReference("reference", "1", bundle), tmp_path / "scored.root"
    arguments = (reference, events, target, ScoreOptions(overwrite=True))
    benchmark.pedantic(score_file, args=arguments, rounds=5, warmup_rounds=1)
    benchmark.extra_info["events_per_second"] = round(N_EVENTS / benchmark.stats.stats.median)
    benchmark.extra_info["times_plain_recipe"] = round(statistics.median(seconds) / benchmark.stats.stats.median, 2)
