"""The local stack: MLflow, Prefect, schedules and scoring services as processes of one machine.

Owns their start, in an order in which each finds what it needs, and their common end. Everything listens
on 127.0.0.1 and keeps its data in the home.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from deploy.ports import is_free
from flows.experiment import ExperimentFile
from flows.home import home, logs, prefect_home
from pipeline.errors import DeclarationError, WinnowError

HOST = "127.0.0.1"
PATIENCE = 90.0
"""Seconds that a server may take to answer for the first time."""


def run_stack(files: Sequence[ExperimentFile], mlflow_port: int, prefect_port: int, service_port: int) -> None:
    """Start the stack and wait until it is interrupted or one of its processes ends.

    Raises:
        DeclarationError: a port is in use.
        WinnowError: a process ended by itself, or a server did not answer in time.
    """
    _refuse_taken_ports([mlflow_port, prefect_port, *range(service_port, service_port + len(files))])
    home().mkdir(parents=True, exist_ok=True)
    os.environ.update(_addresses(mlflow_port, prefect_port))
    with contextlib.ExitStack() as stack:
        processes = dict[str, subprocess.Popen[bytes]]()
        for name, command, health in _servers(mlflow_port, prefect_port):
            processes[name] = stack.enter_context(_running(name, command))
            _wait_for(name, health, processes[name])
            _tell(f"{name:<10} {health.rpartition('/')[0].removesuffix('/api')}")
        for name, command, address in _workers(files, service_port):
            processes[name] = stack.enter_context(_running(name, command))
            _tell(f"{name:<10} {address}")
        _tell(f"ready; logs are in {logs()}; end with Ctrl-C")
        _wait_for_the_first_end(processes)


def _refuse_taken_ports(ports: Sequence[int]) -> None:
    taken = [port for i, port in enumerate(ports) if port in ports[:i] or not is_free(HOST, port)]
    if taken:
        raise DeclarationError(
            f"port {taken[0]} is in use; choose another with --mlflow-port, --prefect-port or --service-port"
        )


def _addresses(mlflow_port: int, prefect_port: int) -> dict[str, str]:
    return {
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{mlflow_port}",
        "PREFECT_API_URL": f"http://{HOST}:{prefect_port}/api",
        "PREFECT_HOME": os.environ.get("PREFECT_HOME", str(prefect_home())),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
    }


def _servers(mlflow_port: int, prefect_port: int) -> Iterator[tuple[str, list[str], str]]:
    """Yield name, command and health address of each server."""
    store, artifacts = f"sqlite:///{home() / 'mlflow.db'}", home() / "artifacts"
    mlflow = ["-m", "mlflow", "server", "--host", HOST, "--port", str(mlflow_port), "--workers", "1"]
    mlflow += ["--backend-store-uri", store, "--artifacts-destination", artifacts.as_uri()]
    yield "MLflow", mlflow, f"http://{HOST}:{mlflow_port}/health"
    prefect = ["-m", "prefect", "server", "start", "--host", HOST, "--port", str(prefect_port)]
    yield "Prefect", prefect, f"http://{HOST}:{prefect_port}/api/health"


def _workers(files: Sequence[ExperimentFile], service_port: int) -> Iterator[tuple[str, list[str], str]]:
    """Yield name, command and address of what works for the experiments."""
    scheduled = [str(file.path) for file in files if file.content.schedule]
    if scheduled:
        yield "schedules", ["-m", "deploy.cli", "schedule", *scheduled], ", ".join(Path(p).name for p in scheduled)
    for port, file in enumerate(files, start=service_port):
        name = file.content.name
        yield f"serving {name}", ["-m", "deploy.cli", "serve", name, "--port", str(port)], f"http://{HOST}:{port}"


@contextlib.contextmanager
def _running(name: str, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    logs().mkdir(parents=True, exist_ok=True)
    with (logs() / f"{name.replace(' ', '-')}.log").open("ab") as log:
        # A session of its own: servers start workers, and all of them have to end together.
        process = subprocess.Popen(  # noqa: S603 (our own commands)
            [sys.executable, *arguments], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes], patience: float = 10.0) -> None:
    """Ask a process and all it started to end, and end what is left when it has, or when patience has run out."""
    _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, sign)


def _wait_for(name: str, health: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise WinnowError(f"{name} ended with status {process.returncode} while starting; is its port in use?")
        with contextlib.suppress(URLError, OSError), urlopen(health, timeout=2):  # noqa: S310 (our own address)
            return
        time.sleep(0.3)
    raise WinnowError(f"{name} did not answer at {health} within {PATIENCE:.0f} s")


def _wait_for_the_first_end(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                raise WinnowError(f"{name} ended with status {process.returncode}; the rest of the stack was ended")
        time.sleep(0.5)


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
