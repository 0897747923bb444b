"""Reading ahead: the next items are made by a thread while the present one is worked on.

Owns the thread and its end. Decompressing, hashing and array arithmetic let other threads run, so a chain
of two or three stages keeps as many cores busy; what a stage does is its own business.
"""

from collections.abc import Generator, Iterator
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterator[Item], n_ahead: int = 1) -> Generator[Item, None, None]:
    """Yield ``items`` in their order; a thread makes at most ``n_ahead`` of them before they are asked for.

    What ``items`` raises is raised here, after the items before it. Close the generator (``contextlib.closing``)
    where it may be left early: that ends the thread.
    """
    queue: Queue[tuple[Item] | BaseException | None] = Queue(n_ahead)
    is_left = Event()
    thread = Thread(target=_fill, args=(items, queue, is_left), name="winnow-ahead", daemon=True)
    thread.start()
    try:
        while (found := queue.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found[0]
    finally:
        is_left.set()
        _empty(queue, thread)


def _fill(items: Iterator[Item], queue: "Queue[tuple[Item] | BaseException | None]", is_left: Event) -> None:
    try:
        for item in items:
            queue.put((item,))
            if is_left.is_set():
                break
        queue.put(None)
    except BaseException as error:  # whatever it is belongs to whoever waits for the items
        queue.put(error)
    finally:
        if isinstance(items, Generator):
            items.close()  # in this thread, which alone knows what is open


def _empty(queue: "Queue[tuple[Item] | BaseException | None]", thread: Thread) -> None:
    """Take what the thread still wants to hand over, until it has ended."""
    while thread.is_alive():
        try:
            queue.get(timeout=0.02)
        except Empty:
            continue
    thread.join()
