"""The lectures' problems: the likelihood ratio, worked out again from the table, is as good as the closed form says."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logit

from pipeline.simulation.files import Events
from pipeline.simulation.lectures import EARTHQUAKE_EXPLOSION, PROBLEMS, SPAM_GENUINE
from pipeline.simulation.problems import Count, Feature, Problem, draw_problem

N_EVENTS = 40_000
Floats = NDArray[np.float64]
UNDO = {"linear": np.positive, "log": np.log, "share": logit}
every_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)


def sample(problem: Problem, seed: int = 1) -> tuple[Events, NDArray[np.bool_]]:
    is_signal = np.arange(N_EVENTS) % 2 == 0
    kinds = np.where(is_signal, problem.signal, problem.background).astype(object)
    return draw_problem(problem, kinds, np.random.default_rng(seed)), is_signal


def unbent(problem: Problem, events: Events) -> Floats:
    """The Gaussians under the features, in standard deviations from halfway between the classes."""
    sides = [[UNDO[f.scale](side) for side in (f.signal, f.background)] for f in problem.features]
    columns = [UNDO[f.scale](np.asarray(events[f.name], np.float64)) for f in problem.features]
    standard = np.stack([(c - np.mean(s)) / f.spread for c, s, f in zip(columns, sides, problem.features, strict=True)])
    names = [feature.name for feature in problem.features]
    for bend in problem.bends:
        standard[names.index(bend.feature)] -= bend.strength * standard[names.index(bend.by)] ** 2
    return standard.T


def log_likelihood_ratio(problem: Problem, events: Events) -> Floats:
    """Linear in the Gaussians, by Fisher's direction, and in the counts, by the ratio of their means."""
    apart = [(UNDO[f.scale](f.signal) - UNDO[f.scale](f.background)) / f.spread for f in problem.features]
    gaussian = unbent(problem, events) @ np.linalg.solve(problem.correlation, apart)
    return gaussian + sum(np.asarray(events[c.name]) * np.log(c.signal / c.background) for c in problem.counts)


def auc(score: Floats, is_signal: NDArray[np.bool_]) -> float:
    ranks = stats.rankdata(score)
    n_signal = int(is_signal.sum())
    u = ranks[is_signal].sum() - n_signal * (n_signal + 1) / 2
    return float(u / n_signal / (len(score) - n_signal))


@every_problem
def test_the_likelihood_ratio_reaches_the_best_auc(problem: Problem) -> None:
    events, is_signal = sample(problem)
    assert auc(log_likelihood_ratio(problem, events), is_signal) == pytest.approx(problem.best_auc, abs=0.006)


@every_problem
def test_without_counts_the_best_auc_is_that_of_two_gaussians(problem: Problem) -> None:
    """Phi(D / √2) for a Mahalanobis distance D."""
    bare = replace(problem, counts=())
    assert bare.best_auc == pytest.approx(stats.norm.cdf(np.sqrt(bare.squared_distance / 2)), abs=1e-9)


def test_with_one_count_alone_the_best_auc_is_that_of_two_poisson_variates() -> None:
    """P(s > b) + P(s = b) Phi(D / √2), where s - b follows Skellam's distribution and a faint Gaussian breaks ties."""
    nearly_nothing = Feature("nothing", "", signal=0.05, background=0.0, spread=1.0)
    problem = replace(
        SPAM_GENUINE, features=(nearly_nothing,), counts=(Count("n", 3.0, 1.5),), correlations=(), bends=()
    )
    expected = stats.skellam.sf(0, 3.0, 1.5) + stats.skellam.pmf(0, 3.0, 1.5) * stats.norm.cdf(0.05 / np.sqrt(2))
    assert problem.best_auc == pytest.approx(expected, abs=1e-6)


@every_problem
def test_a_straight_line_through_the_features_does_worse(problem: Problem) -> None:
    events, is_signal = sample(problem)
    features = np.stack([np.asarray(events[name], np.float64) for name in problem.names], axis=1)
    apart = features[is_signal].mean(axis=0) - features[~is_signal].mean(axis=0)
    fisher = np.linalg.solve(np.cov(features[is_signal].T) + np.cov(features[~is_signal].T), apart)
    assert auc(features @ fisher, is_signal) < problem.best_auc - 0.01


@every_problem
def test_both_classes_have_the_correlations_of_the_table(problem: Problem) -> None:
    events, is_signal = sample(problem)
    for chosen in (is_signal, ~is_signal):
        measured = np.corrcoef(unbent(problem, events)[chosen].T)
        assert measured == pytest.approx(problem.correlation, abs=0.03)


@every_problem
def test_the_table_can_be_drawn_from_and_undone(problem: Problem) -> None:
    assert np.linalg.eigvalsh(problem.correlation).min() > 0.1
    assert len(set(problem.names)) == len(problem.names)
    assert not {bend.by for bend in problem.bends} & {bend.feature for bend in problem.bends}


@every_problem
def test_no_feature_by_itself_comes_near(problem: Problem) -> None:
    events, is_signal = sample(problem)
    alone = [auc(np.asarray(events[name], np.float64), is_signal) for name in problem.names]
    assert max(max(a, 1 - a) for a in alone) < problem.best_auc - 0.04


def test_a_feature_has_its_typical_value_as_median_in_each_class() -> None:
    events, is_signal = sample(EARTHQUAKE_EXPLOSION)
    depth = np.asarray(events["depth"])
    assert np.median(depth[is_signal]) == pytest.approx(4.0, rel=0.03)
    assert np.median(depth[~is_signal]) == pytest.approx(9.0, rel=0.03)


def test_counts_have_the_mean_and_the_variance_of_poisson_variates() -> None:
    events, is_signal = sample(SPAM_GENUINE)
    links = np.asarray(events["links"])[is_signal]
    assert links.dtype.kind == "i"
    assert links.mean() == pytest.approx(2.2, abs=0.04)
    assert links.var() == pytest.approx(2.2, abs=0.08)
