"""The bundle: everything needed to score, in one folder of data.

    <folder>/bundle.json      what it is, how its features are made, hashes of the other files
             bundle.sha256    the hash of bundle.json, as ``sha256sum --check`` reads it
             model.onnx       features → score, with missing-value policy and normalisation inside
             model.keras      the network, for retraining; never read here
             model-0.onnx …   with k folds: one of each for every fold, and
             known-events.npy which events each of them may score
             experiment.json  the resolved experiment
             evaluation.json  how good it is

Owns scoring: batch, HTTP, registry and evaluation all come through ``Bundle.score``, and what follows from a score
(which working points an event passes, its probability) through ``Bundle.companions``. Needs ONNX Runtime and no
TensorFlow. Nothing in a bundle is code, and its hashes are verified before anything is used.
"""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from models.calibration import Calibration
from models.companions import PASSES, PROBABILITY, CutVariables, columns_of_cuts, companion_types
from models.cuts import Cut
from models.folds import NEW, KnownEvents
from pipeline.chunk import Chunk, chunk_of_frame
from pipeline.dataset import hash_of_file
from pipeline.declare import Declaration, problems_of
from pipeline.errors import BundleError, DataError, DeclarationError
from pipeline.features import Recipe
from pipeline.layout import Layout
from pipeline.missing import refuse_missing
from pipeline.normalise import InputTransform
from pipeline.splitting import content_identities

FORMAT = 1
MANIFEST, CHECKSUM = "bundle.json", "bundle.sha256"
MODEL, NETWORK, KNOWN_EVENTS = "model.onnx", "model.keras", "known-events.npy"
SCORE = "score"
"""The column of a score, or the beginning of its name, unless another is asked for."""

BLOCK = 1024
"""Events in one call of the network: small enough for the cache of one core."""


class Threshold(Declaration):
    """A threshold on the score, and the signal efficiency on the validation part that it was chosen for."""

    signal_efficiency: float
    value: float


class BundleManifest(Declaration):
    """The content of ``bundle.json``.

    ``outputs`` are the names of the columns that scoring gives, all beginning with ``output_prefix``. ``columns`` are
    the raw columns that scoring needs, with their kinds, and ``cut_columns`` those that the variables of ``cuts`` need
    beyond them; ``layouts`` say how the files of the training samples were laid out, since new files are likely to be
    as well.
    """

    format: int = FORMAT
    name: str
    classes: tuple[str, ...]
    head: str = "binary"
    outputs: tuple[str, ...] = (SCORE,)
    output_prefix: str = SCORE
    recipe: Recipe
    columns: dict[str, str]
    layouts: tuple[Layout, ...]
    transform: InputTransform
    thresholds: tuple[Threshold, ...] = ()
    cuts: tuple[Cut, ...] = ()
    calibration: Calibration | None = None
    cut_columns: dict[str, str] = Field(default_factory=dict)
    folds: int = 1
    provenance: dict[str, str]
    files: dict[str, str]

    @model_validator(mode="after")
    def _cuts_can_be_applied(self) -> Self:
        names = [cut.name for cut in self.cuts]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two cuts are called {twice[0]!r}; every one needs a name of its own")
        try:
            columns_of_cuts(self.cuts, self.recipe, self.columns, self.cut_columns)
        except DataError as error:
            raise ValueError(f"the variables of cuts cannot be had: {error}") from None
        return self


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle; make one with ``load_bundle``."""

    folder: Path
    manifest: BundleManifest

    @cached_property
    def digest(self) -> str:
        """SHA-256 of ``bundle.json``, which holds the hashes of everything else."""
        return hash_of_file(self.folder / MANIFEST)

    @cached_property
    def _networks(self) -> tuple["ScoringGraph", ...]:
        folds = self.manifest.folds
        return tuple(ScoringGraph(self.folder / name_in_fold(MODEL, fold, folds)) for fold in range(folds))

    @cached_property
    def _known_events(self) -> KnownEvents | None:
        folds = self.manifest.folds
        return KnownEvents.load(self.folder / KNOWN_EVENTS, folds) if folds > 1 else None

    @cached_property
    def _needed(self) -> tuple[frozenset[str], frozenset[str]]:
        """The raw and the derived columns that the features need."""
        recipe, available = self.manifest.recipe, self.manifest.columns
        return recipe.needed_for(recipe.texts, available), recipe.derived_for(recipe.texts, available)

    @cached_property
    def columns_to_read(self) -> dict[str, str]:
        """The raw columns that events must have to be scored and cut on, with their kinds."""
        return {**self.manifest.columns, **self.manifest.cut_columns}

    def output_names(self, score_column: str = SCORE) -> tuple[str, ...]:
        """Return the names of the columns that hold the score, or one for each output, as ``score_electron``.

        ``score_column`` stands in the place of what they begin with.
        """
        outputs, prefix = self.manifest.outputs, self.manifest.output_prefix
        return outputs if score_column == SCORE else tuple(score_column + name.removeprefix(prefix) for name in outputs)

    def output_columns(self, scores: NDArray[np.float32], score_column: str = SCORE) -> dict[str, NDArray[np.float32]]:
        """Return what ``score`` gives column by column: name → shape ``(n_events,)``."""
        columns = scores.reshape(len(scores), len(self.manifest.outputs)).T
        return dict(zip(self.output_names(score_column), columns, strict=True))

    @cached_property
    def list_sizes(self) -> dict[str, int]:
        """How many entries an event may have in columns of lists, where others than one are needed."""
        return self.manifest.recipe.list_sizes(self.manifest.columns)

    @cached_property
    def companion_types(self) -> dict[str, np.dtype[Any]]:
        """The columns that ``companions`` gives, with their types."""
        return companion_types(self.manifest.cuts, self.manifest.calibration)

    @cached_property
    def _cut_variables(self) -> CutVariables:
        return CutVariables.of(self.manifest.cuts, self.manifest.recipe, self.columns_to_read)

    def read_json(self, name: str) -> Any:
        """Return the content of one of the bundle's JSON files."""
        return json.loads((self.folder / name).read_text())

    def features(self, chunk: Chunk) -> NDArray[np.float64]:
        """Return the feature matrix of raw events, shape ``(n_events, n_features)``.

        Raises:
            MissingColumnError, ColumnTypeError: the events are not those that the model was trained for.
        """
        raw, derived = self._needed
        # Other columns are left out: one of them could have the name of a derived column or of an expression.
        needed = Chunk({name: chunk[name] for name in raw}, len(chunk), chunk.first_event, chunk.source)
        recipe = self.manifest.recipe
        return recipe.matrix(recipe.derived(needed, derived) if derived else needed)

    def score(self, chunk: Chunk) -> NDArray[np.float32]:
        """Return the score of every event, shape ``(n_events,)``, in [0, 1]; 1 is signal.

        Heads other than ``binary`` give ``(n_events, n_outputs)``. With folds it is that of the network that has not
        seen the event, and the mean of all where none has.

        Raises:
            DataError: a feature is missing whose policy is ``refuse``; and as for ``features``.
        """
        features, transform = self.features(chunk), self.manifest.transform
        refuse_missing(features, transform.refused, transform.sentinels, chunk.source, transform.blocks)
        return self.score_features(features, self._contents(chunk))

    def score_frame(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        """Return the score of every row of a pandas frame of raw columns, shaped as by ``score``."""
        return self.score(chunk_of_frame(frame))

    def score_features(
        self, features: NDArray[np.float64], contents: NDArray[np.uint64] | None = None
    ) -> NDArray[np.float32]:
        """Return the score of every row of a feature matrix ``(n_events, n_features)``, shaped as by ``score``.

        ``contents``, shape ``(n_events,)``, are what the events are known by; without them all are taken for new,
        which matters with folds alone.
        """
        if self._known_events is None:
            return self._networks[0].score(features)
        folds = np.full(len(features), NEW) if contents is None else self._known_events.folds_of(contents)
        scores = np.empty((len(features), *self._networks[0].shape), dtype=np.float32)
        for fold in np.unique(folds):
            rows = np.flatnonzero(folds == fold)
            of_fold = self._networks if fold == NEW else [self._networks[fold]]
            scores[rows] = np.mean([network.score(features[rows]) for network in of_fold], axis=0)
        return scores

    def companions(self, chunk: Chunk, scores: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Return what follows from the scores of events, by the names of the columns in ``companion_types``.

        Raises:
            DataError: as for ``passes``.
        """
        passes = self.passes(chunk, scores)
        return passes if self.manifest.calibration is None else {**passes, PROBABILITY: self.probability(scores)}

    def passes(self, chunk: Chunk, scores: NDArray[np.float32]) -> dict[str, NDArray[np.bool_]]:
        """Return which events pass each cut, ``passes_<name>`` → shape ``(n_events,)``, from raw events and scores.

        An event in which the variable of a cut's bins is missing (NaN or a sentinel) does not pass; one in which it
        is infinite belongs to an outer bin.

        Raises:
            DataError: the events are not those that the cuts were made for (``MissingColumnError`` and others), or
                are not as many as the scores.
        """
        values = self._cut_variables.values(chunk)
        return {
            f"{PASSES}{cut.name}": cut.passes(scores, values[cut.bins.variable] if cut.bins else None)
            for cut in self.manifest.cuts
        }

    def probability(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the calibrated probability of signal of every score, shape ``(n_events,)``.

        Raises:
            DeclarationError: the bundle has no calibration.
        """
        if self.manifest.calibration is None:
            msg = f"the model {self.manifest.name!r} has no calibration: its scores order events, and are all there is"
            raise DeclarationError(msg)
        return self.manifest.calibration.apply(scores)

    def _contents(self, chunk: Chunk) -> NDArray[np.uint64] | None:
        return content_identities(chunk, self.manifest.columns) if self.manifest.folds > 1 else None


class ScoringGraph:
    """The exported network: feature matrix in, scores out."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        # Several single-threaded calls at once beat one call on several threads: each block stays in its cache.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.n_features: int = self._session.get_inputs()[0].shape[1]
        self.shape: tuple[int, ...] = tuple(self._session.get_outputs()[0].shape[1:])
        """Shape of the score of one event: empty, or ``(n_outputs,)``."""

    def score(self, features: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the score of every row of ``(n_events, n_features)``; it depends on that row alone.

        Raises:
            DataError: the matrix has another shape, or a score is not a number; no event is given a made-up one.
        """
        if features.ndim != 2 or features.shape[1] != self.n_features:
            raise DataError(f"features have shape {features.shape}; this model takes (n_events, {self.n_features})")
        scores = np.empty((len(features), *self.shape), dtype=np.float32)

        def fill(start: int) -> None:
            block = np.ascontiguousarray(features[start : start + BLOCK], dtype=np.float64)
            scores[start : start + BLOCK] = self._session.run(["score"], {"features": block})[0]

        starts = range(0, len(features), BLOCK)
        run = map if len(starts) <= 2 else _workers().map
        for _ in run(fill, starts):
            pass
        broken = np.unique(np.nonzero(~np.isfinite(scores))[0])
        if broken.size:
            raise DataError(f"{broken.size} events have a score that is not a number (first: event {broken[0]})")
        return scores


def name_in_fold(name: str, fold: int, folds: int) -> str:
    """Return a file's name in a bundle: ``model.onnx``, or with several folds ``model-0.onnx`` and so on."""
    path = Path(name)
    return name if folds == 1 else f"{path.stem}-{fold}{path.suffix}"


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="score")


# A forked process inherits the pool but not its threads, and would wait for them for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)


def write_bundle(folder: Path, manifest: BundleManifest, files: Mapping[str, Path]) -> Bundle:
    """Put files into a new bundle folder, hash them, and load the result.

    Args:
        folder: where; must not exist.
        manifest: everything but the hashes, which are filled in here.
        files: name in the bundle → file, which is moved.
    """
    temporary = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    temporary.mkdir(parents=True)
    try:
        for name, path in files.items():
            shutil.move(path, temporary / name)
        hashes = {name: hash_of_file(temporary / name) for name in files}
        final = manifest.model_copy(update={"files": hashes})
        (temporary / MANIFEST).write_text(final.model_dump_json(indent=1))
        (temporary / CHECKSUM).write_text(f"{hash_of_file(temporary / MANIFEST)}  {MANIFEST}\n")
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return load_bundle(folder)


def load_bundle(folder: Path | str) -> Bundle:
    """Load a bundle and verify the hash of every file in it.

    Raises:
        BundleError: a file is missing or altered, or the bundle is of another format.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    for name, expected in manifest.files.items():
        _verify(folder / name, expected)
    return Bundle(folder, manifest)


def _read_manifest(folder: Path) -> BundleManifest:
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
        found = content["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder} is no bundle: its {MANIFEST} cannot be read ({error!r})") from None
    # Before anything else, because another format may have other files and other keys.
    if found != FORMAT:
        raise BundleError(f"{folder} has bundle format {found!r}; this version reads {FORMAT}")
    _verify(folder / MANIFEST, _recorded(folder / CHECKSUM))
    try:
        manifest = BundleManifest.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(problems_of(error, content, BundleManifest))
        raise BundleError(f"{folder / MANIFEST} is not what this version writes: {problems}") from None
    needed = [name_in_fold(MODEL, fold, manifest.folds) for fold in range(manifest.folds)]
    needed += [KNOWN_EVENTS] * (manifest.folds > 1)
    if lacking := [name for name in needed if name not in manifest.files]:
        raise BundleError(f"{folder / MANIFEST} records no hash of {', '.join(lacking)}")
    return manifest


def _recorded(path: Path) -> str:
    try:
        return path.read_text().split()[0]
    except (OSError, UnicodeDecodeError, IndexError):
        raise BundleError(f"{path.parent} lacks {path.name}, or it is empty or no text") from None


def _verify(path: Path, expected: str) -> None:
    if not path.is_file():
        raise BundleError(f"{path.parent} lacks {path.name}")
    if hash_of_file(path) != expected:
        raise BundleError(f"{path} was altered after the bundle was made: its SHA-256 is not the recorded one")


class RegisteredModel:
    """A bundle as the registry's generic model: frames of raw columns in, scores out."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the columns that hold the scores of each row, and beside them what ``Bundle.companions`` gives."""
        chunk = chunk_of_frame(frame)
        scores = self.bundle.score(chunk)
        columns = {**self.bundle.output_columns(scores), **self.bundle.companions(chunk, scores)}
        return pd.DataFrame(columns, index=frame.index)


def _load_pyfunc(folder: str) -> RegisteredModel:
    """Load what was registered; the name is the registry's convention for a loader module."""
    return RegisteredModel(load_bundle(folder))
