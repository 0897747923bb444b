"""Rivals: baselines for a network of any head.

Owns which there are for whom, and how a network of several outputs is rivalled: by one baseline for each of them, which
tells a class from all others, or events with a label from those without, or predicts one quantity.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.baselines import BASELINES, Scorer, fit_baseline
from models.heads import JudgedAs
from models.regressors import REGRESSORS, fit_regressor
from pipeline.errors import DataError
from pipeline.table import EventTable, pack

Fit = Callable[[str, EventTable, EventTable, int], Scorer]

RIVALS: Mapping[JudgedAs, tuple[Fit, Mapping[str, object]]] = {
    "signal": (fit_baseline, BASELINES),
    "class": (fit_baseline, BASELINES),
    "flags": (fit_baseline, BASELINES),
    "quantities": (fit_regressor, REGRESSORS),
}
"""What a network is judged by → how its rivals are trained, and the table of their names."""


def fit_rival(
    name: str, judged_as: JudgedAs, train: EventTable, validation: EventTable, seed: int, outputs: Sequence[str]
) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """Train a baseline; its scores are ``(n_events,)`` of a single one, and else ``(n_events, n_outputs)``.

    Raises:
        DataError: as `models.baselines.fit_baseline`, for any of the ``outputs``, which is named.

    """
    fit, _ = RIVALS[judged_as]
    if judged_as == "signal":
        return fit(name, train, validation, seed)
    tables = zip(outputs, *(_one_by_one(table, judged_as, len(outputs)) for table in (train, validation)), strict=True)
    scorers = []
    for output, of_train, of_validation in tables:
        try:
            scorers.append(fit(name, of_train, of_validation, seed))
        except DataError as error:
            raise DataError(f"{output} (signal: its own events): {error}") from None
    return lambda inputs: np.stack([score(inputs) for score in scorers], axis=1)


def _one_by_one(table: EventTable, judged_as: JudgedAs, n_outputs: int) -> Iterator[EventTable]:
    """Yield the events as each output sees them, one table after the other."""
    for output in range(n_outputs):
        targets = table.labels == output if judged_as == "class" else table.targets[:, output]
        yield pack(table.inputs, targets, table.weights)
