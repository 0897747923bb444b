"""Outputs: how well each output of a network that has several tells what it seeks from everything else.

Owns the judgement of one output as a score of two classes, its own events (a class, or those that have a label) against
all others, and the mean over outputs. Numbers are those of the test part, unless their name says otherwise.
"""

from dataclasses import dataclass

from models.histograms import Kind, PartName, ScoreHistogram
from models.metrics import Roc
from models.probabilities import CalibrationError, Reliability
from models.scored import Measured


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
