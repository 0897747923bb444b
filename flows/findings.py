"""Findings: the pictures, the report and the numbers of a training, written down and recorded.

Owns what a training leaves for people to look at, and the names that its numbers have in MLflow and in the registry.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from flows.experiment import ExperimentFile
from flows.tracking import TrackedRun
from models.bundle import Bundle
from models.evaluation import Evaluation
from models.training import TrainingRecord
from pipeline.dataset import PreparedDataset, cut_flow_rows


def write_findings(
    file: ExperimentFile,
    datasets: Sequence[PreparedDataset],
    records: Sequence[TrainingRecord],
    evaluation: Evaluation,
    bundle: Bundle,
    tracked: TrackedRun,
    folder: Path,
) -> Path:
    """Draw the pictures, write the report, and record both with the final numbers."""
    from models.plots import history_figure, roc_figure, save_figures, score_figure
    from models.report import ReportContent, write_report

    manifest = datasets[0].manifest
    names: Mapping[Any, str] = {"background": manifest.classes[0], "signal": manifest.classes[1]}
    roc, scores = roc_figure(evaluation), score_figure(evaluation, names)
    figures = {"roc": roc, "scores": scores, "history": history_figure(records[0].history)}
    content = ReportContent(
        title=file.content.name,
        question=file.content.experiment.question,
        evaluation=evaluation,
        cutflow=cut_flow_rows(manifest),
        missing=manifest.n_missing,
        pictures=dict(zip(("ROC curve", "Scores", "Training"), figures.values(), strict=True)),
        training={**asdict(records[0]), **training_summary(records)},
        features=manifest.transform.features,
        provenance={**bundle.manifest.provenance, "bundle": bundle.digest},
    )
    report = write_report(folder, content)
    history = folder / "history.json"
    epochs = [{"fold": fold, **epoch} for fold, record in enumerate(records) for epoch in record.history]
    history.write_text(json.dumps(epochs if len(records) > 1 else records[0].history, indent=1))
    tracked.log_files(save_figures(folder / "figures", figures), "figures")
    tracked.log_files([report, history, bundle.folder / "evaluation.json", datasets[0].folder / "manifest.json"])
    tracked.log_table(_roc_table(evaluation), "roc.json")
    tracked.log_metrics(final_metrics(evaluation))
    return report


def _roc_table(evaluation: Evaluation) -> dict[str, list[float | None]]:
    roc = evaluation.roc
    # The curve starts above every score, at a threshold that JSON cannot hold.
    thresholds = [float(t) if np.isfinite(t) else None for t in roc.thresholds]
    return {"fpr": roc.fpr.tolist(), "tpr": roc.tpr.tolist(), "threshold": thresholds}


def final_metrics(evaluation: Evaluation) -> dict[str, float]:
    """Return the numbers of the test part under the names that they have everywhere."""
    metrics = {
        "auc": evaluation.auc.value,
        "auc_error": evaluation.auc.error,
        "auc_train": evaluation.auc_train.value,
        "auc_validation": evaluation.auc_validation.value,
        "auc_gap": evaluation.gap.value,
        "auc_gap_error": evaluation.gap.error,
    }
    for point in evaluation.working_points:
        metrics[f"background_efficiency_at_{point.requested:g}"] = point.quoted.background_efficiency.value
        metrics[f"threshold_at_{point.requested:g}"] = point.quoted.threshold
    return metrics


def training_summary(trainings: Sequence[TrainingRecord]) -> dict[str, Any]:
    """Return what was trained with in all; with folds, epochs and seconds are those of all networks together."""
    first, seconds = trainings[0], sum(training.seconds for training in trainings)
    return {
        "folds": len(trainings),
        "epochs": sum(len(training.history) for training in trainings),
        "seconds": seconds,
        "events_per_second": sum(t.events_per_second * t.seconds for t in trainings) / seconds if seconds else 0.0,
        "device": first.device,
        "backend": first.backend,
        "compiled": all(training.is_compiled for training in trainings),
        "compile_seconds": sum(training.compile_seconds for training in trainings),
        "resumed_after": sum(training.resumed_after for training in trainings),
    }
