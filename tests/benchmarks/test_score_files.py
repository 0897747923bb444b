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
from models.build import ModelSpec, build, head_of, scoring_network
from models.bundle import MODEL, BundleManifest, write_bundle
from models.export import export_onnx
from pipeline.features import Recipe
from pipeline.layout import Layout
from pipeline.normalise import InputTransform

N_EVENTS, N_FEATURES = 400_000, 28
NAMES = tuple(f"x_{i}" for i in range(N_FEATURES))
TRANSFORM = InputTransform(
    features=NAMES,
    sentinels=((),) * N_FEATURES,
    fill=(0.0,) * N_FEATURES,
    flagged=(),
    offset=(0.5,) * N_FEATURES,
    scale=(2.0,) * N_FEATURES,
    clip=100.0,
)


@pytest.fixture(scope="module")
def network() -> Any:
    spec = ModelSpec()
    return scoring_network(build(spec, N_FEATURES, 2, seed=1), head_of(spec))


@pytest.fixture(scope="module")
def reference(network: Any, tmp_path_factory: pytest.TempPathFactory) -> ModelReference:
    folder = tmp_path_factory.mktemp("bundle")
    export_onnx(network, TRANSFORM, folder / MODEL)
    manifest = BundleManifest(
        name="reference",
        classes=("background", "signal"),
        recipe=Recipe(inputs=NAMES),
        columns=dict.fromkeys(NAMES, "float"),
        layouts=(Layout(tree="tracks"),),
        transform=TRANSFORM,
        provenance={},
        files={},
    )
    return ModelReference("reference", "1", write_bundle(folder / "bundle", manifest, {MODEL: folder / MODEL}))


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, generator = tmp_path_factory.mktemp("events") / "events.root", np.random.default_rng(1)
    with uproot.recreate(path) as file:
        tree = file.mktree("tracks", dict.fromkeys(NAMES, np.float32))
        for _ in range(4):
            tree.extend({name: generator.normal(size=N_EVENTS // 4).astype(np.float32) for name in NAMES})
    return path


def plain_recipe(path: Path, target: Path, network: Any) -> None:
    with uproot.open(path) as file:
        columns = file["tracks"].arrays(library="np")
    inputs = (np.stack([columns[name] for name in NAMES], axis=1) - 0.5) * 2.0
    columns["score"] = network.predict(inputs.astype(np.float32), verbose=0)[:, 0]
    with uproot.recreate(target) as file:
        tree = file.mktree("tracks", {name: values.dtype for name, values in columns.items()})
        tree.extend(columns)


def test_root_file_to_scored_root_file(
    benchmark: Any, reference: ModelReference, network: Any, events: Path, tmp_path: Path
) -> None:
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        plain_recipe(events, tmp_path / "plain.root", network)
        seconds.append(time.perf_counter() - started)
    options = ScoreOptions(overwrite=True)
    arguments = (reference, events, tmp_path / "scored.root", options)
    benchmark.pedantic(score_file, args=arguments, rounds=5, warmup_rounds=1)
    benchmark.extra_info["events_per_second"] = round(N_EVENTS / benchmark.stats.stats.median)
    benchmark.extra_info["times_plain_recipe"] = round(statistics.median(seconds) / benchmark.stats.stats.median, 2)
