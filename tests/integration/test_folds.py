"""Folds from end to end: events that carry no signal, memorised by every network that saw them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.experiment import load_experiment
from flows.promote import PromotionSpec, decide
from flows.score import score_files
from flows.train import TrainingOutcome, train_experiment
from models.bundle import MODEL, Bundle, ScoringGraph, load_bundle
from models.metrics import auc_with_error, weighted_auc
from pipeline.sources import iter_chunks

K = 3
EXPERIMENT = f"""
[experiment]
name = "noise"
seed = 3
[[samples]]
name = "noise"
files = ["noise.csv"]
label = {{ column = "label", signal = 1, background = 0 }}
[features]
inputs = ["a", "b", "c", "d", "e", "f"]
[split]
by = ["event"]
folds = {K}
[model]
options = {{ widths = [128, 128], dropout = 0.0 }}
[training]
epochs = 150
batch_size = 32
learning_rate = 3e-3
early_stopping = {{ watch = "loss", patience = 150 }}
"""


def noise(n_events: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(generator.normal(size=(n_events, 6)).astype(np.float32), columns=list("abcdef"))
    return frame.assign(event=np.arange(n_events), label=generator.integers(0, 2, n_events))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> TrainingOutcome:
    folder = tmp_path_factory.mktemp("folds")
    noise(600, seed=1).to_csv(folder / "noise.csv", index=False)
    (folder / "noise.toml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WINNOW_HOME", str(folder / "home"))
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL"):
            environment.delenv(name, raising=False)
        return train_experiment(load_experiment(folder / "noise.toml"))


@pytest.fixture(scope="module")
def bundle(outcome: TrainingOutcome) -> Bundle:
    return load_bundle(outcome.bundle)


@pytest.fixture(scope="module")
def learnt(outcome: TrainingOutcome) -> Path:
    """The file of the events that the networks were trained on."""
    return Path(outcome.datasets[0].manifest.files[0].path)


def scores_of(bundle: Bundle, path: Path) -> tuple[Any, Any]:
    [chunk] = iter_chunks(path)
    return bundle.score(chunk), chunk["label"]


def test_each_network_knows_the_events_that_it_was_trained_on_by_heart(outcome: TrainingOutcome) -> None:
    for fold, dataset in enumerate(outcome.datasets):
        graph, train = ScoringGraph(outcome.bundle / f"model-{fold}.onnx"), dataset.part("train")
        assert weighted_auc(graph.score(train.features), train.label) > 0.85


def test_no_event_is_scored_by_a_network_that_has_seen_it(bundle: Bundle, learnt: Path) -> None:
    area = auc_with_error(*scores_of(bundle, learnt))
    assert abs(area.value - 0.5) < 4 * area.error


def judged_rows(outcome: TrainingOutcome, fold: int, validates: bool) -> Any:
    """Which of a fold's test events other networks are validated on, or are not."""
    validated = np.concatenate([dataset.part("validation").identity for dataset in outcome.datasets])
    return np.isin(outcome.datasets[fold].part("test").identity, validated) == validates


def test_every_part_stands_for_all_events(outcome: TrainingOutcome, learnt: Path) -> None:
    n_signal = int(pd.read_csv(learnt)["label"].sum())
    found = {(count.part, count.kind): count.sum_of_weights for count in outcome.evaluation.counts}
    for part in ("train", "validation", "test"):
        assert found[part, "signal"] == pytest.approx(n_signal)
        assert found[part, "background"] == pytest.approx(600 - n_signal)


def test_every_event_is_judged_once_for_choosing_or_for_quoting(outcome: TrainingOutcome) -> None:
    counts = dict.fromkeys(("validation", "test"), 0)
    for count in outcome.evaluation.counts:
        if count.part in counts:
            counts[count.part] += count.events
    assert sum(counts.values()) == outcome.datasets[0].manifest.events.kept
    assert counts["validation"] == sum(judged_rows(outcome, fold, True).sum() for fold in range(K))


def test_the_evaluation_judges_the_scores_that_the_bundle_gives(outcome: TrainingOutcome, bundle: Bundle) -> None:
    scores, labels = [], []
    for fold, dataset in enumerate(outcome.datasets):
        test, rows = dataset.part("test"), judged_rows(outcome, fold, False)
        scores.append(bundle.score_features(test.features, test.content[:, 0])[rows])
        labels.append(test.label[rows])
    expected = weighted_auc(np.concatenate(scores), np.concatenate(labels))
    assert outcome.evaluation.auc.value == pytest.approx(expected, abs=1e-12)


def test_a_scored_file_has_the_scores_of_the_folds(bundle: Bundle, learnt: Path, tmp_path: Path) -> None:
    from flows.reference import ModelReference

    score_files(ModelReference("noise", "1", bundle), [learnt], tmp_path)
    found = pd.read_csv(tmp_path / learnt.name)["score"].to_numpy(np.float32)
    assert np.array_equal(found, scores_of(bundle, learnt)[0])


def test_a_new_event_gets_the_mean_of_all_networks(bundle: Bundle, tmp_path: Path) -> None:
    new = noise(50, seed=2)
    features = new[list("abcdef")].to_numpy(np.float64)
    each = [ScoringGraph(bundle.folder / f"model-{fold}.onnx").score(features) for fold in range(K)]
    np.testing.assert_allclose(bundle.score_frame(new), np.mean(each, axis=0), rtol=1e-6)


def test_an_event_is_known_again_among_others_and_without_its_number(bundle: Bundle, learnt: Path) -> None:
    known = pd.read_csv(learnt, dtype=dict.fromkeys("abcdef", np.float32))
    mixed = pd.concat([noise(20, seed=2), known.iloc[5:40], noise(20, seed=4)]).drop(columns="event")
    assert np.array_equal(bundle.score_frame(mixed)[20:55], bundle.score_frame(known)[5:40])


def test_promotion_compares_on_all_events_with_the_networks_that_have_not_seen_them(
    outcome: TrainingOutcome, bundle: Bundle
) -> None:
    tests = [dataset.part("test") for dataset in outcome.datasets]
    decision = decide(bundle, bundle, tests, PromotionSpec())
    assert decision.difference is not None
    assert (decision.difference.value, decision.difference.error) == (0.0, 0.0)
    assert "the same test events" in decision.reason


def test_the_record_and_the_history_say_what_each_fold_did(outcome: TrainingOutcome) -> None:
    record = outcome.to_json()
    assert (record["training"]["folds"], record["training"]["epochs"]) == (K, 150 * K)
    history = json.loads((outcome.report.parent / "history.json").read_text())
    assert {epoch["fold"] for epoch in history} == set(range(K))
    assert MODEL not in load_bundle(outcome.bundle).manifest.files
