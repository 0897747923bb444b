"""Runs: what happened in a training, or in one of several that belong together."""

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.exceptions import MlflowException

from flows.home import home
from flows.tracking.server import ABSENT, answering, connect, tracking_address
from pipeline.dotted import flattened

TRAINED_MODELS = {"mlflow.experimentKind": "custom_model_development"}
"""Lets MLflow open an experiment on the pages for trained models, not on those for language models."""

LONGEST_SOURCE = 60_000
"""Characters that MLflow has room for in the list of a dataset's files."""


@dataclass(frozen=True)
class TrackedRun:
    """A run that is being recorded."""

    run_id: str
    client: MlflowClient

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record numbers of one step; what is not finite is left out."""
        mlflow.log_metrics({metric_name(key): value for key, value in finite(metrics).items()}, step=step)

    def log_parameters(self, document: Mapping[str, Any]) -> None:
        """Record a nested document as parameters with dotted names."""
        mlflow.log_params({allowed_name(key): str(value)[:6000] for key, value in flattened(document)})

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags."""
        mlflow.set_tags(dict(tags))

    def log_dataset(self, name: str, content: str, files: Sequence[str]) -> None:
        """Record which data went in; of very many files the first ones are named."""
        source = CodeDatasetSource({"n_files": len(files), "files": _that_fit(files)})
        mlflow.log_input(MetaDataset(source, name=name, digest=content[:32]), context="training")

    def log_files(self, files: Sequence[Path], folder: str | None = None) -> None:
        """Record files as artifacts."""
        for path in files:
            mlflow.log_artifact(str(path), folder)

    def end_killed(self, run_id: str) -> None:
        """Mark another run as killed, whose process could not do so itself."""
        if _is_there(self.client, run_id):
            self.client.set_terminated(run_id, "KILLED")

    def log_text(self, text: str, name: str) -> None:
        """Record a text as an artifact."""
        mlflow.log_text(text, name)

    def log_table(self, columns: Mapping[str, Sequence[Any]], name: str) -> None:
        """Record a table as an artifact (JSON, shown as a table by MLflow)."""
        mlflow.log_table({key: list(values) for key, values in columns.items()}, name)


@contextlib.contextmanager
def tracked_run(experiment: str, name: str = "", run_id: str | None = None) -> Iterator[TrackedRun]:
    """Record a run under an experiment; an exception marks it as failed and is recorded with it.

    ``name`` is by default that of the experiment with the time. A run of ``run_id`` is gone on with, if it is there.

    Raises:
        RegistryError: MLflow does not answer, or refuses what is to be recorded.
    """
    with answering():
        client = connect()
        _ensure_experiment(client, experiment)
        mlflow.set_experiment(experiment)
        former = run_id if run_id and _is_there(client, run_id) else None
    with _recorded(
        client, run_id=former, run_name=name or f"{experiment} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    ) as run:
        yield run


@contextlib.contextmanager
def nested_run(parent: TrackedRun, name: str) -> Iterator[TrackedRun]:
    """Record a run as part of another one, which is not to be recorded in meanwhile.

    Raises:
        RegistryError: as by `tracked_run`.
    """
    with _recorded(parent.client, run_name=name, nested=True) as run:
        yield run


@contextlib.contextmanager
def _recorded(client: MlflowClient, **how: Any) -> Iterator[TrackedRun]:
    with answering(), mlflow.start_run(**how) as run:
        try:
            yield TrackedRun(run.info.run_id, client)
        except BaseException as error:
            mlflow.set_tag("error", f"{type(error).__name__}: {error}"[:4000])
            if not isinstance(error, Exception):  # a request to end is no failure
                mlflow.end_run("KILLED")
            raise


def _is_there(client: MlflowClient, run_id: str) -> bool:
    try:
        return str(client.get_run(run_id).info.lifecycle_stage) == "active"
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return False


def _ensure_experiment(client: MlflowClient, name: str) -> None:
    if client.get_experiment_by_name(name) is None:
        local = tracking_address().startswith("sqlite:///")
        location = (home() / "artifacts").as_uri() if local else None
        # Another process may be faster; then the experiment is there, which is all that is wanted.
        with contextlib.suppress(MlflowException):
            client.create_experiment(name, artifact_location=location, tags=TRAINED_MODELS)


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the numbers that MLflow can hold."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def allowed_name(key: str) -> str:
    """Return a name of a parameter that MLflow takes: a sample may be called W+jets."""
    return re.sub(r"[^\w.\- :]", "_", key)[:250]


def metric_name(key: str) -> str:
    """Return a name of a metric that MLflow takes, in which slashes part a group from its members."""
    return "/".join(map(allowed_name, key.split("/")))[:250]


def _that_fit(files: Sequence[str]) -> list[str]:
    sizes = accumulate(len(file) + 8 for file in files)
    return [file for file, size in zip(files, sizes, strict=True) if size < LONGEST_SOURCE]


def run_address(run_id: str) -> str:
    """Return where a run can be looked at: a page of the tracking server, or the command that starts one."""
    address = tracking_address()
    if not address.startswith("http"):
        return f"run {run_id}; look at it with `mlflow ui --backend-store-uri {address}`"
    return f"{address}/#/experiments/{connect().get_run(run_id).info.experiment_id}/runs/{run_id}"
