"""Judgeable: what a part of the data must have so that it can be judged.

Owns the refusals that all evaluations of several columns share; each message names the part. What a class, a label or a
quantity needs beyond that belongs to them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from models.histograms import PartName
from models.scored import Floats, not_finite, out_of_range
from models.shares import adds_up
from pipeline.errors import DataError


@contextmanager
def judging(part: PartName) -> Iterator[list[str]]:
    """Give a list for problems, and refuse the part in the end if there are any.

    Raises:
        DataError: there are; or the block raised one, which then names the part.

    """
    problems: list[str] = []
    try:
        yield problems
        if problems:
            raise DataError("; ".join(problems))
    except DataError as error:
        raise DataError(f"the {part} part cannot be judged: {error}") from error


def require_shapes(flat: Mapping[str, NDArray[Any]], wide: Mapping[str, NDArray[Any]], n_columns: int) -> None:
    """Refuse arrays that do not have one number for each event, or one for each event and column.

    Raises:
        DataError: with the shapes.

    """
    n_events = len(next(iter(wide.values())))
    wanted = dict.fromkeys(flat, (n_events,)) | dict.fromkeys(wide, (n_events, n_columns))
    received = {**flat, **wide}
    if any(received[name].shape != shape for name, shape in wanted.items()):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in received.items())
        raise DataError(
            f"needed are {', '.join(f'{name} {shape}' for name, shape in wanted.items())}; received {shapes}"
        )


def unusable(numbers: Mapping[str, NDArray[Any]], weights: Floats) -> list[str]:
    """Say which numbers are not finite, and whether errors can be made with these weights."""
    return [
        *(problem for name, values in numbers.items() for problem in not_finite(name, values)),
        *(not_finite("weight", weights) or out_of_range(weights)),
    ]


def without_weight(weights: Mapping[str, Floats]) -> list[str]:
    """Say which kinds of events have weights that do not add up to something positive."""
    return [
        f"there are no {kind}" if not values.size else f"the weights of {kind} add up to {values.sum():g}"
        for kind, values in weights.items()
        if not adds_up(values)
    ]
