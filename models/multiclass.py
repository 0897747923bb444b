"""Several classes: one honest record of how well a network tells them apart.

Owns what is asked of the probabilities of three classes or more; the definitions are in the modules that are composed
here. An event is taken for the class of its largest probability, the first of equal ones. Numbers are those of the test
part, unless their name says otherwise; weights are physics weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.averages import Estimates, sums_in, weighted_mean, weighted_share
from models.confusion import Confusion, confusion, pair_aucs
from models.headline import Headline, headed, that_exist, with_errors
from models.histograms import ClassCount, PartName, count
from models.inputs import InputShares
from models.judgeable import judging, require_shapes, unusable, without_weight
from models.leader_board import Standing
from models.outputs import JudgedOutputs, judge_outputs
from models.probabilities import clipped_probabilities
from models.scored import Floats, Measured, ScoredEvents

SLACK = 1e-3
"""What the probabilities of an event may miss 1 by: rounding of single precision, and means over networks."""


@dataclass(frozen=True, eq=False)
class ScoredClasses:
    """Events of one part: ``scores (n, n_classes)``, ``labels (n,)`` (the index of a class), ``weights (n,)``."""

    scores: NDArray[np.floating]
    labels: NDArray[np.integer]
    weights: NDArray[np.floating]

    def checked(self, part: PartName, classes: Sequence[str]) -> "ClassEvents":
        """Return the checked events.

        Raises:
            DataError: they cannot be judged: shapes that do not fit, numbers that are not finite, labels that are no
                class, scores that are no probabilities, or a class whose weights do not add up to something positive;
                all problems at once, with the name of the part.

        """
        with judging(part) as problems:
            require_shapes({"labels": self.labels, "weights": self.weights}, {"scores": self.scores}, len(classes))
            weights = self.weights.astype(np.float64)
            problems += unusable({"score": self.scores}, weights)
            problems += _no_class(self.labels, len(classes))
            if not problems:
                problems += _no_distribution(self.scores)
                problems += without_weight(
                    {f"events of class {name!r}": weights[self.labels == index] for index, name in enumerate(classes)}
                )
        return ClassEvents(self.scores, self.labels.astype(np.intp), weights)


@dataclass(frozen=True, eq=False)
class ClassEvents:
    """Checked events, with probabilities that add up to 1."""

    scores: NDArray[np.floating]
    labels: NDArray[np.intp]
    weights: Floats

    @property
    def chosen(self) -> NDArray[np.intp]:
        """The class that each event is taken for, ``(n,)``."""
        chosen: NDArray[np.intp] = self.scores.argmax(axis=1)
        return chosen

    def against_the_rest(self) -> list[ScoredEvents]:
        """Return the events as each output sees them: its class against all others."""
        return [
            ScoredEvents(np.ascontiguousarray(scores), self.labels == index, self.weights)
            for index, scores in enumerate(self.scores.T)
        ]

    def balanced(self, fractions: Sequence[float] | None) -> Floats:
        """Return weights of which each class has the given share; without them, the weights as they are."""
        if fractions is None:
            return self.weights
        sums = sums_in(self.labels, self.weights, len(fractions))
        balanced: Floats = self.weights * (np.asarray(fractions) / sums)[self.labels]
        return balanced


@dataclass(frozen=True, eq=False)
class MulticlassEvaluation(JudgedOutputs):
    """The record of a network that tells several classes apart.

    ``auc`` is the mean over classes of the AUC of one against the rest, ``bootstrap`` the same with the spread of
    replicas. ``pairs`` are the AUCs of two classes alone, ``(n_classes, n_classes)``, NaN on the diagonal.
    """

    classes: tuple[str, ...]
    accuracy: Measured
    balanced_accuracy: Measured
    log_loss: Measured
    confusion: Confusion
    pairs: Estimates
    counts: tuple[ClassCount, ...]
    inputs: InputShares | None = None
    leader_board: tuple[Standing, ...] = ()

    @property
    def headline(self) -> Headline:
        """The mean AUC."""
        return Headline("auc", "mean one-against-rest AUC", self.auc, higher_is_better=True)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain lists and dictionaries; a number that does not exist is ``None``."""
        return headed(self.headline, asdict(self))

    def metrics(self) -> dict[str, float]:
        """Return the numbers that exist under the names that they have everywhere."""
        efficiencies = {
            f"efficiency_{true}_as_{chosen}": float(self.confusion.efficiencies.values[row, column])
            for row, true in enumerate(self.classes)
            for column, chosen in enumerate(self.classes)
        }
        single = {"accuracy": self.accuracy, "balanced_accuracy": self.balanced_accuracy, "log_loss": self.log_loss}
        return that_exist(self.auc_metrics() | with_errors(single) | efficiencies)


def judge_classes(
    parts: Mapping[PartName, ScoredClasses],
    classes: Sequence[str],
    random: np.random.Generator,
    replicas: int,
    *,
    fractions: Sequence[float] | None = None,
) -> MulticlassEvaluation:
    """Judge the probabilities of classes on the three parts of a data set.

    Args:
        parts: train, validation and test.
        classes: their names, in the order of the scores.
        random: draws the bootstrap replicas of the mean AUC.
        replicas: how many, at most 200; the error that is quoted is that of the formula and needs none.
        fractions: the shares of the classes in the sum of training weights, at which scores are probabilities;
            without them those in the sum of the test part's physics weights.

    Raises:
        DataError: as `ScoredClasses.checked`.

    """
    checked = {name: part.checked(name, classes) for name, part in parts.items()}
    test, events = checked["test"], {name: part.against_the_rest() for name, part in checked.items()}
    chosen, balanced = test.chosen, test.balanced(fractions)
    matrix = confusion(test.labels, chosen, test.weights, len(classes))
    judged = judge_outputs(classes, events, balanced, random, replicas)
    return MulticlassEvaluation(
        **vars(judged),
        classes=tuple(classes),
        accuracy=weighted_share(test.weights, chosen == test.labels),
        balanced_accuracy=_mean_efficiency(matrix),
        log_loss=_log_loss(test, balanced),
        confusion=matrix,
        pairs=pair_aucs(test.scores, test.labels, test.weights),
        counts=tuple(
            count(name, kind, part.weights[part.labels == index])
            for name, part in checked.items()
            for index, kind in enumerate(classes)
        ),
    )


def _no_class(labels: NDArray[np.integer], n_classes: int) -> list[str]:
    others = np.flatnonzero(~np.isin(labels, np.arange(n_classes)))
    if not others.size:
        return []
    first = f"the first is {labels[others[0]]!s}"
    return [f"{others.size} of {labels.size} labels are none of the classes 0 to {n_classes - 1} ({first})"]


def _no_distribution(scores: NDArray[np.floating]) -> list[str]:
    """Say which scores are no probabilities of classes of which each event has one."""
    sums = scores.sum(axis=1, dtype=np.float64)
    bad = np.flatnonzero((scores < 0.0).any(axis=1) | (np.abs(sums - 1.0) > SLACK))
    if not bad.size:
        return []
    first = ", ".join(f"{value:.4g}" for value in scores[bad[0]])
    return [
        f"the scores of {bad.size} of {sums.size} events are no probabilities that add up to 1 (the first: {first})"
    ]


def _mean_efficiency(matrix: Confusion) -> Measured:
    """Return the mean over classes; one whose events are all right or all wrong adds nothing to the error."""
    efficiencies, errors = matrix.efficiencies.values.diagonal(), matrix.efficiencies.errors.diagonal()
    error = float(np.sqrt(np.nansum(errors**2))) / errors.size if np.isfinite(errors).any() else float("nan")
    return Measured(float(efficiencies.mean()), error)


def _log_loss(events: ClassEvents, weights: Floats) -> Measured:
    """Return the weighted mean of -log of the probability of what an event was."""
    of_the_truth = events.scores[np.arange(events.labels.size), events.labels]
    return weighted_mean(-np.log(clipped_probabilities(of_the_truth)), weights)
