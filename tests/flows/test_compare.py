"""Several experiments on the same events: who leads, what seeds make of it, and what a failure costs."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from deploy.wording import compared_text
from flows.compare import compare_experiments
from flows.compared import ComparisonOutcome
from flows.experiment import ExperimentFile, load_experiment
from models.comparison import compare_seeds
from pipeline.errors import DeclarationError, TrainingError

EXPERIMENT = """
[experiment]
name = "wide"
seed = 7
[[samples]]
name = "both"
files = ["events.csv"]
label = { column = "label", signal = 1, background = 0 }
[features]
inputs = ["x", "y"]
[split]
by = ["event"]
[model]
architecture = "logistic"
[training]
epochs = 4
compiled = false
batch_size = 64
learning_rate = 3e-1
[evaluation]
signal_efficiencies = [0.5]
baselines = ["fisher"]
"""
NARROW = EXPERIMENT.replace('"wide"', '"narrow"').replace('["x", "y"]', '["y", "z"]').replace("[0.5]", "[0.8]")
HOPELESS = EXPERIMENT.replace('"wide"', '"hopeless"').replace("3e-1", "1e30").replace('"logistic"', '"mlp"')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("compared")
    generator, label = np.random.default_rng(1), np.arange(600) % 2
    x, y, z = generator.normal(size=(3, 600)) + label * np.array([[1.5], [0.5], [0.0]])
    pd.DataFrame({"event": np.arange(600), "label": label, "x": x, "y": y, "z": z}).to_csv(
        folder / "events.csv", index=False
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WINNOW_HOME", str(folder / "home"))
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL"):
            environment.delenv(name, raising=False)
        yield folder


def loaded(folder: Path, name: str, text: str) -> ExperimentFile:
    (folder / f"{name}.toml").write_text(text)
    return load_experiment(folder / f"{name}.toml")


@pytest.fixture(scope="module")
def outcome(folder: Path) -> ComparisonOutcome:
    texts = {"wide": EXPERIMENT, "narrow": NARROW, "hopeless": HOPELESS}
    files = [loaded(folder, name, text) for name, text in texts.items()]
    return compare_experiments(files, n_seeds=2, out=folder / "out")


def test_the_board_has_every_network_and_each_baseline_once_for_each_set_of_inputs(outcome: ComparisonOutcome) -> None:
    kinds = {one.name: outcome.kinds[one.name] for one in outcome.board}
    assert kinds == {
        "wide": "network", "narrow": "network", "fisher of wide": "baseline", "fisher of narrow": "baseline",
    }  # fmt: skip
    aucs = {one.name: one.value.value for one in outcome.board}
    assert min(aucs["wide"], aucs["fisher of wide"]) > max(aucs["narrow"], aucs["fisher of narrow"])


def test_the_seeds_are_the_experiments_own_and_the_next_and_they_differ(outcome: ComparisonOutcome) -> None:
    [wide] = [line for line in outcome.to_json()["board"] if line["name"] == "wide"]
    assert [seed["seed"] for seed in wide["seeds"]] == [7, 8]
    assert wide["seeds"][0]["value"] != wide["seeds"][1]["value"]
    assert wide["value"]["value"] == pytest.approx(np.mean([seed["value"] for seed in wide["seeds"]]))


def test_the_lead_is_that_over_seeds_and_test_events(outcome: ComparisonOutcome) -> None:
    by_name = {one.name: one for one in outcome.board}
    best, narrow = outcome.board[0], by_name["narrow"]
    aucs = [[seed.value for seed in one.seeds] or [one.value.value] * 2 for one in (best, narrow)]
    assert narrow.lead_over_seeds == compare_seeds(*aucs, test_error=0.0).same_test_events
    assert narrow.lead.error > narrow.lead_over_seeds.error
    assert [len(one.backgrounds) for one in outcome.board] == [2] * 4


def test_a_network_that_fails_is_told_and_loses_nobody_else(outcome: ComparisonOutcome) -> None:
    assert list(outcome.failures) == ["hopeless seed 7", "hopeless seed 8"]
    assert "the loss is not finite" in outcome.failures["hopeless seed 7"]


def test_every_network_has_a_run_within_that_of_the_comparison(folder: Path, outcome: ComparisonOutcome) -> None:
    client = MlflowClient(f"sqlite:///{folder}/home/mlflow.db")
    [experiment] = [one for one in client.search_experiments() if one.name == "wide"]
    runs = client.search_runs([experiment.experiment_id])
    nested = {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == outcome.run_id}
    assert nested.keys() == {f"{name} seed {seed}" for name in ("wide", "narrow", "hopeless") for seed in (7, 8)}
    assert nested["narrow seed 8"].data.params["experiment.seed"] == "8"
    assert nested["hopeless seed 7"].info.status == "FAILED"
    assert client.get_run(outcome.run_id).info.status == "FINISHED"


def test_nothing_is_registered_and_nothing_left_among_the_trainings(folder: Path, outcome: ComparisonOutcome) -> None:
    client = MlflowClient(f"sqlite:///{folder}/home/mlflow.db")
    assert list(client.search_registered_models()) == []
    assert list((folder / "home" / "trainings").iterdir()) == []


def test_page_and_record_say_the_same(folder: Path, outcome: ComparisonOutcome) -> None:
    assert outcome.page == folder / "out" / "comparison.html"
    assert json.loads(outcome.record.read_text()) == outcome.to_json()
    page = outcome.page.read_text()
    assert all(one.name in page for one in outcome.board)
    assert "hopeless seed 8: the loss is not finite" in page
    assert '<th class="name key">features.inputs</th>' in page


def test_other_test_events_are_refused_before_anything_is_trained(folder: Path) -> None:
    files = [
        loaded(folder, "wide", EXPERIMENT),
        loaded(folder, "cut", NARROW + "[[select]]\nname = 'c'\nkeep = 'x > 0'\n"),
    ]
    with pytest.raises(DeclarationError, match=r"only experiments with the same test events.*\n  'wide' and 'narrow'"):
        compare_experiments(files)


def test_experiments_of_one_name_go_by_their_files_names(folder: Path) -> None:
    files = [loaded(folder, name, text) for name, text in (("one", HOPELESS), ("other", HOPELESS))]
    with pytest.raises(
        TrainingError, match=r"no network could be trained\n  one seed 7: the loss is not finite.*\n  other seed 7: "
    ):
        compare_experiments(files)
    with pytest.raises(DeclarationError, match="two experiments would be called 'one'; give one of them another"):
        compare_experiments([files[0], files[0]])


def test_a_former_comparison_is_not_replaced(folder: Path, outcome: ComparisonOutcome) -> None:
    files = [loaded(folder, "wide", EXPERIMENT), loaded(folder, "narrow", NARROW)]
    with pytest.raises(DeclarationError, match=r"out/comparison\.html is there already; name another folder"):
        compare_experiments(files, out=outcome.page.parent)


CLASSES = """{ column = "kind", east = 0, north = 1, west = 2 }"""
SEVERAL = (
    EXPERIMENT.replace('{ column = "label", signal = 1, background = 0 }', CLASSES)
    .replace("signal_efficiencies = [0.5]\n", "")
    .replace("[training]", 'head = "softmax"\n[training]')
)
QUANTITY = (
    EXPERIMENT.replace('label = { column = "label", signal = 1, background = 0 }', "")
    .replace("signal_efficiencies = [0.5]\n", "")
    .replace("[split]", '[targets]\nlength = "length"\n[split]')
    .replace("[training]", 'head = "regression"\n[training]')
    .replace("fisher", "linear")
)


@pytest.fixture(scope="module")
def plane(folder: Path) -> Path:
    """Points of a plane: in which third of it, and how far from the origin along a line."""
    x, y = np.random.default_rng(2).normal(size=(2, 600))
    kind, length = np.select([x > np.abs(y), y > 0], [0, 1], 2), 100 + 10 * (2 * x + y)
    frame = pd.DataFrame({"event": np.arange(600), "kind": kind, "length": length, "x": x, "y": y, "z": x**2})
    frame.to_csv(folder / "plane.csv", index=False)
    return folder


@pytest.mark.parametrize(("text", "metric", "baseline"), [(SEVERAL, "mean AUC", "fisher"), (QUANTITY, "RMS", "linear")])
def test_networks_of_other_heads_are_ranked_as_well(plane: Path, text: str, metric: str, baseline: str) -> None:
    wide = text.replace("events.csv", "plane.csv").replace("3e-1", "1e-1").replace("epochs = 4", "epochs = 12")
    files = [
        loaded(plane, "wide", wide),
        loaded(plane, "narrow", wide.replace('"wide"', '"narrow"').replace('["x", "y"]', '["y"]')),
    ]
    found = compare_experiments(files, n_seeds=2, out=plane / metric)
    values = {one.name: one.value.value for one in found.board}
    assert values.keys() == {"wide", "narrow", f"{baseline} of wide", f"{baseline} of narrow"}
    assert (
        (values["wide"] > values["narrow"] + 0.1) if metric == "mean AUC" else (values["wide"] < values["narrow"] - 5)
    )
    narrow = next(one for one in found.board if one.name == "narrow")
    assert narrow.lead.value > 5 * narrow.lead.error > 0
    assert found.to_json()["metric"]["label"] == metric
    assert f">{metric}</th>" in found.page.read_text()
    assert metric in compared_text(json.loads(found.record.read_text()))


def test_different_heads_are_refused(plane: Path) -> None:
    files = [loaded(plane, "wide", EXPERIMENT), loaded(plane, "narrow", SEVERAL.replace('"wide"', '"several"'))]
    with pytest.raises(DeclarationError, match="'wide' and 'several': the heads differ: binary, and softmax"):
        compare_experiments(files)
