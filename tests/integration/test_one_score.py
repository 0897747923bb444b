"""One event, one score: whoever asks, and however, the answer has the same bits."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import mlflow
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from deploy.service import create_app
from flows.score import score_files
from flows.tracking.server import connect
from models.bundle import MODEL, Bundle, ScoringGraph
from pipeline.chunk import Chunk
from pipeline.plan import plan_files
from pipeline.sources import iter_chunks
from pipeline.splitting import PARTS, event_identities

PATIENCE = 120.0


@pytest.fixture
def bundle(trained) -> Bundle:
    return trained.reference.bundle


@pytest.fixture
def events(trained) -> Chunk:
    [chunk] = iter_chunks(trained.new_events)
    return chunk


@pytest.fixture
def frame(trained) -> pd.DataFrame:
    return pd.read_csv(trained.new_events)


@pytest.fixture
def expected(bundle, events) -> NDArray[np.float32]:
    return bundle.score(events)


def assert_same_bits(found: object, expected: NDArray[np.float32]) -> None:
    given = np.asarray(found)
    assert np.array_equal(given, given.astype(np.float32)), "a score was not a single-precision number"
    assert np.array_equal(given.astype(np.float32).view(np.int32), expected.view(np.int32))


def test_the_scores_differ_from_each_other(expected):
    assert len(np.unique(expected)) > 500


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 20_000, 10**9])
def test_in_chunks_of_any_size(chunk_bytes, trained, bundle, expected):
    chunks = iter_chunks(trained.new_events, chunk_bytes=chunk_bytes)
    assert_same_bits(np.concatenate([bundle.score(chunk) for chunk in chunks]), expected)


def test_of_one_event_alone(bundle, events, expected):
    rows = range(len(events))
    alone = [bundle.score(events.keep(np.arange(len(events)) == row))[0] for row in rows]
    assert_same_bits(alone, expected)


def test_from_a_frame(bundle, frame, expected):
    assert_same_bits(bundle.score_frame(frame), expected)


def test_in_a_scored_file(trained, expected, tmp_path):
    score_files(trained.reference, [trained.new_events], tmp_path / "scored")
    column = pd.read_csv(tmp_path / "scored" / trained.new_events.name)["score"]
    assert_same_bits(column.to_numpy(np.float32), expected)


def test_over_http(trained, frame, expected):
    class Source:
        def current(self):
            return trained.reference

    columns = {name: frame[name].tolist() for name in trained.reference.bundle.manifest.columns}
    with TestClient(create_app(Source(), 60.0)) as client:
        end = time.monotonic() + 30
        while client.get("/ready").status_code != 200 and time.monotonic() < end:
            time.sleep(0.01)
        assert_same_bits(client.post("/score", json={"columns": columns}).json()["scores"], expected)


def test_from_the_registry(trained, bundle, frame, expected):
    connect()
    model = mlflow.pyfunc.load_model("models:/gaussians@champion")
    assert_same_bits(model.predict(frame[list(bundle.manifest.columns)])["score"], expected)


def test_in_the_evaluation(trained, bundle):
    graph, dataset = ScoringGraph(bundle.folder / MODEL), trained.outcome.datasets[0]
    [file] = plan_files(trained.file.content, trained.file.folder)
    [chunk] = iter_chunks(file.path)
    identities = event_identities(
        chunk, trained.file.content.split, file.sample.name, file.path.name, file.features_need
    )
    scores = dict(zip(identities.tolist(), bundle.score(chunk), strict=True))
    n_compared = 0
    for part in map(dataset.part, PARTS):
        found = np.array([scores[identity] for identity in part.identity.tolist()], dtype=np.float32)
        assert_same_bits(graph.score(part.features), found)
        n_compared += len(found)
    assert n_compared == len(chunk) == 3000


@contextmanager
def mlflow_serving(trained, folder: Path) -> Iterator[str]:
    """The address of MLflow's own scoring server, which knows nothing of Winnow but its registered model."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/gaussians@champion"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--env-manager", "local"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{trained.home}/mlflow.db"}
    # The server starts its worker with the `mlflow` and `uvicorn` that it finds first.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def answer_of(request: Request, log: Path) -> bytes:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(URLError, ConnectionError), urlopen(request, timeout=30) as answer:
            return answer.read()
        time.sleep(0.2)
    pytest.fail(log.read_text()[-2000:])


def test_from_mlflows_own_scoring_server(trained, bundle, frame, expected, tmp_path):
    split = frame[list(bundle.manifest.columns)].to_dict(orient="split", index=False)
    body = json.dumps({"dataframe_split": split}).encode()
    with mlflow_serving(trained, tmp_path) as address:
        request = Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        answer = json.loads(answer_of(request, tmp_path / "server.log"))
    assert_same_bits(np.array([row["score"] for row in answer["predictions"]]).astype(np.float32), expected)
