"""Export: a Keras network and its input transform become one ONNX graph.

Owns the graph from the feature matrix (double precision, the features' own units, missing values as they
came) to the score, and the proof that it says the same as Keras.

Missing values and normalisation are written here operation by operation instead of through Keras layers:
the Keras exporter turns ``Normalization`` into additional required inputs, and a ``where`` on a combined
mask into multiplications, after which a NaN stays a NaN without a word.

The order of the operations is chosen for speed, and gives the bits of ``InputTransform``: clipping and
filling after the rounding to single precision cost half, and change nothing because rounding is monotone.
"""

import math
import os
import subprocess
import sys
import tempfile
import textwrap
import warnings
from collections import Counter
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
ELSEWHERE = """
import sys, keras
from pathlib import Path
from models.export import export_core
export_core(keras.models.load_model(sys.argv[1], compile=False), Path(sys.argv[2]))
"""
LONGEST_REASON = 300
"""Characters of what the process that exports has to say when it fails."""
PARITY_SIZES = (1, 7, 4096)
PARITY_TOLERANCE = 5e-6
"""Largest difference allowed between the two scores: a few roundings of single precision near 1."""
ILL_SCALED = 1e3
"""An input this far from 0 is named where the two scores differ."""


def export_onnx(network: "keras.Model", transform: InputTransform, path: Path, n_outputs: int | None = None) -> None:
    """Write the graph: ``features`` (float64, ``(n_events, n_features)``) → ``score`` (float32).

    The score has shape ``(n_events,)``, or ``(n_events, n_outputs)`` where the network has several.

    Raises:
        BundleError: the exported graph asks for other inputs than these.
    """
    core = _with_folded_scales(_core_graph(network))
    prefix = _prefix_graph(transform, core.opset_import, core.ir_version)
    joined = _joined(prefix, core, n_outputs)
    onnx.checker.check_model(joined, full_check=True)
    onnx.save(joined, path)


def _core_graph(network: "keras.Model") -> onnx.ModelProto:
    import keras

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "core.onnx"
        if keras.backend.backend() == "tensorflow":
            export_core(network, path)
        else:
            _export_elsewhere(network, path)
        core = onnx.load(path)
    if len(core.graph.input) != 1 or len(core.graph.output) != 1:
        inputs, outputs = ([value.name for value in values] for values in (core.graph.input, core.graph.output))
        raise BundleError(f"the exported network has inputs {inputs} and outputs {outputs}, not one of each")
    return core


def export_core(network: "keras.Model", path: Path) -> None:
    """Write the network alone as ONNX, through Keras with its TensorFlow backend."""
    # Keras exports a network only after it has been called.
    network(np.zeros((1, *network.input_shape[1:]), dtype=np.float32))
    with warnings.catch_warnings():
        # tf2onnx still looks for `np.object`.
        warnings.simplefilter("ignore", FutureWarning)
        network.export(str(path), format="onnx", verbose=False)


def _export_elsewhere(network: "keras.Model", path: Path) -> None:
    """Have a process of its own export the network with TensorFlow, which alone gives the graph that is known here."""
    saved = path.with_suffix(".keras")
    network.save(saved)
    # Settings of one compiler can end the process of another.
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    # No GPU: its memory is taken by the process that trains.
    asked = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", ELSEWHERE, str(saved), str(path)]
    done = subprocess.run(command, env={**kept, **asked}, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        last_line = (done.stderr.strip().splitlines() or ["no word"])[-1]
        # Keras' last line may hold the whole network.
        reason = textwrap.shorten(last_line, LONGEST_REASON, placeholder=" …")
        raise BundleError(f"the network cannot be exported through TensorFlow: {reason}")


def _with_folded_scales(core: onnx.ModelProto) -> onnx.ModelProto:
    """Multiply the scales of batch norms into the weights before them: a pass over the events less for each layer."""
    graph = core.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    made_by = {node.output[0]: node for node in graph.node}
    for node in [node for node in graph.node if node.op_type == "Mul"]:
        product, scale = made_by.get(node.input[0]), constants.get(node.input[1])
        if product is None or scale is None or product.op_type != "MatMul" or uses[node.input[0]] > 1:
            continue
        kernel = constants.get(product.input[1])
        if kernel is None or uses[product.input[1]] > 1 or list(scale.dims) != [kernel.dims[-1]]:
            continue
        folded = numpy_helper.to_array(kernel).astype(np.float64) * numpy_helper.to_array(scale)
        kernel.CopyFrom(numpy_helper.from_array(folded.astype(np.float32), kernel.name))
        product.output[0] = node.output[0]
        uses[scale.name] -= 1
        graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if not uses[tensor.name]]:
        graph.initializer.remove(tensor)
    return core


def _joined(prefix: onnx.ModelProto, core: onnx.ModelProto, n_outputs: int | None) -> onnx.ModelProto:
    core = onnx.compose.add_prefix(core, "network/")
    joined = onnx.compose.merge_models(prefix, core, io_map=[("inputs", core.graph.input[0].name)])
    last = joined.graph.output[0].name
    shape = [-1] if n_outputs is None else [-1, n_outputs]
    reshape = helper.make_node("Reshape", [last, "shape_of_score"], [OUTPUT])
    joined.graph.initializer.append(numpy_helper.from_array(np.array(shape, dtype=np.int64), "shape_of_score"))
    joined.graph.node.append(reshape)
    del joined.graph.output[:]
    joined.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n_events", *shape[1:]]))
    return joined


class _GraphWriter:
    """Collects nodes and constants; every method appends one operation and returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any, dtype: type[np.generic] = np.float64) -> str:
        name = f"constant_{len(self.constants)}"
        with np.errstate(over="ignore"):  # a sentinel too large for single precision is infinite there
            self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [name], **attributes))
        return name

    def cast(self, x: str, to: TensorProto.DataType) -> str:
        return self.add("Cast", x, to=to)


def _prefix_graph(transform: InputTransform, opsets: Any, ir_version: int) -> onnx.ModelProto:
    """Write ``InputTransform.apply`` as a graph: ``features`` → ``inputs``."""
    g = _GraphWriter()
    missing = _missing(g, transform)
    parts = [_normalised(g, transform, missing), *_flags(g, transform, missing)]
    last = g.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    g.nodes[-1].output[0] = "inputs"
    assert last not in {name for node in g.nodes for name in node.input}
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
    single = g.cast(INPUT, TensorProto.FLOAT)
    missing = g.add("Or", g.add("IsNaN", single), g.add("IsInf", single))
    for k in range(max(map(len, transform.sentinels))):
        # NaN equals nothing, so it stands where a feature has fewer sentinels than others.
        values = [s[k] if k < len(s) else np.nan for s in transform.sentinels]
        # One number for all features is compared several times faster than a row of equal ones.
        row = values[0] if len(set(values)) == 1 else [values]
        missing = g.add("Or", missing, g.add("Equal", single, g.constant(row, np.float32)))
    return missing


def _normalised(g: _GraphWriter, transform: InputTransform, missing: str) -> str:
    values = INPUT if transform.knots is None else _ranks(g, np.array(transform.knots))
    y = g.add("Mul", g.add("Sub", values, g.constant([transform.offset])), g.constant([transform.scale]))
    y = g.cast(y, TensorProto.FLOAT)
    if transform.clip is not None:
        y = g.add("Clip", y, g.constant(-transform.clip, np.float32), g.constant(transform.clip, np.float32))
    nothing_known = np.full((1, len(transform.features)), np.nan)
    fill = transform.apply(nothing_known)[:, : len(transform.features)]
    return g.add("Where", missing, g.constant(fill, np.float32), y)


def _flags(g: _GraphWriter, transform: InputTransform, missing: str) -> list[str]:
    if not transform.flagged:
        return []
    flags = g.cast(missing, TensorProto.FLOAT)
    if len(transform.flagged) == len(transform.features):
        return [flags]
    # A product with ones and zeros is exact, and ten times faster than Gather.
    chosen = np.eye(len(transform.features))[:, list(transform.flagged)]
    return [g.add("MatMul", flags, g.constant(chosen, np.float32))]


def _ranks(g: _GraphWriter, knots: NDArray[np.float64]) -> str:
    """Interpolated ranks between knots ``(n_knots, n_features)``, as in ``InputTransform``.

    The interval of each value is found in two steps, as in a book with chapters: first the chapter, then the
    interval in it. Its number is that of the knots, but the first, that the value has reached.
    """
    n_intervals, n_features = len(knots) - 1, knots.shape[1]
    chapter = math.isqrt(n_intervals - 1) + 1
    # NaN, which no value reaches, fills up the last chapters.
    upper = np.full((n_features, chapter * (chapter + 1)), np.nan)
    upper[:, :n_intervals] = knots[1:].T
    chapters = upper.reshape(n_features, chapter + 1, chapter)
    value = g.add("Unsqueeze", INPUT, g.constant([-1], np.int64))
    first = _n_reached(g, value, g.constant(chapters[:, :-1, -1]))
    row = g.add("Add", first, g.constant(np.arange(n_features) * (chapter + 1), np.int64))
    inner = g.add("Gather", g.constant(chapters.reshape(-1, chapter)), row)
    passed = g.add("Add", g.add("Mul", first, g.constant(chapter, np.int64)), _n_reached(g, value, inner))
    place = g.add("Add", passed, g.constant(np.arange(n_features) * len(knots), np.int64))
    # Beyond the last knot there is no way to go: an interval without end.
    width = np.vstack([np.diff(knots, axis=0), np.full(n_features, np.inf)])
    low = g.add("Gather", g.constant(knots.T.ravel()), place)
    share = g.add("Div", g.add("Sub", INPUT, low), g.add("Gather", g.constant(width.T.ravel()), place))
    reached = g.add("Add", g.cast(passed, TensorProto.DOUBLE), g.add("Max", share, g.constant(0)))
    return g.add("Div", reached, g.constant(n_intervals))


def _n_reached(g: _GraphWriter, value: str, knots: str) -> str:
    """How many ``knots`` (last axis) each ``value`` (last axis of length 1) has reached, as integers."""
    reached = g.cast(g.add("GreaterOrEqual", value, knots), TensorProto.FLOAT)
    count = g.add("ReduceSum", reached, g.constant([-1], np.int64), keepdims=0)
    return g.cast(count, TensorProto.INT64)


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
    path: Path,
    network: "keras.Model",
    transform: InputTransform,
    features: NDArray[np.float64],
    seed: int,
    are_probabilities: bool = True,
) -> float:
    """Compare graph and network on 1, 7 and 4,096 events and return the largest difference of their scores.

    What is no probability has a size of its own, and may differ by so much of its range.

    Raises:
        BundleError: they differ by more than rounding, or a score is not finite.
    """
    import keras
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    most = parity_rows(features, transform, max(PARITY_SIZES), seed)
    tolerance = PARITY_TOLERANCE if are_probabilities else _tolerance(network, transform.apply(most))
    largest = 0.0
    for n_rows in PARITY_SIZES:
        rows = parity_rows(features, transform, n_rows, seed)
        inputs = transform.apply(rows)
        exported = session.run([OUTPUT], {INPUT: rows})[0]
        expected = np.asarray(keras.ops.convert_to_numpy(network(inputs, training=False))).reshape(exported.shape)
        difference = np.abs(exported - expected).max(axis=0)
        if not (difference <= tolerance).all():
            msg = f"ONNX and Keras scores of {n_rows} events differ by {difference.max():g}"
            advice = _advice(inputs, transform, network)
            raise BundleError(f"{msg}; at most {float(np.max(tolerance)):g} is rounding{advice}")
        largest = max(largest, float(difference.max()))
    return largest


def _tolerance(network: "keras.Model", inputs: NDArray[np.float32]) -> Any:
    """Return what may be rounding in each output, in proportion to its range."""
    import keras

    outputs = np.asarray(keras.ops.convert_to_numpy(network(inputs, training=False)))
    return PARITY_TOLERANCE * 5 * np.ptp(outputs, axis=0) + 4 * np.finfo(np.float32).eps * np.abs(outputs).max(axis=0)


def _advice(inputs: NDArray[np.float32], transform: InputTransform, network: "keras.Model") -> str:
    column = int(np.abs(inputs).max(axis=0).argmax())
    furthest = np.abs(inputs[:, column]).max()
    if furthest < ILL_SCALED:
        largest = max(float(np.abs(weights).max()) for weights in network.get_weights())
        return f"; the network's weights reach {largest:g}, as when it diverges: a smaller learning_rate may mend it"
    name = transform.input_names[column]
    return (
        f"; input {name!r} reaches {furthest:g}, where single precision has few digits left: [normalise] would mend it"
    )
