"""Several labels: one honest record of a network that says of each whether an event has it.

Owns what is asked of the probabilities of labels that may come together; the definitions are in the modules that are
composed here. An event is said to have a label where its probability is one half or more. Numbers are those of the test
part, unless their name says otherwise; weights are physics weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.averages import Estimates
from models.bootstrap import Bootstrapped
from models.headline import Headline
from models.histograms import ClassCount, PartName
from models.inputs import InputShares
from models.outputs import OutputFinding
from models.overtraining import Gap
from models.scored import Measured
from models.working_points import WorkingPoint


@dataclass(frozen=True, eq=False)
class ScoredFlags:
    """Events of one part: ``scores (n, n_labels)``, ``flags (n, n_labels)`` of 0 and 1, ``weights (n,)``."""

    scores: NDArray[np.floating]
    flags: NDArray[np.generic]
    weights: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Company:
    """Of the events with the row's label the share with the column's, ``(n_labels, n_labels)``.

    ``true`` is of the labels that events have, ``chosen`` of those that they are said to have.
    """

    true: Estimates
    chosen: Estimates


@dataclass(frozen=True, eq=False)
class MultilabelEvaluation:
    """The record of a network that finds labels.

    ``auc`` is the mean over labels, ``bootstrap`` the same with the spread of replicas. ``exact_match`` is the share of
    events of which every label is right, ``working_points`` what the threshold of one half keeps, label by label.
    """

    names: tuple[str, ...]
    auc: Measured
    auc_train: Measured
    auc_validation: Measured
    bootstrap: Bootstrapped
    overtraining: Gap
    exact_match: Measured
    outputs: tuple[OutputFinding, ...]
    working_points: tuple[WorkingPoint, ...]
    company: Company
    counts: tuple[ClassCount, ...]
    inputs: InputShares | None = None

    @property
    def headline(self) -> Headline:
        """The mean AUC."""
        return Headline("auc", "mean AUC of the labels", self.auc, higher_is_better=True)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain lists and dictionaries; a number that does not exist is ``None``."""
        raise NotImplementedError

    def metrics(self) -> dict[str, float]:
        """Return the numbers that exist under the names that they have everywhere."""
        raise NotImplementedError


def judge_flags(
    parts: Mapping[PartName, ScoredFlags], names: Sequence[str], random: np.random.Generator, replicas: int
) -> MultilabelEvaluation:
    """Judge the probabilities of labels on the three parts of a data set."""
    raise NotImplementedError
