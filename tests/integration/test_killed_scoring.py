"""Kills at random moments: a scored file is there and complete, or it is not there."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import uproot

from flows.journal import JOURNAL
from pipeline.chunk import chunk_of

N_EVENTS, BLOCK = 1_500_000, 100_000
NAMES = ("x_1", "x_2", "x_3", "x_4")
LONGEST_DELAY = 0.8
"""Seconds; scoring the file takes about half of one."""

KILLS = [(sign, seed) for sign in (signal.SIGKILL, signal.SIGTERM) for seed in range(5)]


@pytest.fixture(scope="module")
def big_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, generator = tmp_path_factory.mktemp("big") / "big.root", np.random.default_rng(3)
    with uproot.recreate(path, compression=None) as file:
        file.mktree("tracks", dict.fromkeys(NAMES, np.dtype(np.float64)))
        for _ in range(N_EVENTS // BLOCK):
            file["tracks"].extend({name: generator.normal(size=BLOCK) for name in NAMES})
    return path


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all kills: each run has to cope with what the ones before it left."""
    return tmp_path_factory.mktemp("out")


def start(bundle: Path, path: Path, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "deploy.cli", "score", str(bundle), str(path), "--out", str(out), "--quiet"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def kill_while_it_writes(process: "subprocess.Popen[str]", out: Path, sign: signal.Signals, seed: int) -> int:
    """Send a signal at a random moment after the process has begun to write, and return how it ended."""
    mark = f".{process.pid}-"
    while process.poll() is None and not any(mark in path.name for path in out.iterdir()):
        time.sleep(0.005)
    time.sleep(np.random.default_rng(seed).uniform(0.0, LONGEST_DELAY))
    process.send_signal(sign)
    process.communicate(timeout=30)
    return process.returncode


def assert_complete(path: Path, bundle, big_file: Path) -> None:
    with uproot.open(path) as scored, uproot.open(big_file) as given:
        assert scored["tracks"].num_entries == N_EVENTS
        last = slice(N_EVENTS - BLOCK, N_EVENTS)
        expected = {name: given["tracks"][name].array(library="np")[last] for name in NAMES}
        assert all(np.array_equal(scored["tracks"][name].array(library="np")[last], expected[name]) for name in NAMES)
        assert np.array_equal(scored["tracks"]["score"].array(library="np")[last], bundle.score(chunk_of(expected)))


@pytest.mark.parametrize(("sign", "seed"), KILLS)
def test_a_killed_run_leaves_a_complete_file_or_none(sign, seed, trained, big_file, out):
    target = out / big_file.name
    target.unlink(missing_ok=True)
    process = start(trained.outcome.bundle, big_file, out)
    status = kill_while_it_writes(process, out, sign, seed)
    if target.exists():
        assert_complete(target, trained.reference.bundle, big_file)
    else:
        assert status == {signal.SIGKILL: -9, signal.SIGTERM: 143}[sign]
    left = [path.name for path in out.iterdir() if path.name not in {target.name, JOURNAL}]
    assert left == [] or sign == signal.SIGKILL


def test_the_run_after_all_kills_completes_and_clears_up(trained, big_file, out):
    process = start(trained.outcome.bundle, big_file, out)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert f"{N_EVENTS:,} events in, {N_EVENTS:,} out" in printed
    assert_complete(out / big_file.name, trained.reference.bundle, big_file)
    assert {path.name for path in out.iterdir()} == {big_file.name, JOURNAL}


def test_a_kill_between_the_file_and_its_record_leaves_no_stranger(trained, big_file, out):
    lines = (out / JOURNAL).read_text().splitlines()
    while "scored_at" in lines[-1] or not lines[-1]:
        lines.pop()
    (out / JOURNAL).write_text("\n".join(line for line in lines if "scored_at" not in line))
    process = start(trained.outcome.bundle, big_file, out)
    assert process.wait(60) == 0, process.communicate()
    process.communicate()
