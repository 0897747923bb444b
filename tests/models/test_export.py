"""What the exported graph promises: the numbers of the transform and of Keras, for every method and every value."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from models.build import ModelSpec, build, head_of, scoring_network
from models.export import _export_elsewhere, assert_parity, export_core, export_onnx, parity_rows
from pipeline.chunk import chunk_of
from pipeline.errors import BundleError
from pipeline.feature_statistics import FeatureStatistics
from pipeline.features import Recipe
from pipeline.missing import MissingSpec
from pipeline.normalise import InputTransform, NormaliseSpec, fit_transform

Learn = Callable[[NDArray[np.float64], NormaliseSpec, MissingSpec], InputTransform]
METHODS = ["standard", "robust", "minmax", "quantile", "none"]
MISSING = MissingSpec.model_validate(
    {
        "values": [-999.0, -99.99],
        "flag": True,
        "overrides": {
            "x_1": {"values": [-1.0], "flag": False, "policy": 7.0},
            "x_3": {"values": [], "flag": False, "policy": "mean"},
        },
    }
)
SPEC = ModelSpec(options={"widths": [16, 8]})


def draw(n_events: int, seed: int = 1) -> NDArray[np.float64]:
    """Different scales, a large offset, integers with many equal values, a constant; all with missing values."""
    generator = np.random.default_rng(seed)
    columns = [
        generator.normal(3, 0.1, n_events),
        generator.exponential(200, n_events),
        1.6e9 + generator.normal(0, 1, n_events),
        generator.poisson(0.7, n_events),
        np.full(n_events, 4.0),
    ]
    features = np.stack(columns, axis=1).astype(np.float64)
    features[generator.random(features.shape) < 0.02] = np.nan
    features[generator.random(n_events) < 0.02, 0] = -999.0
    return features


def network_for(transform: InputTransform, seed: int = 1) -> Any:
    """Return a scoring network whose batch norms have statistics unlike those they start with."""
    network = build(SPEC, transform.n_inputs, 2, seed)
    generator = np.random.default_rng(seed)
    for layer in network.layers:
        weights = layer.get_weights()
        if len(weights) == 4:
            layer.set_weights([generator.uniform(0.5, 1.5, w.shape) for w in weights])
    return scoring_network(network, head_of(SPEC))


def exported(learn: Learn, method: str, path: Path) -> tuple[InputTransform, Any]:
    transform = learn(draw(2_000), NormaliseSpec(method=method, clip=3.0), MISSING)
    # Under "none" the large offset would leave single precision no digits; the parity of the others is checked.
    if method == "none":
        transform = learn(draw(2_000) * [1, 0.01, 1e-9, 1, 1], NormaliseSpec(method=method), MISSING)
    network = network_for(transform)
    export_onnx(network, transform, path)
    return transform, network


def run(path: Path, rows: NDArray[np.float64], output: str = "score") -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([output], {"features": rows})[0])


def with_inputs_as_output(path: Path) -> Path:
    """Return a graph that ends where the network begins."""
    model = onnx.load(path)
    model.graph.output.append(onnx.helper.make_tensor_value_info("inputs", onnx.TensorProto.FLOAT, None))
    onnx.save(model, path.with_name("prefix.onnx"))
    return path.with_name("prefix.onnx")


def difficult_rows(transform: InputTransform) -> NDArray[np.float64]:
    """Return real events, all kinds of missing values, knots and their neighbours, and values far away."""
    rows = parity_rows(draw(3_000, seed=2), transform, 4096, seed=3)
    rows[:200, 1] = [-1.0, -99.99, np.float32(-99.99), 1e30, -1e30, 1e39, -1e300, 0.0] * 25
    rows[200:400, 0] = [-999.0, np.float32(-99.99), 3.0, 1e7] * 50
    if transform.knots is not None:
        knots = np.array(transform.knots)
        for i, step in enumerate((-np.inf, 0, np.inf)):
            rows[500 + 100 * i : 500 + 100 * i + len(knots)] = knots if step == 0 else np.nextafter(knots, step)
    return rows


@pytest.mark.parametrize("method", METHODS)
def test_the_graph_prepares_inputs_bit_for_bit_as_the_transform(method: str, learn: Learn, tmp_path: Path) -> None:
    transform, _ = exported(learn, method, tmp_path / "m.onnx")
    rows = difficult_rows(transform)
    inputs = run(with_inputs_as_output(tmp_path / "m.onnx"), rows, "inputs")
    assert np.isfinite(inputs).all()
    np.testing.assert_array_equal(inputs, transform.apply(rows))


@pytest.mark.parametrize("method", METHODS)
def test_the_graph_prepares_collections_and_images_bit_for_bit_as_the_transform(method: str, tmp_path: Path) -> None:
    jets = {"inputs": ["pt", "eta"], "order": "pt", "length": 3}
    inputs = {"inputs": ["met"], "collections": {"jets": jets}, "images": {"stamp": {"pixels": "flux", "shape": [2]}}}
    recipe = Recipe.model_validate(inputs)
    generator = np.random.default_rng(1)
    counts = generator.integers(0, 6, 600)
    lists = {name: ak.unflatten(generator.exponential(40, counts.sum()), counts) for name in ("pt", "eta")}
    lists["eta"] = ak.where(lists["eta"] > 100, -999.0, lists["eta"])
    flux = generator.normal(size=(600, 2))
    features = recipe.matrix(chunk_of({"met": flux[:, 0] * 3, "flux": flux, **lists}))
    missing = MissingSpec(values=(-999.0, 0.0, 1.0), flag=True)
    statistics = FeatureStatistics([policy.values for policy in missing.of_columns(recipe)], recipe.variables)
    statistics.update(features, np.arange(600, dtype=np.uint64))
    transform = fit_transform(statistics, recipe, NormaliseSpec(method=method), missing)
    export_onnx(network_for(transform), transform, tmp_path / "m.onnx")
    rows = np.concatenate([features, parity_rows(features, transform, 600, seed=2)])
    found = run(with_inputs_as_output(tmp_path / "m.onnx"), rows, "inputs")
    np.testing.assert_array_equal(found, transform.apply(rows))
    assert transform.n_inputs == 1 + 9 + 2


@pytest.mark.parametrize("method", METHODS)
def test_graph_and_keras_give_the_same_scores(method: str, learn: Learn, tmp_path: Path) -> None:
    transform, network = exported(learn, method, tmp_path / "m.onnx")
    features = draw(3_000, seed=2) * ([1, 0.01, 1e-9, 1, 1] if method == "none" else 1)
    assert assert_parity(tmp_path / "m.onnx", network, transform, features, seed=0) < 1e-6
    assert np.ptp(run(tmp_path / "m.onnx", features)) > 0.05


@pytest.mark.parametrize("missing", [MissingSpec(), MissingSpec(flag=True), MissingSpec(values=(-999.0,))])
def test_flags_and_sentinels_may_be_for_none_or_for_all(missing: MissingSpec, learn: Learn, tmp_path: Path) -> None:
    transform = learn(draw(2_000), NormaliseSpec(), missing)
    network = network_for(transform)
    export_onnx(network, transform, tmp_path / "m.onnx")
    assert transform.n_inputs == (10 if missing.flag else 5)
    assert assert_parity(tmp_path / "m.onnx", network, transform, draw(500), seed=0) < 1e-6


def test_the_graph_takes_features_in_double_precision_and_any_number_of_events(learn: Learn, tmp_path: Path) -> None:
    exported(learn, "standard", tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    [given], [result] = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("features", "tensor(double)", ["n_events", 5])
    assert (result.name, result.type, result.shape) == ("score", "tensor(float)", ["n_events"])
    assert [len(run(tmp_path / "m.onnx", draw(n))) for n in (0, 1, 2, 999)] == [0, 1, 2, 999]


def test_the_last_digits_of_a_large_number_reach_the_score(learn: Learn, tmp_path: Path) -> None:
    exported(learn, "standard", tmp_path / "m.onnx")
    rows = np.tile([3.0, 200.0, 1.6e9, 1.0, 4.0], (9, 1))
    rows[:, 2] += np.linspace(-1, 1, 9)
    # In single precision all nine would be the same number.
    assert len(np.unique(run(tmp_path / "m.onnx", rows))) == 9


def test_a_network_that_is_not_the_exported_one_is_found_out(learn: Learn, tmp_path: Path) -> None:
    transform, network = exported(learn, "standard", tmp_path / "m.onnx")
    weights = network.get_weights()
    weights[-1] = weights[-1] + 1e-3
    network.set_weights(weights)
    with pytest.raises(BundleError, match=r"ONNX and Keras scores of 1 events differ by \d\.\d+e-05; at most 5e-06"):
        assert_parity(tmp_path / "m.onnx", network, transform, draw(500), seed=0)


def test_a_transform_that_is_not_the_exported_one_is_found_out(learn: Learn, tmp_path: Path) -> None:
    transform, network = exported(learn, "standard", tmp_path / "m.onnx")
    other = transform.model_copy(update={"sentinels": ((), *transform.sentinels[1:])})
    with pytest.raises(BundleError, match=r"ONNX and Keras scores of .* events differ by"):
        assert_parity(tmp_path / "m.onnx", network, other, draw(2_000), seed=0)


def test_an_input_too_large_for_single_precision_is_named(learn: Learn, tmp_path: Path) -> None:
    transform = learn(draw(2_000), NormaliseSpec(method="none"), MISSING)
    network = network_for(transform)
    # A batch norm that has learnt this sample brings what single precision has left of it back to unit size.
    sums = np.asarray(network.layers[1](transform.apply(draw(2_000))))
    network.layers[2].set_weights([np.ones(16), np.zeros(16), sums.mean(axis=0), sums.var(axis=0)])
    export_onnx(network, transform, tmp_path / "m.onnx")
    with pytest.raises(BundleError, match=r"input 'x_2' reaches 1\.6e\+09, .*: \[normalise\] would mend it"):
        assert_parity(tmp_path / "m.onnx", network, transform, draw(2_000), seed=0)


def test_parity_is_looked_for_with_every_kind_of_missing_value_in_every_feature(learn: Learn) -> None:
    transform = learn(draw(2_000), NormaliseSpec(), MISSING)
    rows = parity_rows(np.zeros((10, 5)), transform, 4096, seed=0)
    for column, sentinels in zip(rows.T, transform.sentinels, strict=True):
        assert {0.0, np.inf, -np.inf, *sentinels} == set(column[~np.isnan(column)])
        assert np.isnan(column).any()


def test_batch_norms_cost_no_pass_of_their_own(learn: Learn, tmp_path: Path) -> None:
    exported(learn, "standard", tmp_path / "m.onnx")
    operations = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node if "network" in node.output[0]]
    assert operations == ["MatMul", "Add", "Relu"] * 2 + ["MatMul", "Sigmoid"]


def test_the_keras_file_opens_in_plain_keras_and_holds_no_code(trained: Any) -> None:
    import keras

    path = trained.bundle.folder / "model.keras"
    names = zipfile.ZipFile(path).namelist()
    assert set(names) == {"metadata.json", "config.json", "model.weights.h5"}
    assert b"Lambda" not in zipfile.ZipFile(path).read("config.json")
    inputs = np.random.default_rng(1).normal(size=(100, trained.transform.n_inputs)).astype(np.float32)
    again = keras.models.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(np.asarray(again(inputs)), np.asarray(trained.network(inputs)))


def test_a_sentinel_beyond_single_precision_is_missing_in_the_graph_as_well(learn: Learn, tmp_path: Path) -> None:
    features, largest = draw(500), float(np.finfo(np.float64).max)
    transform = learn(features, NormaliseSpec(), MissingSpec(values=(largest,)))
    export_onnx(network_for(transform), transform, tmp_path / "model.onnx")
    rows = np.array([features[0], features[0]])
    rows[:, 1] = [np.nan, largest]
    known, sentinel = run(tmp_path / "model.onnx", rows)
    assert known == sentinel


def test_a_process_of_its_own_exports_the_same_graph(learn: Learn, tmp_path: Path) -> None:
    network = network_for(learn(draw(500), NormaliseSpec(), MissingSpec()))
    export_core(network, tmp_path / "here.onnx")
    _export_elsewhere(network, tmp_path / "elsewhere.onnx")
    here, elsewhere = (onnxruntime.InferenceSession(tmp_path / f"{where}.onnx") for where in ("here", "elsewhere"))
    inputs = np.random.default_rng(1).normal(size=(100, 5)).astype(np.float32)
    scores = [session.run(None, {session.get_inputs()[0].name: inputs})[0] for session in (here, elsewhere)]
    np.testing.assert_array_equal(*scores)


def test_a_layer_that_the_process_does_not_know_is_named(tmp_path: Path) -> None:
    import keras

    class Odd(keras.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return inputs

    inputs = keras.Input((3,))
    told = r"^the network cannot be exported through TensorFlow: .*Could not locate class 'Odd'.{,300}$"
    with pytest.raises(BundleError, match=told):
        _export_elsewhere(keras.Model(inputs, Odd()(inputs)), tmp_path / "m.onnx")
