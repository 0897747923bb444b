"""Findings: the pictures, the report and the numbers of a training, written down and recorded.

Owns what a training leaves for people to look at, and where it is kept.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.experiment import Experiment, ExperimentFile
from flows.tables import tables_of
from flows.tracking.runs import TrackedRun
from models.anatomy import Anatomy, Layer
from models.build import head_of
from models.bundle import Bundle
from models.judgement import Judgement
from models.overtraining import learning_curve
from models.plain import plain
from models.questions import APPLY
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
    anatomy: Anatomy,
    evaluation: Judgement,
    bundle: Bundle,
    tracked: TrackedRun,
    folder: Path,
) -> Path:
    """Draw the pictures, write the report, and record both with the final numbers."""
    from models.report.chapters import FINDINGS
    from models.report.network import network_picture
    from models.report.page import write_report
    from models.report.picture import save_pictures

    manifest = datasets[0].manifest
    pictures = FINDINGS[type(evaluation)].pictures(evaluation, [record.history for record in records])
    pictures += (network_picture(anatomy.calls),)
    report = write_report(folder, _content(file, manifest, records, anatomy.layers, evaluation, bundle, pictures))
    tracked.log_files(save_pictures(folder / "figures", pictures), "figures")
    tracked.log_files([report, _written_history(folder, records), bundle.folder / "evaluation.json"])
    tracked.log_files([datasets[0].folder / "manifest.json"])
    tracked.log_files(_written_templates(file, evaluation, folder), "templates")
    for name, columns in tables_of(evaluation).items():
        tracked.log_table(columns, name)
    tracked.log_metrics(evaluation.metrics())
    return report


def _content(
    file: ExperimentFile,
    manifest: Manifest,
    records: Sequence[TrainingRecord],
    layers: Sequence[Layer],
    evaluation: Judgement,
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
        features=tuple(manifest.transform.groups),
        provenance={**bundle.manifest.provenance, "bundle": bundle.digest},
    )


def _written_history(folder: Path, records: Sequence[TrainingRecord]) -> Path:
    epochs = [{"fold": fold, **epoch} for fold, record in enumerate(records) for epoch in record.history]
    path = folder / "history.json"
    path.write_text(json.dumps(plain(epochs if len(records) > 1 else list(records[0].history)), indent=1))
    return path


def asked_of(experiment: Experiment) -> dict[str, str]:
    """Return what an experiment asks for, defaults filled in: samples, cuts, then the other sections by their names.

    Of ``[evaluation]`` what is no question to the head is left out: only defaults are.
    """
    document = experiment.model_dump(mode="json", exclude_none=True, exclude={"experiment"})
    answered = APPLY[head_of(experiment.model).judged_as]
    document["evaluation"] = {key: value for key, value in document["evaluation"].items() if key in answered}
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


def _written_templates(file: ExperimentFile, evaluation: Judgement, folder: Path) -> list[Path]:
    if not (isinstance(evaluation, Evaluation) and evaluation.templates and (found := evaluation.templates.templates)):
        return []
    uncertainty = file.content.evaluation.background_uncertainty
    workspace = pyhf_workspace(found, name=file.content.name, background_uncertainty=uncertainty)
    return list(write_templates(folder / "templates", found, workspace))


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
