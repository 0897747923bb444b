"""The registry: versions of models, the champion among them, and the bundles behind them."""

import contextlib
import fcntl
import logging
import shutil
import uuid
import warnings
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, Schema

from flows.home import REPORT, bundles, home
from flows.tracking.runs import TrackedRun, finite, metric_name
from flows.tracking.server import ABSENT, answering, connect
from models.bundle import Bundle, load_bundle
from pipeline.errors import RegistryError, nearest_spelling

log = logging.getLogger(__name__)

CHAMPION = "champion"
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

_SIGNATURE_TYPES = {"integer": DataType.long, "boolean": DataType.boolean, "string": DataType.string}


def register(tracked: TrackedRun, bundle: Bundle, model: str, metrics: Mapping[str, float]) -> str:
    """Register a run's bundle, with its final metrics, as the next version of a model and return the version."""
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
    tracked.client.set_model_version_tag(model, version, DIGEST_TAG, bundle.digest)
    for key, value in ((metric_name(key), value) for key, value in finite(metrics).items()):
        tracked.client.log_metric(tracked.run_id, key, value, model_id=info.model_id)
        tracked.client.set_model_version_tag(model, version, key, f"{value:.6g}")
    log.info("registered %s version %s", model, version)
    return version


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


@answering()
def version_of(reference: str) -> tuple[str, str]:
    """Return the name and version that a reference into the registry means now; nothing is fetched.

    Raises:
        RegistryError: there is no such model, alias or version; the message lists what there is.
    """
    return _parse(connect(), reference)


@answering()
def champion_version(client: MlflowClient, name: str) -> str | None:
    """Return the version that is champion, or ``None``.

    Raises:
        RegistryError: MLflow does not answer, which is not the same as having no champion.
    """
    try:
        return str(client.get_model_version_by_alias(name, CHAMPION).version)
    except MlflowException as error:
        if error.error_code in ABSENT:
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
        if error.error_code not in ABSENT:
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


@answering()
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


@answering()
def run_behind(client: MlflowClient, name: str, version: str) -> str | None:
    """Return the id of the run that registered a version, or ``None`` where it was registered without one."""
    return client.get_model_version(name, version).run_id or None


@answering()
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


@answering()
def set_champion(client: MlflowClient, name: str, version: str) -> None:
    """Make a version champion and remember the one before, for a way back."""
    previous = champion_version(client, name)
    if previous not in (None, version):
        client.set_registered_model_tag(name, PREVIOUS_CHAMPION_TAG, previous)
    client.set_registered_model_alias(name, CHAMPION, version)
    log.info("%s version %s is champion (before: %s)", name, version, previous or "none")


@answering()
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
