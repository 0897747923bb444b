"""Working points and probabilities in scored files: one column each, beside the score."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import uproot

from flows.reference import ModelReference
from flows.score import ScoreOptions, score_files
from models.calibration import Calibration
from models.companions import columns_of_cuts
from models.cuts import Bins, Cut
from pipeline.chunk import chunk_of_frame
from pipeline.errors import DeclarationError
from pipeline.layout import Layout

N_EVENTS = 3000
ADDED = ["passes_tight", "passes_uniform", "probability"]
CUTS = (
    Cut(name="tight", quantity="signal_efficiency", requested=0.3, thresholds=(0.7,)),
    Cut(
        name="uniform",
        quantity="background_rejection",
        requested=50.0,
        thresholds=(0.4, 0.6, 0.8),
        bins=Bins(variable="forward", edges=(0.0, 0.5, 1.0, 3.0)),
    ),
)
CALIBRATION = Calibration(method="temperature", temperature=1.5, fitted_fraction=0.5, expected_fraction=0.2)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    generator = np.random.default_rng(6)
    eta = generator.normal(size=N_EVENTS)
    eta[::10], eta[5::10] = np.nan, -999.0
    return pd.DataFrame({"y": generator.normal(size=N_EVENTS), "eta": eta, "x": generator.normal(size=N_EVENTS)})


@pytest.fixture
def plain(make_bundle) -> ModelReference:
    bundle = make_bundle([1.0, -2.0], ["x", "y"], derive={"forward": "abs(eta)"}, sentinels=(-999.0,))
    return ModelReference("made", "1", bundle)


@pytest.fixture
def reference(plain) -> ModelReference:
    manifest = plain.bundle.manifest
    needed = columns_of_cuts(CUTS, manifest.recipe, manifest.columns, {"eta": "float"})
    update = {"cuts": CUTS, "calibration": CALIBRATION, "cut_columns": needed}
    return replace(plain, bundle=replace(plain.bundle, manifest=manifest.model_copy(update=update)))


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "scored"


def write_csv(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


def write_parquet(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path, index=False)
    return path


def write_root(frame: pd.DataFrame, path: Path) -> Path:
    with uproot.recreate(path) as file:
        file.mktree("t", dict.fromkeys(frame, "f8")).extend({name: frame[name].to_numpy() for name in frame})
    return path


def write_rntuple(frame: pd.DataFrame, path: Path) -> Path:
    with uproot.recreate(path) as file:
        file["t"] = {name: frame[name].to_numpy() for name in frame}
    return path


def read_root(path: Path) -> pd.DataFrame:
    with uproot.open(path) as file:
        return pd.DataFrame({name: np.asarray(file["t"][name].array()) for name in file["t"].keys()})  # noqa: SIM118


WRITERS = {"csv": write_csv, "parquet": write_parquet, "root": write_root, "rntuple.root": write_rntuple}
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".root": read_root,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_event_gets_what_the_bundle_says_of_it(kind, frame, reference, tmp_path, out):
    path = WRITERS[kind](frame, tmp_path / f"events.{kind}")
    [scored] = score_files(reference, [path], out).scored
    before, after = READERS[path.suffix](path), READERS[path.suffix](out / path.name)
    chunk = chunk_of_frame(frame)
    expected = reference.bundle.companions(chunk, reference.bundle.score(chunk))
    assert list(after) == [*before, "score", *ADDED] == [*before, "score", *expected]
    assert all(np.array_equal(after[name].to_numpy(expected[name].dtype), expected[name]) for name in expected)
    assert (scored.events_in, scored.events_out, len(after)) == (N_EVENTS, N_EVENTS, N_EVENTS)


def test_a_scored_file_holds_passing_and_failing_events_and_none_of_unknown_bin(frame, reference, tmp_path, out):
    score_files(reference, [write_csv(frame, tmp_path / "events.csv")], out)
    after = pd.read_csv(out / "events.csv")
    is_missing = ~(frame["eta"].abs() < 900)
    assert 0.1 < after["passes_uniform"].mean() < 0.5
    assert not after["passes_uniform"][is_missing].any()
    assert after["passes_tight"][is_missing].any()
    assert np.array_equal(after["passes_tight"], after["score"] >= 0.7)


@pytest.mark.parametrize("kind", WRITERS)
def test_scores_are_the_same_with_cuts_and_without(kind, frame, reference, plain, tmp_path, out):
    path = WRITERS[kind](frame, tmp_path / f"events.{kind}")
    scores = []
    for model, folder in ((reference, out / "with"), (plain, out / "without")):
        score_files(model, [path], folder)
        scores.append(READERS[path.suffix](folder / path.name)["score"].to_numpy(np.float32).view(np.int32))
    assert np.array_equal(*scores)


def test_truths_are_0_and_1_in_a_csv(frame, reference, tmp_path, out):
    score_files(reference, [write_csv(frame, tmp_path / "events.csv")], out)
    lines = [line.split(",") for line in (out / "events.csv").read_text().splitlines()[1:]]
    assert {line[-3] for line in lines} == {line[-2] for line in lines} == {"0", "1"}


def test_truths_are_truths_in_root_and_parquet(frame, reference, tmp_path, out):
    paths = [write_root(frame, tmp_path / "events.root"), write_parquet(frame, tmp_path / "events.parquet")]
    score_files(reference, paths, out)
    with uproot.open(out / "events.root") as file:
        assert [file["t"].typenames()[name] for name in ADDED] == ["bool", "bool", "float"]
    schema = pq.read_schema(out / "events.parquet")
    assert [str(schema.field(name).type) for name in ADDED] == ["bool", "bool", "float"]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_without_events_has_the_columns_all_the_same(kind, frame, reference, tmp_path, out):
    path = WRITERS[kind](frame[:0], tmp_path / f"none.{kind}")
    [scored] = score_files(reference, [path], out).scored
    assert list(READERS[path.suffix](out / path.name)) == [*READERS[path.suffix](path), "score", *ADDED]
    assert (scored.events_in, scored.events_out) == (0, 0)


def test_a_file_without_the_column_of_a_cut_is_at_fault(frame, reference, tmp_path, out):
    path = write_csv(frame.rename(columns={"eta": "Eta"}), tmp_path / "f.csv")
    [quarantined] = score_files(reference, [path], out).quarantined
    assert quarantined.error == f"{path} has no column 'eta' (did you mean 'Eta'?); it has: Eta, x, y"
    assert not out.exists()


def test_the_tree_that_has_the_columns_of_the_cuts_is_the_one_that_is_scored(frame, reference, tmp_path, out):
    path = tmp_path / "two.root"
    with uproot.recreate(path) as file:
        for name, columns in {"no_eta": ["x", "y"], "all": ["x", "y", "eta"]}.items():
            file.mktree(name, dict.fromkeys(columns, "f8")).extend({c: frame[c].to_numpy() for c in columns})
    layouts = (Layout(tree="no_eta"), Layout(tree="all"))
    manifest = reference.bundle.manifest.model_copy(update={"layouts": layouts})
    model = replace(reference, bundle=replace(reference.bundle, manifest=manifest))
    assert [file.tree for file in score_files(model, [path], out).scored] == ["all"]


def test_a_model_without_cuts_does_not_ask_for_their_columns(frame, plain, tmp_path, out):
    score_files(plain, [write_csv(frame[["x", "y"]], tmp_path / "events.csv")], out)
    assert list(pd.read_csv(out / "events.csv", nrows=1)) == ["x", "y", "score"]


def test_a_file_that_has_columns_of_these_names_is_at_fault(frame, reference, tmp_path, out):
    path = write_csv(frame.assign(probability=0.5, passes_tight=1), tmp_path / "f.csv")
    [quarantined] = score_files(reference, [path], out).quarantined
    told = "already has 'passes_tight', 'probability', which this model adds; rename or drop them in the input"
    assert quarantined.error == f"{path} {told}"
    assert not out.exists()


@pytest.mark.parametrize("name", ADDED)
def test_the_score_may_not_have_the_name_of_a_column_beside_it(name, frame, reference, tmp_path, out):
    path = write_csv(frame, tmp_path / "events.csv")
    with pytest.raises(DeclarationError, match=f"--score-column {name}: this model adds a column of that name"):
        score_files(reference, [path], out, ScoreOptions(score_column=name))


def test_a_scored_file_is_not_scored_again(frame, reference, tmp_path, out):
    path = write_csv(frame, tmp_path / "events.csv")
    score_files(reference, [path], out)
    assert len(score_files(reference, [path], out).already_scored) == 1
