"""The record: everything that is known of how good a scorer is.

Owns the shape of the answers and their way to JSON; which question is asked of which part of the data is
``evaluation``'s. Numbers are those of the test part, unless their name says otherwise.
"""

from dataclasses import asdict, dataclass
from typing import Any

from models.agreement import Agreement
from models.bootstrap import RocBand
from models.calibration import Calibration
from models.cuts import Cut
from models.headline import Headline, headed, that_exist
from models.histograms import ClassCount, Kind, PartName, ScoreHistogram
from models.inputs import InputFindings
from models.leader_board import Standing
from models.metrics import Roc
from models.overtraining import Overtraining
from models.probabilities import CalibrationError, Reliability
from models.scored import Measured
from models.significance import QuotedSignificance, SignificanceScan
from models.spectators import Sculpting, SpectatorCorrelation, SpectatorProfile
from models.templates import Templates
from models.working_points import QuotedCut, WorkingPoint


@dataclass(frozen=True)
class QuotedPoint:
    """A threshold chosen on the validation part for a signal efficiency, and what it does on the test part."""

    requested: float
    quoted: WorkingPoint


@dataclass(frozen=True)
class NamedPoint:
    """A working point that scoring applies, and what it keeps: of all events, then bin by bin.

    Where it could not be had, ``cut`` is ``None``; where it could not be quoted, ``quoted`` is empty; ``problem`` says
    why.
    """

    name: str
    cut: Cut | None
    quoted: tuple[QuotedCut, ...] = ()
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Significance:
    """The significance above each threshold, and at the one that is best on the validation part.

    Where no threshold could be chosen, ``quoted`` is ``None`` and ``problem`` says why.
    """

    scan: SignificanceScan
    quoted: QuotedSignificance | None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Probabilities:
    """How far scores are probabilities, at the share of signal ``signal_fraction`` that the training weights had."""

    signal_fraction: float
    brier_score: Measured
    log_loss: Measured
    reliability: Reliability
    calibration_error: CalibrationError


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A map from score to probability, learnt on the validation part, and what it is worth on the test part.

    Where it could not be had, ``calibration`` is ``None`` and ``problem`` says why. ``probabilities`` are those before
    the shift to an expected share of signal.
    """

    calibration: Calibration | None
    probabilities: Probabilities | None = None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class SpectatorFinding:
    """How the scores depend on a spectator, and what the cuts of the working points do to its distribution.

    Where it could not be found out, ``problem`` says why and the rest is ``None``.
    """

    name: str
    correlation: SpectatorCorrelation | None = None
    profile: SpectatorProfile | None = None
    sculpting: Sculpting | None = None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Dependence:
    """What the score tells of ``variable`` among the events ``within``, and told in the ``plain`` network.

    The error of ``by_chance``, what a score that tells nothing shows, is how far chance takes it from there.
    ``plain_spectator`` is how the score of the plain network depends on the variable in bins.
    """

    variable: str
    method: str
    strength: float
    within: str
    plain: Measured
    decorrelated: Measured
    by_chance: Measured
    plain_spectator: SpectatorFinding


@dataclass(frozen=True, eq=False)
class FitTemplates:
    """Histograms of the score by sample, with bins chosen on the validation part; or why there are none."""

    templates: Templates | None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The record: numbers of the test part, unless their name says otherwise.

    ``roc`` is thinned; ``folds`` is ``None`` where one network scored all events, and ``dependence`` where
    nothing was asked to be forgotten.
    """

    auc: Measured
    auc_train: Measured
    auc_validation: Measured
    overtraining: Overtraining
    roc: Roc
    band: RocBand
    working_points: tuple[QuotedPoint, ...]
    named_points: tuple[NamedPoint, ...]
    significance: Significance
    probabilities: Probabilities | None
    calibrated: Calibrated | None
    leader_board: tuple[Standing, ...]
    folds: Agreement | None
    inputs: InputFindings | None
    spectators: tuple[SpectatorFinding, ...]
    templates: FitTemplates | None
    histograms: tuple[ScoreHistogram, ...]
    counts: tuple[ClassCount, ...]
    dependence: Dependence | None = None

    @property
    def gap(self) -> Measured:
        """AUC(train) - AUC(test)."""
        return self.overtraining.auc.gap

    def histogram(self, part: PartName, kind: Kind) -> ScoreHistogram:
        """Return the score histogram of a class in the train or test part."""
        return next(found for found in self.histograms if (found.part, found.kind) == (part, kind))

    @property
    def headline(self) -> Headline:
        """The AUC."""
        return Headline("auc", "AUC", self.auc, higher_is_better=True)

    def metrics(self) -> dict[str, float]:
        """Return the numbers of the test part that exist, under the names that they have everywhere."""
        metrics = {
            "auc": self.auc.value,
            "auc_error": self.auc.error,
            "auc_train": self.auc_train.value,
            "auc_validation": self.auc_validation.value,
            "auc_gap": self.gap.value,
            "auc_gap_error": self.gap.error,
        }
        for point in self.working_points:
            metrics[f"background_efficiency_at_{point.requested:g}"] = point.quoted.background_efficiency.value
            metrics[f"threshold_at_{point.requested:g}"] = point.quoted.threshold
        return metrics | that_exist(self._further_metrics())

    def _further_metrics(self) -> dict[str, float]:
        """Return numbers that not every evaluation has, some of which may not be finite."""
        metrics = {"auc_bootstrap_error": self.band.auc.error}
        if found := self.probabilities:
            metrics["brier_score"] = found.brier_score.value
            metrics["log_loss"] = found.log_loss.value
            metrics["calibration_error"] = found.calibration_error.observed.value
        if quoted := self.significance.quoted:
            metrics["significance_threshold"] = quoted.threshold
            metrics["significance_asimov"] = quoted.significances["asimov"].value
            metrics["significance_ams"] = quoted.significances["ams"].value
        return metrics

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain lists and dictionaries; a number that does not exist is ``None``."""
        return headed(self.headline, asdict(self))
