"""Tuning: a search for settings with which the validation loss is lower.

Owns the list of steps of a search, and what a trial is: one training, recorded as a run of its own within that of the
search. The first trial is the experiment as declared. No test event is looked at, neither to choose nor to stop. Where
a score is decorrelated, the validation loss is that with its penalty, as it is for the choice of an epoch.
"""

import logging
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.experiment import ExperimentFile, with_values
from flows.home import searches
from flows.search import TuneSpec, example_section
from flows.study import EPOCHS, RUN, Study, Trial, open_study
from flows.tracking.runs import TrackedRun, nested_run, tracked_run
from flows.train import begin_run, prepare_folds, record_events, train_network, workplace_of
from flows.tuned import TuningOutcome, fingerprint, target_of, text_of_tuned
from models.training import EpochRecord, TrainingRecord, objective
from pipeline.dataset import PreparedDataset, hash_of
from pipeline.dotted import value_at
from pipeline.durable import write_text
from pipeline.errors import DeclarationError, TrainingError
from pipeline.progress import Progress, named, nobody_watches

log = logging.getLogger(__name__)

HOPELESS = "its validation loss is worse than the median of the trials before it"
WRITTEN = "written"


@dataclass(frozen=True)
class _Search:
    """What every trial needs."""

    file: ExperimentFile
    dataset: PreparedDataset
    study: Study
    tracked: TrackedRun
    progress: Progress


def tune_experiment(
    file: ExperimentFile,
    trials: int | None = None,
    timeout: float | None = None,
    out: Path | None = None,
    progress: Progress = nobody_watches,
) -> TuningOutcome:
    """Search as ``[tune]`` says, or go on with a search, and write the experiment with the best values.

    ``trials`` (in all, those of former calls among them) and ``timeout`` (seconds, of this call) override the file's.

    Raises:
        DeclarationError: the file has no ``[tune]``, Optuna is not installed, or another file is where the tuned
            experiment would be written.
        WinnowError: events cannot be prepared, another process makes the same search, or no trial was complete.
    """
    spec = _asked(file, trials, timeout)
    [dataset] = prepare_folds(file, progress)
    folder = searches() / _key(file, dataset)
    with open_study(folder, spec, _declared(file, spec), file.content.experiment.seed) as study:
        target = target_of(file, out or Path.cwd(), study.remembered(WRITTEN))
        with tracked_run(file.content.name, f"tune {file.path.stem}", study.remembered(RUN)) as tracked:
            search = _Search(file, dataset, study, tracked, progress)
            _begin(search)
            _run_trials(search, spec)
            outcome = _outcome(search, folder / "study.db", target)
            tracked.log_files([target])
    return outcome


def _asked(file: ExperimentFile, trials: int | None, timeout: float | None) -> TuneSpec:
    if file.content.tune is None:
        example = example_section(file.content.model)
        raise DeclarationError(
            f"{file.path} has no [tune] section that says what to search; for instance\n\n{example}\n"
        )
    given = {name: value for name, value in (("trials", trials), ("timeout", timeout)) if value is not None}
    return file.content.tune.model_copy(update=given)


def _key(file: ExperimentFile, dataset: PreparedDataset) -> str:
    """Return the hash of what is searched: how long does not matter."""
    declared = file.content.model_dump(mode="json", exclude={"tune": {"trials", "timeout"}})
    return hash_of([declared, dataset.manifest.content])


def _declared(file: ExperimentFile, spec: TuneSpec) -> dict[str, Any]:
    """Return the values that the settings have as declared, defaults filled in."""
    document = file.content.model_dump(mode="json", include={"model", "training"})
    document["model"]["options"] = file.content.model.resolved_options.model_dump(mode="json")
    return {name: value_at(document, name) for name in spec.search}


def _begin(search: _Search) -> None:
    """Record what is searched, or, where a search is gone on with, what its former process could not."""
    file, tracked, study = search.file, search.tracked, search.study
    for run_id in study.give_up_interrupted():
        tracked.end_killed(run_id)
    if study.remembered(RUN) != tracked.run_id:
        study.remember(RUN, tracked.run_id)
        begin_run(file, tracked)
        record_events(file, [search.dataset], tracked)


def _run_trials(search: _Search, spec: TuneSpec) -> None:
    started = time.monotonic()
    while (n_ended := len(search.study.trials)) < spec.trials:
        if spec.timeout is not None and time.monotonic() - started > spec.timeout:
            log.warning(
                "the search ends after %d of %d trials: %g seconds are over", n_ended, spec.trials, spec.timeout
            )
            return
        trial = search.study.ask()
        who = f"trial {trial.number} of {spec.trials}"
        try:
            record = _train(search, trial, named(who, search.progress))
        except (DeclarationError, TrainingError) as error:
            # Values that do not go together, or a loss that is not finite, are an answer. All else is none: the trial
            # is given up and done again by the next search.
            search.study.fail(trial, f"{type(error).__name__}: {error}")
            log.warning("trial %d failed: %s", trial.number, error)
            continue
        if record.stopped_because == HOPELESS:
            search.study.prune(trial)
        else:
            search.study.complete(trial, _loss_of(record))


def _train(search: _Search, trial: Trial, progress: Progress) -> TrainingRecord:
    """Train with the trial's values, and record that as a run of its own."""
    with nested_run(search.tracked, f"trial {trial.number}") as tracked:
        trial.remember(**{RUN: tracked.run_id})
        tracked.log_tags({"winnow.trial": "failed"})  # until it is known to be something else
        content = with_values(tomllib.loads(search.file.text), trial.settings)
        file = search.file.model_copy(update={"content": content})
        begin_run(file, tracked)

        def watch(epoch: EpochRecord) -> str:
            return HOPELESS if trial.is_hopeless(epoch["epoch"], objective(epoch)) else ""

        with workplace_of(file, search.dataset) as place:
            record = train_network(file, search.dataset, place, tracked, progress, watch).record
        trial.remember(**{EPOCHS: len(record.history)})
        tracked.log_tags({"winnow.trial": "pruned" if record.stopped_because == HOPELESS else "complete"})
        tracked.log_metrics({"best_validation_loss": _loss_of(record)})
    return record


def _loss_of(record: TrainingRecord) -> float:
    """Return the validation loss of the network that was kept, with the penalty of ``decorrelate`` if there is one."""
    return objective(record.history[record.best_epoch - 1])


def _outcome(search: _Search, study: Path, target: Path) -> TuningOutcome:
    trials = search.study.trials
    complete = [trial for trial in trials if trial.state == "complete" and trial.loss is not None]
    if not complete:
        problems = [f"trial {trial.number}: {trial.problem}" for trial in trials if trial.problem]
        raise TrainingError("\n  ".join([f"none of {len(trials)} trials was complete", *problems[:5]]))
    best = min(complete, key=lambda trial: (trial.loss, trial.number))
    declared = next((trial.loss for trial in complete if trial.is_declared), None)
    remark = _remark(search.file, best.settings, best.loss, declared, len(trials))
    return TuningOutcome(
        run_id=search.tracked.run_id,
        study=study,
        written=_written(search, text_of_tuned(search.file, best.settings, target, remark), target),
        best=best,
        declared=declared,
        trials=trials,
        importance=search.study.importance(),
    )


def _written(search: _Search, text: str, target: Path) -> Path:
    """Write the tuned experiment; that it is this search's own is known before, so that no kill makes it another's."""
    own = (search.study.remembered(WRITTEN) or "").split()
    search.study.remember(WRITTEN, " ".join(dict.fromkeys([*own, fingerprint(text.encode())])))
    target.parent.mkdir(parents=True, exist_ok=True)
    return write_text(target, text)


def _remark(
    file: ExperimentFile, values: Mapping[str, Any], best: float | None, declared: float | None, n_trials: int
) -> str:
    if declared is not None and best == declared:
        return f"{file.path.name} as it was declared: none of {n_trials} trials had a lower validation loss, {best:.6g}"
    instead = "" if declared is None else f" instead of {declared:.6g}"
    found = ", ".join(f"{name} = {value}" for name, value in values.items())
    return "\n".join(
        [
            f"{file.path.name} with the values of the best of {n_trials} trials: {found}",
            f"They were chosen by their validation loss, {best:.6g}{instead}; no test event was looked at.",
        ]
    )
