"""What every simulation promises: complete files, an experiment that uses them, and the same events again."""

import tomllib
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pandas as pd
import pytest
import uproot

from pipeline.errors import DeclarationError
from pipeline.simulate import SIMULATIONS, SimulatedSample, simulate

N_EVENTS = 500
IDENTITY = {"pion-muon": ["run", "event"], "star-galaxy": ["objid"]}
every_simulation = pytest.mark.parametrize("name", sorted(SIMULATIONS))


def read(path: Path) -> pd.DataFrame:
    """The columns of a simulated file; of lists and images every event has its own."""
    if path.suffix == ".csv":
        return pd.read_csv(path)
    with uproot.open(path) as file:
        (tree,) = file.values()
        columns = {name: tree[name].array() for name in tree.keys()}  # noqa: SIM118 - a tree is no dict
    return pd.DataFrame({name: ak.to_numpy(c) if c.ndim == 1 else ak.to_list(c) for name, c in columns.items()})


def content(sample: SimulatedSample) -> dict[str, Any]:
    return tomllib.loads(sample.experiment.read_text(encoding="utf-8"))


def frames(sample: SimulatedSample) -> list[pd.DataFrame]:
    return [read(path) for path in (*sample.training_files, *sample.new_files)]


@every_simulation
def test_labelled_events_are_as_many_as_asked_for_and_new_ones_a_fifth_more(name: str, tmp_path: Path) -> None:
    sample = simulate(name, tmp_path, N_EVENTS)
    assert sum(len(read(path)) for path in sample.training_files) == N_EVENTS
    assert sum(len(read(path)) for path in sample.new_files) == N_EVENTS // 5


@every_simulation
def test_the_same_seed_gives_identical_events(name: str, tmp_path: Path) -> None:
    first = frames(simulate(name, tmp_path / "first", N_EVENTS, seed=3))
    second = frames(simulate(name, tmp_path / "second", N_EVENTS, seed=3))
    for one, other in zip(first, second, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


@every_simulation
def test_another_seed_gives_other_events(name: str, tmp_path: Path) -> None:
    first = frames(simulate(name, tmp_path / "first", N_EVENTS, seed=3))
    second = frames(simulate(name, tmp_path / "second", N_EVENTS, seed=4))
    assert not any(one.equals(other) for one, other in zip(first, second, strict=True))


@every_simulation
def test_no_two_events_share_an_identity(name: str, tmp_path: Path) -> None:
    events = pd.concat(frames(simulate(name, tmp_path, N_EVENTS)))
    assert not events.duplicated(IDENTITY.get(name, ["event"])).any()


@every_simulation
def test_new_events_carry_no_label_and_their_truth_is_no_input(name: str, tmp_path: Path) -> None:
    sample = simulate(name, tmp_path, N_EVENTS)
    columns = {column for path in sample.new_files for column in read(path).columns}
    truth = {column for column in columns if column.startswith("true_")}
    labels = {spec["label"]["column"] for spec in content(sample)["samples"] if isinstance(spec.get("label"), dict)}
    assert not columns & labels
    assert len(truth) == 1
    assert not truth & set(content(sample)["features"]["inputs"])


@every_simulation
def test_the_experiment_file_names_files_and_inputs_that_exist(name: str, tmp_path: Path) -> None:
    sample = simulate(name, tmp_path, N_EVENTS, seed=8)
    experiment = content(sample)
    files = [sample.experiment.parent / file for spec in experiment["samples"] for file in spec["files"]]
    assert files == list(sample.training_files)
    assert (experiment["experiment"]["name"], experiment["experiment"]["seed"]) == (name, 8)
    assert set(used_columns(experiment)) <= set(read(files[0]).columns) | experiment.get("derive", {}).keys()


def used_columns(experiment: dict[str, Any]) -> list[str]:
    """What inputs, spectators, collections, images and targets name."""
    features = experiment["features"]
    lists = [text for block in features.get("collections", {}).values() for text in (*block["inputs"], block["order"])]
    pixels = [block["pixels"] for block in features.get("images", {}).values()]
    targets = experiment.get("targets", {}).values()
    return [*features["inputs"], *features.get("spectators", []), *lists, *pixels, *targets]


@every_simulation
def test_the_experiment_file_asks_a_question_and_says_that_nothing_was_measured(name: str, tmp_path: Path) -> None:
    sample = simulate(name, tmp_path, 10)
    assert content(sample)["experiment"]["question"].endswith("?")
    text = sample.experiment.read_text(encoding="utf-8")
    assert f"# Simulated by `winnow simulate {name}`, not measured" in text


@pytest.mark.parametrize("name", ["showers", "curve"])
def test_an_estimate_of_a_quantity_has_no_classes_to_balance_and_no_auc(name: str, tmp_path: Path) -> None:
    experiment = content(simulate(name, tmp_path, 10))
    assert experiment["model"]["head"] == "regression"
    assert "weights" not in experiment
    assert experiment["promotion"]["metric"] == "rms"
    assert experiment["evaluation"] == {"baselines": []}
    assert len(experiment["targets"]) == 1


def test_few_events_are_trained_on_in_small_batches(tmp_path: Path) -> None:
    sizes = []
    for n_events in (100, 20_000):
        sample = simulate("gaussians", tmp_path, n_events)
        sizes.append(content(sample)["training"]["batch_size"])
    assert sizes == [256, 1024]


@every_simulation
def test_nothing_but_the_named_files_is_left_in_the_folder(name: str, tmp_path: Path) -> None:
    sample = simulate(name, tmp_path / "made" / "here", 10)
    left = {sample.experiment, *sample.training_files, *sample.new_files}
    assert set((tmp_path / "made" / "here").iterdir()) == left


def test_a_refused_call_leaves_the_old_files(tmp_path: Path) -> None:
    path = simulate("gaussians", tmp_path, 10).training_files[0]
    before = path.read_bytes()
    with pytest.raises(DeclarationError, match="distance: received 'far'"):
        simulate("gaussians", tmp_path, 20, distance="far")
    assert path.read_bytes() == before


def test_integers_beyond_double_precision_survive_the_files(tmp_path: Path) -> None:
    objects = read(simulate("star-galaxy", tmp_path, N_EVENTS).training_files[0])
    tracks = read(simulate("pion-muon", tmp_path, N_EVENTS).training_files[0])
    assert objects["objid"].dtype == np.int64
    assert objects["objid"].astype(np.float64).nunique() < N_EVENTS
    assert tracks["event"].dtype == np.int64
    assert tracks["event"].astype(np.float32).nunique() < len(tracks)


@pytest.mark.parametrize(
    ("name", "n_events", "options", "message"),
    [
        ("pion-moun", 100, {}, r"no simulation 'pion-moun' \(did you mean 'pion-muon'\?\); there are: .*gaussians"),
        ("gaussians", 9, {}, "events: received 9; allowed: at least 10"),
        ("gaussians", 100, {"seed": -1}, "seed: received -1"),
        ("gaussians", 100, {"distanse": 2.0}, r"distanse: unknown key \(did you mean 'distance'\?\)"),
        ("sick-well", 100, {"noise": 1.0}, "noise: unknown key; allowed here: none"),
        (
            "region",
            100,
            {"boundary": "circle"},
            "boundary: received 'circle'; allowed: 'line', 'parabola', 'hyperbola'",
        ),
        ("gaussians", 100, {"format": "rot"}, "format: received 'rot'; allowed: 'csv', 'root'"),
        ("pion-muon", 100, {"noise": -1.0}, "noise: received -1.0"),
    ],
)
def test_a_wrong_call_is_told_what_is_allowed(
    name: str, n_events: int, options: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DeclarationError, match=message):
        simulate(name, tmp_path / "never", n_events, **options)
    assert not (tmp_path / "never").exists()
