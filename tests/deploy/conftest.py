"""A small real bundle, made without training."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.bundle import MODEL, Bundle, BundleManifest, write_bundle
from pipeline.features import Recipe
from pipeline.layout import Layout
from pipeline.normalise import InputTransform

INPUTS = ("layer_1", "total", "sum(hit_energy)")
COLUMNS = {"layer_1": "float", "layer_2": "float", "n_cells": "integer", "particle": "string", "hit_energy": "jagged"}
DERIVED = {"total": "where(particle == 'mu', layer_1 + layer_2, layer_2) / n_cells"}


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[[float], Bundle]:
    """Makes a bundle whose score is sigmoid(weight * sum of features); a missing feature counts as zero."""
    return lambda weight: write_bundle(
        tmp_path / f"bundle {weight}", _manifest(), {MODEL: _graph(tmp_path / "made.onnx", weight)}
    )


def _graph(path: Path, weight: float) -> Path:
    weights = numpy_helper.from_array(np.full(len(INPUTS), weight), "weights")
    zero = numpy_helper.from_array(np.zeros(()), "zero")
    nodes = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "features"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weights"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["probability"]),
        helper.make_node("Cast", ["probability"], ["score"], to=TensorProto.FLOAT),
    ]
    features = helper.make_tensor_value_info("features", TensorProto.DOUBLE, ["n", len(INPUTS)])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph(nodes, "sum", [features], [score], [weights, zero])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def _manifest() -> BundleManifest:
    n = len(INPUTS)
    transform = InputTransform(
        features=INPUTS,
        sentinels=((),) * n,
        fill=(0.0,) * n,
        flagged=(),
        offset=(0.0,) * n,
        scale=(1.0,) * n,
        clip=None,
    )
    return BundleManifest(
        name="pion-muon",
        classes=("background", "signal"),
        recipe=Recipe(derive=DERIVED, inputs=INPUTS),
        columns=COLUMNS,
        layouts=(Layout(),),
        transform=transform,
        provenance={},
        files={},
    )
