"""The record: everything that is known of how good a scorer is.

Owns the shape of the answers and their way to JSON; which question is asked of which part of the data is
``evaluation``'s. Numbers are those of the test part, unless their name says otherwise.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

from models.agreement import Agreement
from models.bootstrap import RocBand
from models.calibration import Calibration
from models.cuts import Cut
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
class FitTemplates:
    """Histograms of the score by sample, with bins chosen on the validation part; or why there are none."""

    templates: Templates | None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The record: numbers of the test part, unless their name says otherwise.

    ``roc`` is thinned; ``folds`` is ``None`` where one network scored all events.
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

    @property
    def gap(self) -> Measured:
        """AUC(train) - AUC(test)."""
        return self.overtraining.auc.gap

    def histogram(self, part: PartName, kind: Kind) -> ScoreHistogram:
        """Return the score histogram of a class in the train or test part."""
        return next(found for found in self.histograms if (found.part, found.kind) == (part, kind))

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain lists and dictionaries; a number that does not exist is ``None``."""
        record: dict[str, Any] = plain(asdict(self))
        return record


def recorded_auc(record: Mapping[str, Any]) -> Measured:
    """Return the AUC of a record that ``Evaluation.to_json`` made, with its error."""
    value, error = record["auc"]["value"], record["auc"]["error"]
    return Measured(float(value), float("nan") if error is None else float(error))


def plain(value: Any) -> Any:
    """Return what JSON can hold; a number that does not exist is ``None``."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return [plain(inner) for inner in value.tolist()]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
