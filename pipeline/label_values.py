"""Label values: what a label column holds, counted while its events go by.

Owns the count and the sentence for a declared value that never came. Which value means which class is
``samples``'.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.samples import LabelValue

MOST = 1000
"""Different values that are counted; a column that has more is no label, and its rest is not counted."""

SHOWN = 8


class LabelValues:
    """How often each value stands in the label column of one sample; memory is bounded by ``MOST`` values."""

    def __init__(self) -> None:
        self._times: Counter[Any] = Counter()

    def update(self, column: NDArray[Any]) -> None:
        """Count more events, shape ``(n_events,)``: numbers, booleans, or texts; what is missing is not counted."""
        if len(self._times) >= MOST:
            return
        if column.dtype == object:
            found = dict(Counter(column))
        else:
            found = dict(zip(*np.unique(column[column == column], return_counts=True), strict=True))
        for value, times in found.items():
            if value is not None and (value in self._times or len(self._times) < MOST):
                self._times[value] += int(times)

    def absent(self, values: Sequence[LabelValue]) -> tuple[LabelValue, ...]:
        """Return those of ``values`` that are nowhere in the column; none where it has too many values to know."""
        if len(self._times) >= MOST:
            return ()
        # NumPy's numbers compare as their column does: 0.1 is in a column of single precision that holds 0.1.
        return tuple(value for value in values if not any(bool(known == value) for known in self._times))

    def tell_absent(self, column: str, name: str, values: Sequence[LabelValue]) -> str:
        """Say that a column has none of ``values``, which mean class ``name``, and what it has instead."""
        wanted = " or ".join(map(_plain, values))
        by_frequency = sorted(self._times.items(), key=lambda pair: (-pair[1], str(pair[0])))
        shown = ", ".join(f"{_plain(value)} ({times})" for value, times in by_frequency[:SHOWN])
        n_values = f"at least {MOST}" if len(by_frequency) >= MOST else str(len(by_frequency))
        more = f", … ({n_values} values in all)" if len(by_frequency) > SHOWN else ""
        return f"label column {column!r} has no event with {name} = {wanted}; it has {shown or 'no value'}{more}"


def _plain(value: Any) -> str:
    """Return a value as the experiment file would write it."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else str(value)
