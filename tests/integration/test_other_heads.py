"""Several classes, labels and quantities from the file to the promoted version, by the same steps as one score."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deploy.wording import trained_text
from flows.experiment import load_experiment
from flows.outcome import TrainingOutcome
from flows.promote import PromotionSpec, decide
from flows.tracking.registry import champion_version
from flows.tracking.server import connect
from flows.train import train_experiment
from models.build import head_of
from models.bundle import load_bundle
from models.headline import recorded_headline
from pipeline.errors import DataError
from pipeline.rehearsal import rehearse

N_EVENTS = 1_500
N_WITHOUT_ENERGY = 7
EXPERIMENT = """
[experiment]
name = "{name}"
seed = 5
[[samples]]
name = "plane"
files = ["events.csv"]
weight = "weight"
{label}
[features]
inputs = ["u", "v", "noise"]
[split]
by = ["event"]
folds = {folds}
[model]
head = "{head}"
options = {{ widths = [16], dropout = 0.0 }}
[training]
epochs = {epochs}
batch_size = 64
compiled = false
learning_rate = {learning_rate}
[evaluation]
{evaluation}
"""
CLASSES = "label = { column = 'kind', east = 0, north = 1, south = 2, west = 3 }"
LABELS = "[targets]\nup = 'up'\nright = 'right'"
QUANTITIES = "[targets]\nenergy = 'energy * 1000'\ntime = 'time'"
HEADS = {
    "softmax": {"label": CLASSES, "folds": 1, "evaluation": "replicas = 20\nbaselines = ['trees', 'fisher']"},
    "multi-label": {"label": LABELS, "folds": 2, "evaluation": "replicas = 20\nbaselines = ['logistic']"},
    "regression": {"label": QUANTITIES, "folds": 1, "evaluation": "baselines = ['trees', 'linear']"},
}
GOOD = {"epochs": 6, "learning_rate": 1e-2}
CRIPPLED = {"epochs": 1, "learning_rate": 1e-9}


def events() -> pd.DataFrame:
    """Points in a plane, seen with errors: of one of four kinds, up or not, right or not, of an energy and a time."""
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(2, N_EVENTS))
    energy = x + 2 * y + 0.1 * generator.normal(size=N_EVENTS)
    energy[:N_WITHOUT_ENERGY] = np.nan
    return pd.DataFrame(
        {
            "event": np.arange(N_EVENTS),
            "u": x + 0.3 * generator.normal(size=N_EVENTS),
            "v": y + 0.3 * generator.normal(size=N_EVENTS),
            "noise": generator.normal(size=N_EVENTS),
            "weight": generator.uniform(0.5, 1.5, N_EVENTS),
            "kind": np.select([x > np.abs(y), y > np.abs(x), -y > np.abs(x)], [0, 1, 2], 3),
            "up": (y > 0).astype(int),
            "right": (x > 0.5).astype(int),
            "energy": energy,
            "time": x * y,
        }
    )


def written(folder: Path, head: str, **settings: object) -> Path:
    path = folder / f"{head}.toml"
    path.write_text(EXPERIMENT.format(**{"name": f"plane-{head}", "head": head, **HEADS[head], **GOOD, **settings}))
    return path


@dataclass(frozen=True)
class Versions:
    """Two versions of one model: a crippled one and a good one."""

    crippled: TrainingOutcome
    good: TrainingOutcome


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("plane")
    events().to_csv(folder / "events.csv", index=False)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WINNOW_HOME", str(folder / "home"))
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL"):
            environment.delenv(name, raising=False)
        yield folder


@pytest.fixture(scope="module", params=list(HEADS))
def versions(request: pytest.FixtureRequest, folder: Path) -> Versions:
    settings = (CRIPPLED, GOOD)
    return Versions(*(train_experiment(load_experiment(written(folder, request.param, **s))) for s in settings))


def test_a_better_version_is_promoted_and_a_worse_one_is_not(versions: Versions) -> None:
    crippled, good = versions.crippled, versions.good
    tests, spec = [dataset.part("test") for dataset in good.datasets], PromotionSpec()
    worse = decide(load_bundle(crippled.bundle), load_bundle(good.bundle), tests, spec)
    assert [one.is_promoted for one in (crippled.decision, good.decision, worse)] == [True, True, False]
    assert good.decision.difference is not None
    assert worse.difference is not None
    assert good.decision.difference.value > 5 * good.decision.difference.error > 0
    assert worse.difference.value == pytest.approx(-good.decision.difference.value)
    assert "on the same test events" in good.decision.reason
    assert champion_version(connect(), good.model) == good.version


def test_the_gain_is_the_difference_of_the_two_headlines(versions: Versions) -> None:
    """With folds the events that thresholds are chosen on are judged by versions, and not by headlines."""
    before, after = (outcome.evaluation.headline for outcome in (versions.crippled, versions.good))
    gain = after.value.value - before.value.value
    assert versions.good.decision.difference is not None
    tolerance = 1e-5 if len(versions.good.datasets) == 1 else 0.1
    assert abs(gain) == pytest.approx(versions.good.decision.difference.value, rel=tolerance)
    assert (gain > 0) is after.higher_is_better


def test_every_event_is_accounted_for(versions: Versions) -> None:
    record = versions.good.to_json()
    found, counts = record["events"], record["test_classes"]
    assert found["read"] == N_EVENTS == found["kept"] + found["cut"] + found["left_out"]
    assert found["left_out"] == (N_WITHOUT_ENERGY if "regression" in versions.good.model else 0)
    assert found["kept"] == found["train"] + found["validation"] + found["test"]
    if len(versions.good.datasets) == 1 and "multi-label" not in versions.good.model:
        assert sum(count["events"] for count in counts) == found["test"]


def test_the_record_says_the_headline_and_an_auc_only_where_there_is_one(versions: Versions) -> None:
    record = json.loads(json.dumps(versions.good.to_json(), allow_nan=False))
    headline = versions.good.evaluation.headline
    assert record["headline"]["name"] == ("rms" if "regression" in record["model"] else "auc")
    assert record["headline"]["value"] == headline.value.value
    assert record["auc"] == (None if headline.name == "rms" else headline.value.value)
    assert f"test {headline.label}" in trained_text(record)


def test_the_bundle_the_run_and_the_version_know_the_numbers(versions: Versions) -> None:
    outcome, client = versions.good, connect()
    bundle = load_bundle(outcome.bundle)
    assert recorded_headline(bundle.read_json("evaluation.json")) == outcome.evaluation.headline
    assert (bundle.manifest.thresholds, bundle.manifest.cuts, bundle.manifest.calibration) == ((), (), None)
    logged = client.get_run(outcome.run_id).data.metrics
    name = outcome.evaluation.headline.name
    assert outcome.evaluation.metrics().items() <= logged.items()
    assert name in client.get_model_version(outcome.model, outcome.version).tags


def test_tables_figures_and_the_page_are_recorded(versions: Versions) -> None:
    client, run = connect(), versions.good.run_id
    files = {file.path for folder in ("", "figures") for file in client.list_artifacts(run, folder)}
    tables = {"softmax": "confusion.json", "multi-label": "labels.json", "regression": "targets.json"}
    assert {"report.html", "evaluation.json", "history.json", "cut_flow.json"} <= files
    assert tables[versions.good.model.removeprefix("plane-")] in files
    assert "figures/history.png" in files


def test_the_page_has_every_section_that_its_list_names_and_says_what_each_input_is_worth(versions: Versions) -> None:
    page = versions.good.report.read_text()
    assert versions.good.evaluation.headline.label.split()[-1] in page
    inputs = versions.good.evaluation.inputs
    assert inputs is not None
    assert {one.name for one in inputs.inputs[:2]} == {"u", "v"}
    assert all(one.importance.value > 5 * one.importance.error for one in inputs.inputs[:2])
    assert "rises" in page if "regression" in versions.good.model else "falls" in page


def test_the_network_is_ranked_among_its_baselines(versions: Versions) -> None:
    found, experiment = versions.good.evaluation, versions.good.model.removeprefix("plane-")
    board = {one.name: one for one in found.leader_board}
    baselines = {"softmax": ["trees", "fisher"], "multi-label": ["logistic"], "regression": ["trees", "linear"]}
    assert board.keys() == {"network", *baselines[experiment]}
    assert (board["network"].value.value, board["network"].value.error) == pytest.approx(
        (found.headline.value.value, found.headline.value.error)
    )
    best, other = list(board.values())[:2]
    assert (best.value.value > other.value.value) is found.headline.higher_is_better
    assert other.lead.value == pytest.approx(abs(best.value.value - other.value.value))
    assert (best.lead_of_method is None) is (experiment != "multi-label")
    assert '<h2 id="board">' in versions.good.report.read_text()


def test_a_flag_that_is_none_is_refused_before_training_and_by_the_check(folder: Path) -> None:
    file = load_experiment(written(folder, "multi-label", label="[targets]\nup = 'up'\nright = 'kind'"))
    message = r"target 'right' is a flag, 0 or 1, for this head, and \d+ events have another value"
    with pytest.raises(DataError, match=message):
        train_experiment(file)
    found = rehearse(file.content, file.folder, target_problems=head_of(file.content.model).target_problems)
    assert any("target 'right' is a flag" in problem for problem in found.problems)


def test_a_flag_of_which_a_part_has_none_is_refused_before_training(folder: Path) -> None:
    file = load_experiment(written(folder, "multi-label", label="[targets]\nfirst = 'event == 0'", folds=1))
    with pytest.raises(DataError, match=r"part cannot be judged: there are no "):
        train_experiment(file)
