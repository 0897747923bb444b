"""Tracking: runs, models, versions and aliases; the only importer of MLflow.

Owns what is recorded and under which name: ``server`` where, ``runs`` what happened, ``registry`` what came of it.
Whether a version *should* be champion is ``promote``'s decision. Where ``MLFLOW_TRACKING_URI`` names no server,
everything is kept on SQLite in the home.
"""

import os

# Read when MLflow is imported, which every module of this package does: no usage statistics leave the machine.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
# It would write the run's address, and bars, between the results on standard output and our own bars.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
