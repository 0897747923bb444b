"""What a bundle promises: one score an event however it comes, and nothing used that was altered."""

import json
import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from models.bundle import Bundle, RegisteredModel, load_bundle
from models.calibration import Calibration
from models.cuts import Bins, Cut
from pipeline.chunk import Chunk, chunk_of
from pipeline.errors import BundleError, ColumnTypeError, DataError, ExpressionError, MissingColumnError

Draw = Callable[[int, int], dict[str, NDArray[Any]]]


@pytest.fixture(scope="module")
def bundle(trained: Any) -> Bundle:
    loaded: Bundle = trained.bundle
    return loaded


@pytest.fixture(scope="module")
def columns(draw: Draw) -> dict[str, NDArray[Any]]:
    columns = draw(5_000, 2)
    columns["pt"][::50] = np.nan
    columns["time"][7::90] = np.inf
    return columns


@pytest.fixture(scope="module")
def scores(bundle: Bundle, columns: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    return bundle.score(chunk_of(columns))


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.folder, tmp_path / "bundle"))


def part_of(columns: dict[str, NDArray[Any]], start: int, stop: int) -> Chunk:
    return chunk_of({name: column[start:stop] for name, column in columns.items()})


def test_a_bundle_tells_signal_from_background(scores: NDArray[np.float32]) -> None:
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[1::2].mean() - scores[::2].mean() > 0.2


@pytest.mark.parametrize("size", [1, 7, 1023, 1024, 1025, 5_000])
def test_scores_do_not_depend_on_chunk_size(
    size: int, bundle: Bundle, columns: dict[str, NDArray[Any]], scores: NDArray[np.float32]
) -> None:
    n_events = 300 if size == 1 else 5_000
    parts = [bundle.score(part_of(columns, i, min(i + size, n_events))) for i in range(0, n_events, size)]
    np.testing.assert_array_equal(np.concatenate(parts), scores[:n_events])


def test_scores_do_not_depend_on_the_other_events_or_their_order(
    bundle: Bundle, columns: dict[str, NDArray[Any]], scores: NDArray[np.float32]
) -> None:
    order = np.random.default_rng(1).permutation(5_000)
    shuffled = bundle.score(chunk_of({name: column[order] for name, column in columns.items()}))
    np.testing.assert_array_equal(shuffled, scores[order])


def test_scores_do_not_depend_on_how_many_threads_ask(
    bundle: Bundle, columns: dict[str, NDArray[Any]], scores: NDArray[np.float32]
) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: bundle.score(chunk_of(columns)), range(12)))
    assert all(np.array_equal(answer, scores) for answer in answers)


def test_bundle_and_keras_agree(trained: Any, columns: dict[str, NDArray[Any]], scores: NDArray[np.float32]) -> None:
    inputs = trained.transform.apply(trained.bundle.features(chunk_of(columns)))
    assert np.asarray(trained.scoring(inputs))[:, 0] == pytest.approx(scores, abs=2e-6)


FRAMES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "as it is": lambda frame: frame,
    "columns shuffled": lambda frame: frame[["time", "mass", "hits", "pt"]],
    "another index": lambda frame: frame.set_index(frame.index[::-1] * 3),
    "more columns": lambda frame: frame.assign(run=7, name="a"),
    "a column named as a derived one": lambda frame: frame.assign(pt_per_hit=1e6),
    "floats instead of integers": lambda frame: frame.astype({"hits": np.float64}),
    "smaller integers": lambda frame: frame.astype({"hits": np.int16}),
    "None instead of NaN": lambda frame: frame.astype({"pt": object}).replace({"pt": {np.nan: None}}),
}


@pytest.mark.parametrize("change", FRAMES.values(), ids=FRAMES.keys())
def test_a_frame_gets_the_scores_of_the_chunk(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    bundle: Bundle,
    columns: dict[str, NDArray[Any]],
    scores: NDArray[np.float32],
) -> None:
    np.testing.assert_array_equal(bundle.score_frame(change(pd.DataFrame(columns))), scores)


def test_the_registered_model_keeps_the_index(bundle: Bundle, columns: dict[str, NDArray[Any]]) -> None:
    frame = pd.DataFrame(columns).set_index(np.arange(5_000) + 10)
    answer = RegisteredModel(bundle).predict(frame)
    assert list(answer.columns) == ["score"]
    assert answer.index.equals(frame.index)


@pytest.fixture(scope="module")
def cutting(bundle: Bundle) -> Bundle:
    """The same bundle with a cut in bins of a column that is no feature, and a calibration."""
    bins = Bins(variable="n_tracks", edges=(0.0, 2.0, 10.0))
    cut = Cut(name="tight", quantity="purity", requested=0.9, thresholds=(0.4, 0.6), bins=bins)
    calibration = Calibration(method="temperature", temperature=2.0, fitted_fraction=0.5)
    update = {"cuts": (cut,), "calibration": calibration, "cut_columns": {"n_tracks": "integer"}}
    return Bundle(bundle.folder, bundle.manifest.model_copy(update=update))


def test_the_registered_model_says_what_passes_and_how_probable_signal_is(
    cutting: Bundle, columns: dict[str, NDArray[Any]], scores: NDArray[np.float32]
) -> None:
    frame = pd.DataFrame({**columns, "n_tracks": np.arange(5_000) % 4}).set_index(np.arange(5_000) + 10)
    answer = RegisteredModel(cutting).predict(frame)
    assert list(answer.columns) == ["score", "passes_tight", "probability"]
    assert answer.index.equals(frame.index)
    np.testing.assert_array_equal(answer["passes_tight"], scores >= np.where(frame["n_tracks"] < 2, 0.4, 0.6))
    np.testing.assert_array_equal(answer["probability"], cutting.probability(scores))


def test_cuts_leave_the_scores_alone(
    cutting: Bundle, columns: dict[str, NDArray[Any]], scores: NDArray[np.float32]
) -> None:
    np.testing.assert_array_equal(cutting.score(chunk_of(columns)), scores)


def test_no_events_get_no_scores(bundle: Bundle, columns: dict[str, NDArray[Any]]) -> None:
    assert bundle.score(part_of(columns, 0, 0)).shape == (0,)
    assert bundle.score_frame(pd.DataFrame(columns)[:0]).shape == (0,)


def test_an_event_of_which_nothing_is_known_gets_a_score(bundle: Bundle) -> None:
    nothing = chunk_of({"pt": [np.nan], "hits": [np.nan], "mass": [-999.0], "time": [None]})
    assert 0 < bundle.score(nothing)[0] < 1


def test_an_event_without_a_value_that_may_not_be_missing_is_refused(bundle: Bundle) -> None:
    transform = bundle.manifest.transform.model_copy(update={"refused": {2: "mass"}})
    strict = Bundle(bundle.folder, bundle.manifest.model_copy(update={"transform": transform}))
    event = {"pt": [np.nan], "hits": [5], "mass": [-999.0], "time": [1.6e9]}
    with pytest.raises(DataError, match="feature 'mass' is missing in 1 of 1 events, and its policy is 'refuse'"):
        strict.score(chunk_of(event))


UNUSABLE = {
    "a column is missing": ({"pt": None}, MissingColumnError, r"has no column 'pt'; it has: hits, mass, time"),
    "a name is misspelt": ({"pt": None, "PT": [1.0]}, MissingColumnError, r"'pt' \(did you mean 'PT'\?\)"),
    "text": ({"mass": ["heavy"]}, ColumnTypeError, r"'mass' is text"),
    "a list": ({"mass": [[1.0, 2.0]]}, ExpressionError, r"'mass' is a list for each event"),
    "a list in a derived column": ({"hits": [[1, 2]]}, ExpressionError, r"'hits' is a list for each event"),
}


@pytest.mark.parametrize(("change", "kind", "message"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_events_of_another_kind_are_refused(
    change: dict[str, Any], kind: type[Exception], message: str, bundle: Bundle
) -> None:
    event = {"pt": [30.0], "hits": [5], "mass": [90.0], "time": [1.6e9], **change}
    with pytest.raises(kind, match=message):
        bundle.score(chunk_of({name: values for name, values in event.items() if values is not None}))


def test_jagged_columns_that_are_not_needed_do_not_disturb(bundle: Bundle, columns: dict[str, NDArray[Any]]) -> None:
    chunk = part_of(columns, 0, 2)
    more = chunk.with_columns({"jets": ak.Array([[1.0], []]), "name": np.array(["a", "b"], dtype=object)})
    np.testing.assert_array_equal(bundle.score(more), bundle.score(chunk))


@pytest.mark.parametrize("shape", [(5,), (3, 4), (3, 6)])
def test_a_matrix_of_another_shape_is_refused(shape: tuple[int, ...], bundle: Bundle) -> None:
    with pytest.raises(DataError, match=r"this model takes \(n_events, 5\)"):
        bundle.score_features(np.zeros(shape))


def _score_in_child(folder: Path, answers: Any) -> None:
    answers.put(len(load_bundle(folder).score_features(np.zeros((5_000, 5)))))


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_scores_as_well(bundle: Bundle) -> None:
    bundle.score_features(np.zeros((5_000, 5)))
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_score_in_child, args=(bundle.folder, answers), daemon=True)
    child.start()
    assert answers.get(timeout=60) == 5_000
    child.join(timeout=10)


FILES = ["model.onnx", "model.keras", "bundle.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.3, 0.9])
def test_a_changed_byte_is_found_out(name: str, place: float, copy: Path) -> None:
    content = bytearray((copy / name).read_bytes())
    content[int(place * len(content))] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        load_bundle(copy)


def test_a_recipe_that_was_edited_is_found_out(copy: Path) -> None:
    text = (copy / "bundle.json").read_text()
    (copy / "bundle.json").write_text(text.replace("pt / (hits + 1)", "pt / (hits + 2)"))
    with pytest.raises(BundleError, match=r"bundle\.json was altered after the bundle was made"):
        load_bundle(copy)


@pytest.mark.parametrize("name", [*FILES, "bundle.sha256"])
def test_a_file_that_is_gone_is_named(name: str, copy: Path) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(copy)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe", b'{"format": 1'])
def test_garbage_is_no_bundle(content: bytes, copy: Path) -> None:
    (copy / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"is no bundle: its bundle\.json cannot be read"):
        load_bundle(copy)


def test_a_bundle_of_a_later_format_is_refused_by_its_number(copy: Path) -> None:
    (copy / "bundle.json").write_text(json.dumps({"format": 2, "what": "nobody knows yet"}))
    with pytest.raises(BundleError, match="has bundle format 2; this version reads 1"):
        load_bundle(copy)


def test_the_checksum_is_one_that_sha256sum_reads(bundle: Bundle) -> None:
    assert (bundle.folder / "bundle.sha256").read_text() == f"{bundle.digest}  bundle.json\n"


def test_a_bundle_can_be_moved(copy: Path, columns: dict[str, NDArray[Any]], scores: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(load_bundle(str(copy)).score(chunk_of(columns)), scores)


def test_nothing_is_left_behind_where_a_bundle_was_written(bundle: Bundle) -> None:
    assert [path.name for path in bundle.folder.parent.iterdir()] == ["bundle"]


def test_scoring_needs_neither_keras_nor_tensorflow(bundle: Bundle) -> None:
    code = (
        "import sys; from models.bundle import load_bundle; from pipeline.chunk import chunk_of; "
        f"b = load_bundle({str(bundle.folder)!r}); "
        "b.score(chunk_of({'pt': [1.0], 'hits': [2], 'mass': [3.0], 'time': [1.6e9]})); "
        "print(sorted({'keras', 'tensorflow', 'tf2onnx', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
