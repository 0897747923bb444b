"""Bundles whose scores are known: no training, one sigmoid of a weighted sum."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.bundle import MODEL, Bundle, BundleManifest, write_bundle
from pipeline.features import Recipe
from pipeline.layout import Layout
from pipeline.normalise import InputTransform

MakeBundle = Callable[..., Bundle]
EXPERIMENT = {"split": {"by": ["event"], "salt": "winnow"}}


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """``make_bundle(weights, inputs)``: a score that is sigmoid(weights · inputs); files come as JSON."""
    made: list[Path] = []

    def make(weights: Sequence[float], inputs: Sequence[str], files: Any = None, **recipe: Any) -> Bundle:
        folder = tmp_path / f"made {len(made)}"
        folder.mkdir()
        made.append(folder)
        paths = {MODEL: folder / "made.onnx"}
        onnx.save(_graph(weights), paths[MODEL])
        for name, content in {"experiment.json": EXPERIMENT, **(files or {})}.items():
            paths[name] = folder / name
            paths[name].write_text(json.dumps(content))
        return write_bundle(folder / "bundle", _manifest(Recipe(inputs=tuple(inputs), **recipe)), paths)

    return make


def _graph(weights: Sequence[float]) -> onnx.ModelProto:
    constant = numpy_helper.from_array(np.asarray(weights, dtype=np.float64), "weights")
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["probability"]),
        helper.make_node("Cast", ["probability"], ["score"], to=TensorProto.FLOAT),
    ]
    features = helper.make_tensor_value_info("features", TensorProto.DOUBLE, ["n", len(weights)])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph(nodes, "sum", [features], [score], [constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _manifest(recipe: Recipe) -> BundleManifest:
    n, texts = recipe.n_columns, [*recipe.texts, *recipe.derive.values()]
    transform = InputTransform(
        features=recipe.names,
        sentinels=((),) * n,
        fill=(0.0,) * n,
        flagged=(),
        offset=(0.0,) * n,
        scale=(1.0,) * n,
        clip=None,
    )
    return BundleManifest(
        name="made",
        classes=("background", "signal"),
        recipe=recipe,
        columns={name: "float" for name in "xyz" if any(name in text for text in texts)},
        layouts=(Layout(),),
        transform=transform,
        provenance={},
        files={},
    )
