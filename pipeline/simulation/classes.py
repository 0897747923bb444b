"""Events of several classes in one file: the labels, and the new events that have none.

Owns which event is of which class, how events are numbered, and where the truth of new ones is kept.
What an event of a class looks like belongs to the simulations.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.simulation.files import Events, Files

Classes = NDArray[Any]
"""One value of the label column for every event, shape ``(n_events,)``."""


def labelled_and_new(
    file: str,
    label: str,
    values: Classes,
    draw: Callable[[Classes], Events],
    n_events: int,
    generator: np.random.Generator,
) -> tuple[Files, Files]:
    """Draw ``n_events`` events, as many of each class, in random order, and a fifth as many new ones.

    ``draw`` is given the classes and draws the rest; ``values`` are what ``label`` holds for each class. The new
    events are in a file of their own, each of a class drawn for itself, which only ``true_<label>`` tells.
    """
    n_new = n_events // 5
    classes = values[generator.permutation(np.arange(n_events) % len(values))]
    training = {label: classes, **numbered(draw(classes), 0)}
    truth = values[generator.integers(0, len(values), n_new)]
    new = {**numbered(draw(truth), n_events), f"true_{label}": truth}
    return {file: training}, {f"new_{file}": new}


def numbered(events: Events, first: int) -> Events:
    """Return the events with a column ``event`` that counts from ``first``."""
    n_events = len(next(iter(events.values())))
    return {"event": first + np.arange(n_events, dtype=np.int64), **events}
