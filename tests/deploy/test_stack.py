"""The local stack as one command: everything answers, a training over it works, and one signal ends it all."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest

from deploy.stack import run_stack
from pipeline.errors import DeclarationError

PATIENCE = 150.0


@dataclass(frozen=True)
class Stack:
    """A running stack and where it answers."""

    process: "subprocess.Popen[str]"
    ports: dict[str, int]
    environment: dict[str, str]
    log: Path

    def address(self, name: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}{path}"


def free_ports(n: int) -> list[int]:
    probes = [socket.socket() for _ in range(n)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def answer_from(stack: Stack, address: str, body: object = None) -> object:
    """Ask until there is an answer."""
    data = None if body is None else json.dumps(body).encode()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and stack.process.poll() is None:
        with suppress(URLError, OSError), urlopen(Request(address, data), timeout=10) as answer:
            text = answer.read().decode()
            return json.loads(text) if text.startswith(("{", "[", "true")) else text
        time.sleep(0.2)
    pytest.fail(f"no answer from {address}: {stack.log.read_text()}")


def processes_of(home: Path) -> list[str]:
    """Command lines of all processes that have the home in their environment, but this one."""
    found, mark = [], f"WINNOW_HOME={home}\0".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if folder.name != str(os.getpid()) and mark in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
    return found


@pytest.fixture(scope="module")
def stack(trained_once, tmp_path_factory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    home = folder / "home"
    shutil.copytree(trained_once.home, home)
    ports = dict(zip(("mlflow", "prefect", "service"), free_ports(3), strict=True))
    options = [text for name, port in ports.items() for text in (f"--{name}-port", str(port))]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    environment["WINNOW_HOME"] = str(home)
    with (folder / "stack.log").open("w") as log:
        command = [sys.executable, "-m", "deploy.cli", "up", str(trained_once.file.path), *options]
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, text=True)
        try:
            yield Stack(process, ports, environment, folder / "stack.log")
        finally:
            process.terminate()
            process.wait(60)


def test_all_parts_answer_and_the_service_serves_the_champion(stack, trained_once):
    assert answer_from(stack, stack.address("mlflow", "/health")) == "OK"
    assert answer_from(stack, stack.address("prefect", "/api/health")) is True
    ready = answer_from(stack, stack.address("service", "/ready"))
    assert (ready["model"], ready["version"]) == ("gaussians", "2")
    frame = pd.read_csv(trained_once.new_events)
    body = {"columns": {name: frame[name].tolist() for name in ready["columns"]}}
    scores = answer_from(stack, stack.address("service", "/score"), body)["scores"]
    assert np.array_equal(np.float32(scores), trained_once.reference.bundle.score_frame(frame))


def test_the_schedules_become_deployments(stack):
    end, names = time.monotonic() + PATIENCE, set()
    while len(names) < 2 and time.monotonic() < end:
        found = answer_from(stack, stack.address("prefect", "/api/deployments/filter"), {})
        names = {deployment["name"] for deployment in found}
        time.sleep(0.3)
    assert names == {"train gaussians", "score gaussians"}


def test_a_command_that_uses_the_tracking_server_prints_json_and_nothing_else(stack, trained_once):
    environment = {**stack.environment, "MLFLOW_TRACKING_URI": stack.address("mlflow", "")}
    command = [sys.executable, "-m", "deploy.cli", "train", str(trained_once.file.path), "--json"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["version"] == "4"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up in /proc")
def test_one_signal_ends_every_process(stack):
    answer_from(stack, stack.address("service", "/ready"))
    home = Path(stack.environment["WINNOW_HOME"])
    assert len(processes_of(home)) >= 5  # the stack itself, two servers, the schedules, the service
    stack.process.terminate()
    assert stack.process.wait(60) == 143
    assert processes_of(home) == []
    for name in stack.ports:
        with pytest.raises(URLError, match="refused"):
            urlopen(stack.address(name, "/"), timeout=5)


def test_a_port_in_use_is_refused_before_anything_starts(trained):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DeclarationError, match=f"port {port} is in use; choose another with --mlflow-port"):
            run_stack([trained.file], port, *free_ports(2))


def test_two_parts_on_one_port_are_refused(trained):
    [first, second] = free_ports(2)
    with pytest.raises(DeclarationError, match=f"port {first} is in use"):
        run_stack([trained.file], first, second, first)
