"""The home: the folder where Winnow keeps what it makes.

    <WINNOW_HOME>/datasets/<key>/     prepared datasets
                  trainings/<key>/    events and checkpoint of a training that is under way, or was killed
                  searches/<key>/     trials of a search for better settings
                  runs/<name>-<id>/   bundle, report and figures of one training
                  bundles/<digest>/   bundles fetched from the registry
                  reports/<run>/      reports fetched from the registry's runs
                  mlflow.db artifacts/  MLflow, where no tracking server is named
                  logs/               what the processes of the local stack write
                  prefect/            Prefect's own data, where no server is named

Owns these names and nothing that happens in them.
"""

import os
from pathlib import Path

REPORT = "report.html"
"""The report's name, in the folder of a training and with its MLflow run."""


def home() -> Path:
    """Return the home: ``WINNOW_HOME``, or ``winnow-home`` in the current folder."""
    return Path(os.environ.get("WINNOW_HOME", "winnow-home")).absolute()


def datasets() -> Path:
    """Return the folder of prepared datasets."""
    return home() / "datasets"


def trainings() -> Path:
    """Return the folder of trainings under way."""
    return home() / "trainings"


def searches() -> Path:
    """Return the folder of searches for better settings."""
    return home() / "searches"


def runs() -> Path:
    """Return the folder of training runs."""
    return home() / "runs"


def bundles() -> Path:
    """Return the folder of bundles that came from the registry."""
    return home() / "bundles"


def reports() -> Path:
    """Return the folder of reports that came from the runs behind registered versions."""
    return home() / "reports"


def logs() -> Path:
    """Return the folder of the local stack's logs."""
    return home() / "logs"


def prefect_home() -> Path:
    """Return Prefect's folder, made: its temporary server fails in a loop, without a word, where it is not there."""
    folder = home() / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
