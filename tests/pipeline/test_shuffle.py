"""Shuffling: every event once an epoch, in an order that nothing of the input's order survives in."""

import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, chisquare

from pipeline.ahead import ahead
from pipeline.dataset import EventArrays
from pipeline.errors import DataError
from pipeline.normalise import InputTransform
from pipeline.shuffle import MOST_BUCKETS, Block, EventsInMemory, EventsOnDisk, EventSource, shuffle_to_disk, source_of
from pipeline.table import EventTable, Packing, RowShape, pack

PAGE, BLOCK = 4, 8
ROW_BYTES = 12


def numbered(n_events: int, first: int = 0) -> EventTable:
    """Events whose only input is their number."""
    numbers = np.arange(first, first + n_events)
    return pack(numbers[:, None].astype(np.float32), numbers % 2, np.ones(n_events))


def tables(n_events: int, size: int = 5) -> Iterator[EventTable]:
    for start in range(0, n_events, size):
        yield numbered(min(size, n_events - start), start)


def shuffled_file(
    path: Path, n_events: int, seed: int = 1, n_buckets: int = 3, page: int = PAGE, block: int = BLOCK, size: int = 5
) -> EventsOnDisk:
    memory = max(1, 3 * n_events * ROW_BYTES // n_buckets)
    shuffle_to_disk(tables(n_events, size), n_events, RowShape(1), path, np.random.default_rng(seed), memory)
    return EventsOnDisk.open(path, page, block)


def sources(folder: Path, n_events: int) -> list[EventSource]:
    return [EventsInMemory(numbered(n_events)), shuffled_file(folder / "events.npy", n_events)]


def numbers(block: Block) -> list[int]:
    """Numbers of a block's events, as training takes them."""
    return [int(number) for number in block.rows[block.order[: block.n_events], 0]]


def all_numbers(blocks: Iterable[Block]) -> list[int]:
    return list(chain.from_iterable(map(numbers, blocks)))


def assert_has_every_event_once(source: EventSource, seed: int = 1) -> None:
    assert sorted(all_numbers(source.shuffled(np.random.default_rng(seed)))) == list(range(source.n_events))


def epoch(source: EventSource, seed: int) -> list[list[int]]:
    return [numbers(block) for block in source.shuffled(np.random.default_rng(seed))]


def order_of(path: Path) -> NDArray[np.int64]:
    return np.load(path)[:, 0].astype(np.int64)


@pytest.mark.parametrize("n_events", [1, 3, 4, 5, 7, 8, 9, 16, 23, 24])
def test_every_event_comes_exactly_once_an_epoch(tmp_path: Path, n_events: int) -> None:
    for source in sources(tmp_path, n_events):
        for seed in range(10):
            assert_has_every_event_once(source, seed)


@pytest.mark.parametrize("n_events", [1, 7, 8, 23])
def test_in_order_is_the_order_that_events_are_stored_in(tmp_path: Path, n_events: int) -> None:
    in_memory, on_disk = sources(tmp_path, n_events)
    assert all_numbers(in_memory.in_order()) == list(range(n_events))
    assert all_numbers(on_disk.in_order()) == order_of(tmp_path / "events.npy").tolist()


def test_of_no_events_there_are_no_blocks(tmp_path: Path) -> None:
    for source in sources(tmp_path, 0):
        assert (source.n_events, source.shape.n_inputs, source.sum_of_weights) == (0, 1, 0.0)
        assert list(source.in_order()) == list(source.shuffled(np.random.default_rng(1))) == []


@pytest.mark.parametrize("n_events", [3, 8, 18, 23])
def test_all_blocks_have_one_shape_and_all_but_the_last_are_full(tmp_path: Path, n_events: int) -> None:
    source = shuffled_file(tmp_path / "events.npy", n_events)
    for blocks in (list(source.in_order()), list(source.shuffled(np.random.default_rng(1)))):
        assert {(b.rows.shape, b.order.shape) for b in blocks} == {((BLOCK, 3), (BLOCK,))}
        assert {(b.rows.dtype, b.order.dtype) for b in blocks} == {(np.dtype(np.float32), np.dtype(np.int32))}
        assert [b.n_events for b in blocks[:-1]] == [BLOCK] * (len(blocks) - 1)


def test_what_fills_up_the_last_block_has_no_weight(tmp_path: Path) -> None:
    source = shuffled_file(tmp_path / "events.npy", 18)
    for blocks in (source.in_order(), source.shuffled(np.random.default_rng(1))):
        *_, last = blocks
        assert last.n_events == 2
        assert not last.rows[2:].any()
        assert not last.order[2:].any()


def test_events_in_memory_are_one_full_block_of_the_same_rows_every_epoch() -> None:
    table = numbered(10)
    source = EventsInMemory(table)
    for blocks in (source.in_order(), source.shuffled(np.random.default_rng(1))):
        (block,) = blocks
        assert block.rows is table.rows
        assert (block.n_events, block.order.shape, block.order.dtype) == (10, (10,), np.int32)


def test_the_same_seed_gives_the_same_blocks_and_another_seed_gives_others(tmp_path: Path) -> None:
    for source in sources(tmp_path, 23):
        assert epoch(source, 1) == epoch(source, 1) != epoch(source, 2)


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    for name, seed in {"one": 1, "same": 1, "other": 2}.items():
        shuffled_file(tmp_path / name, 100, seed)
    one, same, other = ((tmp_path / name).read_bytes() for name in ("one", "same", "other"))
    assert one == same != other


def test_every_epoch_of_a_training_has_another_order(tmp_path: Path) -> None:
    for source in sources(tmp_path, 23):
        random = np.random.default_rng(1)
        epochs = [tuple(all_numbers(source.shuffled(random))) for _ in range(20)]
        assert len(set(epochs)) == 20


def test_an_epoch_left_early_changes_nothing_in_the_next(tmp_path: Path) -> None:
    for source in sources(tmp_path, 23):
        left, finished = np.random.default_rng(1), np.random.default_rng(1)
        next(source.shuffled(left))
        list(source.shuffled(finished))
        assert left.random() == finished.random()


def test_blocks_that_are_read_ahead_are_the_same_blocks(tmp_path: Path) -> None:
    source = shuffled_file(tmp_path / "events.npy", 23)
    with closing(ahead(source.shuffled(np.random.default_rng(1)))) as blocks:
        assert [numbers(block) for block in blocks] == epoch(source, 1)


def test_any_two_events_meet_in_some_epochs_and_in_some_they_do_not(tmp_path: Path) -> None:
    source = shuffled_file(tmp_path / "events.npy", 22)
    meetings = Counter(
        pair for seed in range(200) for block in epoch(source, seed) for pair in combinations(sorted(block), 2)
    )
    assert len(meetings) == 22 * 21 / 2
    assert max(meetings.values()) < 200


def test_a_file_sorted_by_class_gives_blocks_of_random_samples(tmp_path: Path) -> None:
    """Of n events the latter half is signal; how many are among B has the variance B/4 (n - B)/(n - 1)."""
    n_events, size = 400, 50
    found = []
    for seed in range(25):
        source = shuffled_file(tmp_path / "events.npy", n_events, seed, page=10, block=size, size=64)
        found += [sum(number >= n_events / 2 for number in block) for block in epoch(source, seed)]
    pulls = (np.array(found) - size / 2) / np.sqrt(size / 4 * (n_events - size) / (n_events - 1))
    assert 0.7 < np.mean(pulls**2) < 1.3  # 200 blocks: 1 ± 0.1


def test_every_order_of_events_in_memory_is_equally_likely() -> None:
    source, random = EventsInMemory(numbered(4)), np.random.default_rng(1)
    orders = Counter(tuple(numbers(next(source.shuffled(random)))) for _ in range(2400))
    assert len(orders) == 24
    assert chisquare(list(orders.values())).pvalue > 0.001


def test_every_order_of_a_shuffled_file_is_equally_likely(tmp_path: Path) -> None:
    orders = Counter[tuple[int, ...]]()
    for seed in range(300):
        shuffled_file(tmp_path / "events.npy", 3, seed, n_buckets=2, size=2)
        orders[tuple(order_of(tmp_path / "events.npy").tolist())] += 1
    assert len(orders) == 6
    assert chisquare(list(orders.values())).pvalue > 0.001


def test_where_an_event_ends_up_says_nothing_of_where_it_was(tmp_path: Path) -> None:
    n_events = 50_000
    shuffled_file(tmp_path / "events.npy", n_events, n_buckets=7, size=4096)
    before, after = order_of(tmp_path / "events.npy") * 10 // n_events, np.arange(n_events) * 10 // n_events
    table = np.bincount(before * 10 + after, minlength=100).reshape(10, 10)
    assert chi2_contingency(table).pvalue > 0.001


def test_memory_is_that_of_blocks_and_not_of_the_file(tmp_path: Path) -> None:
    source = shuffled_file(tmp_path / "events.npy", 200_000, page=1024, block=8192, size=50_000)
    tracemalloc.start()
    try:
        n_events = sum(block.n_events for block in source.shuffled(np.random.default_rng(1)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert n_events == 200_000
    assert peak < 2.5 * 8192 * (ROW_BYTES + 4)  # the present block, and the next one being read


def test_the_shuffle_itself_takes_no_more_memory_than_it_was_given(tmp_path: Path) -> None:
    memory = 1_000_000
    tracemalloc.start()
    try:
        random = np.random.default_rng(1)
        shuffle_to_disk(tables(300_000, 1000), 300_000, RowShape(1), tmp_path / "events.npy", random, memory)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < memory


def test_a_memory_far_too_small_makes_no_more_files_than_are_sensible(tmp_path: Path) -> None:
    n_events = 3 * MOST_BUCKETS
    source = shuffled_file(tmp_path / "events.npy", n_events, n_buckets=n_events, size=n_events)
    assert source.n_events == n_events
    assert_has_every_event_once(source)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_shuffle_that_is_interrupted_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    def broken() -> Iterator[EventTable]:
        yield numbered(5)
        raise error("in the middle")

    with pytest.raises(error, match="in the middle"):
        shuffle_to_disk(broken(), 10, RowShape(1), tmp_path / "events.npy", np.random.default_rng(1), 30)
    assert list(tmp_path.iterdir()) == []


def test_a_shuffle_that_succeeds_leaves_the_file_and_its_facts(tmp_path: Path) -> None:
    shuffled_file(tmp_path / "events.npy", 23)
    assert {path.name for path in tmp_path.iterdir()} == {"events.npy", "events.npy.json"}


@pytest.mark.parametrize("promised", [22, 24])
def test_more_or_fewer_events_than_promised_are_refused(tmp_path: Path, promised: int) -> None:
    with pytest.raises(DataError, match=rf"events\.npy: 23 events came to be shuffled instead of {promised}"):
        shuffle_to_disk(tables(23), promised, RowShape(1), tmp_path / "events.npy", np.random.default_rng(1), 100)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array at all"])
def test_a_file_that_holds_no_events_is_named(tmp_path: Path, content: bytes) -> None:
    path = shuffled_file(tmp_path / "events.npy", 23).path
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"events\.npy is no whole file of shuffled events"):
        EventsOnDisk.open(path, PAGE, BLOCK)


def test_a_file_of_the_wrong_length_is_named_with_its_length(tmp_path: Path) -> None:
    path = shuffled_file(tmp_path / "events.npy", 23).path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"events\.npy .*: it has {128 + 276 - 1} bytes instead of {128 + 276}"):
        EventsOnDisk.open(path, PAGE, BLOCK)


def test_facts_of_other_events_are_refused(tmp_path: Path) -> None:
    path = shuffled_file(tmp_path / "events.npy", 23).path
    shuffled_file(tmp_path / "other.npy", 22).path.with_name("other.npy.json").replace(f"{path}.json")
    with pytest.raises(DataError, match=r"its header says float32 \(23, 3\) instead of float32 \(22, 3\)"):
        EventsOnDisk.open(path, PAGE, BLOCK)


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    source = shuffled_file(tmp_path / "events.npy", 23)
    source.path.write_bytes(source.path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"events\.npy has become shorter while it was read"):
        list(source.in_order())


TRANSFORM = InputTransform(
    features=("number",), sentinels=((),), fill=(0.0,), flagged=(), offset=(0.0,), scale=(1.0,), clip=None
)


def part(n_events: int) -> EventArrays:
    return EventArrays(
        features=np.arange(n_events, dtype=np.float64)[:, None],
        spectators=np.empty((n_events, 0)),
        target=np.empty((n_events, 0)),
        label=np.zeros(n_events, dtype=np.int8),
        sample=np.zeros(n_events, dtype=np.int16),
        identity=np.arange(n_events, dtype=np.uint64),
        content=np.empty((n_events, 0), dtype=np.uint64),
        physics_weight=np.ones(n_events),
        training_weight=np.full(n_events, 0.5, dtype=np.float32),
    )


def source_at(path: Path, n_events: int, memory: int, seed: int = 1, batch_size: int = 100) -> EventSource:
    return source_of(part(n_events), Packing(TRANSFORM), path, np.random.default_rng(seed), memory, batch_size)


def test_events_stay_in_memory_while_they_fill_no_more_than_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "events.npy"
    assert isinstance(source_at(path, 5000, 2 * 5000 * ROW_BYTES), EventsInMemory)
    assert not path.exists()
    assert isinstance(source_at(path, 5000, 2 * 5000 * ROW_BYTES - 1), EventsOnDisk)
    assert path.exists()


def test_both_sources_have_the_same_events_and_the_same_sum_of_weights(tmp_path: Path) -> None:
    for memory in (10**9, 50_000):
        found = source_at(tmp_path / "events.npy", 5000, memory)
        assert (found.n_events, found.shape.n_inputs, found.sum_of_weights) == (5000, 1, 2500.0)
        assert_has_every_event_once(found)


@pytest.mark.parametrize(("memory", "n_pages"), [(1, 1), (400_000, 3)])
def test_pages_and_blocks_are_whole_batches_and_a_block_an_eighth_of_memory(
    tmp_path: Path, memory: int, n_pages: int
) -> None:
    found = source_at(tmp_path / "events.npy", 20_000, memory, batch_size=100)
    assert isinstance(found, EventsOnDisk)
    assert (found.page_events, found.block_events) == (1100, n_pages * 1100)


def test_a_shuffled_file_that_is_there_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "events.npy"
    source_at(path, 5000, 50_000, seed=1)
    before = path.stat()
    source_at(path, 5000, 50_000, seed=2)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_whether_the_file_was_there_does_not_change_what_is_drawn_afterwards(tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        random = np.random.default_rng(1)
        found = source_of(part(5000), Packing(TRANSFORM), tmp_path / "events.npy", random, 50_000, 100)
        drawn.append([numbers(block) for block in found.shuffled(random)])
    assert drawn[0] == drawn[1]


def test_a_damaged_file_and_one_of_other_events_are_shuffled_again(tmp_path: Path) -> None:
    path = tmp_path / "events.npy"
    source_at(path, 4000, 40_000)
    assert source_at(path, 5000, 50_000).n_events == 5000
    path.write_bytes(path.read_bytes()[:-1])
    assert_has_every_event_once(source_at(path, 5000, 50_000))
