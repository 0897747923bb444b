"""The outcome: what training an experiment gave, and its public record.

Owns the keys of ``winnow train --json``.
"""

from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from flows.findings import training_summary
from flows.promote import Decision
from models.judgement import Judgement
from models.scored import NOT_A_NUMBER
from models.training import TrainingRecord
from pipeline.dataset import PreparedDataset


@dataclass(frozen=True)
class TrainingOutcome:
    """What training an experiment gave; ``datasets`` and ``trainings`` have one entry for each fold."""

    model: str
    version: str
    decision: Decision
    run_id: str
    bundle: Path
    report: Path
    evaluation: Judgement
    datasets: tuple[PreparedDataset, ...]
    trainings: tuple[TrainingRecord, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the public record of ``winnow train --json``."""
        headline = self.evaluation.headline
        auc = headline.value if headline.name == "auc" else NOT_A_NUMBER
        return {
            "model": self.model,
            "version": self.version,
            "promoted": self.decision.is_promoted,
            "promotion": self.decision.reason,
            "run_id": self.run_id,
            "bundle": str(self.bundle),
            "report": str(self.report),
            "auc": _known(auc.value),
            "auc_error": _estimated(auc.error),
            "headline": {
                "name": headline.name,
                "label": headline.label,
                "value": _known(headline.value.value),
                "error": _estimated(headline.value.error),
            },
            "test_classes": [asdict(count) for count in self.evaluation.counts if count.part == "test"],
            "events": self.datasets[0].manifest.events.model_dump(),
            "training": training_summary(self.trainings),
        }


def _known(value: float) -> float | None:
    return value if isfinite(value) else None


def _estimated(error: float) -> float | None:
    """Return an error; one of 0 is an estimate that is blind."""
    return error if isfinite(error) and error > 0.0 else None
