"""The server: where MLflow keeps its records, and in whose words it refuses."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from flows.home import home
from pipeline.errors import RegistryError

ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""The codes by which MLflow says that there is no such thing; any other one is a failure of the server."""


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
def answering() -> Iterator[None]:
    """Say in our own words that the registry is away or refuses."""
    try:
        yield
    except MlflowException as error:
        reason = str(error).strip().partition("\n")[0][:400]
        raise RegistryError(f"MLflow at {tracking_address()} does not do what it is asked: {reason}") from error
