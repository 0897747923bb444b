"""A small real bundle, trained once a session: a recipe, a transform, a network, a graph, a folder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.build import ModelSpec, build, head_of, scoring_network
from models.bundle import MODEL, NETWORK, Bundle, BundleManifest, write_bundle
from models.export import export_onnx
from models.training import TrainingEvents, TrainingSpec, train
from pipeline.blocks import Block, InputSpec
from pipeline.chunk import chunk_of
from pipeline.dataset import EventArrays
from pipeline.feature_statistics import FeatureStatistics
from pipeline.features import Recipe
from pipeline.layout import Layout
from pipeline.missing import MissingSpec
from pipeline.normalise import InputTransform, NormaliseSpec, fit_transform
from pipeline.shuffle import EventsInMemory
from pipeline.table import EventTable, Packing, table_of

Columns = dict[str, NDArray[Any]]

RECIPE = Recipe(
    derive={"pt_per_hit": "pt / (hits + 1)", "only_in_a_cut": "trigger * 2"},
    inputs=("pt", "hits", "mass", "time", "pt_per_hit"),
    sentinels=(-999.0,),
)
MISSING = MissingSpec(values=(-999.0,), flag=True)


def draw_columns(n_events: int, seed: int) -> Columns:
    """Draw raw columns; odd events are signal. ``time`` is a large number of which the last digits count."""
    generator = np.random.default_rng(seed)
    label = np.arange(n_events) % 2
    mass = generator.normal(90 + 5 * label, 10, n_events)
    mass[generator.random(n_events) < 0.05] = -999.0
    return {
        "pt": generator.normal(30 + 8 * label, 8, n_events),
        "hits": generator.poisson(5 + 2 * label, n_events),
        "mass": mass,
        "time": 1.6e9 + generator.normal(label, 1.0, n_events),
    }


def learn_transform(features: NDArray[np.float64], spec: NormaliseSpec, missing: MissingSpec) -> InputTransform:
    """Return the transform that follows from all of ``features``."""
    names = tuple(f"x_{i}" for i in range(features.shape[1]))
    statistics = FeatureStatistics([missing.of(name).values for name in names])
    statistics.update(features, np.arange(len(features), dtype=np.uint64))
    return fit_transform(statistics, InputSpec(inputs=names), spec, missing)


def arrays_of(features: NDArray[np.float64]) -> EventArrays:
    """Return events of weight 1 as a prepared dataset has them; odd ones are signal."""
    n_events = len(features)
    rows = np.arange(n_events)
    return EventArrays(
        features=features,
        spectators=np.empty((n_events, 0)),
        target=np.empty((n_events, 0)),
        label=(rows % 2).astype(np.int8),
        sample=np.zeros(n_events, dtype=np.int16),
        identity=rows.astype(np.uint64),
        content=np.empty((n_events, 0), dtype=np.uint64),
        physics_weight=np.ones(n_events),
        training_weight=np.ones(n_events, dtype=np.float32),
    )


@dataclass(frozen=True)
class Trained:
    """A bundle and what it was made of."""

    bundle: Bundle
    network: Any
    scoring: Any
    transform: InputTransform


@pytest.fixture(scope="session")
def draw() -> Callable[[int, int], Columns]:
    """``draw(n_events, seed)`` gives raw columns."""
    return draw_columns


@pytest.fixture(scope="session")
def learn() -> Callable[[NDArray[np.float64], NormaliseSpec, MissingSpec], InputTransform]:
    """``learn(features, normalise, missing)`` gives the transform."""
    return learn_transform


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A bundle that was trained for three epochs on 4,000 events."""
    folder = tmp_path_factory.mktemp("trained")
    features = RECIPE.matrix(RECIPE.derived(chunk_of(draw_columns(4_000, 1)), {"pt_per_hit"}))
    transform = learn_transform(features, NormaliseSpec(), MISSING)
    spec = ModelSpec(options={"widths": [16, 16]})
    network = build(spec, transform.n_inputs, 2, seed=1)
    events = EventsInMemory(table_of(arrays_of(features), Packing(transform)))
    training = TrainingSpec(epochs=3, batch_size=256, learning_rate=1e-2)
    train(network, head_of(spec).loss(), training, TrainingEvents(events, events), transform.input_names, seed=1)
    scoring = scoring_network(network, head_of(spec))
    export_onnx(scoring, transform, folder / MODEL)
    network.save(folder / NETWORK)
    manifest = BundleManifest(
        name="toy",
        classes=("background", "signal"),
        recipe=RECIPE,
        columns={"pt": "float", "hits": "integer", "mass": "float", "time": "float"},
        layouts=(Layout(),),
        transform=transform,
        provenance={"seed": "1"},
        files={},
    )
    files = {name: folder / name for name in (MODEL, NETWORK)}
    return Trained(write_bundle(folder / "bundle", manifest, files), network, scoring, transform)


def teach_network(
    spec: ModelSpec, table: EventTable, blocks: tuple[Block, ...], n_epochs: int, rate: float = 1e-2
) -> Any:
    """Return the network that some compiled epochs have trained."""
    from models.epochs import begin_epochs
    from models.optimization import OptimizationSpec

    network, source = build(spec, table.n_inputs, 2, 1, blocks), EventsInMemory(table)
    epochs = begin_epochs(network, head_of(spec).loss(), OptimizationSpec(batch_size=100), source, source, seed=1)
    assert not epochs.why_not_compiled
    rates = np.full(epochs.steps_per_epoch, rate, dtype=np.float32)
    for epoch in range(n_epochs):
        epochs.run(np.random.default_rng(epoch), rates, lambda _: None)
    network.set_weights(epochs.judge()[2])
    return network


@pytest.fixture(scope="session")
def teach() -> Callable[..., Any]:
    """``teach(spec, table, blocks, n_epochs, rate)`` gives a network trained by compiled epochs."""
    return teach_network
