"""Orchestration: the same steps as Prefect flows, at once or on a schedule; the only importer of Prefect.

Owns the wrappers: a flow is a verb of this room whose every step runs as a task, and what it shows as
artifacts. Prefect has no mode without a server; where ``PREFECT_API_URL`` names none, it starts a
temporary one, whose records stay in the home.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from flows.home import prefect_home

# Read when Prefect is imported: where it keeps its records, and that no usage statistics leave the machine.
os.environ.setdefault("PREFECT_HOME", str(prefect_home()))
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
# A temporary server on a busy machine needs longer than the twenty seconds it is given otherwise.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")

from prefect import Flow, flow, serve, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from flows.experiment import ExperimentFile, load_experiment
from flows.reference import resolve
from flows.schedule import seconds_of
from flows.score import ScoreOptions, score_files
from flows.tracking.runs import run_address
from flows.train import train_experiment
from pipeline.errors import DeclarationError, WinnowError
from pipeline.layout import Layout
from pipeline.progress import Progress, nobody_watches

P = ParamSpec("P")
R = TypeVar("R")

_watching: ContextVar[Progress] = ContextVar("watching", default=nobody_watches)
"""Who watches a flow that this process runs itself; a callable cannot be a flow's parameter."""

RETRIES, RETRY_DELAYS = 2, [5.0, 30.0]


@contextmanager
def watched_by(progress: Progress) -> Iterator[None]:
    """Let ``progress`` be told about flows that run inside of the block."""
    token = _watching.set(progress)
    try:
        yield
    finally:
        _watching.reset(token)


@contextmanager
def _server_answers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        # Prefect has no exception of its own for this.
        if not str(error).startswith(("Failed to reach API", "Timed out while attempting")):
            raise
        raise WinnowError(f"Prefect does not answer: {error}; without PREFECT_API_URL nothing needs it") from error


def _was_the_machine(task: Any, run: Any, state: Any) -> bool:
    """Retry what the disk or the network may have caused; what the data caused would only fail again."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError)


def as_task(step: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a step as a Prefect task."""
    as_prefect_task = task(
        name=step.__name__.replace("_", " "),
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=RETRIES,
        retry_delay_seconds=RETRY_DELAYS,
        retry_condition_fn=_was_the_machine,
    )
    return as_prefect_task(step)(*args, **kwargs)


@flow(name="winnow train", flow_run_name="train {experiment}", persist_result=False)
def train_flow(experiment: str) -> dict[str, Any]:
    """Train the experiment of a file; see ``flows.train``."""
    outcome = train_experiment(load_experiment(experiment), as_task, _watching.get())
    rows = [{"metric": name, "value": value} for name, value in outcome.evaluation.metrics().items()]
    key = outcome.model.lower().replace("_", "-").replace(".", "-")
    create_table_artifact(table=rows, key=f"{key}-metrics", description=f"{outcome.model} version {outcome.version}")
    roc = outcome.report.parent / "figures" / "roc.png"
    shown, text = (roc, "ROC curve") if roc.is_file() else (outcome.report, "report")
    where = run_address(outcome.run_id)
    create_link_artifact(link=shown.as_uri(), link_text=text, key=f"{key}-{shown.stem}", description=where)
    return outcome.to_json()


def train_with_prefect(experiment: Path, progress: Progress) -> dict[str, Any]:
    """Run ``train_flow`` from this process.

    Raises:
        WinnowError: the Prefect server does not answer; or as for ``train_experiment``.
    """
    with watched_by(progress), _server_answers():
        return train_flow(str(experiment))


@flow(name="winnow score", flow_run_name="score with {model}", persist_result=False)
def score_flow(model: str, files: list[str], out: str, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """Score files with a model; see ``flows.score``."""
    chosen = dict(options or {})
    layout = chosen.pop("layout", None)
    score_options = ScoreOptions(layout=Layout(**layout) if layout else None, **chosen)
    paths = [Path(file) for file in files]
    outcome = score_files(resolve(model), paths, Path(out), score_options, as_task, _watching.get())
    record = outcome.to_json()
    lines = [f"- {line['input']}: {line['error']}" for line in record["quarantined"]]
    text = f"{record['events_out']} events of {len(record['files'])} files scored by {model} version {outcome.version}"
    create_markdown_artifact("\n".join([text, *lines]), key="winnow-score")
    return record


def score_with_prefect(
    model: str, files: Sequence[Path], out: Path, options: ScoreOptions, progress: Progress
) -> dict[str, Any]:
    """Run ``score_flow`` from this process.

    Raises:
        WinnowError: the Prefect server does not answer; or as for ``score_files``.
    """
    with watched_by(progress), _server_answers():
        return score_flow(model, [str(path) for path in files], str(out), asdict(options))


@flow(name="winnow watch", flow_run_name="watch for {model}", persist_result=False)
def watch_flow(model: str, watch: str, out: str) -> dict[str, Any]:
    """Score what is in the watched folder and has not been scored yet."""
    pattern = Path(watch)
    files = sorted(str(path) for path in Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    return score_flow(model, files, out) if files else {"files": []}


def deployments_of(file: ExperimentFile) -> list[RunnerDeployment]:
    """Return what the ``[schedule]`` section of an experiment asks for, as Prefect deployments.

    Two runs of one deployment never overlap: one that comes due while another is at work is cancelled.
    """
    schedule, name = file.content.schedule, file.content.name
    found: list[RunnerDeployment] = []
    if schedule and schedule.train:
        parameters: dict[str, Any] = {"experiment": str(file.path)}
        found.append(_deployment(train_flow, f"train {name}", parameters, cron=schedule.train))
    if schedule and schedule.score:
        watch, out = (str(file.folder / path) for path in (schedule.score.watch, schedule.score.out))
        every = seconds_of(schedule.score.every)
        parameters = {"model": name, "watch": watch, "out": out}
        found.append(_deployment(watch_flow, f"score {name}", parameters, interval=every))
    return found


def _deployment(what: Flow[Any, Any], name: str, parameters: dict[str, Any], **when: Any) -> RunnerDeployment:
    alone = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    made = what.to_deployment(
        name, parameters=parameters, concurrency_limit=alone, entrypoint_type=EntrypointType.MODULE_PATH, **when
    )
    return cast("RunnerDeployment", made)


def serve_schedules(files: Sequence[ExperimentFile]) -> None:
    """Run what the experiments' schedules say, until interrupted.

    Raises:
        DeclarationError: no server is named, for a temporary one keeps no schedules; or nothing is scheduled.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise DeclarationError("schedules need a Prefect server: set PREFECT_API_URL, or use `winnow up`")
    deployments = [deployment for file in files for deployment in deployments_of(file)]
    if not deployments:
        raise DeclarationError(f"no [schedule] section in {', '.join(str(file.path) for file in files)}")
    serve(*deployments)
