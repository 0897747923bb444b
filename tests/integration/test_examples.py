"""Every example, from its real sample to a registered version: what it promises, asked of one training each."""

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from flows.experiment import Experiment, ExperimentFile, load_experiment
from flows.train import TrainingOutcome, train_experiment
from models.bundle import Bundle, load_bundle
from pipeline.plan import SampleFile, plan_files
from pipeline.simulate import SIMULATIONS
from pipeline.sources import count_events, iter_chunks
from pipeline.splitting import PARTS, event_identities

pytestmark = [
    # MLflow looks for text columns in a table as was right before pandas 3.
    pytest.mark.filterwarnings("ignore:For backward compatibility, 'str' dtypes are included"),
    # Keras copies TensorFlow's tensors in a way that NumPy 2 is about to give up.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

EXAMPLES = Path(__file__).parents[2] / "examples"

LOWEST_AUC = {
    "alice-electron-pion": 0.999,
    "atlas-higgs": 0.87,
    "cms-jets": 0.80,
    "cms-ww-singletop": 0.81,
    "geant4-four-particles": 0.965,
    "geant4-layers": 0.92,
    "geant4-muon-pion": 0.925,
    "magic-gamma-hadron": 0.93,
    "sdss-missing": 0.985,
    "sdss-star-galaxy": 0.985,
    "uci-higgs": 0.75,
    "uci-higgs-derived": 0.72,
    "uci-higgs-low-level": 0.58,
}

TELLTALES = {
    "alice-electron-pion": ["index"],
    "atlas-higgs": ["EventId", "*Weight", "Label", "KaggleSet"],
    "cms-ww-singletop": ["MC*", "EventWeight"],
    "geant4-muon-pion": ["species"],
    "magic-gamma-hadron": ["class"],
    "sdss-missing": ["class", "redshift", "*id", "plate", "mjd", "ra", "dec"],
    "sdss-star-galaxy": ["class", "redshift", "*id", "plate", "mjd", "ra", "dec"],
    "uci-higgs": ["label"],
    "uci-higgs-derived": ["label", "m_*"],
    "uci-higgs-low-level": ["label", "m_*"],
    "cms-jets": ["MC*", "EventWeight"],
    "geant4-four-particles": ["species"],
    "geant4-layers": ["species"],
}
"""Columns that tell the class, the weight, the identity, or what the network is to find out by itself."""

SMALL_BLOCKS = 1_000_000
"""Bytes: other blocks than those that the dataset was prepared in."""

every_example = pytest.mark.parametrize("name", sorted(LOWEST_AUC))
OutcomeOf = Callable[[str], TrainingOutcome]


def example(name: str) -> ExperimentFile:
    return load_experiment(EXAMPLES / f"{name}.toml")


@pytest.fixture(scope="module")
def data_root(samples: Path) -> Iterator[Path]:
    """The folder that the file names of the examples are found in."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WINNOW_DATA", str(samples))
        yield samples


@pytest.fixture(scope="module")
def outcome_of(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OutcomeOf]:
    """The outcome of training an example; each is trained once, when it is first asked for."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WINNOW_HOME", str(tmp_path_factory.mktemp("home")))
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield cache(lambda name: train_experiment(example(name)))


def files_of(name: str) -> list[SampleFile]:
    file = example(name)
    return list(plan_files(file.content, file.folder))


def scores_of_file(
    bundle: Bundle, spec: Experiment, file: SampleFile
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.float32]]]:
    """Identity and score of every event of a raw file, read again."""
    chunks = iter_chunks(file.path, file.needed, layout=file.sample.layout, chunk_bytes=SMALL_BLOCKS)
    for chunk in chunks:
        yield (
            event_identities(chunk, spec.split, file.sample.name, file.path.name, file.features_need),
            bundle.score(chunk),
        )


def scores_by_identity(name: str, bundle: Bundle) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Score the raw files of an example; events of one identity, which are copies, are given once."""
    spec = example(name).content
    pairs = [pair for file in files_of(name) for pair in scores_of_file(bundle, spec, file)]
    identities, scores = (np.concatenate(column) for column in zip(*pairs, strict=True))
    known, first = np.unique(identities, return_index=True)
    return known, scores[first]


def test_every_example_is_tested_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == set(LOWEST_AUC) == set(TELLTALES)


def test_the_list_of_questions_names_every_example_and_every_simulation() -> None:
    named = set(re.findall(r"`([\w.-]+)`", (EXAMPLES / "README.md").read_text()))
    assert {f"{name}.toml" for name in LOWEST_AUC} | SIMULATIONS.keys() <= named


@every_example
def test_an_example_reads_without_a_problem_and_is_called_like_its_file(name: str) -> None:
    assert example(name).content.name == name


@every_example
def test_an_example_says_how_it_is_run(name: str) -> None:
    assert f"winnow train examples/{name}.toml" in example(name).text


@every_example
def test_the_sample_has_every_column_and_no_telltale_is_an_input(name: str, data_root: Path) -> None:
    files = files_of(name)
    assert {file.sample.name for file in files} == {sample.name for sample in example(name).content.samples}
    needed = frozenset().union(*(file.features_need for file in files))
    assert not [column for column in needed for telltale in TELLTALES[name] if fnmatch(column, telltale)]


@pytest.mark.slow
@every_example
def test_the_classes_are_told_apart_as_well_as_the_example_promises(name: str, outcome_of: OutcomeOf) -> None:
    assert outcome_of(name).evaluation.headline.value.value >= LOWEST_AUC[name]


@pytest.mark.slow
@every_example
def test_every_event_of_the_files_is_accounted_for(name: str, outcome_of: OutcomeOf) -> None:
    events = outcome_of(name).datasets[0].manifest.events
    assert events.read == sum(count_events(file.path, file.sample.layout) for file in files_of(name))
    assert events.read == events.kept + events.cut + events.left_out
    assert events.kept == events.train + events.validation + events.test


@pytest.mark.slow
@every_example
def test_a_raw_file_scores_bit_for_bit_as_the_prepared_events_do(name: str, outcome_of: OutcomeOf) -> None:
    outcome = outcome_of(name)
    bundle = load_bundle(outcome.bundle)
    identities, scores = scores_by_identity(name, bundle)
    for part in map(outcome.datasets[0].part, PARTS):
        place = np.searchsorted(identities, part.identity)
        assert np.array_equal(identities[place], part.identity)
        assert np.array_equal(scores[place], bundle.score_features(part.features))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_copies"), [("magic-gamma-hadron", 115), ("alice-electron-pion", 2148)])
def test_copies_of_an_event_stay_in_one_part(name: str, n_copies: int, outcome_of: OutcomeOf) -> None:
    dataset = outcome_of(name).datasets[0]
    parts = [{row.tobytes() for row in dataset.part(part).features} for part in PARTS]
    distinct = len(set().union(*parts))
    assert sum(map(len, parts)) == distinct
    assert dataset.manifest.events.kept - distinct == n_copies


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cut", "left_out"),
    [("geant4-muon-pion", 0, 16_000), ("sdss-star-galaxy", 0, 850), ("sdss-missing", 0, 850)],
)
def test_other_classes_are_left_out_and_counted(name: str, cut: int, left_out: int, outcome_of: OutcomeOf) -> None:
    events = outcome_of(name).datasets[0].manifest.events
    assert (events.cut, events.left_out) == (cut, left_out)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_an_object_with_blanks_is_in_the_same_part_as_without(part: str, outcome_of: OutcomeOf) -> None:
    complete, blanked = (outcome_of(name).datasets[0].part(part) for name in ("sdss-star-galaxy", "sdss-missing"))
    assert np.array_equal(complete.identity, blanked.identity)
    assert np.array_equal(complete.label, blanked.label)


@pytest.mark.slow
def test_blanks_cost_less_than_two_thousandths_of_auc(outcome_of: OutcomeOf) -> None:
    complete, blanked = (outcome_of(name).evaluation.auc.value for name in ("sdss-star-galaxy", "sdss-missing"))
    assert blanked == pytest.approx(complete, abs=0.002)


@pytest.mark.slow
def test_blanks_are_flagged_inputs_of_the_network(outcome_of: OutcomeOf) -> None:
    inputs = outcome_of("sdss-missing").datasets[0].manifest.transform.input_names
    assert {f"{magnitude} is missing" for magnitude in "ugriz"} <= set(inputs)
    assert not outcome_of("sdss-star-galaxy").datasets[0].manifest.transform.flagged


@pytest.mark.slow
def test_masses_made_of_what_is_measured_bring_most_of_what_the_files_own_masses_bring(outcome_of: OutcomeOf) -> None:
    names = ("uci-higgs", "uci-higgs-derived", "uci-higgs-low-level")
    files, made, none = (outcome_of(name).evaluation.auc.value for name in names)
    assert made - none > 0.5 * (files - none) > 0.04


@pytest.mark.slow
def test_every_event_is_in_the_same_part_with_and_without_masses(outcome_of: OutcomeOf) -> None:
    parts = [
        outcome_of(name).datasets[0].part("test") for name in ("uci-higgs", "uci-higgs-derived", "uci-higgs-low-level")
    ]
    assert all(np.array_equal(np.sort(part.identity), np.sort(parts[0].identity)) for part in parts)
