"""A request to end is heard, also where Python drops the exception."""

import gc
import os
import signal

import pytest

from deploy.interruption import heed, listen


@pytest.fixture(autouse=True)
def handlers_of_before():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    listen()
    yield
    listen()  # forgets what was asked for
    for number, handler in before.items():
        signal.signal(number, handler)


def test_nobody_asked_and_nothing_ends():
    heed()


@pytest.mark.parametrize(("number", "end"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_at_once(number, end):
    with pytest.raises(end, match=r"^$" if end is KeyboardInterrupt else "143"):
        os.kill(os.getpid(), number)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_whose_exception_was_dropped_ends_at_the_next_sign_of_progress():
    def collecting(phase, info):
        if phase == "start":
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):
                pass

    gc.callbacks.append(collecting)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(collecting)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        heed()
