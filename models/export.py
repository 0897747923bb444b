"""Export: a Keras network and its input transform become one ONNX graph.

Owns the graph from the feature matrix (double precision, the features' own units, missing values as they
came) to the score, and the proof that it says the same as Keras.

Missing values and normalisation are written here operation by operation instead of through Keras layers:
the Keras exporter turns ``Normalization`` into additional required inputs, and a ``where`` on a combined
mask into multiplications, after which a NaN stays a NaN without a word.
"""

import tempfile
import warnings
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.compose
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipeline.errors import BundleError
from pipeline.normalise import InputTransform

if TYPE_CHECKING:
    import keras

INPUT, OUTPUT = "features", "score"
PARITY_SIZES = (1, 7, 4096)
PARITY_TOLERANCE = 2e-6
"""Largest difference allowed between the two scores: a few roundings of single precision near 1."""


def export_onnx(network: "keras.Model", transform: InputTransform, path: Path) -> None:
    """Write the graph: ``features`` (float64, ``(n_events, n_features)``) → ``score`` (float32, ``(n_events,)``).

    Raises:
        BundleError: the exported graph asks for other inputs than these.
    """
    core = _core_graph(network)
    prefix = _prefix_graph(transform, core.opset_import, core.ir_version)
    joined = _joined(prefix, core)
    onnx.checker.check_model(joined, full_check=True)
    onnx.save(joined, path)


def _core_graph(network: "keras.Model") -> onnx.ModelProto:
    # Keras exports a network only after it has been called.
    network(np.zeros((1, *network.input_shape[1:]), dtype=np.float32))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "core.onnx"
        with warnings.catch_warnings():
            # tf2onnx still looks for `np.object`.
            warnings.simplefilter("ignore", FutureWarning)
            network.export(str(path), format="onnx", verbose=False)
        core = onnx.load(path)
    if len(core.graph.input) != 1 or len(core.graph.output) != 1:
        inputs, outputs = ([value.name for value in values] for values in (core.graph.input, core.graph.output))
        raise BundleError(f"the exported network has inputs {inputs} and outputs {outputs}, not one of each")
    return core


def _joined(prefix: onnx.ModelProto, core: onnx.ModelProto) -> onnx.ModelProto:
    core = onnx.compose.add_prefix(core, "network/")
    joined = onnx.compose.merge_models(prefix, core, io_map=[("inputs", core.graph.input[0].name)])
    last = joined.graph.output[0].name
    flatten = helper.make_node("Reshape", [last, "one_axis"], [OUTPUT])
    joined.graph.initializer.append(numpy_helper.from_array(np.array([-1], dtype=np.int64), "one_axis"))
    joined.graph.node.append(flatten)
    del joined.graph.output[:]
    joined.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n_events"]))
    return joined


class _GraphWriter:
    """Collects nodes and constants; every method appends one operation and returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any, dtype: type[np.generic] = np.float64) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [name], **attributes))
        return name

    def clip(self, x: str, low: Any, high: Any) -> str:
        # Max and Min broadcast over features; Clip takes one number for all.
        return self.add("Min", self.add("Max", x, self.constant(low)), self.constant(high))


def _prefix_graph(transform: InputTransform, opsets: Any, ir_version: int) -> onnx.ModelProto:
    """Write ``InputTransform.apply`` as a graph: ``features`` → ``inputs``."""
    g = _GraphWriter()
    missing = _missing(g, transform)
    filled = g.add("Where", missing, g.constant([transform.fill]), INPUT)
    values = filled if transform.knots is None else _ranks(g, filled, np.array(transform.knots))
    y = g.add("Mul", g.add("Sub", values, g.constant([transform.offset])), g.constant([transform.scale]))
    if transform.clip is not None:
        y = g.clip(y, -transform.clip, transform.clip)
    parts = [g.add("Cast", y, to=TensorProto.FLOAT)]
    if transform.flagged:
        flags = g.add("Gather", missing, g.constant(transform.flagged, np.int64), axis=1)
        parts.append(g.add("Cast", flags, to=TensorProto.FLOAT))
    g.nodes.append(helper.make_node("Concat", parts, ["inputs"], axis=1))
    shape_in, shape_out = ["n_events", len(transform.features)], ["n_events", transform.n_inputs]
    graph = helper.make_graph(
        g.nodes,
        "input transform",
        [helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, shape_in)],
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, shape_out)],
        g.constants,
    )
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def _missing(g: _GraphWriter, transform: InputTransform) -> str:
    """NaN, ±inf, or equal to a sentinel, in single precision as in ``missing.is_missing``."""
    single = g.add("Cast", INPUT, to=TensorProto.FLOAT)
    missing = g.add("Or", g.add("IsNaN", single), g.add("IsInf", single))
    for k in range(max(map(len, transform.sentinels))):
        # NaN equals nothing, so it stands where a feature has fewer sentinels than others.
        values = [s[k] if k < len(s) else np.nan for s in transform.sentinels]
        missing = g.add("Or", missing, g.add("Equal", single, g.constant([values], np.float32)))
    return missing


def _ranks(g: _GraphWriter, filled: str, knots: NDArray[np.float64]) -> str:
    """Interpolated ranks between knots, as in ``InputTransform``; knots have shape ``(n_knots, n_features)``."""
    ranks = g.constant(np.zeros((1, knots.shape[1])))
    for low, high in pairwise(knots):
        width = high - low
        reached = g.add("Sub", g.clip(filled, low[None], high[None]), g.constant(low[None]))
        share = g.add("Div", reached, g.constant(np.where(width > 0, width, 1)[None]))
        passed = g.add("Cast", g.add("GreaterOrEqual", filled, g.constant(high[None])), to=TensorProto.DOUBLE)
        ranks = g.add("Add", ranks, g.add("Where", g.constant((width > 0)[None], np.bool_), share, passed))
    return g.add("Div", ranks, g.constant(len(knots) - 1))


def parity_rows(
    features: NDArray[np.float64], transform: InputTransform, n_rows: int, seed: int
) -> NDArray[np.float64]:
    """Return rows that test the graph: real events, among them every kind of missing value in every feature."""
    random = np.random.default_rng(seed)
    rows = np.array(features[random.integers(len(features), size=n_rows)])
    for i, sentinels in enumerate(transform.sentinels):
        for value in (np.nan, np.inf, -np.inf, *sentinels):
            rows[random.integers(n_rows, size=max(1, n_rows // 100)), i] = value
    return rows


def assert_parity(
    path: Path, network: "keras.Model", transform: InputTransform, features: NDArray[np.float64], seed: int
) -> float:
    """Compare graph and network on 1, 7 and 4,096 events and return the largest difference of their scores.

    Raises:
        BundleError: they differ by more than rounding, or a score is not finite.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for n_rows in PARITY_SIZES:
        rows = parity_rows(features, transform, n_rows, seed)
        exported = session.run([OUTPUT], {INPUT: rows})[0]
        expected = np.asarray(network.predict(transform.apply(rows), batch_size=n_rows, verbose=0))[:, 0]
        difference = np.abs(exported - expected).max()
        if not difference <= PARITY_TOLERANCE:
            msg = f"ONNX and Keras scores of {n_rows} events differ by {difference:g}"
            raise BundleError(f"{msg}; at most {PARITY_TOLERANCE:g} is rounding")
        largest = max(largest, float(difference))
    return largest
