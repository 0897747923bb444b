"""Findings: the pictures, the report and the numbers of a training, written down and recorded.

Owns what a training leaves for people to look at, and the names that its numbers have in MLflow and in the registry.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.experiment import Experiment, ExperimentFile
from flows.tracking.runs import TrackedRun
from models.anatomy import Layer
from models.bundle import Bundle
from models.overtraining import learning_curve
from models.record import Evaluation
from models.training import TrainingRecord
from models.workspace import pyhf_workspace, write_templates
from pipeline.dataset import Manifest, PreparedDataset, cut_flow_rows

if TYPE_CHECKING:
    from models.report.page import ReportContent
    from models.report.picture import Picture


def write_findings(
    file: ExperimentFile,
    datasets: Sequence[PreparedDataset],
    records: Sequence[TrainingRecord],
    layers: Sequence[Layer],
    evaluation: Evaluation,
    bundle: Bundle,
    tracked: TrackedRun,
    folder: Path,
) -> Path:
    """Draw the pictures, write the report, and record both with the final numbers."""
    from models.report.page import write_report
    from models.report.picture import save_pictures
    from models.report.pictures import pictures_of

    manifest = datasets[0].manifest
    names: Mapping[Any, str] = {"background": manifest.classes[0], "signal": manifest.classes[1]}
    pictures = pictures_of(evaluation, [record.history for record in records], names)
    report = write_report(folder, _content(file, manifest, records, layers, evaluation, bundle, pictures))
    tracked.log_files(save_pictures(folder / "figures", pictures), "figures")
    tracked.log_files([report, _written_history(folder, records), bundle.folder / "evaluation.json"])
    tracked.log_files([datasets[0].folder / "manifest.json"])
    tracked.log_files(_written_templates(file, evaluation, folder), "templates")
    tracked.log_table(_roc_table(evaluation), "roc.json")
    tracked.log_metrics(final_metrics(evaluation))
    return report


def _content(
    file: ExperimentFile,
    manifest: Manifest,
    records: Sequence[TrainingRecord],
    layers: Sequence[Layer],
    evaluation: Evaluation,
    bundle: Bundle,
    pictures: "Sequence[Picture]",
) -> "ReportContent":
    from models.report.page import ReportContent

    return ReportContent(
        title=file.content.name,
        question=file.content.experiment.question,
        asked=asked_of(file.content),
        experiment=file.text,
        evaluation=evaluation,
        negative_weights=file.content.weights.negative,
        background_uncertainty=file.content.evaluation.background_uncertainty,
        cutflow=cut_flow_rows(manifest),
        missing=manifest.n_missing,
        pictures=pictures,
        training={**training_summary(records), **_endings(records)},
        layers=layers,
        features=manifest.transform.features,
        provenance={**bundle.manifest.provenance, "bundle": bundle.digest},
    )


def _written_history(folder: Path, records: Sequence[TrainingRecord]) -> Path:
    epochs = [{"fold": fold, **epoch} for fold, record in enumerate(records) for epoch in record.history]
    path = folder / "history.json"
    path.write_text(json.dumps(epochs if len(records) > 1 else records[0].history, indent=1))
    return path


def asked_of(experiment: Experiment) -> dict[str, str]:
    """Return what an experiment asks for, defaults filled in: samples, cuts, then the other sections by their names."""
    document = experiment.model_dump(mode="json", exclude_none=True, exclude={"experiment"})
    samples = {f"sample {sample.pop('name')}": _settings(sample) for sample in document.pop("samples")}
    cuts = {f"cut {cut['name']}": cut["keep"] for cut in document.pop("select")}
    return samples | cuts | {section: _settings(content) for section, content in document.items() if content}


def _settings(content: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {_setting(value)}" for key, value in content.items() if value not in ({}, [], ""))


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {_settings(value)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_setting, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _written_templates(file: ExperimentFile, evaluation: Evaluation, folder: Path) -> list[Path]:
    if not (evaluation.templates and (found := evaluation.templates.templates)):
        return []
    uncertainty = file.content.evaluation.background_uncertainty
    workspace = pyhf_workspace(found, name=file.content.name, background_uncertainty=uncertainty)
    return list(write_templates(folder / "templates", found, workspace))


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
    return metrics | {name: value for name, value in _further_metrics(evaluation).items() if np.isfinite(value)}


def _further_metrics(evaluation: Evaluation) -> dict[str, float]:
    """Return numbers that not every evaluation has, some of which may not be finite."""
    metrics = {"auc_bootstrap_error": evaluation.band.auc.error}
    if found := evaluation.probabilities:
        metrics["brier_score"] = found.brier_score.value
        metrics["log_loss"] = found.log_loss.value
        metrics["calibration_error"] = found.calibration_error.observed.value
    if quoted := evaluation.significance.quoted:
        metrics["significance_threshold"] = quoted.threshold
        metrics["significance_asimov"] = quoted.significances["asimov"].value
        metrics["significance_ams"] = quoted.significances["ams"].value
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


def _endings(trainings: Sequence[TrainingRecord]) -> dict[str, str]:
    """Return which epoch was kept, why training stopped and whether in time, each once for folds that agree."""
    from models.report.sentences import ENDINGS

    endings = (ENDINGS[learning_curve(training.history).ending] for training in trainings)
    return {
        "ending": "; ".join(dict.fromkeys(endings)),
        "best_epoch": ", ".join(str(training.best_epoch) for training in trainings),
        "stopped_because": "; ".join(dict.fromkeys(training.stopped_because for training in trainings)),
    }
