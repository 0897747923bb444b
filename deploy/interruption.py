"""Interruption: a request to end is heard, whenever it comes.

Python drops an exception that a signal handler raises inside certain callbacks (of the garbage collector, for
instance, which JAX uses). So the request is remembered, too, and whoever tells of progress hears of it.
"""

import signal
import sys
from types import FrameType

_received: list[int] = []


def listen() -> None:
    """Have Ctrl-C and SIGTERM end the process by an exception: half-written files are removed on the way out."""
    _received.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


def heed() -> None:
    """End now if it was asked for before."""
    if _received:
        _end(_received[-1], None)


def _end(number: int, _: FrameType | None) -> None:
    _received.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
