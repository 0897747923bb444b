"""Shuffling: every epoch the same events in another order, whether they fit in memory or not.

Owns the shuffled file, how it is made, and the blocks that an epoch consists of; training takes them as they
come. Who wants the next block read while the present one is trained on wraps the iterator in ``ahead``.

Events that fit stay where they are, and only their order is drawn. Those that do not are shuffled once on disk:
each is thrown into one of several buckets at random, and each bucket, which does fit, is permuted. Whatever the
sizes of the buckets turn out to be, every order of all events is equally likely. An epoch cuts that file into
pages at borders of its own, draws which pages come together in a block, and permutes the events of each block.
That is no new uniform order of all events, and need not be: what a block holds is a random sample of the
dataset already, because the file itself is shuffled.

References:
    C. R. Rao, "Generation of random permutations of given number of elements using random sampling numbers",
    Sankhyā A 23 (1961) 305; M. Sandelius, "A simple randomization procedure", Journal of the Royal Statistical
    Society B 24 (1962) 472: the shuffle by random buckets.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import ArrayStream, EventArrays
from pipeline.declare import Declaration
from pipeline.durable import flush
from pipeline.errors import DataError
from pipeline.table import BLOCK, EventTable, Packing, RowShape, iter_tables, table_of

log = logging.getLogger(__name__)

PAGE = 1024
"""Events that are read at one place of the file, at least: about 100 kB, so that a disk is not kept seeking."""

COPIES = 8
"""Blocks of a file in memory at once: trained on, handed over, read ahead, and what a backend copies of them."""

MOST_BUCKETS = 1024
"""With more, what is written to one bucket at a time would be too little; buckets grow beyond the memory instead."""


@dataclass(frozen=True, eq=False)
class Block:
    """Events and the order to take them in.

    ``rows`` has shape ``(capacity, n_columns)``, ``order`` ``(capacity,)``. The first ``n_events`` of ``order``
    are each of 0 to ``n_events - 1`` once; what follows, in both arrays, is 0: events without weight.
    """

    rows: NDArray[np.float32]
    order: NDArray[np.int32]
    n_events: int


class EventSource(Protocol):
    """Where the events of an epoch come from. Of no events there are no blocks."""

    @property
    def n_events(self) -> int:
        """Number of events of an epoch."""

    @property
    def shape(self) -> RowShape:
        """What a row is made of."""

    @property
    def sum_of_weights(self) -> float:
        """Sum of the training weights of all events."""

    def shuffled(self, random: np.random.Generator) -> Iterator[Block]:
        """Yield every event once, in blocks of one capacity, all full but the last.

        What is needed of ``random`` is drawn here and now: how far the blocks are read changes nothing in it.
        """

    def in_order(self) -> Iterator[Block]:
        """Yield every event once, as ``shuffled`` does, in the order that they are stored in."""


@dataclass(frozen=True, eq=False)
class EventsInMemory:
    """All events in one block, whose ``rows`` are always the same array: it may stay on the device."""

    table: EventTable

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.table)

    @property
    def shape(self) -> RowShape:
        """What a row is made of."""
        return self.table.shape

    @property
    def sum_of_weights(self) -> float:
        """Sum of the training weights of all events."""
        return self.table.sum_of_weights

    def shuffled(self, random: np.random.Generator) -> Iterator[Block]:
        """Yield one block with the events in random order."""
        return self._blocks(_child(random))

    def in_order(self) -> Iterator[Block]:
        """Yield one block with the events in the table's order."""
        return self._blocks(None)

    def _blocks(self, random: np.random.Generator | None) -> Iterator[Block]:
        if self.n_events:
            yield Block(self.table.rows, _order(self.n_events, self.n_events, random), self.n_events)


class _Facts(Declaration):
    """What lies beside a shuffled file, so that none of its events need be read to know it."""

    n_events: int
    n_inputs: int
    n_targets: int
    sum_of_weights: float

    @property
    def shape(self) -> RowShape:
        """What a row is made of."""
        return RowShape(self.n_inputs, self.n_targets)


@dataclass(frozen=True)
class EventsOnDisk:
    """The events of a shuffled file, read block by block; memory is that of the blocks that somebody holds."""

    path: Path
    n_events: int
    shape: RowShape
    sum_of_weights: float
    data_offset: int
    page_events: int
    block_events: int

    def __post_init__(self) -> None:
        assert self.block_events % self.page_events == 0, (self.block_events, self.page_events)

    @classmethod
    def open(cls, path: Path, page_events: int, block_events: int) -> Self:
        """Open what ``shuffle_to_disk`` has written, without reading an event.

        Args:
            path: the file.
            page_events: events that are read at one place of the file.
            block_events: capacity of a block, a multiple of ``page_events``.

        Raises:
            DataError: the file is no shuffled file, or not all of it is there.

        """
        try:
            facts = _Facts.model_validate_json(_facts_path(path).read_text())
            offset = _checked_offset(path, facts)
        except ValueError as error:
            raise DataError(f"{path} is no whole file of shuffled events: {error}") from None
        return cls(path, facts.n_events, facts.shape, facts.sum_of_weights, offset, page_events, block_events)

    def shuffled(self, random: np.random.Generator) -> Iterator[Block]:
        """Yield every event once, in blocks of random pages; the same state of ``random`` gives the same blocks."""
        return self._shuffled(_child(random))

    def in_order(self) -> Iterator[Block]:
        """Yield every event once, in the order of the file, which is not that of the dataset."""
        with self.path.open("rb", buffering=0) as file:
            for start in range(0, self.n_events, self.block_events):
                yield self._block(file, [(start, min(self.block_events, self.n_events - start))], None)

    def _shuffled(self, random: np.random.Generator) -> Iterator[Block]:
        """Seen as a ring that starts at a random row, the file is cut into pages; the last may be a short one."""
        shift = int(random.integers(self.page_events))
        pages = np.arange(-(-self.n_events // self.page_events))
        random.shuffle(pages[: self.n_events // self.page_events])
        pages_per_block = self.block_events // self.page_events
        with self.path.open("rb", buffering=0) as file:
            for start in range(0, len(pages), pages_per_block):
                # In the file's order: a disk reads best forwards, and the events are permuted anyway.
                chosen = np.sort(pages[start : start + pages_per_block]).tolist()
                yield self._block(file, self._pieces(chosen, shift), random)

    def _pieces(self, pages: Sequence[int], shift: int) -> list[tuple[int, int]]:
        """Return first row and number of rows of what is to be read; the page at the end of the file is in two."""
        pieces = []
        for start in (page * self.page_events for page in pages):
            n_rows, first = min(self.page_events, self.n_events - start), (start + shift) % self.n_events
            n_before_end = min(n_rows, self.n_events - first)
            pieces += [(first, n_before_end), (0, n_rows - n_before_end)]
        return [piece for piece in pieces if piece[1]]

    def _block(self, file: FileIO, pieces: Sequence[tuple[int, int]], random: np.random.Generator | None) -> Block:
        rows = np.empty((self.block_events, self.shape.n_columns), dtype=np.float32)
        n_events = 0
        for first, n_rows in pieces:
            self._read(file, first, rows[n_events : n_events + n_rows])
            n_events += n_rows
        rows[n_events:] = 0
        return Block(rows, _order(n_events, self.block_events, random), n_events)

    def _read(self, file: FileIO, first: int, rows: NDArray[np.float32]) -> None:
        file.seek(self.data_offset + first * rows[:1].nbytes)
        left = rows.data.cast("B")
        while left:  # the system may return less than was asked for
            n_bytes = file.readinto(left)
            if not n_bytes:
                raise DataError(f"{self.path} has become shorter while it was read")
            left = left[n_bytes:]


def source_of(
    part: EventArrays,
    packing: Packing,
    path: Path,
    random: np.random.Generator,
    memory_bytes: int,
    batch_size: int,
) -> EventSource:
    """Return the events of a part: in memory where they fill at most half of it, else shuffled on disk.

    Args:
        part: the events.
        packing: from events to rows.
        path: where the shuffled file is, or shall be. One of as many events and inputs is taken to be the right
            one, so the name must tell of which dataset it is.
        random: decides the order of the file, together with ``memory_bytes``; as much is drawn where the file is
            there already.
        memory_bytes: what all this may take; several blocks of a file are held at once.
        batch_size: blocks and pages are multiples of it.

    """
    random_of_file = _child(random)
    row_bytes = np.dtype(np.float32).itemsize * packing.shape.n_columns
    if 2 * len(part) * row_bytes <= memory_bytes:
        return EventsInMemory(table_of(part, packing))
    page = batch_size * -(-PAGE // batch_size)
    block = page * max(1, memory_bytes // (COPIES * row_bytes * page))
    if not _is_there(path, len(part), packing.shape):
        shuffle_to_disk(iter_tables(part, packing), len(part), packing.shape, path, random_of_file, memory_bytes)
    return EventsOnDisk.open(path, page, block)


def _is_there(path: Path, n_events: int, shape: RowShape) -> bool:
    try:
        found = EventsOnDisk.open(path, page_events=1, block_events=1)
    except FileNotFoundError:
        return False
    except DataError as error:
        log.warning("shuffled again: %s", error)
        return False
    return (found.n_events, found.shape) == (n_events, shape)


def shuffle_to_disk(
    tables: Iterator[EventTable],
    n_events: int,
    shape: RowShape,
    path: Path,
    random: np.random.Generator,
    memory_bytes: int,
) -> None:
    """Write events to ``path`` in uniformly random order; the file is there whole or not at all.

    Beside two tables, a bucket of about a third of ``memory_bytes`` is in memory. On disk there must be room for the
    events and one bucket; what is unfinished lies in a hidden folder beside ``path`` and is removed if this fails.

    Args:
        tables: the events.
        n_events: how many there are.
        shape: what the rows of each table are made of.
        path: the file that shall be; one that is there already is replaced.
        random: decides the order, together with ``memory_bytes``.
        memory_bytes: what the shuffle may take.

    Raises:
        DataError: more or fewer events came.

    """
    n_bytes = n_events * shape.n_columns * np.dtype(np.float32).itemsize
    n_buckets = min(MOST_BUCKETS, max(1, -(-3 * n_bytes // memory_bytes)))
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp") as name:
        buckets = [Path(name) / f"bucket-{i}" for i in range(n_buckets)]
        facts = _scatter(tables, shape, buckets, random)
        if facts.n_events != n_events:
            raise DataError(f"{path}: {facts.n_events} events came to be shuffled instead of {n_events}")
        _gather(buckets, shape.n_columns, Path(name) / path.name, random)
        _publish(Path(name) / path.name, path, facts)
    log.info("%d events shuffled in %d buckets: %s", n_events, n_buckets, path)


def _scatter(
    tables: Iterator[EventTable], shape: RowShape, buckets: Sequence[Path], random: np.random.Generator
) -> _Facts:
    """Throw every event into a bucket of its own choice."""
    n_events, sum_of_weights = 0, 0.0
    for bucket in buckets:
        bucket.touch()
    for table in tables:
        assert table.shape == shape, (table.shape, shape)
        n_events += len(table)
        sum_of_weights += table.sum_of_weights
        chosen = random.integers(len(buckets), size=len(table), dtype=np.uint16)  # of 16 bits: sorted by radix
        rows = table.rows[np.argsort(chosen, kind="stable")]
        ends = np.cumsum(np.bincount(chosen, minlength=len(buckets)))
        for bucket, piece in zip(buckets, np.split(rows, ends[:-1]), strict=True):
            # Opened each time: a process may hold few files open, on some systems fewer than there are buckets.
            with bucket.open("ab") as file:
                file.write(piece.data)
    return _Facts(n_events=n_events, n_inputs=shape.n_inputs, n_targets=shape.n_targets, sum_of_weights=sum_of_weights)


def _gather(buckets: Sequence[Path], n_columns: int, path: Path, random: np.random.Generator) -> None:
    """Write the events of one bucket after the other, each in random order; the buckets are used up."""
    stream = ArrayStream(path, np.float32, (n_columns,))
    try:
        for bucket in buckets:
            _append_permuted(stream, bucket, n_columns, random)
            bucket.unlink()
    finally:
        stream.close()


def _append_permuted(stream: ArrayStream, bucket: Path, n_columns: int, random: np.random.Generator) -> None:
    rows = np.fromfile(bucket, dtype=np.float32).reshape(-1, n_columns)
    order = random.permutation(len(rows))
    for start in range(0, len(order), BLOCK):
        stream.append(rows[order[start : start + BLOCK]])


def _publish(draft: Path, path: Path, facts: _Facts) -> None:
    """Give the events and their facts their names; facts are never beside a file of other events."""
    _facts_path(draft).write_text(facts.model_dump_json())
    EventsOnDisk.open(draft, page_events=1, block_events=1)
    flush(draft)
    flush(_facts_path(draft))
    path.unlink(missing_ok=True)
    _facts_path(draft).replace(_facts_path(path))
    draft.replace(path)
    flush(path.parent)


def _facts_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _checked_offset(path: Path, facts: _Facts) -> int:
    """Return where in the file the first event is, if type, shape and length are what they should be."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        found = np.lib.format.read_array_header_1_0(file)
        offset = file.tell()
    shape = (facts.n_events, facts.shape.n_columns)
    if found != (shape, False, np.dtype(np.float32)):
        raise ValueError(f"its header says {found[2]} {found[0]} instead of float32 {shape}")
    n_bytes, expected = path.stat().st_size, offset + 4 * shape[0] * shape[1]
    if n_bytes != expected:
        raise ValueError(f"it has {n_bytes} bytes instead of {expected}")
    return offset


def _child(random: np.random.Generator) -> np.random.Generator:
    """Return a generator that may be drawn from later, and in a thread, without disturbing ``random``."""
    return np.random.default_rng(random.integers(2**63, size=4))


def _order(n_events: int, capacity: int, random: np.random.Generator | None) -> NDArray[np.int32]:
    """Return 0 to ``n_events - 1``, permuted if there is a generator, and zeros up to ``capacity``."""
    order = np.zeros(capacity, dtype=np.int32)
    order[:n_events] = np.arange(n_events, dtype=np.int32)
    if random is not None:
        random.shuffle(order[:n_events])
    return order
