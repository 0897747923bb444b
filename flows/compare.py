"""Comparing: several experiments, each from several seeds, on the same test events.

Owns the list of steps, and that one network that fails does not lose the others. Nothing is registered, and nobody
becomes champion; the networks are given up once their scores of the test events are known, and come back bit for bit
when the experiment is trained with that seed.
"""

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.compared import PAGE, RECORD, ComparisonOutcome, write_outcome
from flows.experiment import ExperimentFile
from flows.home import runs
from flows.parts import JudgedEvents, judged_events
from flows.rivals import baseline_scores
from flows.same_events import Prepared, require_same_events, require_same_task
from flows.tracking.runs import TrackedRun, nested_run, tracked_run
from flows.train import begin_run, export_network, prepare_folds, record_events, train_network, workplace_of
from models.build import head_of
from models.bundle import ScoringGraph
from models.leader_board import leader_board, ranking
from models.yardsticks import YARDSTICKS
from pipeline.errors import DeclarationError, TrainingError, WinnowError
from pipeline.progress import Progress, named, nobody_watches

log = logging.getLogger(__name__)

Scores = NDArray[np.floating[Any]]


@dataclass
class _Scored:
    """What is known so far: scores by name and seed, the MLflow runs behind them, and what failed."""

    events: JudgedEvents | None = None
    networks: dict[str, dict[int, Scores]] = field(default_factory=dict)
    run_ids: dict[str, dict[int, str]] = field(default_factory=dict)
    baselines: dict[str, Scores] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def compare_experiments(
    files: Sequence[ExperimentFile], n_seeds: int = 1, out: Path | None = None, progress: Progress = nobody_watches
) -> ComparisonOutcome:
    """Train every experiment from ``n_seeds`` seeds, its own and those after it, and rank what comes of it.

    The split knows no seed: all networks are judged on the same test events.

    Raises:
        DeclarationError: the experiments cannot be compared, or ``out`` holds a comparison already.
        WinnowError: events cannot be prepared, or no network could be trained.
    """
    experiments = _with_names(files)
    page = (out or runs() / f"compare-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}") / PAGE
    _refuse_occupied(page.parent)
    require_same_task({name: file.content for name, file in experiments.items()})
    prepared = {name: Prepared(file.content, prepare_folds(file, progress)) for name, file in experiments.items()}
    require_same_events(prepared)
    with tracked_run(files[0].content.name, f"compare {', '.join(experiments)}"[:250]) as tracked:
        scored = _Scored()
        for name, file in experiments.items():
            for seeded in _with_seeds(file, n_seeds):
                _add_network(scored, name, seeded, prepared[name], tracked, progress)
        if not scored.networks:
            raise TrainingError("\n  ".join(["no network could be trained", *_told(scored.failures)]))
        for name, find in _baselines(prepared).items():
            progress(f"baselines, baseline {name}", 0, None)
            _add_baseline(scored, name, find)
        scored.failures |= _lonely(scored, n_seeds)
        outcome = _judged(experiments, scored, tracked.run_id, page, n_seeds)
        write_outcome(outcome, experiments, prepared)
        tracked.log_files([outcome.page, outcome.record])
        tracked.log_metrics({f"{outcome.yardstick.name}/{one.name}": one.value.value for one in outcome.board})
    return outcome


def _with_names(files: Sequence[ExperimentFile]) -> dict[str, ExperimentFile]:
    """Return the experiments by their names, or, where several have one name, by those of their files."""
    declared = [file.content.name for file in files]
    names = [file.path.stem if declared.count(file.content.name) > 1 else file.content.name for file in files]
    if twice := [name for name in names if names.count(name) > 1]:
        msg = f"two experiments would be called {twice[0]!r}; give one of them another [experiment] name"
        raise DeclarationError(msg)
    return dict(zip(names, files, strict=True))


def _refuse_occupied(folder: Path) -> None:
    if occupied := [folder / name for name in (PAGE, RECORD) if (folder / name).exists()]:
        raise DeclarationError(f"{occupied[0]} is there already; name another folder")


def _with_seeds(file: ExperimentFile, n_seeds: int) -> list[ExperimentFile]:
    first = file.content.experiment
    declared = [first.model_copy(update={"seed": first.seed + i}) for i in range(n_seeds)]
    contents = [file.content.model_copy(update={"experiment": one}) for one in declared]
    return [file.model_copy(update={"content": content}) for content in contents]


def _add_network(
    scored: _Scored, name: str, file: ExperimentFile, prepared: Prepared, parent: TrackedRun, progress: Progress
) -> None:
    seed = file.content.experiment.seed
    who = f"{name} seed {seed}"
    try:
        with nested_run(parent, who) as tracked:
            begin_run(file, tracked)
            record_events(file, prepared.datasets, tracked)
            part = _trained_and_scored(file, prepared, tracked, named(who, progress))
    except Exception as error:  # whatever it was, the networks before and after it are worth keeping
        if not isinstance(error, WinnowError):
            log.exception("%s failed", who)
        scored.failures[who] = str(error) if isinstance(error, WinnowError) else f"{type(error).__name__}: {error}"
        return
    scored.events = scored.events or part
    scored.networks.setdefault(name, {})[seed] = part.scores
    scored.run_ids.setdefault(name, {})[seed] = tracked.run_id


def _trained_and_scored(
    file: ExperimentFile, prepared: Prepared, tracked: TrackedRun, progress: Progress
) -> JudgedEvents:
    """Train one network for each fold, and return the test events with the scores of those that have not seen them."""
    with TemporaryDirectory() as folder, ExitStack() as places:
        graphs = []
        for dataset in prepared.datasets:
            place = places.enter_context(workplace_of(file, dataset))
            trained = train_network(file, dataset, place, tracked, progress)
            graphs.append(ScoringGraph(export_network(file, dataset, trained, Path(folder)).graph))
        return judged_events(graphs, prepared.datasets, "test", file.content.split)


def _baselines(prepared: Mapping[str, Prepared]) -> dict[str, Callable[[], Scores]]:
    """Return what finds the scores of each baseline, by its name: once for all experiments with the same inputs."""
    asked: dict[tuple[str, str], str] = {}
    for name, one in prepared.items():
        for baseline in one.experiment.evaluation.baselines:
            asked.setdefault((baseline, one.inputs), name)
    names = [baseline for baseline, _ in asked]
    found: dict[str, Callable[[], Scores]] = {}
    for (baseline, _), name in asked.items():
        is_alone = names.count(baseline) == 1 and baseline not in prepared
        one = prepared[name]
        found[baseline if is_alone else f"{baseline} of {name}"] = partial(
            baseline_scores, baseline, one.datasets, one.experiment
        )
    return found


def _add_baseline(scored: _Scored, name: str, find: Callable[[], Scores]) -> None:
    try:
        scored.baselines[name] = find()
    except WinnowError as error:
        scored.failures[name] = str(error)


def _judged(
    experiments: Mapping[str, ExperimentFile], scored: _Scored, run_id: str, page: Path, n_seeds: int
) -> ComparisonOutcome:
    events = scored.events
    assert events is not None
    networks = {name: np.stack(list(of_seeds.values())) for name, of_seeds in scored.networks.items()}
    scores = {**networks, **scored.baselines}
    judged_as = head_of(next(iter(experiments.values())).content.model).judged_as
    asked = []
    if judged_as == "signal":
        asked = sorted({one for file in experiments.values() for one in file.content.evaluation.signal_efficiencies})
        arrays = events.labels, events.weights
        board = leader_board(scores, *arrays, signal_efficiencies=asked, folds=events.folds)
    else:
        board = ranking(scores, events.truth, YARDSTICKS[judged_as], folds=events.folds)
    return ComparisonOutcome(
        run_id=run_id,
        page=page,
        n_seeds=n_seeds,
        n_events=len(events.labels),
        yardstick=YARDSTICKS[judged_as],
        board=board,
        kinds={name: "network" if name in networks else "baseline" for name in scores},
        signal_efficiencies=tuple(asked),
        run_ids=scored.run_ids,
        failures=scored.failures,
    )


def _lonely(scored: _Scored, n_seeds: int) -> dict[str, str]:
    """Return which networks are known from one seed where several were asked for."""
    lonely = [name for name, seeds in scored.networks.items() if len(seeds) == 1 < n_seeds]
    msg = f"one of {n_seeds} seeds is left: what another one would change is not in the errors of its leads"
    return dict.fromkeys(lonely, msg)


def _told(failures: Mapping[str, str]) -> list[str]:
    return [f"{who}: {problem}" for who, problem in failures.items()]
