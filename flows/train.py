"""Training an experiment: from the experiment file to a registered, perhaps promoted, version.

Owns the list of steps and what each hands to the next. Each step is one call into the rooms below;
``train_experiment`` reads as the list.
"""

import json
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.experiment import Experiment, ExperimentFile
from flows.findings import write_findings
from flows.home import datasets, runs
from flows.judgeable import require_judgeable
from flows.judging import ExportedNetwork, evaluate_networks
from flows.outcome import TrainingOutcome
from flows.promote import Decision, decide
from flows.provenance import code_version, software
from flows.resumption import Workplace, training_key, workplace
from flows.steps import Run, directly
from flows.tracking.registry import champion_version, fetch, promotion_lock, register, set_champion
from flows.tracking.runs import TrackedRun, tracked_run
from models.anatomy import anatomy_of
from models.backend import backend_name
from models.build import build, head_of, scoring_network
from models.bundle import (
    KNOWN_EVENTS,
    MODEL,
    NETWORK,
    Bundle,
    BundleManifest,
    Threshold,
    name_in_fold,
    write_bundle,
)
from models.companions import columns_of_cuts
from models.decorrelation import decorrelation_of, nuisance_of
from models.export import assert_parity, export_onnx
from models.folds import NEW, KnownEvents
from models.judgement import Judgement
from models.overtraining import learning_curve
from models.record import Evaluation
from models.training import EpochWatch, TrainingRecord, nobody_objects, train, training_events
from pipeline.dataset import Manifest, PreparedDataset, cut_flow_rows
from pipeline.errors import BundleError, DataError, RegistryError, WinnowError
from pipeline.prepare import prepare
from pipeline.progress import Progress, nobody_watches
from pipeline.table import Packing

if TYPE_CHECKING:
    import keras


log = logging.getLogger(__name__)

PLAIN_FOLDER = "without-decorrelation"


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and how it came about."""

    network: "keras.Model"
    record: TrainingRecord


def train_experiment(file: ExperimentFile, run: Run = directly, progress: Progress = nobody_watches) -> TrainingOutcome:
    """Prepare, train, export, evaluate, bundle, report, register, and promote if better.

    Raises:
        WinnowError: a step failed; the run is recorded as failed, and unless the version was complete by
            then, nothing is registered.
    """
    with tracked_run(file.content.name) as tracked:
        folder = run(begin_run, file, tracked)
        datasets = run(prepare_events, file, tracked, progress)
        with _whole_or_none(folder), ExitStack() as places:
            trained, exported = [], []
            for dataset in datasets:
                place = places.enter_context(workplace_of(file, dataset))
                trained.append(run(train_network, file, dataset, place, tracked, progress))
                exported.append(run(export_network, file, dataset, trained[-1], folder))
            forgetful = datasets if file.content.training.decorrelate else ()
            plain = _or_none(lambda: [run(train_plainly, file, one, tracked, progress, folder) for one in forgetful])
            records = tuple(network.record for network in trained)
            _warn_of_an_early_end(records)
            evaluation = run(evaluate_networks, file, datasets, exported, plain, progress)
            shutil.rmtree(folder / PLAIN_FOLDER, ignore_errors=True)
            bundle = run(make_bundle, file, datasets, exported, evaluation, tracked, folder)
            anatomy = anatomy_of(trained[0].network)
            report = run(write_findings, file, datasets, records, anatomy, evaluation, bundle, tracked, folder)
            version = run(register_bundle, file, bundle, evaluation, tracked)
        decision = run(promote_if_better, file, version, bundle, datasets, tracked)
    return TrainingOutcome(
        model=file.content.name,
        version=version,
        decision=decision,
        run_id=tracked.run_id,
        bundle=bundle.folder,
        report=report,
        evaluation=evaluation,
        datasets=datasets,
        trainings=records,
    )


def begin_run(file: ExperimentFile, tracked: TrackedRun) -> Path:
    """Record what is asked, and by which code; return where this training goes, a folder made by what needs it."""
    folder = runs() / f"{file.content.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    tracked.log_parameters(file.content.model_dump(mode="json"))
    tracked.log_tags({"winnow.experiment": file.content.hash, "winnow.code": code_version()})
    tracked.log_text(file.text, "experiment.toml")
    return folder


def prepare_events(file: ExperimentFile, tracked: TrackedRun, progress: Progress) -> tuple[PreparedDataset, ...]:
    """Prepare the events, once for each fold, refuse those that can judge nothing, and record which they are."""
    prepared = prepare_folds(file, progress)
    record_events(file, prepared, tracked)
    return prepared


def prepare_folds(file: ExperimentFile, progress: Progress) -> tuple[PreparedDataset, ...]:
    """Prepare the events, once for each fold, and refuse those that can judge nothing."""
    folds = range(file.content.split.folds)
    prepared = tuple(prepare(file.content, file.folder, datasets(), progress, fold=fold) for fold in folds)
    if len(prepared) > 1 or file.content.targets:  # otherwise `prepare` has looked at each part already
        require_judgeable(prepared, file.content)
    return prepared


def record_events(file: ExperimentFile, prepared: Sequence[PreparedDataset], tracked: TrackedRun) -> None:
    """Record which events went in, and where they went."""
    manifest = prepared[0].manifest
    tracked.log_dataset(file.content.name, manifest.content, [f"{f.path} sha256:{f.sha256}" for f in manifest.files])
    tracked.log_metrics({f"events_{name}": float(n) for name, n in manifest.events.model_dump().items()})
    tracked.log_table(_columns_of(cut_flow_rows(manifest)), "cut_flow.json")


def _columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {key: [row[key] for row in rows] for key in rows[0]}


@contextmanager
def _whole_or_none(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def workplace_of(file: ExperimentFile, dataset: PreparedDataset) -> AbstractContextManager[Workplace]:
    """Return the place that a training has until its version is registered; a kill before that loses no epoch."""
    key = training_key(file.content, dataset.manifest, backend_name())
    return workplace(key, file.content.training.checkpoint_seconds)


def train_network(
    file: ExperimentFile,
    dataset: PreparedDataset,
    place: Workplace,
    tracked: TrackedRun,
    progress: Progress,
    watch: EpochWatch = nobody_objects,
    name: str = "",
) -> TrainedNetwork:
    """Build the network, train it or go on training it, and record every epoch; metrics begin with ``name``."""
    experiment, transform = file.content, dataset.manifest.transform
    seed, parts = experiment.experiment.seed, [dataset.part(name) for name in ("train", "validation")]
    n_classes, head = len(experiment.classes), head_of(experiment.model)
    n_targets = len(experiment.targets)
    network = build(experiment.model, transform.n_inputs, n_classes, seed, transform.blocks, n_targets)
    spectators, decorrelate = dataset.manifest.spectators, experiment.training.decorrelate
    nuisance = nuisance_of(decorrelate, spectators, parts[0]) if decorrelate else None
    packing = Packing(transform, head.target_transform(dataset.manifest.targets), nuisance)
    record = train(
        network,
        head.loss(experiment.training.loss, n_classes),
        experiment.training,
        training_events(parts[0], parts[1], packing, experiment.training, place.folder, seed),
        transform.input_names,
        seed,
        place.checkpoints,
        progress,
        watch,
        decorrelation_of(decorrelate, head.output.score) if decorrelate else None,
    )
    _log_training(tracked, record, name + (f"fold_{dataset.manifest.fold}/" if experiment.split.folds > 1 else ""))
    return TrainedNetwork(network, record)


def _warn_of_an_early_end(records: Sequence[TrainingRecord]) -> None:
    if any(learning_curve(record.history).ending == "falling" for record in records):
        log.warning(
            "the validation loss still fell after %d epochs: more of them, or a larger learning_rate, may help",
            max(len(record.history) for record in records),
        )


def train_plainly(
    file: ExperimentFile, dataset: PreparedDataset, tracked: TrackedRun, progress: Progress, folder: Path
) -> ExportedNetwork:
    """Train and export the same network without decorrelation, to tell what that has changed."""
    training = file.content.training.model_copy(update={"decorrelate": None})
    plain = file.model_copy(update={"content": file.content.model_copy(update={"training": training})})
    with workplace_of(plain, dataset) as place:
        trained = train_network(plain, dataset, place, tracked, progress, name="without_decorrelation/")
    return export_network(plain, dataset, trained, folder / PLAIN_FOLDER)


def _or_none(find: Callable[[], list[ExportedNetwork]]) -> list[ExportedNetwork]:
    """Return what is found; the networks that were asked for are not thrown away with those for comparison."""
    try:
        return find()
    except WinnowError as error:
        log.warning("there is no comparison with the network without decorrelation: %s", error)
        return []


def _log_training(tracked: TrackedRun, record: TrainingRecord, prefix: str) -> None:
    for epoch in record.history:
        shown = {f"{prefix}{name}": epoch[name] for name in ("loss", "validation_loss", "learning_rate")}
        shown |= {f"{prefix}penalty": epoch["penalty"]} if epoch["penalty"] else {}
        norms = {f"{prefix}gradient_norm/{layer}": norm for layer, norm in epoch["gradient_norms"].items()}
        tracked.log_metrics(shown | norms, step=epoch["epoch"])
    found = {"events_per_second": record.events_per_second, "best_epoch": float(record.best_epoch)}
    tracked.log_metrics({f"{prefix}{name}": value for name, value in found.items()})
    tracked.log_tags({"winnow.device": record.device, "winnow.backend": record.backend})


def export_network(
    file: ExperimentFile, dataset: PreparedDataset, trained: TrainedNetwork, folder: Path
) -> ExportedNetwork:
    """Write the network as ONNX, with everything from raw features to score, and as Keras file."""
    folder.mkdir(parents=True, exist_ok=True)
    fold, folds = dataset.manifest.fold, file.content.split.folds
    graph, keras_file = (folder / name_in_fold(name, fold, folds) for name in (MODEL, NETWORK))
    head, transform = head_of(file.content.model), dataset.manifest.transform
    scoring = scoring_network(trained.network, head, head.target_transform(dataset.manifest.targets))
    export_onnx(scoring, transform, graph, None if head.is_single else scoring.output_shape[-1])
    trained.network.save(keras_file)
    arrays, are_probabilities = (transform, dataset.part("train").features), head.seeks != "quantities"
    parity = assert_parity(graph, scoring, *arrays, seed=0, are_probabilities=are_probabilities)
    return ExportedNetwork(graph, keras_file, parity)


def make_bundle(
    file: ExperimentFile,
    datasets: Sequence[PreparedDataset],
    exported: Sequence[ExportedNetwork],
    evaluation: Judgement,
    tracked: TrackedRun,
    folder: Path,
) -> Bundle:
    """Put everything that scoring needs into one folder."""
    experiment = file.content
    written = {"experiment.json": experiment.model_dump(mode="json"), "evaluation.json": evaluation.to_json()}
    for name, value in written.items():
        (folder / name).write_text(json.dumps(value, indent=1))
    files = [path for network in exported for path in (network.graph, network.network)]
    files += [folder / name for name in written]
    if len(datasets) > 1:
        files.append(folder / KNOWN_EVENTS)
        _known_events(datasets).save(files[-1])
    provenance = _provenance(file, datasets[0], exported, tracked)
    content = _bundle_manifest(experiment, datasets[0].manifest, evaluation, provenance)
    return write_bundle(folder / "bundle", content, {path.name: path for path in files})


def _bundle_manifest(
    experiment: Experiment, manifest: Manifest, evaluation: Judgement, provenance: dict[str, str]
) -> BundleManifest:
    head = head_of(experiment.model)
    return BundleManifest(
        name=experiment.name,
        classes=manifest.classes,
        head=experiment.model.head,
        outputs=head.output_names(manifest.classes, tuple(experiment.targets)),
        output_prefix=head.prefix,
        recipe=experiment.recipe,
        columns=manifest.columns,
        layouts=tuple(dict.fromkeys(sample.layout for sample in experiment.samples)),
        transform=manifest.transform,
        folds=experiment.split.folds,
        provenance=provenance,
        files={},
        **(_decisions(evaluation, experiment, manifest) if isinstance(evaluation, Evaluation) else {}),
    )


def _decisions(evaluation: Evaluation, experiment: Experiment, manifest: Manifest) -> dict[str, Any]:
    """Return what a bundle knows of one score that tells signal from background: thresholds, cuts, calibration."""
    cuts = tuple(point.cut for point in evaluation.named_points if point.cut)
    return {
        "thresholds": tuple(
            Threshold(signal_efficiency=point.requested, value=point.quoted.threshold)
            for point in evaluation.working_points
        ),
        "cuts": cuts,
        "cut_columns": columns_of_cuts(cuts, experiment.recipe, manifest.columns, manifest.spectator_columns),
        "calibration": evaluation.calibrated.calibration if evaluation.calibrated else None,
    }


def _known_events(datasets: Sequence[PreparedDataset]) -> KnownEvents:
    tested = [dataset.part("test").content[:, 0] for dataset in datasets]
    contents, folds = np.concatenate(tested), np.repeat(np.arange(len(datasets)), [len(part) for part in tested])
    known = KnownEvents.gather(contents, folds, len(datasets))
    if n_alike := int(np.count_nonzero(known.folds_of(contents) == NEW)):
        msg = "%d of %d events have the feature values of an event in another fold: scoring takes them for new"
        log.warning(msg + "; [split] by = 'content' keeps them together", n_alike, len(contents))
    return known


def _provenance(
    file: ExperimentFile, dataset: PreparedDataset, exported: Sequence[ExportedNetwork], tracked: TrackedRun
) -> dict[str, str]:
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "experiment": file.content.hash,
        "dataset": dataset.manifest.content,
        "dataset_key": dataset.manifest.key,
        "code": code_version(),
        "seed": str(file.content.experiment.seed),
        "run": tracked.run_id,
        "onnx_parity": f"{max(network.parity for network in exported):.3g}",
        **software(),
    }


def register_bundle(file: ExperimentFile, bundle: Bundle, evaluation: Judgement, tracked: TrackedRun) -> str:
    """Register the bundle under the experiment's name and return its version."""
    return register(tracked, bundle, file.content.name, evaluation.metrics())


def promote_if_better(
    file: ExperimentFile, version: str, bundle: Bundle, datasets: Sequence[PreparedDataset], tracked: TrackedRun
) -> Decision:
    """Make the version champion if there is none yet or if it is better on the test events."""
    name = file.content.name
    with promotion_lock(name):
        current = champion_version(tracked.client, name)
        decision = _decide(file, bundle, datasets, tracked, current)
        if decision.is_promoted:
            set_champion(tracked.client, name, version)
    tracked.log_tags({"winnow.promoted": str(decision.is_promoted).lower(), "winnow.promotion": decision.reason})
    return decision


def _decide(
    file: ExperimentFile, bundle: Bundle, datasets: Sequence[PreparedDataset], tracked: TrackedRun, current: str | None
) -> Decision:
    try:
        champion = fetch(tracked.client, file.content.name, current) if current else None
        return decide(bundle, champion, [dataset.part("test") for dataset in datasets], file.content.promotion)
    except (BundleError, DataError, RegistryError) as error:
        # What was just trained is worth keeping, whatever became of the champion's files.
        return Decision(False, None, f"the champion, version {current}, cannot be compared with: {error}")
