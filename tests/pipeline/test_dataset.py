"""The prepared dataset on disk: arrays that grow, and a folder that is whole or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dataset import (
    STREAMED,
    ArrayStream,
    EventArrays,
    PartStream,
    PreparedDataset,
    content_hash,
    hash_of,
    hash_of_file,
    loaded_blocks,
    weigh_part,
)
from pipeline.errors import DataError
from pipeline.splitting import PARTS


@pytest.mark.parametrize("sizes", [[], [0], [1], [3, 0, 2], [70_000, 1]])
@pytest.mark.parametrize("row", [(), (3,)])
def test_what_is_appended_is_what_numpy_loads(tmp_path: Path, sizes: list[int], row: tuple[int, ...]) -> None:
    blocks = [np.random.default_rng(n).normal(size=(n, *row)) for n in sizes]
    stream = ArrayStream(tmp_path / "x.npy", np.float64, row)
    for block in blocks:
        stream.append(block)
    stream.close()
    expected = np.concatenate(blocks) if blocks else np.empty((0, *row))
    assert np.array_equal(np.load(tmp_path / "x.npy"), expected)


def test_the_hash_of_a_stream_is_that_of_its_content_and_not_of_its_blocks(tmp_path: Path) -> None:
    hashes = []
    for number, cuts in enumerate([[10], [3, 7], [5]]):
        stream = ArrayStream(tmp_path / f"{number}.npy", np.int8)
        for block in np.split(np.arange(10), cuts):
            stream.append(block)
        stream.close()
        hashes.append(hash_of_file(tmp_path / f"{number}.npy"))
    assert len(set(hashes)) == 1


def test_a_stream_of_another_type_has_another_hash(tmp_path: Path) -> None:
    kinds: list[Any] = [np.int8, np.uint8]
    for kind in kinds:
        ArrayStream(tmp_path / f"{kind.__name__}.npy", kind).close()
    assert len({hash_of_file(path) for path in tmp_path.iterdir()}) == 2


NARROW = {"features": 1, "spectators": 0, "target": 0, "content": 0}


def test_weights_are_written_from_sample_and_class(tmp_path: Path) -> None:
    stream = PartStream(tmp_path / "train", NARROW)
    labels, samples = np.array([0, 1, 1], np.int8), np.array([0, 0, 1], np.int16)
    weights, identity = np.array([1.0, 2.0, -3.0]), np.arange(3, dtype=np.uint64)
    names = ("features", "spectators", "target", "label", "sample", "identity", "content", "physics_weight")
    stream.append(
        dict(
            zip(
                names,
                (
                    weights[:, None],
                    np.empty((3, 0)),
                    np.empty((3, 0)),
                    labels,
                    samples,
                    identity,
                    np.empty((3, 0)),
                    weights,
                ),
                strict=True,
            )
        )
    )
    stream.close()
    weigh_part(tmp_path / "train", np.array([[2.0, 3.0], [5.0, 7.0]]), np.array([10.0, 100.0]))
    assert np.load(tmp_path / "train/physics_weight.npy").tolist() == [2.0, 6.0, -21.0]
    assert np.load(tmp_path / "train/training_weight.npy").tolist() == [10.0, 200.0, -300.0]


@given(st.dictionaries(st.text(), st.integers() | st.text(), max_size=5))
def test_the_hash_of_a_value_knows_the_order_of_its_keys(value: dict[str, Any]) -> None:
    """Targets, classes and collections are named in a table, and lie in arrays in its order."""
    turned = dict(reversed(value.items()))
    assert hash_of(value) == hash_of(dict(value))
    assert (hash_of(value) == hash_of(turned)) is (len(value) < 2)


def test_a_file_has_the_hash_that_everybody_else_computes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")  # the example of FIPS 180-4
    assert hash_of_file(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def written(folder: Path, weight: float) -> Path:
    for part in PARTS:
        stream = PartStream(folder / part, NARROW)
        shapes: dict[str, Any] = {"features": (1, 1), "spectators": (1, 0), "content": (1, 0)}
        stream.append({name: np.ones(shapes.get(name, 1)) for name in STREAMED})
        stream.close()
        weigh_part(folder / part, np.ones((2, 2)), np.full(2, weight))
    return folder


def test_the_content_hash_is_of_every_array_as_it_lies_on_disk(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "same", "other")]
    for folder, weight in zip(folders, (1.0, 1.0, 2.0), strict=True):
        folder.mkdir()
        written(folder, weight)
    one, same, other = (content_hash(folder) for folder in folders)
    assert one == same != other


@pytest.mark.parametrize("manifest", [None, "", "{}", '{"format": "?"}'])
def test_a_folder_without_a_whole_dataset_is_refused(tmp_path: Path, manifest: str | None) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(DataError, match="holds no whole prepared dataset"):
        PreparedDataset.open(tmp_path)


WIDTHS = {"features": 3, "spectators": 2, "content": 1}


def mapped(folder: Path, n_events: int) -> EventArrays:
    """As many events, each array's values its own; mapped, as a prepared dataset's are."""
    random, arrays = np.random.default_rng(n_events), {}
    for name, dtype in {**STREAMED, "training_weight": np.float32}.items():
        shape = (n_events, WIDTHS[name]) if name in WIDTHS else (n_events,)
        np.save(folder / f"{name}.npy", random.integers(0, 100, shape).astype(dtype))
        arrays[name] = np.load(folder / f"{name}.npy", mmap_mode="r" if 0 not in shape else None)
    return EventArrays(**arrays)


def assert_joined(blocks: list[EventArrays], part: EventArrays) -> None:
    for name, expected in vars(part).items():
        joined = np.concatenate([getattr(block, name) for block in blocks])
        assert (joined.dtype, joined.tolist()) == (expected.dtype, expected.tolist())


@pytest.mark.parametrize("n_events", [1, 3, 10, 11])
def test_the_blocks_of_a_part_are_all_its_events_in_their_order(tmp_path: Path, n_events: int) -> None:
    part = mapped(tmp_path, 10)
    blocks = list(loaded_blocks(part, n_events))
    assert max(map(len, blocks)) == min(n_events, 10)
    assert_joined(blocks, part)


def test_a_block_is_in_memory_and_no_piece_of_the_map(tmp_path: Path) -> None:
    part = mapped(tmp_path, 10)
    (block,) = loaded_blocks(part, 10)
    for name, array in vars(block).items():
        assert not isinstance(array, np.memmap)
        assert not np.shares_memory(array, getattr(part, name))


@pytest.mark.parametrize("piece", [slice(4, 9), slice(0, 5), slice(None, None, 2), slice(None, None, -1)])
def test_the_blocks_of_a_piece_of_a_map_are_its_own_events(tmp_path: Path, piece: slice) -> None:
    part = EventArrays(**{name: array[piece] for name, array in vars(mapped(tmp_path, 10)).items()})
    assert_joined(list(loaded_blocks(part, 3)), part)


def test_what_is_no_map_is_cut_into_blocks_as_it_is(tmp_path: Path) -> None:
    part = EventArrays(**{name: np.array(array) for name, array in vars(mapped(tmp_path, 10)).items()})
    assert_joined(list(loaded_blocks(part, 4)), part)


def test_a_part_without_events_has_no_blocks(tmp_path: Path) -> None:
    assert list(loaded_blocks(mapped(tmp_path, 0), 4)) == []
