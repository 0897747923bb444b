"""The prepared dataset: what training reads, on disk, ready to be memory-mapped.

Owns the layout of the folder and its integrity; how events get there is ``prepare``'s work.

    <key>/manifest.json          what went in, what came out, the input transform, the content hash
          train/features.npy     (n_events, n_features) float64, in the features' own units
                spectators.npy   (n_events, n_spectators) float64, NaN where missing
                label.npy        (n_events,) int8, index into the manifest's classes
                target.npy       (n_events, n_targets) float64, in the targets' own units
                sample.npy       (n_events,) int16, index into the manifest's samples
                identity.npy     (n_events,) uint64
                content.npy      (n_events, 1) uint64, by which an event is known again; (n_events, 0) without folds
                physics_weight.npy, training_weight.npy   (n_events,) float64, float32
          validation/…  test/…
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.declare import Declaration
from pipeline.errors import DataError
from pipeline.normalise import InputTransform
from pipeline.selection import CutFlow
from pipeline.splitting import PARTS
from pipeline.targets import TargetFacts

STREAMED: Mapping[str, Any] = {
    "features": np.float64,
    "spectators": np.float64,
    "label": np.int8,
    "target": np.float64,
    "sample": np.int16,
    "identity": np.uint64,
    "content": np.uint64,
    "physics_weight": np.float64,
}
"""The arrays that are written while events are read; training weights follow when the yields are known."""

FORMAT = 7
"""Raised whenever the same declaration would give another dataset, or the manifest another shape."""

WEIGHING_BLOCK = 1_000_000


class FileRecord(Declaration):
    """One file that went in."""

    sample: str
    path: str
    sha256: str
    n_events: int


class EventCounts(Declaration):
    """Where every event that was read went: ``read = kept + cut + left_out``, ``kept = train + validation + test``."""

    read: int
    kept: int
    cut: int
    left_out: int
    train: int
    validation: int
    test: int


class Manifest(Declaration):
    """Everything about a prepared dataset but the events themselves."""

    format: int
    key: str
    fold: int
    content: str
    classes: tuple[str, ...]
    targets: tuple[TargetFacts, ...]
    samples: tuple[str, ...]
    spectators: tuple[str, ...]
    columns: dict[str, str]
    spectator_columns: dict[str, str]
    files: tuple[FileRecord, ...]
    events: EventCounts
    cut_flow: dict[str, Any]
    yields: dict[str, dict[str, float]]
    training_factors: tuple[float, ...]
    n_missing: dict[str, int]
    transform: InputTransform


@dataclass(frozen=True, eq=False)
class EventArrays:
    """The events of one part, memory-mapped: first axis ``n_events`` everywhere."""

    features: NDArray[np.float64]
    spectators: NDArray[np.float64]
    label: NDArray[np.int8]
    target: NDArray[np.float64]
    sample: NDArray[np.int16]
    identity: NDArray[np.uint64]
    content: NDArray[np.uint64]
    physics_weight: NDArray[np.float64]
    training_weight: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class PreparedDataset:
    """A prepared dataset on disk."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a folder that ``prepare`` has written, and count the events that are there.

        Raises:
            DataError: there is no dataset, it was written by another version, or events are missing.

        """
        try:
            found = cls(folder, Manifest.model_validate_json((folder / "manifest.json").read_text()))
            if found.manifest.format != FORMAT:
                raise ValueError(f"it has format {found.manifest.format}, and this version writes {FORMAT}")
            found._count()
        except (OSError, ValueError) as error:
            raise DataError(f"{folder} holds no whole prepared dataset: {error}") from None
        return found

    def _count(self) -> None:
        for name in PARTS:
            promised = getattr(self.manifest.events, name)
            for array, values in vars(self.part(name)).items():
                if len(values) != promised:
                    raise ValueError(f"{name}/{array}.npy has {len(values)} events, and the manifest says {promised}")

    def part(self, name: str) -> EventArrays:
        """Return the events of ``train``, ``validation`` or ``test``; nothing is loaded before it is used."""
        assert name in PARTS, name
        names = [*STREAMED, "training_weight"]
        return EventArrays(**{array: _mapped(self.folder / name / f"{array}.npy") for array in names})


def _mapped(path: Path, mode: Literal["r", "r+"] = "r") -> NDArray[Any]:
    """Open an array without loading it; an empty one, of which there is no memory map, is loaded."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
    array: NDArray[Any] = np.load(path, mmap_mode=mode if 0 not in shape else None)
    return array


def loaded_blocks(part: EventArrays, n_events: int) -> Iterator[EventArrays]:
    """Yield the events in their order, at most ``n_events`` at a time, as ordinary arrays in memory.

    What is mapped is read from its file, not through the map: pages of a map that were looked at count as the
    process' own memory, which would grow with the file.
    """
    for start in range(0, len(part), n_events):
        stop = min(start + n_events, len(part))
        yield EventArrays(**{name: _loaded(array, start, stop) for name, array in vars(part).items()})


def _loaded(array: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
    if not (isinstance(array, np.memmap) and _is_whole_file(array)):
        return array[start:stop]
    row = array[:1]
    offset = array.offset + start * row.nbytes
    values = np.fromfile(str(array.filename), array.dtype, count=(stop - start) * row.size, offset=offset)
    return values.reshape(stop - start, *array.shape[1:])


def _is_whole_file(array: "np.memmap[Any, Any]") -> bool:
    """Whether the array is all that follows ``offset``; a slice of a map has the offset of the whole map."""
    is_plain = array.flags.c_contiguous and array.filename is not None and array.mode != "c"
    return is_plain and array.offset + array.nbytes == Path(str(array.filename)).stat().st_size


def content_hash(folder: Path) -> str:
    """Return one SHA-256 of all arrays of a dataset as they lie on disk."""
    files = [f"{part}/{name}.npy" for part in PARTS for name in (*STREAMED, "training_weight")]
    with ThreadPoolExecutor() as pool:
        digests = pool.map(hash_of_file, [folder / file for file in files])
        return hash_of(dict(zip(files, digests, strict=True)))


class ArrayStream:
    """Append blocks of rows to a ``.npy`` file of a length that is not known beforehand."""

    def __init__(self, path: Path, dtype: type[np.generic], row_shape: tuple[int, ...] = ()) -> None:
        self._dtype, self._row_shape, self._n = np.dtype(dtype), row_shape, 0
        self._file: IO[bytes] = path.open("w+b")
        self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        """Write more rows, shape ``(n, *row_shape)``."""
        block = np.ascontiguousarray(rows, dtype=self._dtype)
        self._file.write(block.data)
        self._n += len(block)

    def close(self) -> None:
        """Finish the file, once."""
        if not self._file.closed:
            self._file.seek(0)
            self._write_header()
            self._file.close()

    def _write_header(self) -> None:
        # NumPy pads its headers so that the first axis can grow in place: the length stays the same.
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._n, *self._row_shape)}
        np.lib.format.write_array_header_1_0(self._file, header)


class PartStream:
    """The streams of one part of a dataset."""

    def __init__(self, folder: Path, widths: Mapping[str, int]) -> None:
        """Begin the files; ``widths`` has the number of columns of each array that is a matrix."""
        folder.mkdir()
        self.folder = folder
        self._streams = {
            name: ArrayStream(folder / f"{name}.npy", dtype, (widths[name],) if name in widths else ())
            for name, dtype in STREAMED.items()
        }

    def append(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Write more events; ``arrays`` has one entry for each streamed array."""
        for name, stream in self._streams.items():
            stream.append(arrays[name])

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Return the number of events of each class, shape ``(n_classes,)``, once the files are closed."""
        return np.bincount(_mapped(self.folder / "label.npy"), minlength=n_classes)

    def close(self) -> None:
        """Finish the files."""
        for stream in self._streams.values():
            stream.close()


def weight_sums(folder: Path, n_samples: int, n_classes: int) -> NDArray[np.float64]:
    """Return the sums of physics weights and of their absolute values, shape ``(2, n_samples, n_classes)``.

    Added up in blocks of their own, so that the last digit does not depend on how the events were read.
    """
    sums = np.zeros((2, n_samples * n_classes))
    label, sample, physics = (_mapped(folder / f"{name}.npy") for name in ("label", "sample", "physics_weight"))
    for start in range(0, len(label), WEIGHING_BLOCK):
        block = slice(start, start + WEIGHING_BLOCK)
        cell, weights = sample[block].astype(np.int64) * n_classes + label[block], physics[block]
        sums += [np.bincount(cell, weights=w, minlength=sums.shape[1]) for w in (weights, np.abs(weights))]
    return sums.reshape(2, n_samples, n_classes)


def weigh_part(folder: Path, physics_scale: NDArray[np.float64], factors: NDArray[np.float64]) -> None:
    """Write the training weights of one part and scale its physics weights, block by block.

    Args:
        folder: the part's folder, with its streamed arrays closed.
        physics_scale: shape ``(n_samples, n_classes)``; from this part's yield to the whole sample's.
        factors: shape ``(n_classes,)``; from the unscaled physics weight to the training weight.

    """
    label, sample = (_mapped(folder / f"{name}.npy") for name in ("label", "sample"))
    physics = _mapped(folder / "physics_weight.npy", "r+")
    training = ArrayStream(folder / "training_weight.npy", np.float32)
    for start in range(0, len(label), WEIGHING_BLOCK):
        block = slice(start, start + WEIGHING_BLOCK)
        training.append(physics[block] * factors[label[block]])
        physics[block] *= physics_scale[sample[block], label[block]]
    if isinstance(physics, np.memmap):
        physics.flush()
    training.close()


def cut_flow_rows(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the cut-flow as table rows: sample, step, events, weighted, error, efficiency."""
    flow = CutFlow.from_json(manifest.cut_flow)
    return [
        {
            "sample": group,
            "step": row.step,
            "events": row.events,
            "weighted": row.weighted,
            "error": row.weighted_error,
            "efficiency": row.cumulative_efficiency,
        }
        for group in flow.groups
        for row in flow.rows(group)
    ]


def hash_of(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value.

    The order of keys counts: targets, classes and collections are declared by name, and lie in arrays in that order.
    """
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()


def hash_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
