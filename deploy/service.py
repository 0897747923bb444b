"""The service: scores over HTTP, from the model that is champion now.

Owns the endpoints, the swap to a new version while requests are answered, and the way from our errors to
status codes. What a body may hold is ``json_events``' business; which version is meant and where its
bundle lies is that of the source of bundles, which ``create_app`` is given.

A new version is loaded and tried beside the old one, then one reference is replaced. A request takes that
reference once and keeps it, so that its scores and the version it names belong together. Where loading
fails the old version keeps serving, and ``/ready`` says why.
"""

import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from deploy.json_events import ScoringRequest, chunk_of_request, example_of, read_request
from deploy.ports import is_free
from flows.reference import ModelReference, is_folder, resolve
from models.bundle import Bundle
from models.companions import PASSES
from pipeline.chunk import Chunk
from pipeline.errors import DataError, DeclarationError, RegistryError, WinnowError

log = logging.getLogger(__name__)

MAX_EVENTS = 100_000
MAX_BYTES = 128 * 2**20
"""Room for ``MAX_EVENTS`` events of some fifty columns, one object each."""

STATUS_CODES: dict[type[WinnowError], int] = {DataError: 400, RegistryError: 503}
"""Which status our errors have; any other one is the service's own fault: 500."""


class BundleSource(Protocol):
    """Where the service gets its model from."""

    def current(self) -> ModelReference:
        """Return what is to be served now; the very same object for as long as that does not change.

        It may take its time. An exception means that there is nothing (new) to serve, and says why.
        """


class ChampionSource:
    """The version that a reference means: ``NAME`` (its champion), ``NAME@ALIAS``, ``NAME/VERSION`` or a folder.

    The registry is asked which version an alias means; a bundle is fetched only when that changes. A folder
    and a version never change, and nobody is asked again.
    """

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._held: ModelReference | None = None

    def current(self) -> ModelReference:
        """Return the version that the reference means now.

        Raises:
            RegistryError: there is no such model, alias or version.
            BundleError: the bundle is incomplete or altered.
        """
        if self._held is None or self._has_moved(self._held):
            self._held = resolve(self._reference)
        return self._held

    def _has_moved(self, held: ModelReference) -> bool:
        if "/" in self._reference or is_folder(self._reference):
            return False
        from flows.tracking.registry import version_of

        return version_of(self._reference) != (held.name, held.version)


class ServedModel:
    """The model that answers, and how it is replaced by the next one."""

    def __init__(self, source: BundleSource) -> None:
        self._source = source
        self._reference: ModelReference | None = None
        self.problem: str | None = None
        """Why there is no newer model than this, where the last attempt to load one failed."""

    def reference(self) -> ModelReference:
        """Return the model that answers now.

        Raises:
            RegistryError: none was loaded yet.
        """
        if self._reference is None:
            raise RegistryError(f"no model is loaded yet: {self.problem or 'it is being fetched'}")
        return self._reference

    def refresh(self) -> None:
        """Load, try and take what the source has now; where that fails, keep what there is."""
        try:
            found = self._source.current()
            if found is not self._reference:
                _try(found)
                log.info("serving %s version %s", found.name, found.version)
                self._reference = found
            self.problem = None
        # A broken model, a full disk, a registry that is away: none of them may end the service.
        except Exception as error:
            problem = str(error) if isinstance(error, WinnowError) else f"{type(error).__name__}: {error}"
            if problem != self.problem:
                log.warning("no new model is loaded: %s", problem)
            self.problem = problem

    def keep_fresh(self, stop: threading.Event, poll_seconds: float) -> None:
        """Refresh every ``poll_seconds`` until ``stop`` is set."""
        self.refresh()
        while not stop.wait(poll_seconds):
            self.refresh()


def _try(reference: ModelReference) -> None:
    """Score one event, so that everything that is loaded on first use is loaded, and works."""
    bundle = reference.bundle
    example = example_of(bundle.columns_to_read, bundle.list_sizes)
    bundle.companions(example, bundle.score(example))
    log.info("tried %s version %s, bundle %s", reference.name, reference.version, bundle.digest)


def create_app(
    source: BundleSource,
    poll_seconds: float = 5.0,
    max_events: int = MAX_EVENTS,
    max_bytes: int = MAX_BYTES,
) -> FastAPI:
    """Return the service: ``POST /score``, ``GET /health`` and ``GET /ready``.

    Every error is a JSON object with one key, ``error``.

    Args:
        source: where the model comes from; asked by a thread of its own, never while a request waits.
        poll_seconds: how often it is asked.
        max_events: most events in one request; more are refused with status 413.
        max_bytes: longest body of a request, likewise.
    """
    model = ServedModel(source)
    app = FastAPI(title="Winnow", lifespan=_lifespan(model, poll_seconds))
    _answer_errors_as_json(app)

    @app.post("/score", openapi_extra=_DOCUMENTED_BODY)
    async def score(request: Request) -> Response:
        """Score events: raw columns in, one score an event and the version that gave it out.

        Where the model has them: ``passes``, one list of truths for each working point, and ``probabilities``.
        """
        reference = model.reference()
        body = await _body(request, max_bytes)
        return await run_in_threadpool(_answer, reference, body, max_events)

    @app.get("/health")
    async def health() -> JSONResponse:
        """Say that the process answers."""
        return JSONResponse({"status": "alive"})

    @app.get("/ready")
    async def ready() -> JSONResponse:
        """Say which model answers and which columns it needs, or with status 503 why there is none."""
        return JSONResponse(_description(model))

    return app


_DOCUMENTED_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": ScoringRequest.model_json_schema()}},
    }
}


def _lifespan(model: ServedModel, poll_seconds: float) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        # A thread and no task: a registry that does not answer must hold up neither requests nor the end.
        thread = threading.Thread(target=model.keep_fresh, args=(stop, poll_seconds), name="model source", daemon=True)
        thread.start()
        yield
        stop.set()
        await run_in_threadpool(thread.join, 1.0)

    return lifespan


async def _body(request: Request, max_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise HTTPException(413, f"the body has more than {max_bytes} bytes; send the events in several requests")
        parts.append(part)
    return b"".join(parts)


def _answer(reference: ModelReference, body: bytes, max_events: int) -> Response:
    chunk = chunk_of_request(read_request(body), reference.bundle.columns_to_read)
    if len(chunk) > max_events:
        msg = f"{len(chunk)} events in one request; at most {max_events} are taken, so send several requests"
        raise HTTPException(413, msg)
    # Written here, off the event loop; a single-precision score is exact in the double that JSON's reader makes.
    answer = json.dumps({"model": reference.name, "version": reference.version, **_scored(reference.bundle, chunk)})
    return Response(answer, media_type="application/json")


def _scored(bundle: Bundle, chunk: Chunk) -> dict[str, object]:
    """Return the scores and, where the bundle has them, which cuts they pass and the probabilities of signal.

    Of a network with several outputs, or of one that finds quantities, each has a list under its name.
    """
    scores = bundle.score(chunk)
    named = {name: column.tolist() for name, column in bundle.output_columns(scores).items()}
    answer: dict[str, object] = {"scores": scores.tolist() if scores.ndim == 1 else named}
    if bundle.manifest.cuts:
        passes = bundle.passes(chunk, scores)
        answer["passes"] = {name.removeprefix(PASSES): events.tolist() for name, events in passes.items()}
    if bundle.manifest.calibration is not None:
        answer["probabilities"] = bundle.probability(scores).tolist()
    return answer


def _description(model: ServedModel) -> dict[str, object]:
    reference = model.reference()
    manifest = reference.bundle.manifest
    return {
        "status": "ready",
        "model": reference.name,
        "version": reference.version,
        "digest": reference.bundle.digest,
        "classes": manifest.classes,
        "outputs": manifest.outputs,
        "columns": reference.bundle.columns_to_read,
        "problem": model.problem,
    }


def _answer_errors_as_json(app: FastAPI) -> None:
    async def ours(_: Request, error: Exception) -> Response:
        status = next(code for kind, code in STATUS_CODES.items() if isinstance(error, kind))
        return _error(status, str(error))

    async def of_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _error(error.status_code, str(error.detail), error.headers)

    async def of_validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        problems = (f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        return _error(422, "; ".join(problems))

    async def unforeseen(_: Request, error: Exception) -> Response:
        # Its message may quote what was sent, which is nobody else's business.
        return _error(500, f"the service failed on this request ({type(error).__name__}); its log says more")

    for kind in STATUS_CODES:
        app.add_exception_handler(kind, ours)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(Exception, unforeseen)


def _error(status: int, text: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    retry = {"Retry-After": "1"} if status == 503 else {}
    return JSONResponse({"error": text}, status, {**(headers or {}), **retry})


def serve(reference: str, host: str = "127.0.0.1", port: int = 8000, poll_seconds: float = 5.0) -> None:
    """Serve what a reference means, until interrupted; the model may also appear later.

    Args:
        reference: ``NAME``, ``NAME@ALIAS``, ``NAME/VERSION`` or a bundle folder.
        host: address to listen at; other machines reach the service only where it is not the default.
        port: port to listen at.
        poll_seconds: how often the registry is asked whether the alias has moved.

    Raises:
        DeclarationError: the port is in use.
    """
    if not is_free(host, port):
        raise DeclarationError(f"port {port} of {host} is in use; choose another with --port")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    app = create_app(ChampionSource(reference), poll_seconds)
    uvicorn.run(app, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=10)
