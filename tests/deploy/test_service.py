import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
from fastapi.testclient import TestClient

from deploy.service import ChampionSource, create_app
from flows.reference import ModelReference
from flows.tracking.registry import register, set_champion
from flows.tracking.runs import tracked_run
from models.bundle import Bundle
from models.calibration import Calibration
from models.cuts import Bins, Cut
from pipeline.chunk import Chunk, chunk_of
from pipeline.errors import RegistryError

COLUMNS = {
    "layer_1": [0.5, None, -2.25],
    "layer_2": [1.1, 0.2, 3],
    "n_cells": [3, 1, 2],
    "particle": ["mu", "pi", "mu"],
    "hit_energy": [[0.1, 0.7], [], [0.3]],
}
EVENTS = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*COLUMNS.values(), strict=True)]
EMPTY = {"columns": {name: [] for name in COLUMNS}}
PATIENCE = 10.0


@dataclass
class FakeSource:
    """A source that has what it is told to have, and fails where that is an exception."""

    content: ModelReference | Exception
    asked: int = 0

    def current(self) -> ModelReference:
        self.asked += 1
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


@dataclass(frozen=True)
class SlowBundle(Bundle):
    """A bundle that scores real events only when it is let."""

    started: threading.Event = field(default_factory=threading.Event)
    let: threading.Event = field(default_factory=threading.Event)

    def score(self, chunk: Chunk) -> np.ndarray:
        if chunk["n_cells"].any():
            self.started.set()
            assert self.let.wait(PATIENCE)
        return super().score(chunk)


class BrokenBundle(Bundle):
    """A bundle that cannot score anything but the event it is tried with."""

    def score(self, chunk: Chunk) -> np.ndarray:
        if chunk["n_cells"].any():
            raise RuntimeError(f"cannot score {chunk['n_cells'].tolist()}")
        return super().score(chunk)


class UselessBundle(Bundle):
    """A bundle that cannot score."""

    def score(self, chunk: Chunk) -> np.ndarray:
        raise RuntimeError("the network does not load")


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@contextmanager
def serving(content: ModelReference | Exception, **options: int) -> Iterator[tuple[TestClient, FakeSource]]:
    """A client of a service, as soon as the service has asked its source once."""
    source = FakeSource(content)
    with TestClient(create_app(source, 0.005, **options), raise_server_exceptions=False) as client:
        wait_until(lambda: source.asked > 1)
        yield client, source


@pytest.fixture
def model(make_bundle) -> ModelReference:
    return ModelReference("pion-muon", "3", make_bundle(0.7))


@pytest.fixture
def client(model) -> Iterator[TestClient]:
    with serving(model) as (client, _):
        yield client


def scores_of(bundle: Bundle) -> list[float]:
    return bundle.score(chunk_of(COLUMNS)).tolist()


@pytest.mark.parametrize("body", [{"columns": COLUMNS}, {"events": EVENTS}])
def test_scores_are_those_of_the_bundle_bit_for_bit(client, model, body):
    answer = client.post("/score", json=body)
    assert answer.status_code == 200
    assert answer.json() == {"model": "pion-muon", "version": "3", "scores": scores_of(model.bundle)}
    received = np.array(answer.json()["scores"], dtype=np.float32)
    assert np.array_equal(received.view(np.int32), model.bundle.score(chunk_of(COLUMNS)).view(np.int32))


@pytest.fixture
def cutting(model) -> ModelReference:
    """The same model with two cuts, one in bins of a column that is no feature, and a calibration."""
    bins = Bins(variable="eta", edges=(0.0, 1.0, 2.0))
    update = {
        "cuts": (
            Cut(name="tight", quantity="purity", requested=0.9, thresholds=(0.6,)),
            Cut(name="uniform", quantity="purity", requested=0.9, thresholds=(0.99, 0.0), bins=bins),
        ),
        "calibration": Calibration(method="temperature", temperature=2.0, fitted_fraction=0.5),
        "cut_columns": {"eta": "float"},
    }
    manifest = model.bundle.manifest.model_copy(update=update)
    return replace(model, bundle=replace(model.bundle, manifest=manifest))


@pytest.mark.parametrize("form", ["columns", "events"])
def test_the_answer_says_what_passes_and_how_probable_signal_is(form, cutting):
    columns = {**COLUMNS, "eta": [None, 0.5, 1.5]}
    events = [{**event, "eta": eta} for event, eta in zip(EVENTS, columns["eta"], strict=True)]
    scores = cutting.bundle.score(chunk_of(COLUMNS))
    with serving(cutting) as (client, _):
        answer = client.post("/score", json={form: {"columns": columns, "events": events}[form]}).json()
    assert list(answer) == ["model", "version", "scores", "passes", "probabilities"]
    assert answer["scores"] == scores.tolist()
    assert answer["passes"] == {"tight": (scores >= 0.6).tolist(), "uniform": [False, False, True]}
    assert answer["probabilities"] == cutting.bundle.probability(scores).tolist()


def test_the_columns_of_cuts_are_asked_for(cutting):
    with serving(cutting) as (client, _):
        assert client.get("/ready").json()["columns"] == {**cutting.bundle.manifest.columns, "eta": "float"}
        answer = client.post("/score", json={"columns": COLUMNS})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("the request has no column 'eta'; it has: hit_energy")


@pytest.mark.parametrize(("kept", "key"), [("cuts", "passes"), ("calibration", "probabilities")])
def test_the_answer_holds_only_what_the_model_has(kept, key, cutting, model):
    taken = {"cuts": cutting.bundle.manifest.cuts[:1], "calibration": cutting.bundle.manifest.calibration}
    manifest = model.bundle.manifest.model_copy(update={kept: taken[kept]})
    with serving(replace(model, bundle=replace(model.bundle, manifest=manifest))) as (client, _):
        answer = client.post("/score", json={"columns": COLUMNS}).json()
    assert list(answer) == ["model", "version", "scores", key]


def test_an_event_alone_has_the_score_that_it_has_among_others(client, model):
    alone = [client.post("/score", json={"events": [event]}).json()["scores"][0] for event in EVENTS]
    assert alone == scores_of(model.bundle)


@pytest.mark.parametrize("body", [EMPTY, {"events": []}])
def test_no_events_have_no_scores(client, body):
    answer = client.post("/score", json=body)
    assert (answer.status_code, answer.json()["scores"]) == (200, [])


def test_columns_that_the_model_does_not_need_are_ignored(client, model):
    answer = client.post("/score", json={"columns": {**COLUMNS, "comment": [{}]}})
    assert answer.json()["scores"] == scores_of(model.bundle)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "neither form"),
        (json.dumps({"columns": {**COLUMNS, "layer_1": [float("nan")] * 3}}), "write null for a missing value"),
        (json.dumps({"columns": {**COLUMNS, "layer_1": [float("inf")] * 3}}), "write null for a missing value"),
        (json.dumps({"columns": {**COLUMNS, "layer_1": ["high", 1, 2]}}), "'layer_1' needs numbers, and holds text"),
        (json.dumps({"columns": {**COLUMNS, "layer_2": [1.0]}}), "column 'layer_2' has 1 entries for 3 events"),
        (json.dumps({"columns": {"layer-1": [1.0]}}), "no column 'layer_1' (did you mean 'layer-1'?)"),
        (json.dumps({"events": [*EVENTS, {}]}), "event 3 of the request has no column 'layer_1'"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_a_reason(client, body, told):
    answer = client.post("/score", content=body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert told in answer.json()["error"]


def test_too_many_events_are_refused(model):
    with serving(model, max_events=2) as (client, _):
        answer = client.post("/score", json={"events": EVENTS})
        assert answer.status_code == 413
        assert answer.json() == {"error": "3 events in one request; at most 2 are taken, so send several requests"}
        assert client.post("/score", json={"events": EVENTS[:2]}).status_code == 200


def test_too_long_a_body_is_refused(model):
    with serving(model, max_bytes=100) as (client, _):
        answer = client.post("/score", content=b" " * 101)
        assert (answer.status_code, list(answer.json())) == (413, ["error"])
        assert "more than 100 bytes" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/score", 405), ("POST", "/ready", 405)]
)
def test_errors_of_the_framework_have_the_same_shape(client, method, path, status):
    answer = client.request(method, path)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_errors_of_declared_parameters_have_the_same_shape(model):
    app = create_app(FakeSource(model))
    app.get("/twice")(twice)
    answer = TestClient(app).get("/twice", params={"number": "x"})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("query.number: Input should be a valid integer")


def twice(number: int) -> int:
    return 2 * number


def test_a_failure_of_the_service_quotes_nothing_that_was_sent(model):
    broken = BrokenBundle(model.bundle.folder, model.bundle.manifest)
    with serving(ModelReference("pion-muon", "4", broken)) as (client, _):
        answer = client.post("/score", json={"columns": {**COLUMNS, "n_cells": [4711, 4712, 4713]}})
        assert (answer.status_code, list(answer.json())) == (500, ["error"])
        assert "RuntimeError" in answer.json()["error"]
        assert "471" not in answer.text


def test_ready_says_what_answers_and_what_it_needs(client, model):
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "model": "pion-muon",
        "version": "3",
        "digest": model.bundle.digest,
        "classes": ["background", "signal"],
        "outputs": ["score"],
        "columns": model.bundle.manifest.columns,
        "problem": None,
    }


def test_without_a_model_the_service_is_alive_but_not_ready_until_one_appears(model):
    with serving(RegistryError("no champion of 'pion-muon'")) as (client, source):
        assert client.get("/health").json() == {"status": "alive"}
        for answer in (client.get("/ready"), client.post("/score", json=EMPTY)):
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert answer.json() == {"error": "no model is loaded yet: no champion of 'pion-muon'"}
        source.content = model
        wait_until(lambda: client.get("/ready").status_code == 200)
        assert client.post("/score", json=EMPTY).status_code == 200


def unusable(model: ModelReference) -> ModelReference:
    bundle = UselessBundle(model.bundle.folder, model.bundle.manifest)
    return ModelReference(model.name, "4", bundle)


@pytest.mark.parametrize(
    ("next_content", "told"),
    [
        (lambda _: RegistryError("the bundle is not the one that was registered"), "the bundle is not the one"),
        (lambda _: OSError("no route to host"), "OSError: no route to host"),
        (unusable, "RuntimeError: the network does not load"),
    ],
)
def test_a_version_that_does_not_load_leaves_the_old_one_serving(model, caplog, next_content, told):
    with serving(model) as (client, source):
        source.content = next_content(model)
        wait_until(lambda: client.get("/ready").json()["problem"] is not None)
        ready = client.get("/ready").json()
        assert (ready["version"], ready["problem"].startswith(told)) == ("3", True)
        assert client.post("/score", json={"columns": COLUMNS}).json()["scores"] == scores_of(model.bundle)
        source.content = model
        wait_until(lambda: client.get("/ready").json()["problem"] is None)
    # Asked every few milliseconds, told once.
    assert sum(told in record.message for record in caplog.records) == 1


def test_under_load_every_answer_comes_from_the_version_it_names(make_bundle):
    bundles = {str(version): make_bundle(0.1 * version) for version in range(1, 5)}
    expected = {version: scores_of(bundle) for version, bundle in bundles.items()}
    references = [ModelReference("pion-muon", version, bundle) for version, bundle in bundles.items()]
    answers: list[tuple[int, str]] = []
    stop = threading.Event()

    with serving(references[0]) as (client, source):

        def hammer() -> None:
            while not stop.is_set():
                answer = client.post("/score", json={"columns": COLUMNS})
                answers.append((answer.status_code, answer.text))

        threads = [threading.Thread(target=hammer) for _ in range(3)]
        for thread in threads:
            thread.start()
        for i in range(40):
            source.content = references[i % 4]
            time.sleep(0.02)
        stop.set()
        for thread in threads:
            thread.join()

    assert {status for status, _ in answers} == {200}
    received = [json.loads(text) for _, text in answers]
    assert {answer["version"] for answer in received} == set(bundles)
    assert all(answer["scores"] == expected[answer["version"]] for answer in received)


def test_a_request_keeps_its_version_while_another_takes_over_and_health_answers(model, make_bundle):
    slow = SlowBundle(model.bundle.folder, model.bundle.manifest)
    answers = []
    with serving(ModelReference("pion-muon", "1", slow)) as (client, source):
        request = threading.Thread(target=lambda: answers.append(client.post("/score", json={"columns": COLUMNS})))
        request.start()
        assert slow.started.wait(PATIENCE)
        source.content = ModelReference("pion-muon", "2", make_bundle(0.2))
        wait_until(lambda: client.get("/ready").json()["version"] == "2")
        assert client.get("/health").status_code == 200
        assert not answers
        slow.let.set()
        request.join()
    assert answers[0].json() == {"model": "pion-muon", "version": "1", "scores": scores_of(model.bundle)}


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("WINNOW_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.usefixtures("own_home")
def test_the_champion_of_a_registry_is_followed_and_a_version_is_not(make_bundle):
    champion, pinned = ChampionSource("pion-muon"), ChampionSource("pion-muon/1")
    bundles = [make_bundle(0.1), make_bundle(0.2)]
    with tracked_run("pion-muon") as run:
        register(run, bundles[0], "pion-muon", {"auc": 0.8})
        with pytest.raises(RegistryError, match="model 'pion-muon' has no 'pion-muon'; versions"):
            champion.current()
        set_champion(run.client, "pion-muon", "1")
        first = champion.current()
        assert (first.name, first.version, first.bundle.digest) == ("pion-muon", "1", bundles[0].digest)
        register(run, bundles[1], "pion-muon", {"auc": 0.9})
        assert champion.current() is first
        held = pinned.current()
        set_champion(run.client, "pion-muon", "2")
    second = champion.current()
    assert (second.version, second.bundle.digest) == ("2", bundles[1].digest)
    assert pinned.current() is held


def test_a_folder_is_served_as_it_is(make_bundle):
    bundle = make_bundle(0.3)
    source = ChampionSource(str(bundle.folder))
    reference = source.current()
    assert reference.version == f"bundle {bundle.digest[:12]}"
    assert source.current() is reference


def test_the_service_does_not_import_tensorflow():
    program = "import sys, deploy.service; sys.exit(str({'tensorflow', 'keras', 'tf2onnx'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == "set()"


def test_serve_answers_on_its_port_until_it_is_ended(make_bundle, own_home):
    folder = make_bundle(0.3).folder
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = f"from deploy.service import serve; serve({str(folder)!r}, '127.0.0.1', {port}, 1.0)"
    process = subprocess.Popen([sys.executable, "-c", program], env=os.environ, cwd=Path(__file__).parents[2])
    try:
        answer = first_answer(f"http://127.0.0.1:{port}/ready", process)
        assert answer["model"] == "pion-muon"
    finally:
        process.terminate()
        assert process.wait(PATIENCE) in (0, -15)


def first_answer(address: str, process: subprocess.Popen[bytes]) -> dict[str, object]:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with suppress(URLError, OSError), urlopen(address, timeout=5) as answer:
            return json.loads(answer.read())
        time.sleep(0.1)
    pytest.fail(f"no answer from {address}; exit status {process.poll()}")
