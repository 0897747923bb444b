"""Tracking: runs, models, versions and aliases; the only importer of MLflow.

Owns what is recorded and under which name. Whether a version *should* be champion is ``promote``'s
decision. Where ``MLFLOW_TRACKING_URI`` names no server, everything is kept on SQLite in the home.
"""

import contextlib
import fcntl
import logging
import math
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from itertools import accumulate
from pathlib import Path
from typing import Any

# Read when MLflow is imported: no usage statistics leave the machine.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
# It would write the run's address, and bars, between the results on standard output and our own bars.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Schema

from flows.home import REPORT, bundles, home
from models.bundle import Bundle, load_bundle
from pipeline.errors import RegistryError, nearest_spelling

log = logging.getLogger(__name__)

CHAMPION = "champion"
TRAINED_MODELS = {"mlflow.experimentKind": "custom_model_development"}
"""Lets MLflow open an experiment on the pages for trained models, not on those for language models."""

DIGEST_TAG = "winnow.bundle"
PREVIOUS_CHAMPION_TAG = "winnow.previous_champion"

SCORING_REQUIREMENTS = (
    "awkward",
    "formulate",
    "numexpr",
    "numpy",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "pydantic",
    "uproot",
)
"""What scoring imports, besides Winnow itself."""

LONGEST_SOURCE = 60_000
"""Characters that MLflow has room for in the list of a dataset's files."""

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""The codes by which MLflow says that there is no such thing; any other one is a failure of the registry."""

_SIGNATURE_TYPES = {"integer": DataType.long, "boolean": DataType.boolean, "string": DataType.string}


def tracking_address() -> str:
    """Return the address of the tracking server or database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def connect() -> MlflowClient:
    """Return a client of the tracking server; the local database is made where there is none yet.

    Raises:
        RegistryError: the local database cannot be written to.
    """
    address = tracking_address()
    if address.startswith("sqlite:///"):
        database = Path(address.removeprefix("sqlite:///"))
        refuse_unwritable(database)
        database.parent.mkdir(parents=True, exist_ok=True)
    with _environment_as_it_is():
        mlflow.set_tracking_uri(address)
        mlflow.set_registry_uri(os.environ.get("MLFLOW_REGISTRY_URI") or address)
    return MlflowClient()


def refuse_unwritable(database: Path, access: Callable[[Path, int], bool] = os.access) -> None:
    """Refuse a SQLite file that cannot be written to, before MLflow tries and prints a hundred lines about it.

    SQLite writes beside the file as well; where there is no folder yet, the nearest one above it has to let us make it.

    Raises:
        RegistryError: the file, its folder, or the nearest folder above that exists, cannot be written to.
    """
    folder = next(place for place in database.absolute().parents if access(place, os.F_OK))
    closed = [place for place in (database, folder) if access(place, os.F_OK) and not access(place, os.W_OK)]
    if closed:
        where = "set WINNOW_HOME to a folder that can"
        if os.environ.get("MLFLOW_TRACKING_URI"):
            where = "set MLFLOW_TRACKING_URI to a database or server that can"
        raise RegistryError(f"{closed[0]} cannot be written to; {where}")


@contextlib.contextmanager
def _environment_as_it_is() -> Iterator[None]:
    """Undo that MLflow writes addresses into the environment, where the next look would take them for the user's."""
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ.get(name) for name in names}
    yield
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """Say in our own words that the registry is away or refuses."""
    try:
        yield
    except MlflowException as error:
        reason = str(error).strip().partition("\n")[0][:400]
        raise RegistryError(f"MLflow at {tracking_address()} does not do what it is asked: {reason}") from error


@dataclass(frozen=True)
class TrackedRun:
    """A run that is being recorded."""

    run_id: str
    client: MlflowClient

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record numbers of one step; what is not finite is left out."""
        mlflow.log_metrics(_finite(metrics), step=step)

    def log_parameters(self, document: Mapping[str, Any]) -> None:
        """Record a nested document as parameters with dotted names."""
        mlflow.log_params({_allowed_name(key): str(value)[:6000] for key, value in _flattened(document)})

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

    def log_text(self, text: str, name: str) -> None:
        """Record a text as an artifact."""
        mlflow.log_text(text, name)

    def log_table(self, columns: Mapping[str, Sequence[Any]], name: str) -> None:
        """Record a table as an artifact (JSON, shown as a table by MLflow)."""
        mlflow.log_table({key: list(values) for key, values in columns.items()}, name)

    def register(self, bundle: Bundle, model: str, metrics: Mapping[str, float]) -> str:
        """Register a bundle, with its final metrics, as the next version of a model and return the version."""
        with warnings.catch_warnings():
            # It asks for example events, with which it would start a server to try them; `export` has done better.
            warnings.filterwarnings("ignore", message=".*input example", category=UserWarning)
            info = mlflow.pyfunc.log_model(
                name="model",
                # Data and a module that knows how to load it: nothing is pickled.
                loader_module="models.bundle",
                data_path=str(bundle.folder),
                signature=signature_of(bundle),
                pip_requirements=[f"{name}=={metadata.version(name)}" for name in SCORING_REQUIREMENTS],
                registered_model_name=model,
            )
        version = str(info.registered_model_version)
        self.client.set_model_version_tag(model, version, DIGEST_TAG, bundle.digest)
        for key, value in _finite(metrics).items():
            self.client.log_metric(self.run_id, key, value, model_id=info.model_id)
            self.client.set_model_version_tag(model, version, key, f"{value:.6g}")
        log.info("registered %s version %s", model, version)
        return version


@contextlib.contextmanager
def tracked_run(experiment: str) -> Iterator[TrackedRun]:
    """Record a run under an experiment; an exception marks it as failed and is recorded with it.

    Raises:
        RegistryError: MLflow does not answer, or refuses what is to be recorded.
    """
    with _answering():
        client = connect()
        _ensure_experiment(client, experiment)
        mlflow.set_experiment(experiment)
    name = f"{experiment} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    with _answering(), mlflow.start_run(run_name=name) as run:
        try:
            yield TrackedRun(run.info.run_id, client)
        except BaseException as error:
            mlflow.set_tag("error", f"{type(error).__name__}: {error}"[:4000])
            if not isinstance(error, Exception):  # a request to end is no failure
                mlflow.end_run("KILLED")
            raise


def _ensure_experiment(client: MlflowClient, name: str) -> None:
    if client.get_experiment_by_name(name) is None:
        local = tracking_address().startswith("sqlite:///")
        location = (home() / "artifacts").as_uri() if local else None
        # Another process may be faster; then the experiment is there, which is all that is wanted.
        with contextlib.suppress(MlflowException):
            client.create_experiment(name, artifact_location=location, tags=TRAINED_MODELS)


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _allowed_name(key: str) -> str:
    """Return a name of a parameter that MLflow takes: a sample may be called W+jets."""
    return re.sub(r"[^\w.\- :]", "_", key)[:250]


def _that_fit(files: Sequence[str]) -> list[str]:
    sizes = accumulate(len(file) + 8 for file in files)
    return [file for file, size in zip(files, sizes, strict=True) if size < LONGEST_SOURCE]


def _flattened(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            yield from _flattened(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for i, item in enumerate(value):
                yield from _flattened(item, f"{prefix}{key}.{item.get('name', i)}.")
        else:
            yield f"{prefix}{key}", value


def signature_of(bundle: Bundle) -> ModelSignature:
    """Return the raw columns that a bundle needs, and the score and its companions, as MLflow's signature."""
    columns: list[ColSpec] = []
    for name, kind in bundle.columns_to_read.items():
        is_list = kind in ("jagged", "fixed")
        columns.append(
            ColSpec(Array(DataType.double) if is_list else _SIGNATURE_TYPES.get(kind, DataType.double), name)
        )
    given = {**dict.fromkeys(bundle.output_names(), np.dtype(np.float32)), **bundle.companion_types}
    outputs = [ColSpec(DataType.boolean if t == np.bool_ else DataType.float, name) for name, t in given.items()]
    return ModelSignature(inputs=Schema(columns), outputs=Schema(outputs))


@_answering()
def version_of(reference: str) -> tuple[str, str]:
    """Return the name and version that a reference into the registry means now; nothing is fetched.

    Raises:
        RegistryError: there is no such model, alias or version; the message lists what there is.
    """
    return _parse(connect(), reference)


@_answering()
def champion_version(client: MlflowClient, name: str) -> str | None:
    """Return the version that is champion, or ``None``.

    Raises:
        RegistryError: MLflow does not answer, which is not the same as having no champion.
    """
    try:
        return str(client.get_model_version_by_alias(name, CHAMPION).version)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise


def _parse(client: MlflowClient, reference: str) -> tuple[str, str]:
    name, slash, version = reference.partition("/")
    name, at, alias = name.partition("@")
    try:
        if slash:
            return name, str(client.get_model_version(name, version).version)
        return name, str(client.get_model_version_by_alias(name, alias if at else CHAMPION).version)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        raise RegistryError(_what_there_is(client, reference, name)) from error


def _what_there_is(client: MlflowClient, reference: str, name: str) -> str:
    models = {model.name: model for model in client.search_registered_models(max_results=1000)}
    if name not in models:
        known = ", ".join(sorted(models)) or "none"
        folder = "the folder of that name holds no bundle" if Path(reference).is_dir() else "no such folder"
        return f"no model {name!r} in the registry{nearest_spelling(name, models)}, and {folder}; models: {known}"
    versions = sorted((int(v.version) for v in client.search_model_versions(f"name = '{name}'")), reverse=True)
    aliases = ", ".join(f"@{a} = {v}" for a, v in client.get_registered_model(name).aliases.items()) or "none"
    return f"model {name!r} has no {reference!r}; versions: {versions}; aliases: {aliases}"


@_answering()
def fetch(client: MlflowClient, name: str, version: str) -> Bundle:
    """Return the bundle of a version; each is downloaded once and kept in the home under its digest."""
    digest = client.get_model_version(name, version).tags.get(DIGEST_TAG)
    if digest is None:
        raise RegistryError(f"{name}/{version} was not registered by Winnow: it has no tag {DIGEST_TAG!r}")
    kept = bundles() / digest
    if kept.is_dir():
        return load_bundle(kept)
    temporary = bundles() / f".{digest}.{uuid.uuid4().hex}.tmp"
    temporary.mkdir(parents=True)
    try:
        local = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{version}", dst_path=str(temporary)))
        [found] = local.glob("data/*/bundle.json")
        bundle = load_bundle(found.parent)
        if bundle.digest != digest:
            raise RegistryError(f"{name}/{version}: the bundle in the registry is not the one that was registered")
        # Another process may have been faster with the same bundle.
        with contextlib.suppress(OSError):
            found.parent.replace(kept)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return load_bundle(kept)


@_answering()
def run_behind(client: MlflowClient, name: str, version: str) -> str | None:
    """Return the id of the run that registered a version, or ``None`` where it was registered without one."""
    return client.get_model_version(name, version).run_id or None


@_answering()
def fetch_report(client: MlflowClient, run_id: str, folder: Path) -> Path:
    """Download the report of a run into a folder, and return where it is.

    Raises:
        RegistryError: the run has no report (any more).
    """
    if REPORT not in (file.path for file in client.list_artifacts(run_id)):
        raise RegistryError(f"MLflow has no {REPORT} (any more) in {client.get_run(run_id).info.artifact_uri}")
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=REPORT, dst_path=str(folder)))


@contextlib.contextmanager
def promotion_lock(name: str) -> Iterator[None]:
    """Let one process at a time decide about the champion of a model: the registry itself cannot compare and swap.

    This holds for the processes that share a home; training on several machines needs a home in common.
    """
    home().mkdir(parents=True, exist_ok=True)
    with (home() / f".promote-{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@_answering()
def set_champion(client: MlflowClient, name: str, version: str) -> None:
    """Make a version champion and remember the one before, for a way back."""
    previous = champion_version(client, name)
    if previous not in (None, version):
        client.set_registered_model_tag(name, PREVIOUS_CHAMPION_TAG, previous)
    client.set_registered_model_alias(name, CHAMPION, version)
    log.info("%s version %s is champion (before: %s)", name, version, previous or "none")


@_answering()
def promote_by_hand(reference: str) -> dict[str, str | None]:
    """Make a version champion, whatever its numbers; return who is and who was.

    Raises:
        RegistryError: there is no such model or version.
    """
    client = connect()
    name, version = _parse(client, reference)
    with promotion_lock(name):
        previous = champion_version(client, name)
        set_champion(client, name, version)
    return {"model": name, "champion": version, "previous": previous}


def run_address(run_id: str) -> str:
    """Return where a run can be looked at: a page of the tracking server, or the command that starts one."""
    address = tracking_address()
    if not address.startswith("http"):
        return f"run {run_id}; look at it with `mlflow ui --backend-store-uri {address}`"
    return f"{address}/#/experiments/{connect().get_run(run_id).info.experiment_id}/runs/{run_id}"
