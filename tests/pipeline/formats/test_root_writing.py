"""What writing ROOT files promises beyond what every format does."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from pipeline.errors import UnwritableError
from pipeline.layout import Layout
from pipeline.sinks import open_sink
from pipeline.sources import iter_chunks

SCORE = {"score": np.dtype("f4")}
MATRICES = np.arange(30.0).reshape(5, 3, 2)


def scored(path: Path) -> Path:
    target = path.with_name("scored.root")
    with open_sink(target, path, Layout(), SCORE) as sink:
        for chunk in iter_chunks(path, [], keep_original=True):
            sink.write(chunk, {"score": np.zeros(len(chunk), "f4")})
    return target


def write_ttree(path: Path, columns: dict[str, Any], types: dict[str, Any]) -> Path:
    with uproot.recreate(path) as file:
        file.mktree("t", types).extend(columns)
    return path


def test_matrices_are_written_as_they_were(tmp_path: Path) -> None:
    types = {"m": ("f8", (3, 2)), "x": "i4"}
    path = write_ttree(tmp_path / "in.root", {"m": MATRICES, "x": np.arange(5, dtype="i4")}, types)
    with uproot.open(scored(path)) as file:
        assert file["t"].typenames() == {"m": "double[3][2]", "x": "int32_t", "score": "float"}
        assert np.array_equal(file["t"]["m"].array(library="np"), MATRICES)


def test_lists_of_arrays_are_refused_by_name_since_they_would_lose_values(tmp_path: Path) -> None:
    columns = {"m": ak.unflatten(MATRICES[:, 0], [1, 0, 3, 1]), "x": np.zeros(4)}
    path = write_ttree(tmp_path / "in.root", columns, {"m": "var * 2 * float64", "x": "f8"})
    told = r"in\.root: 'm' \(double\[\]\[2\]\) cannot be written to a ROOT file: .*; drop it from the input first$"
    with pytest.raises(UnwritableError, match=told):
        scored(path)
    assert [path.name for path in tmp_path.iterdir()] == ["in.root"]


def test_every_field_of_an_rntuple_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "in.root") as file:
        file["t"] = ak.Array([{"x": 1.0, "a": 1, "b": [1]}, {"x": 2.0, "a": "text", "b": "text"}])
    told = r"type that cannot be written: 'a' \(union.*\), 'b' \(union.*\); drop them from the input first$"
    with pytest.raises(UnwritableError, match=told):
        scored(tmp_path / "in.root")
