"""A feature that is allowed and still looks wrong gets one sentence; a healthy one gets none."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.blocks import Variable
from pipeline.feature_statistics import FeatureStatistics
from pipeline.missing import MissingSpec
from pipeline.normalise import NormaliseSpec
from pipeline.suspicion import percent, suspicions

RNG = np.random.default_rng(1)
GAUSS = RNG.normal(size=3000)


def notes(column: Any, normalise: str = "standard", **missing: Any) -> list[str]:
    spec = MissingSpec.model_validate(missing)
    column = np.asarray(column, dtype=np.float64)
    statistics = FeatureStatistics([spec.of("x").values], [Variable("x", "x", range(1))])
    statistics.update(column[:, None], np.arange(len(column), dtype=np.uint64))
    return suspicions(statistics, spec, NormaliseSpec.model_validate({"method": normalise}))


def mixed(values: Any, every: int, other: float) -> Any:
    """Return the values with every so-many-th replaced by another."""
    return np.where(np.arange(len(values)) % every == 0, other, values)


def one(column: Any, **options: Any) -> str:
    (note,) = notes(column, **options)
    return note


@pytest.mark.parametrize(
    "values",
    [
        GAUSS,
        np.exp(2 * GAUSS),
        -1000 + 300 * GAUSS,
        1e30 * GAUSS,
        RNG.poisson(0.1, 3000),
        RNG.integers(0, 1000, 30_000),
        mixed(np.zeros(3000), 3000, 1.0),
        np.clip(2000 * GAUSS, -1000, 1000),
        np.minimum(60 * np.abs(GAUSS), 99),
        [-999.0, 0.0, 0.0, -2000.0],
    ],
    ids=["gauss", "log-normal", "around -1000", "huge unit", "counts", "0 to 999", "rare", "clipped", "99", "inside"],
)
def test_a_healthy_feature_is_not_noted(values: Any) -> None:
    assert notes(values) == []


@pytest.mark.parametrize("code", [-999.0, -9999.0, -99.0, 999.0, 99_999.0, -1000.0, 99.0])
def test_an_undeclared_code_is_told_with_its_share_and_what_to_write(code: float) -> None:
    assert one(mixed(GAUSS, 3, code)) == (
        f"'x' is exactly {code:.0f} in 33 % of the training events: if that means missing,"
        f" write [features] missing = {{ values = [{code}] }}"
    )


def test_a_declared_code_is_not_told() -> None:
    assert notes(mixed(GAUSS, 3, -999.0), values=[-999.0]) == []


def test_what_was_declared_already_stays_in_what_is_proposed() -> None:
    values = mixed(mixed(GAUSS, 3, -999.0), 5, -9999.0)
    assert "write [features] missing = { values = [-999.0, -9999.0] }" in one(values, values=[-999.0])
    own = {"x": {"values": [-1.0]}}
    assert 'missing = { overrides = { "x" = { values = [-1.0, -999.0] } } }' in one(
        mixed(GAUSS, 3, -999.0), overrides=own
    )


def test_two_codes_of_one_feature_are_one_sentence() -> None:
    told = one(mixed(mixed(GAUSS, 3, -999.0), 4, -9999.0))
    assert "exactly -9999 in 25 % and -999 in 25 % of the training events" in told
    assert "values = [-9999.0, -999.0]" in told


def test_a_code_within_reach_is_told_where_it_comes_far_too_often() -> None:
    wide = 600 * np.abs(GAUSS) - 998
    assert notes(np.append(wide, -999.0)) == []
    assert "exactly -999 in 2 %" in one(mixed(wide, 50, -999.0))


@pytest.mark.parametrize(
    ("normalise", "told"),
    [
        ("standard", "one such value decides mean and spread; write [normalise] method = 'robust', or cut it away"),
        ("minmax", "one such value decides the range; write [normalise] method = 'robust', or cut it away"),
        ("none", "one such value goes into the network as it is; write"),
    ],
)
def test_a_value_absurdly_far_out_is_told_with_what_is_usual(normalise: str, told: str) -> None:
    note = one(mixed(GAUSS, 3000, 1e30), normalise=normalise)
    assert note.startswith("'x' reaches 1e+30, where half of the values lie in [-0.")
    assert told in note


def test_a_value_far_out_does_not_matter_to_quantiles() -> None:
    assert notes(mixed(GAUSS, 3000, -1e30), normalise="robust") == []
    assert notes(mixed(GAUSS, 3000, -1e30), normalise="quantile") == []


def test_where_most_values_are_equal_the_quartiles_are_no_measure() -> None:
    values = mixed(mixed(np.zeros(3000), 3000, 1e30), 20, 1.0)
    values[1] = 1e30
    for normalise in ("standard", "robust"):
        assert one(values, normalise=normalise).endswith("write [normalise] method = 'quantile', or cut it away")


def test_a_value_beyond_single_precision_is_said_to_count_as_missing() -> None:
    values = mixed(GAUSS, 2000, 1e308)
    assert one(values) == (
        "'x' reaches 1e+308, too large for single precision: it counts as missing in 0.067 % of the training events"
    )
    assert notes(values, values=[1e308]) == []


def test_a_feature_that_is_mostly_missing_is_told_unless_the_network_is_told() -> None:
    values = np.where(np.arange(3000) % 3, np.nan, GAUSS)
    assert one(values).startswith("'x' is missing in 67 % of the training events, and the network is not told where")
    assert notes(values, flag=True) == notes(values, policy=-5.0) == []


@pytest.mark.parametrize("value", [0.0, 3.5, -999.0])
def test_a_constant_feature_is_told(value: float) -> None:
    told = one(np.full(100, value))
    assert told == f"'x' is {value:g} wherever it has a value: it cannot tell one class from another"


def test_nothing_is_said_of_no_events_and_of_no_values() -> None:
    assert notes([]) == []
    assert notes([np.nan, np.inf]) == []


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_notes_on_far_values_do_not_depend_on_the_unit(offset: float, unit: float) -> None:
    values = mixed(GAUSS, 3000, 1e7)
    expected = [note.partition(" reaches")[1] for note in notes(values)]
    assert [note.partition(" reaches")[1] for note in notes(offset * unit + unit * values)] == expected


@pytest.mark.parametrize(("share", "text"), [(1 / 3, "33 %"), (1.0, "100 %"), (0.0123, "1.2 %"), (0.0005, "0.05 %")])
def test_a_share_is_written_as_a_person_writes_it(share: float, text: str) -> None:
    assert percent(share) == text
