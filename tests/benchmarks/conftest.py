"""The reference network of the benchmarks, 28 → 4 x 128 → 1, and a bundle of it."""

from typing import Any

import pytest

from models.build import ModelSpec, build, head_of, scoring_network
from models.bundle import MODEL, Bundle, BundleManifest, write_bundle
from models.export import export_onnx
from pipeline.features import Recipe
from pipeline.layout import Layout
from pipeline.normalise import InputTransform

N_FEATURES = 28
NAMES = tuple(f"x_{i}" for i in range(N_FEATURES))
TRANSFORM = InputTransform(
    features=NAMES,
    sentinels=((-999.0,),) * N_FEATURES,
    fill=(3.0,) * N_FEATURES,
    flagged=(),
    offset=tuple(3 + 0.1 * i for i in range(N_FEATURES)),
    scale=(0.2,) * N_FEATURES,
    clip=100.0,
)


@pytest.fixture(scope="session")
def names() -> tuple[str, ...]:
    """Names of the 28 columns."""
    return NAMES


@pytest.fixture(scope="session")
def transform() -> InputTransform:
    """What comes before the network: one sentinel, an offset and a scale for each feature."""
    return TRANSFORM


@pytest.fixture(scope="session")
def network() -> Any:
    """The untrained network, from inputs to scores."""
    spec = ModelSpec()
    return scoring_network(build(spec, N_FEATURES, 2, seed=1), head_of(spec))


@pytest.fixture(scope="session")
def bundle(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of network and transform, for ROOT files with a tree ``tracks``."""
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
    return write_bundle(folder / "bundle", manifest, {MODEL: folder / MODEL})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the ratios, which are what a benchmark is for; the table has the times alone."""
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    for benchmark in session.benchmarks if session else ():
        for what, value in benchmark.extra_info.items():
            terminalreporter.write_line(f"{benchmark.name}: {what.replace('_', ' ')} = {value:,}")
