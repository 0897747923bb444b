"""Outputs: how well each output of a network that has several tells what it seeks from everything else.

Owns the judgement of one output as a score of two classes, its own events (a class, or those that have a label) against
all others, and the mean over outputs. Numbers are those of the test part, unless their name says otherwise.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.bootstrap import Bootstrapped, bootstrap_mean_auc
from models.headline import with_errors
from models.histograms import KINDS, Kind, PartName, ScoreHistogram, score_histogram
from models.metrics import Roc, aucs_with_mean, thin_roc, weighted_roc
from models.overtraining import Gap, auc_gap
from models.probabilities import CalibrationError, Reliability, brier_score, calibration_error, reliability
from models.scored import Floats, Measured, ScoredEvents

N_ROC_POINTS = 300
MOST_REPLICAS = 200
"""They know the error to 5 %, and it only vouches for that of the formula. On a million events of five classes, each
takes a tenth of a second of one core."""
DRAWN: tuple[PartName, ...] = ("train", "test")


@dataclass(frozen=True, eq=False)
class OutputFinding:
    """One output against all else: "signal" in ``histograms`` are its own events, "background" all others.

    ``roc`` is thinned. How far the output is a probability is said at the balance of the classes for which it was
    trained.
    """

    name: str
    auc: Measured
    auc_train: Measured
    auc_validation: Measured
    roc: Roc
    brier_score: Measured
    reliability: Reliability
    calibration_error: CalibrationError
    histograms: tuple[ScoreHistogram, ...]

    def histogram(self, part: PartName, kind: Kind) -> ScoreHistogram:
        """Return the histogram of the output for its own events, or for all others, in the train or test part."""
        return next(found for found in self.histograms if (found.part, found.kind) == (part, kind))


@dataclass(frozen=True, eq=False)
class JudgedOutputs:
    """All outputs, and the mean of their AUCs: by formula on each part, and with the spread of replicas."""

    outputs: tuple[OutputFinding, ...]
    auc: Measured
    auc_train: Measured
    auc_validation: Measured
    bootstrap: Bootstrapped
    overtraining: Gap

    def auc_metrics(self) -> dict[str, float]:
        """Return the areas under the names that they have everywhere."""
        measured = {"auc": self.auc, "auc_gap": self.overtraining.gap}
        measured |= {f"auc_{output.name}": output.auc for output in self.outputs}
        further = {"auc_train": self.auc_train.value, "auc_validation": self.auc_validation.value}
        return with_errors(measured) | further | {"auc_bootstrap_error": self.bootstrap.error}


def judge_outputs(
    names: Sequence[str],
    parts: Mapping[PartName, Sequence[ScoredEvents]],
    balanced: Floats,
    random: np.random.Generator,
    replicas: int,
) -> JudgedOutputs:
    """Judge each output; ``parts`` have the events as each output sees them, in the order of ``names``.

    ``balanced`` are the weights of the test part's events, ``(n,)``, at which outputs are probabilities. At most 200
    replicas are drawn.

    Raises:
        DataError: as in `models.metrics.weighted_roc` and `models.probabilities.reliability`.

    """
    areas = {part: aucs_with_mean(events) for part, events in parts.items()}
    means = {part: mean for part, (_, mean) in areas.items()}
    return JudgedOutputs(
        outputs=tuple(
            _judged(name, {part: events[place] for part, events in parts.items()}, aucs, balanced)
            for place, (name, aucs) in enumerate(zip(names, _by_output(areas), strict=True))
        ),
        auc=means["test"],
        auc_train=means["train"],
        auc_validation=means["validation"],
        bootstrap=bootstrap_mean_auc(parts["test"], random=random, n_replicas=min(replicas, MOST_REPLICAS)),
        overtraining=auc_gap(means["train"], means["test"]),
    )


def _by_output(
    areas: Mapping[PartName, tuple[tuple[Measured, ...], Measured]],
) -> Iterator[dict[PartName, Measured]]:
    for row in zip(*(aucs for aucs, _ in areas.values()), strict=True):
        yield dict(zip(areas, row, strict=True))


def _judged(
    name: str, parts: Mapping[PartName, ScoredEvents], aucs: Mapping[PartName, Measured], balanced: Floats
) -> OutputFinding:
    test = parts["test"]
    arrays = test.scores, test.is_signal, balanced
    return OutputFinding(
        name=name,
        auc=aucs["test"],
        auc_train=aucs["train"],
        auc_validation=aucs["validation"],
        roc=thin_roc(weighted_roc(test.scores, test.is_signal, test.weights), N_ROC_POINTS),
        brier_score=brier_score(*arrays),
        reliability=reliability(*arrays),
        calibration_error=calibration_error(*arrays),
        histograms=tuple(score_histogram(part, kind, parts[part]) for part in DRAWN for kind in KINDS),
    )
