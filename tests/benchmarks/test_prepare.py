"""How fast events are prepared, beside uproot reading the same columns of the same file in the same run."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pytest
import uproot

from pipeline.plan import DataSpec
from pipeline.prepare import prepare

N_EVENTS, BASKET, ROUNDS = 1_000_000, 100_000, 5
FEATURES = [f"x_{i}" for i in range(28)]
COMPRESSIONS = {"zlib": uproot.ZLIB(1), "zstd": uproot.ZSTD(3)}


@pytest.fixture(scope="module", params=COMPRESSIONS)
def events_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, rng = tmp_path_factory.mktemp(request.param) / "events.root", np.random.default_rng(1)
    with uproot.recreate(path, compression=COMPRESSIONS[request.param]) as file:
        tree = file.mktree("events", {**dict.fromkeys(FEATURES, "float32"), "event": "int64", "species": "int32"})
        for start in range(0, N_EVENTS, BASKET):
            features = {name: rng.normal(size=BASKET).astype(np.float32) for name in FEATURES}
            tree.extend({**features, "event": start + np.arange(BASKET), "species": rng.integers(0, 2, BASKET)})
    return path


def read_with_uproot(path: Path) -> int:
    columns = [*FEATURES, "event", "species"]
    return sum(len(a["event"]) for a in uproot.iterate(f"{path}:events", columns, library="np", step_size="32 MB"))


def prepare_anew(path: Path) -> int:
    label = {"column": "species", "signal": 1, "background": 0}
    sections = {
        "samples": [{"name": "both", "label": label, "files": [path.name]}],
        "features": {"inputs": FEATURES},
        "split": {"by": ["event"]},
    }
    rmtree(path.parent / "store", ignore_errors=True)
    return prepare(DataSpec.model_validate(sections), path.parent, path.parent / "store").manifest.events.kept


def seconds(work: Callable[[Path], int], path: Path) -> float:
    start = time.perf_counter()
    assert work(path) == N_EVENTS
    return time.perf_counter() - start


def test_preparing_against_reading_alone(events_file: Path, benchmark: Any) -> None:
    prepare_anew(events_file)
    # One after the other in every round, so that whatever else the machine does hits both.
    rounds = [(seconds(read_with_uproot, events_file), seconds(prepare_anew, events_file)) for _ in range(ROUNDS)]
    read, prepared = (statistics.median(times) for times in zip(*rounds, strict=True))
    benchmark.extra_info["uproot_events_per_second"] = round(N_EVENTS / read)
    benchmark.extra_info["prepare_events_per_second"] = round(N_EVENTS / prepared)
    benchmark.extra_info["prepare_speed_over_uproot"] = round(read / prepared, 3)
    benchmark.pedantic(prepare_anew, (events_file,), rounds=1)
