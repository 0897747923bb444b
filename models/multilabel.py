"""Several labels: one honest record of a network that says of each whether an event has it.

Owns what is asked of the probabilities of labels that may come together; the definitions are in the modules that are
composed here. An event is said to have a label where its probability is one half or more. Numbers are those of the test
part, unless their name says otherwise; weights are physics weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.averages import Estimates, shares, weighted_share
from models.headline import Headline, headed, that_exist, with_errors
from models.histograms import ClassCount, PartName, count
from models.inputs import InputShares
from models.judgeable import judging, require_shapes, unusable, without_weight
from models.leader_board import Standing
from models.outputs import JudgedOutputs, judge_outputs
from models.probabilities import require_probabilities
from models.scored import Floats, Measured, ScoredEvents
from models.working_points import WorkingPoint, efficiency_at

THRESHOLD = 0.5
"""The probability from which on an event is said to have a label."""


@dataclass(frozen=True, eq=False)
class ScoredFlags:
    """Events of one part: ``scores (n, n_labels)``, ``flags (n, n_labels)`` of 0 and 1, ``weights (n,)``."""

    scores: NDArray[np.floating]
    flags: NDArray[np.generic]
    weights: NDArray[np.floating]

    def checked(self, part: PartName, names: Sequence[str]) -> "FlagEvents":
        """Return the checked events.

        Raises:
            DataError: they cannot be judged: shapes that do not fit, numbers that are not finite, flags other than 0
                and 1, scores outside [0, 1], or a label of which the events with it, or those without, have weights
                that do not add up to something positive; all problems at once, with the name of the part.

        """
        with judging(part) as problems:
            require_shapes({"weights": self.weights}, {"scores": self.scores, "flags": self.flags}, len(names))
            weights, flags = self.weights.astype(np.float64), self.flags.astype(np.bool_)
            problems += unusable({"score": self.scores}, weights)
            problems += [
                f"{n_others} of {len(flags)} flags {name!r} are neither 0 nor 1"
                for name, n_others in zip(names, np.count_nonzero(self.flags != flags, axis=0), strict=True)
                if n_others
            ]
            if not problems:
                require_probabilities(self.scores)
                problems += without_weight(_with_and_without(names, flags, weights))
        return FlagEvents(self.scores, flags, weights)


@dataclass(frozen=True, eq=False)
class FlagEvents:
    """Checked events, with one probability for each label."""

    scores: NDArray[np.floating]
    flags: NDArray[np.bool_]
    weights: Floats

    @property
    def chosen(self) -> NDArray[np.bool_]:
        """Which labels each event is said to have, ``(n, n_labels)``."""
        chosen: NDArray[np.bool_] = self.scores >= THRESHOLD
        return chosen

    def one_by_one(self) -> list[ScoredEvents]:
        """Return the events as each output sees them: with its label against without."""
        return [
            ScoredEvents(np.ascontiguousarray(scores), np.ascontiguousarray(flags), self.weights)
            for scores, flags in zip(self.scores.T, self.flags.T, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Company:
    """Of the events with the row's label the share with the column's, ``(n_labels, n_labels)``.

    ``true`` is of the labels that events have, ``chosen`` of those that they are said to have.
    """

    true: Estimates
    chosen: Estimates


@dataclass(frozen=True, eq=False)
class MultilabelEvaluation(JudgedOutputs):
    """The record of a network that finds labels.

    ``auc`` is the mean over labels, ``bootstrap`` the same with the spread of replicas. ``exact_match`` is the share of
    events of which every label is right, ``working_points`` what the threshold of one half keeps, label by label.
    """

    names: tuple[str, ...]
    exact_match: Measured
    working_points: tuple[WorkingPoint, ...]
    company: Company
    counts: tuple[ClassCount, ...]
    inputs: InputShares | None = None
    leader_board: tuple[Standing, ...] = ()

    @property
    def headline(self) -> Headline:
        """The mean AUC."""
        return Headline("auc", "mean AUC of the labels", self.auc, higher_is_better=True)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain lists and dictionaries; a number that does not exist is ``None``."""
        return headed(self.headline, asdict(self))

    def metrics(self) -> dict[str, float]:
        """Return the numbers that exist under the names that they have everywhere."""
        measured = {"exact_match": self.exact_match}
        for name, output, point in zip(self.names, self.outputs, self.working_points, strict=True):
            measured[f"efficiency_{name}"] = point.signal_efficiency
            measured[f"purity_{name}"] = point.purity
            measured[f"brier_score_{name}"] = output.brier_score
        return that_exist(self.auc_metrics() | with_errors(measured))


def judge_flags(
    parts: Mapping[PartName, ScoredFlags], names: Sequence[str], random: np.random.Generator, replicas: int
) -> MultilabelEvaluation:
    """Judge the probabilities of labels on the three parts of a data set.

    Args:
        parts: train, validation and test.
        names: the labels, in the order of the scores.
        random: draws the bootstrap replicas of the mean AUC.
        replicas: how many, at most 200; the error that is quoted is that of the formula and needs none.

    Raises:
        DataError: as `ScoredFlags.checked`.

    """
    checked = {name: part.checked(name, names) for name, part in parts.items()}
    test, events = checked["test"], {name: part.one_by_one() for name, part in checked.items()}
    judged = judge_outputs(names, events, test.weights, random, replicas)
    return MultilabelEvaluation(
        **vars(judged),
        names=tuple(names),
        exact_match=weighted_share(test.weights, (test.chosen == test.flags).all(axis=1)),
        working_points=tuple(
            efficiency_at(THRESHOLD, one.scores, one.is_signal, one.weights) for one in events["test"]
        ),
        company=Company(*(_together(of_test, test.weights) for of_test in (test.flags, test.chosen))),
        counts=tuple(
            count(name, kind, weights)
            for name, part in checked.items()
            for kind, weights in _kinds(names, part).items()
        ),
    )


def _kinds(names: Sequence[str], part: FlagEvents) -> dict[str, Floats]:
    return {"all events": part.weights} | {
        name: part.weights[flags] for name, flags in zip(names, part.flags.T, strict=True)
    }


def _with_and_without(names: Sequence[str], flags: NDArray[np.bool_], weights: Floats) -> dict[str, Floats]:
    kinds = {"with": flags.T, "without": ~flags.T}
    return {
        f"events {how} {name!r}": weights[members]
        for how, of_each in kinds.items()
        for name, members in zip(names, of_each, strict=True)
    }


def _together(flags: NDArray[np.bool_], weights: Floats) -> Estimates:
    have = flags.astype(np.float64)
    sums, squares = ((have * of[:, np.newaxis]).T @ have for of in (weights, weights**2))
    return shares(sums, squares, sums.diagonal()[:, np.newaxis], squares.diagonal()[:, np.newaxis])
