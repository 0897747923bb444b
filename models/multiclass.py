"""Several classes: one honest record of how well a network tells them apart.

Owns what is asked of the probabilities of three classes or more; the definitions are in the modules that are composed
here. An event is taken for the class of its largest probability, the first of equal ones. Numbers are those of the test
part, unless their name says otherwise; weights are physics weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.averages import Estimates
from models.bootstrap import Bootstrapped
from models.confusion import Confusion
from models.headline import Headline
from models.histograms import ClassCount, PartName
from models.inputs import InputShares
from models.outputs import OutputFinding
from models.overtraining import Gap
from models.scored import Measured


@dataclass(frozen=True, eq=False)
class ScoredClasses:
    """Events of one part: ``scores (n, n_classes)``, ``labels (n,)`` (the index of a class), ``weights (n,)``."""

    scores: NDArray[np.floating]
    labels: NDArray[np.integer]
    weights: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class MulticlassEvaluation:
    """The record of a network that tells several classes apart.

    ``auc`` is the mean over classes of the AUC of one against the rest, ``bootstrap`` the same with the spread of
    replicas. ``pairs`` are the AUCs of two classes alone, ``(n_classes, n_classes)``, NaN on the diagonal.
    """

    classes: tuple[str, ...]
    auc: Measured
    auc_train: Measured
    auc_validation: Measured
    bootstrap: Bootstrapped
    overtraining: Gap
    accuracy: Measured
    balanced_accuracy: Measured
    log_loss: Measured
    confusion: Confusion
    pairs: Estimates
    outputs: tuple[OutputFinding, ...]
    counts: tuple[ClassCount, ...]
    inputs: InputShares | None = None

    @property
    def headline(self) -> Headline:
        """The mean AUC."""
        return Headline("auc", "mean one-against-rest AUC", self.auc, higher_is_better=True)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain lists and dictionaries; a number that does not exist is ``None``."""
        raise NotImplementedError

    def metrics(self) -> dict[str, float]:
        """Return the numbers that exist under the names that they have everywhere."""
        raise NotImplementedError


def judge_classes(
    parts: Mapping[PartName, ScoredClasses],
    classes: Sequence[str],
    random: np.random.Generator,
    replicas: int,
    *,
    fractions: Sequence[float] | None = None,
) -> MulticlassEvaluation:
    """Judge the probabilities of classes on the three parts of a data set.

    ``fractions`` are the shares of the classes in the sum of training weights, at which scores are probabilities;
    without them those in the sum of the test part's physics weights.
    """
    raise NotImplementedError
