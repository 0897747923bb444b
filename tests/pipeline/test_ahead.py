"""Reading ahead changes when items are made, and nothing else."""

from collections.abc import Iterator
from contextlib import closing
from threading import active_count, current_thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ahead import ahead


@given(st.lists(st.none() | st.integers(), max_size=30), st.integers(1, 4))
def test_items_come_in_their_order_and_none_is_lost(items: list[int | None], n_ahead: int) -> None:
    assert list(ahead(iter(items), n_ahead)) == items


def test_an_error_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)


def test_leaving_early_ends_the_thread_and_closes_what_it_reads() -> None:
    closed = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(current_thread().name)

    before = active_count()
    with closing(ahead(endless())) as items:
        next(items)
    assert active_count() == before
    assert closed == ["winnow-ahead"]
