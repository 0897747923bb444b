"""What templates promise: bins that a fit bears, yields that are kept, files that pyhf and ROOT read."""

import json
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest
import uproot
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from models.scored import effective_events
from models.significance import asimov_significance
from models.templates import (
    Kind,
    SampledEvents,
    Templates,
    choose_edges,
    fill_templates,
    make_templates,
    sampled_events,
)
from models.workspace import pyhf_workspace, valid_names, write_templates
from pipeline.errors import DataError, DeclarationError, UnwritableError

# pyhf 0.7 asks jsonschema for a class by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver is deprecated")

Array = NDArray[Any]

NAMES = ("H→ττ", "tt̄", "Z+jets", "rare")
KINDS: tuple[Kind, ...] = ("signal", "background", "background", "background")
YIELDS = np.array([50.0, 3000.0, 2000.0, 30.0])


def toy(n_events: int, seed: int, *, negative: float = 0.0, separation: float = 2.0) -> SampledEvents:
    """Four samples of fixed yields, the last of them scarce, with a share of negative weights."""
    generator = np.random.default_rng(seed)
    sample = generator.choice(4, size=n_events, p=[0.3, 0.4, 0.28, 0.02])
    sample[:4] = range(4)
    means = np.array([0.5, -0.25, -0.6, 0.0])[sample] * separation
    scores = 1.0 / (1.0 + np.exp(-1.5 * (generator.normal(size=n_events) + means)))
    weights = generator.gamma(3.0, size=n_events) * np.where(generator.random(n_events) < negative, -1.0, 1.0)
    weights *= (YIELDS / np.bincount(sample, weights, 4))[sample]
    return sampled_events(np.float32(scores), sample, weights, NAMES, KINDS)


def events_of(*rows: tuple[float, int, float], kinds: tuple[Kind, ...] = ("signal", "background")) -> SampledEvents:
    """Events as (score, sample, weight)."""
    scores, sample, weights = zip(*rows, strict=True)
    return sampled_events(scores, sample, weights, [f"s{i}" for i in range(len(kinds))], kinds)


def made_by_hand(squares: float = 0.0) -> Templates:
    sums = np.array([[2.0, 6.0, 5.0], [60.0, 20.0, 1.5], [40.0, 10.0, 0.5]])
    return Templates(
        edges=np.array([0.0, 0.5, 0.9, 1.0]),
        names=("signal", "one", "other"),
        kinds=("signal", "background", "background"),
        sums=sums,
        squares=np.full(sums.shape, squares),
        counts=np.ones(sums.shape, dtype=np.int64),
        n_merged=0,
    )


def discovery(workspace: dict[str, Any]) -> float:
    """Return the significance with which pyhf excludes mu = 0 on the workspace's own observations."""
    loaded = pyhf.Workspace(workspace)
    model = loaded.model()
    return float(norm.isf(pyhf.infer.hypotest(0.0, loaded.data(model), model, test_stat="q0")))


def is_background(templates: Templates) -> Array:
    return np.array([kind == "background" for kind in templates.kinds])


def is_enough(events: SampledEvents, n_effective: float) -> bool:
    """Whether every sample is positive, and the background worth so many events."""
    sums = np.bincount(events.sample, events.weights, len(events.names))
    background = events.weights[np.array([kind == "background" for kind in events.kinds])[events.sample]]
    return bool((sums > 0.0).all()) and effective_events(background) >= n_effective


@given(st.integers(0, 2**32 - 1), st.integers(300, 1500))
@settings(max_examples=60, deadline=None)
def test_no_bin_is_without_background_and_no_sample_is_negative_in_any(seed: int, n_events: int) -> None:
    validation, test = toy(n_events, seed, negative=0.2), toy(n_events, seed + 1, negative=0.2)
    # What not even a single bin can hold is refused, as other tests say.
    assume(is_enough(validation, 5.0) and is_enough(test, 0.0))
    templates = make_templates(validation, test, min_effective_events=5.0)
    assert (templates.sums[is_background(templates)].sum(axis=0) > 0.0).all()
    assert ((templates.sums > 0.0) | (templates.squares == 0.0)).all()
    assert (templates.edges[0], templates.edges[-1]) == (0.0, 1.0)


@given(st.integers(0, 2**32 - 1), st.lists(st.floats(0.001, 0.999), max_size=30, unique=True))
@settings(max_examples=60, deadline=None)
def test_yields_and_counts_are_those_of_all_events_in_any_binning(seed: int, inner: list[float]) -> None:
    events = toy(300, seed, negative=0.2)
    templates = fill_templates(events, [0.0, *sorted(inner), 1.0])
    assert templates.sums.sum(axis=1) == pytest.approx(np.bincount(events.sample, events.weights, 4), rel=1e-9)
    squares = np.bincount(events.sample, events.weights**2, 4)
    assert templates.squares.sum(axis=1) == pytest.approx(squares, rel=1e-9)
    assert templates.counts.sum(axis=1).tolist() == np.bincount(events.sample, minlength=4).tolist()
    assert templates.edges.size + templates.n_merged == len(inner) + 2


@pytest.mark.parametrize("needed", [10.0, 50.0])
def test_each_chosen_bin_holds_enough_effective_background_events(needed: float) -> None:
    events = toy(5000, 3, negative=0.2)
    filled = fill_templates(events, choose_edges(events, min_effective_events=needed))
    background = is_background(filled)
    effective = filled.sums[background].sum(axis=0) ** 2 / filled.squares[background].sum(axis=0)
    assert filled.n_merged == 0
    assert effective.size > 2
    assert effective.min() >= needed


@pytest.mark.parametrize("max_loss", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_other_bins_do_as_well_with_fewer_or_better_with_as_many(seed: int, max_loss: float) -> None:
    """By brute force over all bins that eight distinct scores allow."""
    generator = np.random.default_rng(seed)
    sample = np.repeat([0, 1], [200, 300])
    values = np.round(np.clip(generator.normal(0.55 - 0.2 * sample, 0.2), 0.1, 0.8), 1)
    weights = np.where(generator.random(500) < 0.1, -0.1, 0.3)
    events = sampled_events(values, sample, weights, ["s", "b"], ["signal", "background"])
    best = dict.fromkeys(range(1, 10), 0.0)
    for n_inner in range(8):
        for inner in combinations(np.unique(values), n_inner):
            filled = fill_templates(events, [0.0, *inner, 1.0])
            if filled.n_merged == 0 and (filled.sums[1] ** 2 >= 10.0 * filled.squares[1]).all():
                best[n_inner + 1] = max(best[n_inner + 1], filled.significance(has_errors=False))
    chosen = fill_templates(events, choose_edges(events, max_loss=max_loss))
    allowed = (1.0 - max_loss) * max(best.values()) - 1e-12
    n_bins = min(number for number, reached in best.items() if reached >= allowed)
    assert chosen.edges.size - 1 == n_bins
    assert chosen.significance(has_errors=False) == pytest.approx(best[n_bins], rel=1e-12)


def test_few_bins_are_nearly_as_significant_as_many() -> None:
    validation, test = toy(60_000, 1), toy(60_000, 2)
    few, many = (make_templates(validation, test, max_loss=loss) for loss in (0.01, 0.0))
    assert few.edges.size < many.edges.size / 5
    assert few.significance(has_errors=False) > 0.95 * many.significance(has_errors=False)


def test_better_scores_give_a_higher_significance() -> None:
    parts = [[toy(20_000, seed, separation=power) for seed in (1, 2)] for power in (0.0, 1.0, 2.0, 3.0)]
    reached = [make_templates(*pair).significance(has_errors=False) for pair in parts]
    assert reached == sorted(reached)
    assert reached[-1] > 2.0 * reached[0]


@pytest.mark.parametrize("score", [0.0, 0.25, 1.0])
def test_equal_scores_are_one_bin(score: float) -> None:
    events = events_of(*[(score, i % 2, 1.0) for i in range(40)])
    templates = make_templates(events, events)
    assert templates.edges.tolist() == [0.0, 1.0]
    assert templates.counts.tolist() == [[20], [20]]


def test_a_score_on_an_edge_is_above_it_and_one_is_in_the_last_bin() -> None:
    events = events_of((0.0, 0, 1.0), (0.5, 0, 2.0), (1.0, 0, 4.0), (0.2, 1, 1.0), (0.7, 1, 1.0))
    assert fill_templates(events, [0.0, 0.5, 1.0]).sums.tolist() == [[1.0, 6.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("background", "kept", "n_merged"),
    [
        ([1.0, 1.0, 1.0, 1.0], [0.0, 0.25, 0.5, 0.75, 1.0], 0),
        ([1.0, 1.0, 1.0, 0.0], [0.0, 0.25, 0.5, 1.0], 1),  # empty at the top: joins the bin below
        ([1.0, 2.0, -1.0, 1.0], [0.0, 0.25, 0.75, 1.0], 1),  # negative in the middle: the same
        ([-1.0, 2.0, 1.0, 1.0], [0.0, 0.5, 0.75, 1.0], 1),  # the lowest joins the bin above
        ([3.0, 1.0, 2.0, -2.5], [0.0, 0.25, 1.0], 2),  # one neighbour leaves it at -0.5, two at 0.5
        ([3.0, 1.0, 1.0, -3.0], [0.0, 1.0], 3),
    ],
)
def test_bins_without_background_are_merged_and_counted(
    background: list[float], kept: list[float], n_merged: int
) -> None:
    rows = [(0.1 + 0.25 * i, 1, weight) for i, weight in enumerate(background)]
    found = fill_templates(events_of((0.9, 0, 1.0), *rows), [0.0, 0.25, 0.5, 0.75, 1.0])
    assert (found.edges.tolist(), found.n_merged) == (kept, n_merged)


def test_a_negative_sample_is_merged_where_the_total_is_positive() -> None:
    rows = [(0.1, 1, 3.0), (0.6, 1, 3.0), (0.1, 2, 2.0), (0.6, 2, -1.0), (0.6, 0, 1.0)]
    found = fill_templates(events_of(*rows, kinds=("signal", "background", "background")), [0.0, 0.5, 1.0])
    assert found.sums.tolist() == [[1.0], [6.0], [1.0]]


def test_weights_that_cancel_to_rounding_are_no_background() -> None:
    rows = [(0.9, 1, 0.1), (0.9, 1, 0.2), (0.9, 1, -0.3)]
    assert 0.1 + 0.2 - 0.3 > 0.0
    assert fill_templates(events_of((0.9, 0, 1.0), (0.1, 1, 1.0), *rows), [0.0, 0.5, 1.0]).n_merged == 1


def test_a_sample_without_events_stays_with_nothing_in_it() -> None:
    rows = [(0.9, 0, 1.0), (0.4, 1, 5.0), (0.9, 1, 5.0)]
    templates = fill_templates(events_of(*rows, kinds=("signal", "background", "background")), [0.0, 0.5, 1.0])
    assert templates.sums[2].tolist() == [0.0, 0.0]
    assert templates.n_merged == 0
    pyhf.Workspace(pyhf_workspace(templates, name="region", background_uncertainty=0.1)).model()


def test_a_sample_that_is_negative_as_a_whole_does_not_hinder_the_choice_but_the_filling() -> None:
    rows = [(i / 200, int(i > 120), 1.0) for i in range(200)]
    kinds: tuple[Kind, ...] = ("background", "signal", "background")
    events = events_of(*rows, *rows[60:180], (0.1, 2, -1.0), kinds=kinds)
    assert choose_edges(events).size > 2
    with pytest.raises(DataError, match=r"sample 's2' adds up to -1; a fit needs positive yields: join"):
        fill_templates(events, [0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0.9, 0, 1.0), (0.4, 1, 2.0), (0.6, 1, -2.0)], "the background adds up to 0; sample 's1' adds up to 0;"),
        ([(0.9, 0, -1.0), (0.4, 1, 2.0)], "the signal adds up to -1; sample 's0' adds up to -1"),
        ([(0.9, 0, 0.0), (0.4, 1, 2.0), (0.6, 1, 2.0)], "the signal adds up to 0; a fit"),
    ],
)
def test_yields_that_no_fit_bears_are_refused(rows: list[tuple[float, int, float]], message: str) -> None:
    with pytest.raises(DataError, match=f"no bin can be filled for a fit: {message}"):
        fill_templates(events_of(*rows), [0.0, 0.5, 1.0])


def test_too_little_background_for_one_bin_is_refused() -> None:
    events = events_of((0.9, 0, 1.0), *[(0.1, 1, 2.0)] * 6)
    with pytest.raises(DataError, match=r"adds up to 12 and is worth 6 effective events in all, of 10 that each bin"):
        choose_edges(events)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"scores": [0.5, 1.5]}, DataError, "1 of 2 scores are not between 0 and 1"),
        ({"scores": [0.5, np.nan]}, DataError, "1 of 2 scores are NaN"),
        ({"sample": [0, 2]}, DataError, r"1 of 2 events have a sample index outside 0..1: 2"),
        ({"sample": [-1, 1]}, DataError, r"outside 0..1: -1"),
        ({"sample": [0.0, 1.0]}, DataError, "a sample index is a whole number; received float64"),
        ({"sample": [0, 0]}, DataError, "no background among 2 events"),
        ({"weights": [1.0]}, DataError, "all of the same length"),
        ({"scores": [], "sample": [], "weights": []}, DataError, "no signal among 0 events; no background"),
        ({"names": ["s"]}, DeclarationError, "there are 1 names of samples, but 2 kinds"),
        ({"kinds": ["signal", "data"]}, DeclarationError, "'data' is neither 'signal' nor 'background'"),
    ],
)
def test_bad_events_are_refused(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    good: dict[str, Any] = {"scores": [0.5, 0.5], "sample": [0, 1], "weights": [1.0, 1.0]}
    good |= {"names": ["s", "b"], "kinds": ["signal", "background"]}
    with pytest.raises(error, match=message):
        sampled_events(**(good | changed))


def test_bad_requests_are_refused() -> None:
    events, others = toy(300, 1), events_of((0.9, 0, 1.0), (0.1, 1, 1.0))
    with pytest.raises(DeclarationError, match=r"min_effective_events 0 is not positive"):
        choose_edges(events, min_effective_events=0)
    with pytest.raises(DeclarationError, match=r"max_loss 1.0 is not at least 0 and below 1"):
        choose_edges(events, max_loss=1.0)
    with pytest.raises(DeclarationError, match=r"the samples signal H.*; test has signal s0, background s1"):
        make_templates(events, others)
    with pytest.raises(DeclarationError, match=r"background_uncertainty -0.1 is not a finite number of at least 0"):
        pyhf_workspace(made_by_hand(), name="region", background_uncertainty=-0.1)


@pytest.mark.parametrize("edges", [[0.0, 0.5], [0.1, 1.0], [0.0, 0.6, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0], [0.0], []])
def test_edges_that_do_not_rise_from_0_to_1_are_refused(edges: list[float]) -> None:
    with pytest.raises(DeclarationError, match="bin edges rise from 0 to 1; received"):
        fill_templates(toy(300, 1), edges)


def test_without_systematics_pyhf_finds_the_asimov_significances_in_quadrature() -> None:
    """For Poisson bins q0 of the Asimov data is the sum of 2 [(s+b) ln(1+s/b) - s]."""
    templates = made_by_hand()
    bins = asimov_significance([2.0, 6.0, 5.0], [100.0, 30.0, 2.0])
    expected = templates.significance(has_errors=False)
    assert expected == pytest.approx(np.sqrt(np.sum(bins**2)), rel=1e-12)
    assert discovery(pyhf_workspace(templates, name="region")) == pytest.approx(expected, rel=1e-3)


def test_pyhf_sees_the_statistical_errors_as_background_uncertainties_of_each_bin() -> None:
    """The error of the signal has no part in it: where mu is 0 there is no signal."""
    templates = make_templates(toy(50_000, 1), toy(50_000, 2), min_effective_events=200.0)
    expected = templates.significance()
    assert discovery(pyhf_workspace(templates, name="region")) == pytest.approx(expected, rel=0.01)
    assert expected < 0.95 * templates.significance(has_errors=False)


def test_a_background_uncertainty_and_statistical_errors_cost_significance() -> None:
    cases = [(0.0, 0.0), (0.2, 0.0), (0.0, 0.3), (0.2, 0.3)]
    none, overall, statistical, both = (
        discovery(pyhf_workspace(made_by_hand(squares), name="region", background_uncertainty=uncertainty))
        for uncertainty, squares in cases
    )
    assert both < overall < none
    assert both < statistical < none


@pytest.mark.parametrize("strength", [0.0, 1.0, 2.0])
def test_pyhf_loads_the_workspace_and_fits_the_strength_that_is_in_it(strength: float) -> None:
    templates = make_templates(toy(3000, 1, negative=0.2), toy(3000, 2, negative=0.2))
    workspace = pyhf_workspace(templates, name="SR 1", background_uncertainty=0.1, signal_strength=strength)
    pyhf.schema.validate(workspace, "workspace.json", version="1.0.0")
    loaded = pyhf.Workspace(workspace)
    model = loaded.model()
    fitted = pyhf.infer.mle.fit(loaded.data(model), model)
    assert fitted[model.config.poi_index] == pytest.approx(strength, abs=0.02)


def test_statistical_errors_are_relative_to_all_background_and_to_all_signal() -> None:
    templates = make_templates(toy(3000, 1), toy(3000, 2))
    model = pyhf.Workspace(pyhf_workspace(templates, name="region")).model()
    background = is_background(templates)
    for kind, members in {"background": background, "signal": ~background}.items():
        expected = np.sqrt(templates.squares[members].sum(axis=0)) / templates.sums[members].sum(axis=0)
        assert model.config.param_set(f"staterror_region_{kind}").sigmas == pytest.approx(expected, rel=1e-12)


def test_each_background_has_an_uncertainty_of_its_own_and_signal_has_none() -> None:
    with_any = pyhf_workspace(made_by_hand(), name="region", background_uncertainty=0.25)
    sizes = {
        modifier["name"]: modifier["data"]
        for sample in with_any["channels"][0]["samples"]
        for modifier in sample["modifiers"]
        if modifier["type"] == "normsys"
    }
    assert sizes == {f"background_uncertainty_{name}": {"hi": 1.25, "lo": 0.8} for name in ("one", "other")}
    assert "normsys" not in json.dumps(pyhf_workspace(made_by_hand(), name="region"))


def test_a_background_uncertainty_beyond_all_bounds_still_fits() -> None:
    loaded = pyhf.Workspace(pyhf_workspace(made_by_hand(0.1), name="region", background_uncertainty=2.0))
    model = loaded.model()
    assert np.isfinite(pyhf.infer.mle.fit(loaded.data(model), model)).all()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["ttbar", "Z+jets", "W/Z (all)"], ("ttbar", "Z_jets", "W_Z_all")),
        (["a", "a", "a_2", "a"], ("a", "a_2", "a_2_2", "a_3")),
        (["tt̄", "4µ", "→", ""], ("tt", "sample_4", "sample", "sample_2")),
    ],
)
def test_names_are_made_valid_and_unique(names: list[str], expected: tuple[str, ...]) -> None:
    assert valid_names(names) == expected


def test_the_root_file_holds_sums_and_squares_exactly(tmp_path: Path) -> None:
    templates = make_templates(toy(3000, 1, negative=0.2), toy(3000, 2, negative=0.2))
    _, path = write_templates(tmp_path, templates, pyhf_workspace(templates, name="region"))
    with uproot.open(path) as file:
        assert file.keys(cycle=False) == list(valid_names(NAMES))
        for i, name in enumerate(valid_names(NAMES)):
            assert file[name].classname == "TH1D"
            assert file[name].values().tolist() == templates.sums[i].tolist()
            assert file[name].variances().tolist() == templates.squares[i].tolist()
            assert file[name].axis().edges().tolist() == templates.edges.tolist()
            assert (file[name].axis().member("fTitle"), file[name].title) == ("score", NAMES[i])


def test_the_written_workspace_is_the_one_given_and_nothing_else_is_left(tmp_path: Path) -> None:
    templates, folder = made_by_hand(0.1), tmp_path / "new" / "folder"
    folder.mkdir(parents=True)
    (folder / "templates.json").write_text("an older one, which is replaced")
    workspace = pyhf_workspace(templates, name="region")
    written, histograms = write_templates(folder, templates, workspace)
    assert json.loads(written.read_text()) == workspace
    assert sorted(folder.iterdir()) == [written, histograms]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnwritableError, match=r"templates cannot be written into .*file: File exists"):
        write_templates(tmp_path / "file", made_by_hand(), pyhf_workspace(made_by_hand(), name="region"))


def test_templates_are_numbers_that_json_can_say() -> None:
    plain = {key: getattr(value, "tolist", lambda v=value: v)() for key, value in asdict(made_by_hand()).items()}
    assert json.loads(json.dumps(plain))["sums"] == made_by_hand().sums.tolist()
