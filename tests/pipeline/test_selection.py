"""Cuts in order, and the cut-flow that counts what each of them keeps."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.chunk import Chunk, chunk_of
from pipeline.errors import DataError, ExpressionError, MissingColumnError
from pipeline.selection import CutFlow, SelectSpec, select

CUTS = [SelectSpec(name="acceptance", keep="pt > 20 && abs(eta) < 2.5"), SelectSpec(name="jets", keep="n_jets")]


@pytest.fixture
def events() -> Chunk:
    return chunk_of(
        {"pt": [30.0, 10.0, 50.0, np.nan], "eta": [0.0, 0.0, -1.0, 0.0], "n_jets": [0, 1, 2, 3], "w": [1, 2, 3, 4]}
    )


def filled(chunk: Chunk, group: str = "muons") -> CutFlow:
    flow = CutFlow.start([cut.name for cut in CUTS])
    flow.update(group, "read", chunk["w"])
    for name, mask in select(chunk, CUTS):
        flow.update(group, name, chunk["w"][mask])
    return flow


def test_masks_are_cumulative_and_in_order(events: Chunk) -> None:
    masks = {name: mask.tolist() for name, mask in select(events, CUTS)}
    assert list(masks) == ["acceptance", "jets"]
    assert masks["acceptance"] == [True, False, True, False]
    assert masks["jets"] == [False, False, True, False]


@pytest.mark.parametrize("keep", ["value", "value > 1", "value <= 1", "value == value", "value && true"])
def test_a_cut_on_a_missing_value_is_false(keep: str) -> None:
    chunk = chunk_of({"value": [np.nan, np.nan]})
    ((_, mask),) = select(chunk, [SelectSpec(name="cut", keep=keep)])
    assert mask.tolist() == [False, False]


def test_a_cut_may_be_a_column_with_an_odd_name() -> None:
    chunk = chunk_of({"is-good": np.array([True, False]), "is": [1, 1], "good": [0, 2]})
    ((_, mask),) = select(chunk, [SelectSpec(name="good", keep="is-good")])
    assert mask.tolist() == [True, False]


def test_no_events_and_no_cuts_are_fine(events: Chunk) -> None:
    nothing = events.keep(np.zeros(4, dtype=np.bool_))
    assert [mask.shape for _, mask in select(nothing, CUTS)] == [(0,), (0,)]
    assert list(select(events, [])) == []


def test_a_cut_that_is_no_expression_is_refused_when_declared() -> None:
    with pytest.raises(ValidationError, match="write == to compare"):
        SelectSpec(name="acceptance", keep="pt = 20")


def test_a_cut_that_is_a_list_says_how_to_reduce_it() -> None:
    chunk = chunk_of({"jet_pt": [[1.0, 2.0], []]})
    with pytest.raises(ExpressionError, match=r"'jet_pt > 1' is a list for each event.*count"):
        list(select(chunk, [SelectSpec(name="jets", keep="jet_pt > 1")]))


def test_a_cut_on_an_unknown_column_names_the_nearest(events: Chunk) -> None:
    with pytest.raises(MissingColumnError, match="did you mean 'n_jets'"):
        list(select(events, [SelectSpec(name="jets", keep="njets > 1")]))


def test_rows_carry_raw_and_weighted_counts_with_errors_and_efficiencies(events: Chunk) -> None:
    read, acceptance, jets = filled(events).rows("muons")
    assert read == ("read", 4, 10.0, pytest.approx(np.sqrt(30)), 1.0, 1.0)
    assert acceptance == ("acceptance", 2, 4.0, pytest.approx(np.sqrt(10)), 0.4, 0.4)
    assert jets == ("jets", 1, 3.0, 3.0, 0.75, pytest.approx(0.3))


def test_rows_without_a_group_are_those_of_all_groups_together(events: Chunk) -> None:
    both = filled(events, "muons").merge(filled(events, "pions"))
    assert both.groups == ("muons", "pions")
    assert [row.events for row in both.rows()] == [8, 4, 2]
    assert [row.efficiency for row in both.rows()] == [row.efficiency for row in both.rows("pions")]


def test_efficiencies_are_zero_where_nothing_was_left() -> None:
    flow = CutFlow.start(["cut"])
    flow.update("muons", "read", np.empty(0))
    assert flow.groups == ("muons",)
    assert [(row.efficiency, row.cumulative_efficiency) for row in flow.rows()] == [(0.0, 0.0), (0.0, 0.0)]


def test_negative_weights_count_as_they_are() -> None:
    flow = CutFlow.start([])
    flow.update("ttbar", "read", np.array([1.0, -1.0, 2.0]))
    (row,) = flow.rows("ttbar")
    assert (row.events, row.weighted, row.weighted_error) == (3, 2.0, pytest.approx(np.sqrt(6)))


@given(st.lists(st.integers(-100, 100), max_size=30), st.integers(0, 30))
def test_merging_two_halves_equals_the_whole(weights: list[int], cut: int) -> None:
    flows = []
    for part in (weights, weights[:cut], weights[cut:]):
        flow = CutFlow.start(["kept"])
        flow.update("muons", "read", np.array(part))
        flows.append(flow)
    whole, first, second = flows
    assert first.merge(second) == whole


def test_a_cut_flow_survives_json(events: Chunk) -> None:
    flow = filled(events)
    again = CutFlow.from_json(json.loads(json.dumps(flow.to_json())))
    assert again == flow
    assert again.rows() == flow.rows()


@pytest.mark.parametrize("state", [{}, {"steps": ["read"], "groups": {"muons": []}}, {"steps": [], "groups": 3}])
def test_what_is_no_cut_flow_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(DataError, match="no cut-flow"):
        CutFlow.from_json(state)


def test_an_unknown_step_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no step 'jet' \(did you mean 'jets'\?\)"):
        CutFlow.start(["jets"]).update("muons", "jet", np.ones(1))


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="come twice: read"):
        CutFlow.start(["read"])


def test_cut_flows_of_different_steps_do_not_merge() -> None:
    with pytest.raises(DataError, match="different steps"):
        CutFlow.start(["jets"]).merge(CutFlow.start(["leptons"]))
