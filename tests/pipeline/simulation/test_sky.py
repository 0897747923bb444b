"""Stars and galaxies: easy while bright, hard when faint, and never told apart by brightness alone."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from pipeline.simulation.files import Events
from pipeline.simulation.sky import BANDS, StarGalaxyOptions, draw_objects, draw_types, measure, star_galaxy_files

N_EVENTS = 20_000
FEATURES = (*BANDS, "concentration", "size_ratio")


@pytest.fixture(scope="module")
def objects() -> Events:
    """Stars and galaxies without quasars."""
    generator = np.random.default_rng(1)
    types = draw_types(N_EVENTS, generator, 0.0)
    return {**draw_objects(types, np.arange(N_EVENTS), generator, StarGalaxyOptions()), "type": types}


def auc_by_magnitude(objects: Events, columns: tuple[str, ...], edges: list[float]) -> list[float]:
    features = np.stack([np.asarray(objects[name]) for name in columns], axis=1)
    is_galaxy, half = np.asarray(objects["type"]) == "GALAXY", N_EVENTS // 2
    trees = HistGradientBoostingClassifier(max_iter=80, random_state=0).fit(features[:half], is_galaxy[:half])
    score, truth = trees.predict_proba(features[half:])[:, 1], is_galaxy[half:]
    r = np.asarray(objects["r"])[half:]
    bins = [(r >= low) & (r < high) for low, high in pairwise(edges)]
    return [float(roc_auc_score(truth[inside], score[inside])) for inside in bins]


def test_bright_objects_are_easy_and_faint_ones_are_hard(objects: Events) -> None:
    bright, middle, faint = auc_by_magnitude(objects, FEATURES, [15.0, 20.0, 22.0, 24.0])
    assert bright > 0.99
    assert bright > middle > faint
    assert 0.75 < faint < 0.95


@pytest.mark.parametrize("column", ["r", "ra", "dec"])
def test_brightness_and_place_alone_tell_nothing(objects: Events, column: str) -> None:
    (auc,) = auc_by_magnitude(objects, (column,), [0.0, 99.0])
    assert auc == pytest.approx(0.5, abs=0.03)


def test_galaxies_are_larger_than_points_while_bright(objects: Events) -> None:
    size, r = np.asarray(objects["size_ratio"]), np.asarray(objects["r"])
    is_galaxy = np.asarray(objects["type"]) == "GALAXY"
    assert np.median(size[is_galaxy & (r < 18)]) > 2.0
    assert np.median(size[~is_galaxy & (r < 18)]) == pytest.approx(1.0, abs=0.01)


def test_quasars_have_the_asked_for_share_and_the_rest_is_balanced() -> None:
    types: NDArray[np.object_] = draw_types(1000, np.random.default_rng(2), 0.1)
    assert [int((types == kind).sum()) for kind in ("QSO", "STAR", "GALAXY")] == [100, 450, 450]


def test_only_the_columns_that_may_have_blanks_have_them() -> None:
    options = StarGalaxyOptions(blank_fraction=0.2)
    columns = star_galaxy_files(5000, np.random.default_rng(3), options)[0]["objects.csv"]
    shares = {name: np.isnan(np.asarray(columns[name])).mean() for name in FEATURES}
    assert {name for name, share in shares.items() if share > 0} == {"u", "z", "concentration"}
    assert shares["u"] == pytest.approx(0.2, abs=0.03)


def test_a_bright_magnitude_is_measured_to_two_per_cent() -> None:
    measured = measure(np.full((50_000, 5), 16.0), np.random.default_rng(4))
    assert measured.mean() == pytest.approx(16.0, abs=0.001)
    assert measured.std() == pytest.approx(0.02 * 2.5 / np.log(10.0), rel=0.05)


def test_an_object_too_faint_to_be_seen_has_a_finite_magnitude() -> None:
    measured = measure(np.full((1000, 5), 40.0), np.random.default_rng(5))
    assert np.isfinite(measured).all()
