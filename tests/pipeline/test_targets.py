"""What is known of targets, and where events without one go."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.dataset import PreparedDataset
from pipeline.errors import DataError
from pipeline.plan import DataSpec
from pipeline.prepare import prepare
from pipeline.rehearsal import rehearse
from pipeline.targets import TargetStatistics, standard, unchanged

ENERGY, IS_LONG = np.array([1.0, 2.0, 4.0, 9.0, 25.0]), np.array([0.0, 0.0, 1.0, 1.0, 1.0])
BOTH = np.column_stack([ENERGY, IS_LONG])


def learnt(*blocks: np.ndarray[Any, Any]) -> TargetStatistics:
    statistics = TargetStatistics(2)
    for block in blocks:
        statistics.look(block)
        statistics.learn(block)
    return statistics


@pytest.mark.parametrize("cuts", [[], [2], [0, 1, 4]])
def test_facts_do_not_depend_on_how_events_are_cut_into_blocks(cuts: list[int]) -> None:
    energy, is_long = learnt(*np.split(BOTH, cuts)).facts(("energy", "is_long"))
    assert energy.mean == pytest.approx(ENERGY.mean())
    assert energy.spread == pytest.approx(ENERGY.std())
    assert (energy.lowest, energy.highest, energy.n_no_flag) == (1.0, 25.0, 4)
    assert (is_long.name, is_long.mean, is_long.n_no_flag) == ("is_long", pytest.approx(0.6), 0)


def test_of_other_parts_the_range_is_known_and_nothing_is_learnt() -> None:
    statistics = learnt(BOTH)
    statistics.look(np.array([[1e6, 0.5]]))
    energy, is_long = statistics.facts(("energy", "is_long"))
    assert (energy.mean, energy.highest, is_long.n_no_flag) == (pytest.approx(ENERGY.mean()), 1e6, 1)


def test_normalised_targets_have_mean_0_and_standard_deviation_1_and_a_constant_one_is_0() -> None:
    targets = np.column_stack([ENERGY, np.full(5, 7.0)])
    normalised = standard(learnt(targets).facts(("energy", "seven"))).apply(targets)
    assert normalised.mean(axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert normalised.std(axis=0) == pytest.approx([1, 0], abs=1e-6)


def test_what_shall_stay_unchanged_does() -> None:
    transform = unchanged(learnt(BOTH).facts(("energy", "is_long")))
    assert transform.changes_nothing
    assert np.array_equal(transform.apply(BOTH), BOTH.astype(np.float32))


def spec_of(**sections: Any) -> DataSpec:
    document = {
        "samples": [{"name": "showers", "files": ["showers.csv"]}],
        "features": {"inputs": ["first", "second"], "missing": {"values": [-999.0]}},
        "targets": {"energy": "true_energy / 1000", "is_deep": "depth > 3"},
        "split": {"by": "row"},
    }
    return DataSpec.model_validate({**document, **sections})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(1)
    energy, depth = generator.uniform(1e3, 9e3, 500), generator.uniform(0, 6, 500)
    energy[:7], energy[7:9] = np.nan, -999.0
    layers = generator.normal(energy[:, None], 100.0, (500, 2))
    table = np.nan_to_num(np.column_stack([layers, energy, depth]), nan=np.nan)
    np.savetxt(tmp_path / "showers.csv", table, "%.6f", ",", header="first,second,true_energy,depth", comments="")
    return tmp_path


def prepared(folder: Path, **sections: Any) -> PreparedDataset:
    return prepare(spec_of(**sections), folder, folder / "store")


def test_events_whose_target_is_missing_are_left_out_and_counted(folder: Path) -> None:
    counts = prepared(folder).manifest.events
    assert (counts.read, counts.left_out, counts.kept) == (500, 9, 491)


def test_targets_are_stored_in_their_own_units_beside_their_events(folder: Path) -> None:
    train = prepared(folder).part("train")
    assert train.target.shape == (len(train), 2)
    assert train.target[:, 0] * 1000 == pytest.approx(train.features.mean(axis=1), abs=500)
    assert set(np.unique(train.target[:, 1])) == {0.0, 1.0}


def test_targets_in_another_order_are_another_dataset(folder: Path) -> None:
    turned = {"is_deep": "depth > 3", "energy": "true_energy / 1000"}
    one, other = prepared(folder), prepared(folder, targets=turned)
    assert [fact.name for fact in other.manifest.targets] == ["is_deep", "energy"]
    assert np.array_equal(one.part("test").target, other.part("test").target[:, ::-1])


def test_facts_are_those_of_the_training_part(folder: Path) -> None:
    dataset = prepared(folder)
    energy, is_deep = dataset.manifest.targets
    assert energy.mean == pytest.approx(dataset.part("train").target[:, 0].mean())
    assert is_deep.n_no_flag == 0


def test_an_input_that_makes_a_target_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="an input needs column 'depth', which makes a target"):
        prepared(folder, features={"inputs": ["first", "depth"]})


def test_without_targets_a_sample_needs_a_label() -> None:
    with pytest.raises(ValueError, match="label is missing: write label = 'signal'"):
        spec_of(targets={})


def test_a_target_that_is_no_expression_is_told_with_its_name() -> None:
    with pytest.raises(ValueError, match="energy = 'true_energy /'"):
        spec_of(targets={"energy": "true_energy /"})


def test_a_rehearsal_tells_what_the_head_says_of_the_targets(folder: Path) -> None:
    found = rehearse(spec_of(), folder, target_problems=lambda facts: [f"{fact.name} is odd" for fact in facts])
    assert found.problems == ("energy is odd", "is_deep is odd")


def test_events_without_a_target_are_told(folder: Path) -> None:
    [note] = [note for note in rehearse(spec_of(), folder).notes if "left out" in note]
    assert note.startswith("9 events are left out, since 'energy' or 'is_deep' has no value there")


def test_a_target_that_is_constant_in_training_alone_has_no_spread() -> None:
    statistics = TargetStatistics(1)
    statistics.look(np.array([[0.1], [5.0]]))
    statistics.learn(np.full((1000, 1), 0.1))
    assert statistics.facts(("energy",))[0].spread == 0


def test_a_dataset_that_refuses_missing_values_can_be_opened_again(folder: Path) -> None:
    features = {"inputs": ["first", "second"], "missing": {"policy": "refuse"}}
    assert prepared(folder, features=features).manifest.transform.refused == {0: "first", 1: "second"}
