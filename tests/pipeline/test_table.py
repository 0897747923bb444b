"""The packed table: what the network sees, the label and the weight of an event in one row."""

import numpy as np
import pytest

from pipeline.dataset import EventArrays
from pipeline.normalise import InputTransform
from pipeline.table import EventTable, Packing, iter_tables, pack, table_of

TRANSFORM = InputTransform(
    features=("pt", "met"),
    sentinels=((-999.0,), ()),
    fill=(3.0, 0.0),
    flagged=(0,),
    offset=(1.0, 0.0),
    scale=(2.0, 1.0),
    clip=None,
)


def part(n_events: int) -> EventArrays:
    random = np.random.default_rng(n_events)
    return EventArrays(
        features=np.where(random.random((n_events, 2)) < 0.1, -999.0, random.normal(size=(n_events, 2))),
        spectators=np.empty((n_events, 0)),
        target=np.empty((n_events, 0)),
        label=random.integers(0, 2, n_events).astype(np.int8),
        sample=np.zeros(n_events, dtype=np.int16),
        identity=np.arange(n_events, dtype=np.uint64),
        content=np.empty((n_events, 0), dtype=np.uint64),
        physics_weight=np.ones(n_events),
        training_weight=random.normal(size=n_events).astype(np.float32),
    )


def test_a_row_is_inputs_then_label_then_weight() -> None:
    table = pack(np.array([[1, 2], [3, 4]], np.float32), np.array([0, 1]), np.array([0.5, -0.25]))
    assert table.rows.tolist() == [[1, 2, 0, 0.5], [3, 4, 1, -0.25]]
    assert table.rows.dtype == np.float32
    assert (len(table), table.n_inputs) == (2, 2)


def test_columns_are_views_of_the_rows() -> None:
    table = pack(np.ones((3, 2), np.float32), np.zeros(3), np.ones(3))
    for column in (table.inputs, table.labels, table.weights):
        assert np.shares_memory(column, table.rows)


def test_weights_are_added_up_in_double_precision() -> None:
    table = EventTable(np.ones((3, 1 + 2), np.float32))
    table.weights[:] = [2**24, 1, 1]  # in single precision 2²⁴ + 1 is 2²⁴
    assert table.sum_of_weights == 2**24 + 2


def test_the_table_of_a_part_is_what_the_network_sees_of_it() -> None:
    events = part(100)
    table = table_of(events, Packing(TRANSFORM))
    assert np.array_equal(table.inputs, TRANSFORM.apply(events.features))
    assert np.array_equal(table.labels, events.label)
    assert np.array_equal(table.weights, events.training_weight)
    assert table.n_inputs == 3


@pytest.mark.parametrize("n_events", [1, 7, 100, 1000])
def test_a_part_block_by_block_is_the_whole_part(n_events: int) -> None:
    events = part(100)
    tables = list(iter_tables(events, Packing(TRANSFORM), n_events))
    assert max(map(len, tables)) == min(n_events, 100)
    assert np.array_equal(np.concatenate([table.rows for table in tables]), table_of(events, Packing(TRANSFORM)).rows)


def test_a_part_of_several_blocks_fills_one_table() -> None:
    events = part(70_000)
    assert np.array_equal(table_of(events, Packing(TRANSFORM)).inputs, TRANSFORM.apply(events.features))


def test_a_part_without_events_is_an_empty_table() -> None:
    table = table_of(part(0), Packing(TRANSFORM))
    assert (table.rows.shape, table.n_inputs, table.sum_of_weights) == ((0, 5), 3, 0.0)
    assert list(iter_tables(part(0), Packing(TRANSFORM))) == []


def test_the_table_does_not_change_with_the_events_it_was_made_of() -> None:
    events = part(10)
    table = table_of(events, Packing(TRANSFORM))
    events.training_weight[:] = 0
    assert table.weights.any()
