"""Collections and images from the file to the score: prepared from every format, trained on, scored alike by all."""

import json
import time
from pathlib import Path
from typing import Any

import awkward as ak
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from fastapi.testclient import TestClient

from deploy.service import create_app
from flows.experiment import load_experiment
from flows.reference import ModelReference
from flows.score import score_files
from flows.tracking.server import connect
from flows.train import TrainingOutcome, train_experiment
from models.bundle import Bundle, load_bundle
from pipeline.dataset import PreparedDataset
from pipeline.errors import DataError
from pipeline.plan import DataSpec
from pipeline.prepare import prepare
from pipeline.rehearsal import rehearse
from pipeline.sources import iter_chunks
from pipeline.splitting import PARTS

N = 1200
JETS = {"inputs": ["pt", "eta"], "order": "pt", "length": 3}
LABEL = {"column": "label", "signal": 1, "background": 0}
EXPERIMENT = """
[experiment]
name = "blocks"
seed = 3
[[samples]]
name = "both"
files = ["events.root"]
label = { column = "label", signal = 1, background = 0 }
[derive]
bright = "log(flux + 1)"
[features]
missing = { values = [-999.0] }
[features.collections.jets]
inputs = ["pt", "eta"]
order = "pt"
length = 3
[features.images.stamp]
pixels = "bright"
shape = [2, 2]
[model]
options = { widths = [8], dropout = 0.0 }
[training]
epochs = 2
batch_size = 128
[evaluation]
baselines = []
replicas = 50
"""


def drawn() -> dict[str, Any]:
    """None to five jets an event, a few without eta, and four pixels; signal has harder jets."""
    rng = np.random.default_rng(5)
    label = np.arange(N) % 2
    counts = rng.integers(0, 6, N)
    pt = rng.exponential(20.0 + 20.0 * np.repeat(label, counts))
    eta = np.where(rng.random(len(pt)) < 0.05, -999.0, rng.normal(size=len(pt)))
    lists = {"pt": ak.unflatten(pt, counts), "eta": ak.unflatten(eta, counts)}
    return {"label": label, "event": np.arange(N), "flux": rng.exponential(5.0, (N, 2, 2)), **lists}


def write_root(path: Path, events: dict[str, Any]) -> None:
    types = {
        name: np.dtype((column.dtype, column.shape[1:]))
        for name, column in events.items()
        if name != "pt" and name != "eta"
    }
    with uproot.recreate(path) as file:
        tree = file.mktree("events", {**types, "pt": "var * float64", "eta": "var * float64"})
        tree.extend(events)


def write_parquet(path: Path, events: dict[str, Any], is_fixed: bool) -> None:
    flux = events["flux"].reshape(N, 4)
    pixels = pa.FixedSizeListArray.from_arrays(flux.ravel(), 4) if is_fixed else pa.array(flux.tolist())
    lists = {name: pa.array(events[name].to_list()) for name in ("pt", "eta")}
    pq.write_table(pa.table({"label": events["label"], "event": events["event"], "flux": pixels, **lists}), path)


def write_csv(path: Path, events: dict[str, Any]) -> None:
    pixels = {f"p{i}": column for i, column in enumerate(events["flux"].reshape(N, 4).T)}
    pd.DataFrame({"label": events["label"], "event": events["event"], **pixels}).to_csv(path, index=False)


def prepared(folder: Path, name: str, chunk_bytes: int = 2**25, **features: Any) -> PreparedDataset:
    samples = [{"name": "both", "files": [name], "label": LABEL}]
    spec = DataSpec.model_validate({"samples": samples, "features": features, "split": {"by": ["event"]}})
    return prepare(spec, folder, folder / f"store{chunk_bytes}", chunk_bytes=chunk_bytes)


def rows_of(dataset: PreparedDataset) -> list[Any]:
    return [dataset.part(part).features.tolist() for part in PARTS]


def test_an_image_is_the_same_from_every_format(tmp_path: Path) -> None:
    events = drawn()
    write_root(tmp_path / "a.root", events)
    write_parquet(tmp_path / "lists.parquet", events, is_fixed=False)
    write_parquet(tmp_path / "fixed.parquet", events, is_fixed=True)
    write_csv(tmp_path / "a.csv", events)
    image = {"stamp": {"pixels": "flux", "shape": [2, 2]}}
    of_columns = {"stamp": {"pixels": ["p0", "p1", "p2", "p3"], "shape": [2, 2]}}
    found = [prepared(tmp_path, name, images=image) for name in ("a.root", "lists.parquet", "fixed.parquet")]
    found.append(prepared(tmp_path, "a.csv", images=of_columns))
    assert [rows_of(dataset) == rows_of(found[0]) for dataset in found] == [True] * 4
    assert [dataset.manifest.transform == found[0].manifest.transform for dataset in found] == [True] * 4


def test_a_collection_is_the_same_from_root_and_parquet_and_from_chunks_of_any_size(tmp_path: Path) -> None:
    write_root(tmp_path / "a.root", drawn())
    write_parquet(tmp_path / "a.parquet", drawn(), is_fixed=False)
    found = [
        prepared(tmp_path, name, size, collections={"jets": JETS}, missing={"values": [-999.0]})
        for name, size in (("a.root", 2**25), ("a.parquet", 2**25), ("a.root", 2**12))
    ]
    assert len({dataset.manifest.content for dataset in found}) == 1
    scales = [dataset.manifest.transform.scale for dataset in found]
    np.testing.assert_allclose(scales[1:], [scales[0]] * 2, rtol=1e-12)
    assert set(found[0].manifest.n_missing) == {"jets.pt", "jets.eta"}


@pytest.mark.parametrize("kind", ["collections", "images"])
def test_an_event_that_does_not_fit_is_named_with_its_number_in_the_file(tmp_path: Path, kind: str) -> None:
    events = drawn()
    events["eta"] = ak.concatenate([events["eta"][:700], [[1.0] * 9], events["eta"][701:]])
    write_parquet(tmp_path / "a.parquet", events, is_fixed=False)
    block = JETS if kind == "collections" else {"pixels": "eta", "shape": [9]}
    told = "event 700: collection 'jets' has . elements by 'pt' and 9 by 'eta'"
    told = told if kind == "collections" else "'eta' has . numbers, and image 'x' of shape 9 x 1 needs 9"
    with pytest.raises(DataError, match=told):
        prepared(tmp_path, "a.parquet", **{kind: {"jets" if kind == "collections" else "x": block}})


CMS = {
    "samples": [
        {"name": "top", "label": "signal", "files": ["cms-open/single_top.root"]},
        {"name": "ww", "label": "background", "files": ["cms-open/ww.root"]},
    ],
    "derive": {"jet_pt": "sqrt(Jet_Px**2 + Jet_Py**2)", "met": "sqrt(MET_px**2 + MET_py**2)"},
    "features": {
        "inputs": ["met"],
        "collections": {"jets": {"inputs": ["jet_pt", "Jet_btag"], "order": "jet_pt", "length": 2}},
    },
}


def test_real_jets_are_all_there_and_what_is_cut_off_is_told(samples: Path, tmp_path: Path) -> None:
    spec = DataSpec.model_validate(CMS)
    dataset = prepare(spec, samples, tmp_path)
    files = [samples / "cms-open" / f"{name}.root" for name in ("single_top", "ww")]
    n_jets = np.concatenate([uproot.open(file)["events"]["NJet"].array(library="np") for file in files])
    features = np.concatenate([dataset.part(part).features for part in PARTS])
    presence = features[:, [3, 6]]
    assert (len(features), dataset.manifest.events.cut) == (len(n_jets), 0)
    assert presence.sum(axis=0).tolist() == [(n_jets > 0).sum(), (n_jets > 1).sum()]
    assert np.array_equal(np.isnan(features[:, [1, 4]]), presence == 0)
    assert (features[:, 1] >= features[:, 4])[presence[:, 1] == 1].all()
    [note] = [note for note in rehearse(spec, samples).notes if "cuts off" in note]
    n_cut, n_long = np.maximum(n_jets - 2, 0).sum(), (n_jets > 2).sum()
    assert f"length = 2 cuts off {n_cut:,} of {n_jets.sum():,} elements" in note
    assert f"in {n_long:,} of {len(n_jets):,} events; the longest has {n_jets.max()}" in note


def test_what_is_learnt_of_real_jets_is_of_the_training_part_and_of_jets_that_are_there(
    samples: Path, tmp_path: Path
) -> None:
    dataset = prepare(DataSpec.model_validate(CMS), samples, tmp_path)
    train, transform = dataset.part("train").features, dataset.manifest.transform
    momenta = train[:, [1, 4]][train[:, [3, 6]] == 1]
    assert transform.offset[1] == transform.offset[4] == pytest.approx(momenta.mean())
    assert transform.scale[1] == transform.scale[4] == pytest.approx(1 / momenta.std())
    assert transform.fill[1] == np.median(momenta)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def outcome(home: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingOutcome:
    folder = tmp_path_factory.mktemp("blocks")
    write_root(folder / "events.root", drawn())
    (folder / "blocks.toml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WINNOW_HOME", str(home))
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL"):
            environment.delenv(name, raising=False)
        return train_experiment(load_experiment(folder / "blocks.toml"))


@pytest.fixture
def bundle(outcome: TrainingOutcome) -> Bundle:
    return load_bundle(outcome.bundle)


def json_columns() -> dict[str, Any]:
    events = drawn()
    lists = {name: events[name].to_list() for name in ("pt", "eta")}
    return {"flux": events["flux"].reshape(N, 4).tolist(), **lists}


def test_files_frames_chunks_and_requests_get_the_same_scores(outcome: Any, bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "new.root"
    write_root(source, drawn())
    [whole] = iter_chunks(source)
    expected = bundle.score(whole)
    assert len(np.unique(expected)) > N / 2
    pieces = [bundle.score(chunk) for chunk in iter_chunks(source, chunk_bytes=5_000)]
    assert len(pieces) > 1
    np.testing.assert_array_equal(np.concatenate(pieces), expected)
    np.testing.assert_array_equal(bundle.score_frame(pd.DataFrame(json_columns())), expected)
    reference = ModelReference("blocks", "1", bundle)
    score_files(reference, [source], tmp_path / "scored")
    scored = uproot.open(tmp_path / "scored" / "new.root")["events"]["score"].array(library="np")
    np.testing.assert_array_equal(scored, expected)
    np.testing.assert_array_equal(asked_over_http(reference), expected)


def asked_over_http(reference: ModelReference) -> Any:
    class Source:
        def current(self) -> ModelReference:
            return reference

    with TestClient(create_app(Source(), 60.0)) as client:
        end = time.monotonic() + 30
        while client.get("/ready").status_code != 200 and time.monotonic() < end:
            time.sleep(0.01)
        columns = json_columns()
        events = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return np.array(client.post("/score", json={"events": events}).json()["scores"], dtype=np.float32)


def test_the_registered_model_takes_frames_of_lists(
    outcome: TrainingOutcome, bundle: Bundle, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_HOME", str(home))
    frame = pd.DataFrame(json_columns())[:50]
    connect()
    model = mlflow.pyfunc.load_model(f"models:/{outcome.model}/{outcome.version}")
    np.testing.assert_array_equal(model.predict(frame)["score"], bundle.score_frame(frame))


def test_an_image_is_one_row_of_the_record_and_of_the_report(outcome: TrainingOutcome, bundle: Bundle) -> None:
    record = json.loads((outcome.bundle / "evaluation.json").read_text())
    assert {row["name"] for row in record["inputs"]["inputs"]} == {"jets", "stamp"}
    assert [row["separation"]["value"] for row in record["inputs"]["inputs"]] == [None, None]
    report = outcome.report.read_text()
    assert "stamp" in report
    assert "stamp[0]" not in report
    assert bundle.manifest.transform.n_inputs == 9 + 4
