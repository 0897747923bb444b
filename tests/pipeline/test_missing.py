"""What counts as missing, and which policy holds for which feature."""

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.blocks import InputSpec
from pipeline.errors import DataError
from pipeline.missing import MissingSpec, is_missing, refuse_missing


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, -999.0, float(np.float32(-99.99)), -99.99])
def test_a_missing_value_is_recognised_however_it_was_stored(value: float) -> None:
    assert is_missing(np.array([[value]]), [(-999.0, -99.99)]).all()


@pytest.mark.parametrize("value", [0.0, -0.0, 1e38, -998.9999, 1e-300])
def test_an_ordinary_value_is_not_missing(value: float) -> None:
    assert not is_missing(np.array([[value]]), [(-999.0, -99.99)]).any()


def test_each_feature_has_its_own_sentinels() -> None:
    features = np.array([[-1.0, -1.0, -1.0], [-9.0, -9.0, -9.0]])
    assert is_missing(features, [(-1.0,), (), (-1.0, -9.0)]).tolist() == [[True, False, True], [False, False, True]]


def test_a_sentinel_beyond_single_precision_is_infinite_like_the_value() -> None:
    largest = float(np.finfo(np.float64).max)
    assert is_missing(np.array([[largest], [1.0]]), [(largest,)]).tolist() == [[True], [False]]


def test_no_events_have_no_missing_values() -> None:
    assert is_missing(np.empty((0, 2)), [(-1.0,), ()]).shape == (0, 2)


def test_an_override_says_what_differs_and_leaves_the_rest_as_for_all() -> None:
    spec = MissingSpec.model_validate(
        {"values": [-999.0], "flag": True, "overrides": {"met": {"policy": 0.0}, "pt": {"values": []}}}
    )
    assert (spec.of("met").values, spec.of("met").policy, spec.of("met").flag) == ((-999.0,), 0.0, True)
    assert (spec.of("pt").values, spec.of("pt").policy) == ((), "median")
    assert spec.of("eta").policy == "median"


def test_an_override_survives_being_written_and_read_again() -> None:
    spec = MissingSpec.model_validate({"values": [-999.0], "overrides": {"met": {"policy": "mean"}}})
    again = MissingSpec.model_validate(spec.model_dump(mode="json"))
    assert again.of("met") == spec.of("met")


def test_an_override_that_empties_the_sentinels_is_another_declaration_than_one_that_does_not() -> None:
    specs = [MissingSpec.model_validate({"values": [-1.0], "overrides": {"met": o}}) for o in ({}, {"values": []})]
    assert specs[0].model_dump() != specs[1].model_dump()


def test_nan_needs_no_sentinel_and_cannot_be_one() -> None:
    with pytest.raises(ValidationError, match="finite number"):
        MissingSpec(values=(float("nan"),))


def test_a_feature_that_may_not_be_missing_is_refused_with_the_count() -> None:
    features, spec = np.array([[np.nan, 1.0], [1.0, -9.0], [1.0, np.nan]]), MissingSpec(policy="refuse", values=(-9.0,))
    with pytest.raises(DataError, match=r"these: feature 'b' is missing in 2 of 3 events, and its policy is 'refuse'"):
        refuse_missing(features, {1: "b"}, [spec.values] * 2, "these")
    assert spec.refused(InputSpec(inputs=("a", "b"))) == {0: "a", 1: "b"}


def test_other_features_may_be_missing() -> None:
    refuse_missing(np.array([[np.nan, 1.0]]), {1: "b"}, [(), ()], "these")


JETS = InputSpec.model_validate({"collections": {"jets": {"inputs": ["pt", "eta"], "length": 2}}})


def test_only_an_element_that_is_there_can_miss_a_value() -> None:
    spec = MissingSpec.model_validate({"overrides": {"eta": {"policy": "refuse", "values": [-9.0]}}})
    sentinels = [policy.values for policy in spec.of_columns(JETS)]
    there, absent = [1.0, 2.0, 1.0], [np.nan, np.nan, 0.0]
    refuse_missing(np.array([there + absent, absent + absent]), spec.refused(JETS), sentinels, "these", JETS.blocks)
    events = np.array([there + absent, [*there, 1.0, -9.0, 1.0]])
    with pytest.raises(DataError, match=r"'jets.eta\[1\]' is missing in 1 of 2 events"):
        refuse_missing(events, spec.refused(JETS), sentinels, "these", JETS.blocks)


def test_a_presence_has_no_sentinel_and_no_flag_and_is_never_refused() -> None:
    spec = MissingSpec(values=(0.0, 1.0), policy="refuse", flag=True)
    policies = spec.of_columns(JETS)
    assert [(p.values, p.flag) for p in policies[2::3]] == [((), False)] * 2
    assert list(spec.refused(JETS).values()) == ["jets.pt[0]", "jets.eta[0]", "jets.pt[1]", "jets.eta[1]"]


def test_the_pixels_of_an_image_are_called_as_their_column_or_as_the_image_where_they_are_many() -> None:
    pixels = {"one": {"pixels": "flux", "shape": [2]}, "many": {"pixels": ["a", "b"], "shape": [2]}}
    spec = MissingSpec.model_validate({"overrides": {"flux": {"policy": 1.0}, "many": {"policy": 2.0}}})
    policies = spec.of_columns(InputSpec.model_validate({"images": pixels}))
    assert [p.policy for p in policies] == [2.0, 2.0, 1.0, 1.0]
