"""Training an experiment: from the experiment file to a registered, perhaps promoted, version.

Owns the list of steps and what each hands to the next. Each step is one call into the rooms below;
``train_experiment`` reads as the list.
"""

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.experiment import ExperimentFile
from flows.home import datasets, runs
from flows.promote import Decision, decide
from flows.provenance import code_version, software
from flows.resumption import Workplace, training_key, workplace
from flows.steps import Run, directly
from flows.tracking import TrackedRun, champion_version, fetch, promotion_lock, set_champion, tracked_run
from models.backend import backend_name
from models.build import build, head_of, scoring_network
from models.bundle import MODEL, NETWORK, Bundle, BundleManifest, ScoringGraph, Threshold, write_bundle
from models.evaluation import Evaluation, ScoredPart, evaluate
from models.export import assert_parity, export_onnx
from models.training import TrainingRecord, train, training_events
from pipeline.dataset import EventArrays, PreparedDataset, cut_flow_rows, loaded_blocks
from pipeline.errors import BundleError, RegistryError
from pipeline.prepare import prepare
from pipeline.progress import Progress, nobody_watches

if TYPE_CHECKING:
    import keras

SCORED_AT_ONCE = 262_144
"""Events of a part that are in memory while it is scored."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and how it came about."""

    network: "keras.Model"
    record: TrainingRecord


@dataclass(frozen=True)
class ExportedNetwork:
    """The files of an exported network; ``parity`` is the largest difference between ONNX and Keras scores."""

    graph: Path
    network: Path
    parity: float


@dataclass(frozen=True)
class TrainingOutcome:
    """What training an experiment gave."""

    model: str
    version: str
    decision: Decision
    run_id: str
    bundle: Path
    report: Path
    evaluation: Evaluation
    dataset: PreparedDataset
    training: TrainingRecord

    def to_json(self) -> dict[str, Any]:
        """Return the public record of ``winnow train --json``."""
        training = self.training
        return {
            "model": self.model,
            "version": self.version,
            "promoted": self.decision.is_promoted,
            "promotion": self.decision.reason,
            "run_id": self.run_id,
            "bundle": str(self.bundle),
            "report": str(self.report),
            "auc": self.evaluation.auc.value,
            "auc_error": self.evaluation.auc.error,
            "events": self.dataset.manifest.events.model_dump(),
            "training": {
                "epochs": len(training.history),
                "seconds": training.seconds,
                "events_per_second": training.events_per_second,
                "device": training.device,
                "backend": training.backend,
                "compiled": training.is_compiled,
                "compile_seconds": training.compile_seconds,
                "resumed_after": training.resumed_after,
            },
        }


def train_experiment(file: ExperimentFile, run: Run = directly, progress: Progress = nobody_watches) -> TrainingOutcome:
    """Prepare, train, export, evaluate, bundle, report, register, and promote if better.

    Raises:
        WinnowError: a step failed; the run is recorded as failed, and unless the version was complete by
            then, nothing is registered.
    """
    with tracked_run(file.content.name) as tracked:
        folder = run(begin_run, file, tracked)
        dataset = run(prepare_events, file, tracked, progress)
        with _whole_or_none(folder), _workplace_of(file, dataset) as place:
            trained = run(train_network, file, dataset, place, tracked, progress)
            exported = run(export_network, file, dataset, trained, folder)
            evaluation = run(evaluate_network, file, dataset, exported)
            bundle = run(make_bundle, file, dataset, exported, evaluation, tracked, folder)
            report = run(write_findings, file, dataset, trained.record, evaluation, bundle, tracked, folder)
            version = run(register_bundle, file, bundle, evaluation, tracked)
        decision = run(promote_if_better, file, version, bundle, dataset, tracked)
    return TrainingOutcome(
        model=file.content.name,
        version=version,
        decision=decision,
        run_id=tracked.run_id,
        bundle=bundle.folder,
        report=report,
        evaluation=evaluation,
        dataset=dataset,
        training=trained.record,
    )


def begin_run(file: ExperimentFile, tracked: TrackedRun) -> Path:
    """Record what is asked, and by which code; return where this training goes, a folder made by what needs it."""
    folder = runs() / f"{file.content.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    tracked.log_parameters(file.content.model_dump(mode="json"))
    tracked.log_tags({"winnow.experiment": file.content.hash, "winnow.code": code_version()})
    tracked.log_text(file.text, "experiment.toml")
    return folder


def prepare_events(file: ExperimentFile, tracked: TrackedRun, progress: Progress) -> PreparedDataset:
    """Prepare the events and record which they are."""
    dataset = prepare(file.content, file.folder, datasets(), progress)
    manifest = dataset.manifest
    tracked.log_dataset(file.content.name, manifest.content, [f"{f.path} sha256:{f.sha256}" for f in manifest.files])
    tracked.log_metrics({f"events_{name}": float(n) for name, n in manifest.events.model_dump().items()})
    tracked.log_table(_columns_of(cut_flow_rows(manifest)), "cut_flow.json")
    return dataset


def _columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {key: [row[key] for row in rows] for key in rows[0]}


@contextmanager
def _whole_or_none(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _workplace_of(file: ExperimentFile, dataset: PreparedDataset) -> AbstractContextManager[Workplace]:
    """Return the place that a training has until its version is registered; a kill before that loses no epoch."""
    key = training_key(file.content, dataset.manifest, backend_name())
    return workplace(key, file.content.training.checkpoint_seconds)


def train_network(
    file: ExperimentFile, dataset: PreparedDataset, place: Workplace, tracked: TrackedRun, progress: Progress
) -> TrainedNetwork:
    """Build the network, train it or go on training it, and record every epoch."""
    experiment, transform = file.content, dataset.manifest.transform
    seed, parts = experiment.experiment.seed, [dataset.part(name) for name in ("train", "validation")]
    network = build(experiment.model, transform.n_inputs, len(experiment.classes), seed)
    record = train(
        network,
        head_of(experiment.model).loss(),
        experiment.training,
        training_events(parts[0], parts[1], transform, experiment.training, place.folder, seed),
        transform.input_names,
        seed,
        place.checkpoints,
        progress,
    )
    _log_training(tracked, record)
    return TrainedNetwork(network, record)


def _log_training(tracked: TrackedRun, record: TrainingRecord) -> None:
    for epoch in record.history:
        losses = {"loss": epoch["loss"], "validation_loss": epoch["validation_loss"]}
        tracked.log_metrics({**losses, "learning_rate": epoch["learning_rate"]}, step=epoch["epoch"])
    tracked.log_metrics({"events_per_second": record.events_per_second, "best_epoch": record.best_epoch})
    tracked.log_tags({"winnow.device": record.device, "winnow.backend": record.backend})


def export_network(
    file: ExperimentFile, dataset: PreparedDataset, trained: TrainedNetwork, folder: Path
) -> ExportedNetwork:
    """Write the network as ONNX, with everything from raw features to score, and as Keras file."""
    folder.mkdir(parents=True)
    graph, keras_file = folder / MODEL, folder / NETWORK
    scoring, transform = scoring_network(trained.network, head_of(file.content.model)), dataset.manifest.transform
    export_onnx(scoring, transform, graph)
    trained.network.save(keras_file)
    features = dataset.part("train").features
    return ExportedNetwork(graph, keras_file, assert_parity(graph, scoring, transform, features, seed=0))


def evaluate_network(file: ExperimentFile, dataset: PreparedDataset, exported: ExportedNetwork) -> Evaluation:
    """Score all parts with the exported network and judge the scores."""
    graph = ScoringGraph(exported.graph)
    scored = [_scored(graph, dataset.part(name)) for name in ("train", "validation", "test")]
    return evaluate(scored[0], scored[1], scored[2], file.content.evaluation)


def _scored(graph: ScoringGraph, part: EventArrays) -> ScoredPart:
    # Block by block through the file, so that a large part does not become resident as a whole.
    blocks = [(graph.score(b.features), b.label, b.physics_weight) for b in loaded_blocks(part, SCORED_AT_ONCE)]
    scores, labels, weights = map(np.concatenate, zip(*blocks, strict=True))
    return ScoredPart(scores, labels, weights)


def make_bundle(
    file: ExperimentFile,
    dataset: PreparedDataset,
    exported: ExportedNetwork,
    evaluation: Evaluation,
    tracked: TrackedRun,
    folder: Path,
) -> Bundle:
    """Put everything that scoring needs into one folder."""
    experiment, manifest = file.content, dataset.manifest
    written = {"experiment.json": experiment.model_dump(mode="json"), "evaluation.json": evaluation.to_json()}
    for name, value in written.items():
        (folder / name).write_text(json.dumps(value, indent=1))
    content = BundleManifest(
        name=experiment.name,
        classes=manifest.classes,
        recipe=experiment.recipe,
        columns=manifest.columns,
        layouts=tuple(dict.fromkeys(sample.layout for sample in experiment.samples)),
        transform=manifest.transform,
        thresholds=tuple(
            Threshold(signal_efficiency=point.requested, value=point.quoted.threshold)
            for point in evaluation.working_points
        ),
        provenance=_provenance(file, dataset, exported, tracked),
        files={},
    )
    files = {MODEL: exported.graph, NETWORK: exported.network, **{name: folder / name for name in written}}
    return write_bundle(folder / "bundle", content, files)


def _provenance(
    file: ExperimentFile, dataset: PreparedDataset, exported: ExportedNetwork, tracked: TrackedRun
) -> dict[str, str]:
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "experiment": file.content.hash,
        "dataset": dataset.manifest.content,
        "dataset_key": dataset.manifest.key,
        "code": code_version(),
        "seed": str(file.content.experiment.seed),
        "run": tracked.run_id,
        "onnx_parity": f"{exported.parity:.3g}",
        **software(),
    }


def write_findings(
    file: ExperimentFile,
    dataset: PreparedDataset,
    record: TrainingRecord,
    evaluation: Evaluation,
    bundle: Bundle,
    tracked: TrackedRun,
    folder: Path,
) -> Path:
    """Draw the pictures, write the report, and record both with the final numbers."""
    from models.plots import history_figure, roc_figure, save_figures, score_figure
    from models.report import ReportContent, write_report

    manifest = dataset.manifest
    names: Mapping[Any, str] = {"background": manifest.classes[0], "signal": manifest.classes[1]}
    roc, scores = roc_figure(evaluation), score_figure(evaluation, names)
    figures = {"roc": roc, "scores": scores, "history": history_figure(record.history)}
    content = ReportContent(
        title=file.content.name,
        question=file.content.experiment.question,
        evaluation=evaluation,
        cutflow=cut_flow_rows(manifest),
        missing=manifest.n_missing,
        pictures=dict(zip(("ROC curve", "Scores", "Training"), figures.values(), strict=True)),
        training={**asdict(record), "epochs": len(record.history)},
        features=manifest.transform.features,
        provenance={**bundle.manifest.provenance, "bundle": bundle.digest},
    )
    report = write_report(folder, content)
    history = folder / "history.json"
    history.write_text(json.dumps(record.history, indent=1))
    tracked.log_files(save_figures(folder / "figures", figures), "figures")
    tracked.log_files([report, history, bundle.folder / "evaluation.json", dataset.folder / "manifest.json"])
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


def register_bundle(file: ExperimentFile, bundle: Bundle, evaluation: Evaluation, tracked: TrackedRun) -> str:
    """Register the bundle under the experiment's name and return its version."""
    return tracked.register(bundle, file.content.name, final_metrics(evaluation))


def promote_if_better(
    file: ExperimentFile, version: str, bundle: Bundle, dataset: PreparedDataset, tracked: TrackedRun
) -> Decision:
    """Make the version champion if there is none yet or if it is better on the test events."""
    name = file.content.name
    with promotion_lock(name):
        current = champion_version(tracked.client, name)
        decision = _decide(file, bundle, dataset, tracked, current)
        if decision.is_promoted:
            set_champion(tracked.client, name, version)
    tracked.log_tags({"winnow.promoted": str(decision.is_promoted).lower(), "winnow.promotion": decision.reason})
    return decision


def _decide(
    file: ExperimentFile, bundle: Bundle, dataset: PreparedDataset, tracked: TrackedRun, current: str | None
) -> Decision:
    try:
        champion = fetch(tracked.client, file.content.name, current) if current else None
        return decide(bundle, champion, dataset.part("test"), file.content.promotion)
    except (BundleError, RegistryError) as error:
        # What was just trained is worth keeping, whatever became of the champion's files.
        return Decision(False, None, f"the champion, version {current}, cannot be compared with: {error}")
