"""How fast events are scored, beside what Keras itself does with the same network in the same run."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.bundle import Bundle
from pipeline.chunk import chunk_of
from pipeline.normalise import InputTransform

N_EVENTS = 1_000_000


@pytest.fixture(scope="module")
def features(names: tuple[str, ...]) -> NDArray[np.float64]:
    return np.random.default_rng(1).normal(3, 5, (N_EVENTS, len(names)))


def events_per_second(work: Callable[[], object], n_events: int, rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return n_events / statistics.median(seconds)


def test_scoring_a_million_events(
    benchmark: Any, bundle: Bundle, network: Any, transform: InputTransform, features: NDArray[np.float64]
) -> None:
    few, inputs = transform.apply(features[:50_000]), transform.apply(features)
    network.predict(few, verbose=0)
    network.predict(inputs, batch_size=16_384, verbose=0)
    default = events_per_second(lambda: network.predict(few, verbose=0), len(few), 3)
    large = events_per_second(lambda: network.predict(inputs, batch_size=16_384, verbose=0), N_EVENTS, 3)
    benchmark.pedantic(bundle.score_features, args=(features,), rounds=5, warmup_rounds=1)
    # Keras is handed what it needs; the bundle begins with the features as they are in the file.
    ours = N_EVENTS / benchmark.stats.stats.median
    benchmark.extra_info["events_per_second"] = round(ours)
    benchmark.extra_info["times_keras_default"] = round(ours / default, 2)
    benchmark.extra_info["times_keras_batch_16384"] = round(ours / large, 2)


def test_scoring_one_event_of_raw_columns(benchmark: Any, bundle: Bundle, names: tuple[str, ...]) -> None:
    event = {name: [float(i)] for i, name in enumerate(names)}
    assert benchmark(lambda: bundle.score(chunk_of(event))).shape == (1,)
