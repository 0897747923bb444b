"""The rules about data that nothing may break, each by a test that could fail."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.chunk import chunk_of
from pipeline.dataset import PreparedDataset
from pipeline.errors import ColumnTypeError, DataError, ExpressionError, UnreadableFileError, WinnowError
from pipeline.plan import DataSpec
from pipeline.prepare import prepare
from pipeline.splitting import PARTS, SplitSpec, content_identities, event_identities

N = 4000
LABEL = {"column": "species", "signal": 2, "background": 1}
MISSING = {"values": [-999.0]}


def columns(n: int = N, seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "event": 2**60 + np.arange(n),
        "species": rng.integers(0, 4, n),  # 0 and 3 are no class
        "pt": np.where(rng.random(n) < 0.1, -999.0, rng.exponential(30.0, n)).astype(np.float32),
        "eta": rng.normal(size=n).astype(np.float32),
        "w": rng.normal(1.0, 0.7, n),
    }


def write(path: Path, events: dict[str, Any]) -> Path:
    with uproot.recreate(path) as file:
        tree = file.mktree("events", {name: column.dtype for name, column in events.items()})
        n = len(next(iter(events.values())))
        for start in range(0, n, 1000):
            tree.extend({name: column[start : start + 1000] for name, column in events.items()})
    return path


def spec_of(**sections: Any) -> DataSpec:
    document = {
        "samples": [{"name": "both", "label": LABEL, "files": ["*.root"], "weight": "w"}],
        "features": {"inputs": ["pt", "eta", "ratio"], "missing": MISSING},
        "derive": {"ratio": "eta / pt"},
        "split": {"by": ["event"]},
    }
    return DataSpec.model_validate({**document, **sections})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "a.root", columns())
    return tmp_path


def prepared(folder: Path, chunk_bytes: int = 2**25, store: str = "store", **sections: Any) -> PreparedDataset:
    return prepare(spec_of(**sections), folder, folder / store, chunk_bytes=chunk_bytes)


def by_identity(dataset: PreparedDataset) -> dict[int, str]:
    return {int(i): part for part in PARTS for i in dataset.part(part).identity}


@pytest.mark.parametrize("negative", ["keep", "drop", "absolute"])
@pytest.mark.parametrize(
    "select", [[], [{"name": "central", "keep": "abs(eta) < 1"}, {"name": "soft", "keep": "pt < 50"}]]
)
def test_every_event_that_is_read_is_kept_cut_or_left_out(folder: Path, negative: str, select: list[Any]) -> None:
    events = columns()
    dataset = prepared(folder, 5000, select=select, weights={"negative": negative})
    labelled = np.isin(events["species"], [1, 2])
    passed = labelled & (np.abs(events["eta"]) < 1) & (events["pt"] < 50) if select else labelled
    passed = passed & ((events["w"] >= 0) | (negative != "drop"))
    counts = dataset.manifest.events
    assert (counts.read, counts.left_out) == (N, int((~labelled).sum()))
    assert (counts.kept, counts.cut) == (int(passed.sum()), int((labelled & ~passed).sum()))
    assert [len(dataset.part(part)) for part in PARTS] == [counts.train, counts.validation, counts.test]


def test_no_row_is_dropped_for_a_missing_value_and_each_comes_once(folder: Path) -> None:
    dataset, events = prepared(folder), columns()
    kept = np.isin(events["species"], [1, 2])
    rows = np.concatenate([dataset.part(part).features for part in PARTS])
    expected = events["pt"][kept].astype(np.float64)
    assert np.array_equal(np.sort(rows[:, 0]), np.sort(expected))
    assert np.isnan(rows[rows[:, 0] == -999, 2]).all()
    assert len(by_identity(dataset)) == kept.sum()


@pytest.mark.parametrize("by", [["event"], "row", "content"])
def test_chunks_do_not_show_in_the_content(folder: Path, by: Any) -> None:
    sections = {"split": {"by": by}, "features": {"inputs": ["pt", "eta"]}, "derive": {}}
    datasets = [prepared(folder, size, f"store{size}", **sections) for size in (2_000, 2**25)]
    assert datasets[0].manifest.content == datasets[1].manifest.content
    assert datasets[0].manifest.cut_flow["steps"] == datasets[1].manifest.cut_flow["steps"]
    transforms = [dataset.manifest.transform for dataset in datasets]
    assert transforms[0].scale == pytest.approx(transforms[1].scale, rel=1e-9)
    assert transforms[0].fill == transforms[1].fill


def test_a_csv_column_that_looks_whole_for_a_while_does_not_move_events(tmp_path: Path) -> None:
    rows = [f"{i % 2 + 1},{i},1" for i in range(300)] + [f"{i % 2 + 1},{i}.5,1" for i in range(300)]
    (tmp_path / "a.csv").write_text("species,pt,eta\n" + "\n".join(rows) + "\n")
    samples = [{"name": "both", "label": LABEL, "files": ["a.csv"]}]
    sections = {"samples": samples, "split": {"by": "content"}, "derive": {}, "features": {"inputs": ["pt", "eta"]}}
    contents = {prepared(tmp_path, size, f"s{size}", **sections).manifest.content for size in (500, 2**20)}
    assert len(contents) == 1


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_the_split_does_not_depend_on_row_order_or_on_which_file_holds_an_event(tmp_path: Path, seed: int) -> None:
    events, order = columns(1000), np.random.default_rng(seed).permutation(1000)
    (one := tmp_path / f"one{seed}").mkdir(exist_ok=True)
    (two := tmp_path / f"two{seed}").mkdir(exist_ok=True)
    write(one / "a.root", events)
    write(two / "a.root", {name: column[order[:300]] for name, column in events.items()})
    write(two / "b.root", {name: column[order[300:]] for name, column in events.items()})
    assert by_identity(prepared(one)) == by_identity(prepared(two))


def test_statistics_do_not_change_when_other_parts_do(folder: Path) -> None:
    before = prepared(folder)
    events = columns()
    training = dict.fromkeys(int(i) for i in before.part("train").identity)
    identities = np.concatenate([before.part(part).identity for part in PARTS])
    assert set(training) < {int(i) for i in identities}
    other = _not_in_training(before, events)
    events["eta"][other] += 1000
    (folder / "a.root").unlink()
    write(folder / "a.root", events)
    after = prepared(folder)
    assert after.manifest.content != before.manifest.content
    assert after.manifest.transform == before.manifest.transform


def _not_in_training(dataset: PreparedDataset, events: dict[str, Any]) -> Any:
    """Training rows are found again by their η, which is different for every event."""
    return ~np.isin(events["eta"].astype(np.float64), dataset.part("train").features[:, 1])


def test_physics_weights_keep_each_classs_yield_in_every_part(folder: Path) -> None:
    dataset, events = prepared(folder, weights={"negative": "absolute"}), columns()
    for part in PARTS:
        arrays = dataset.part(part)
        for index, species in enumerate((1, 2)):
            expected = np.abs(events["w"][events["species"] == species]).sum()
            assert arrays.physics_weight[arrays.label == index].sum() == pytest.approx(expected)


def test_training_weights_balance_the_classes_and_are_other_arrays(folder: Path) -> None:
    arrays = prepared(folder).part("train")
    sums = [float(arrays.training_weight[arrays.label == c].sum(dtype=np.float64)) for c in (0, 1)]
    assert sums == pytest.approx([len(arrays) / 2] * 2, rel=1e-4)
    assert arrays.training_weight.dtype == np.float32
    assert arrays.physics_weight.dtype == np.float64


def test_spectators_go_with_their_events_and_are_nan_where_they_are_missing(folder: Path) -> None:
    events = columns()
    dataset = prepared(folder, 5000, features={"inputs": ["eta"], "missing": MISSING, "spectators": ["pt", "2 * eta"]})
    assert dataset.manifest.spectators == ("pt", "2 * eta")
    for part in map(dataset.part, PARTS):
        rows = np.searchsorted(np.sort(events["eta"]), part.features[:, 0])
        np.testing.assert_allclose(part.spectators[:, 1], 2 * part.features[:, 0], rtol=1e-6)
        pt = events["pt"][np.argsort(events["eta"])][rows]
        np.testing.assert_array_equal(part.spectators[:, 0], np.where(pt == -999.0, np.nan, pt))


def test_the_parts_have_their_fractions(folder: Path) -> None:
    counts = prepared(folder).manifest.events
    for part, fraction in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
        sigma = np.sqrt(counts.kept * fraction * (1 - fraction))
        assert abs(getattr(counts, part) - fraction * counts.kept) < 4 * sigma


def test_the_folds_share_the_events_out_and_each_has_statistics_of_its_own(folder: Path) -> None:
    spec = spec_of(split={"by": ["event"], "folds": 3})
    datasets = [prepare(spec, folder, folder / "store", fold=fold) for fold in range(3)]
    tested = [dataset.part("test").identity for dataset in datasets]
    assert sorted(np.concatenate(tested)) == sorted(by_identity(datasets[0]))
    assert all(by_identity(dataset).keys() == by_identity(datasets[0]).keys() for dataset in datasets)
    assert len({dataset.manifest.transform.offset for dataset in datasets}) == 3
    assert [dataset.manifest.fold for dataset in datasets] == [0, 1, 2]


def test_the_test_parts_of_all_folds_together_have_the_weights_of_the_events(folder: Path) -> None:
    spec, events = spec_of(split={"by": ["event"], "folds": 3}), columns()
    weights = dict(zip(events["event"].tolist(), events["w"].tolist(), strict=True))
    for fold in range(3):
        dataset = prepare(spec, folder, folder / "store", fold=fold)
        test, total = dataset.part("test"), sum(dataset.manifest.yields["both"].values())
        np.testing.assert_allclose(test.physics_weight / 3, [weights[int(i)] for i in _events(test.identity, events)])
        assert dataset.part("train").physics_weight.sum() == pytest.approx(total, rel=0.05)


def _events(identities: Any, events: dict[str, Any]) -> Any:
    known = event_identities(chunk_of(events), SplitSpec(by=("event",)), "both", "a.root", {"pt", "eta"})
    order = np.argsort(known)
    return events["event"][order][np.searchsorted(known[order], identities)]


def test_with_folds_an_event_is_known_again_by_the_columns_of_its_features(folder: Path) -> None:
    test = prepare(spec_of(split={"by": ["event"], "folds": 2}), folder, folder / "store").part("test")
    events = columns()
    contents = content_identities(chunk_of({name: events[name] for name in ("pt", "eta")}), {"pt", "eta"})
    assert set(test.content[:, 0]) < set(contents)
    assert prepared(folder).part("test").content.shape[1] == 0


def test_the_arrays_are_memory_maps(folder: Path) -> None:
    arrays = prepared(folder).part("train")
    assert all(isinstance(array, np.memmap) for array in vars(arrays).values() if array.size)


def test_the_same_inputs_are_not_prepared_twice(folder: Path) -> None:
    first = prepared(folder)
    touched = (first.folder / "manifest.json").stat().st_mtime_ns
    again = prepared(folder, chunk_bytes=3000)
    assert again.folder == first.folder
    assert (again.folder / "manifest.json").stat().st_mtime_ns == touched


@pytest.mark.parametrize(
    "sections",
    [
        {"select": [{"name": "a", "keep": "eta < 1"}]},
        {"split": {"by": ["event"], "salt": "x"}},
        {"features": {"inputs": ["pt", "eta"]}},
        {"features": {"inputs": ["pt", "eta", "ratio"], "missing": {"values": []}}},
        {"weights": {"balance": "none"}},
    ],
)
def test_another_declaration_gives_another_dataset(folder: Path, sections: dict[str, Any]) -> None:
    assert prepared(folder).manifest.key != prepared(folder, **sections).manifest.key


def test_one_changed_byte_gives_another_dataset_and_another_place_does_not(folder: Path, tmp_path: Path) -> None:
    first = prepared(folder)
    (folder / "b").mkdir()
    (folder / "a.root").rename(folder / "b" / "a.root")
    samples = [{"name": "both", "label": LABEL, "files": ["b/a.root"], "weight": "w"}]
    assert prepared(folder, samples=samples).folder == first.folder
    with (folder / "b" / "a.root").open("ab") as file:
        file.write(b"\0")
    assert prepared(folder, samples=samples).manifest.key != first.manifest.key


def test_a_damaged_dataset_is_prepared_again(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = prepared(folder)
    os.truncate(first.folder / "train" / "features.npy", 500)
    with pytest.raises(DataError, match="no whole prepared dataset"):
        PreparedDataset.open(first.folder)
    again = prepared(folder)
    assert "prepared again" in caplog.text
    assert again.manifest == first.manifest
    assert len(again.part("train").features) == first.manifest.events.train


def test_an_error_leaves_nothing_behind(folder: Path) -> None:
    (folder / "b.root").write_bytes((folder / "a.root").read_bytes()[:-3000])
    with pytest.raises(UnreadableFileError, match=r"b\.root"):
        prepared(folder)
    assert not list((folder / "store").glob("*")) if (folder / "store").exists() else True


def test_a_kill_leaves_nothing_under_the_final_name_and_the_rest_is_removed_later(folder: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from pipeline.plan import DataSpec;"
        "from pipeline.prepare import prepare;"
        "spec = DataSpec.model_validate_json(sys.argv[1]); folder = Path(sys.argv[2]);"
        "prepare(spec, folder, folder / 'store', lambda *_: os._exit(9), chunk_bytes=1)"
    )
    spec = spec_of().model_dump_json()
    done = subprocess.run([sys.executable, "-c", code, spec, str(folder)], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 9
    (left,) = (folder / "store").iterdir()
    assert left.name.startswith(".")
    prepared(folder)
    assert left.exists()  # it might still be at work
    yesterday = time.time() - 25 * 3600
    for path in [left, *left.rglob("*")]:
        os.utime(path, (yesterday, yesterday))
    prepared(folder)
    assert not left.exists()


@pytest.mark.parametrize(
    ("events", "sections", "error", "message"),
    [
        ({"w": np.full(N, np.nan)}, {}, DataError, "sample 'both': .*weight 'w' is not finite"),
        ({}, {"columns": {"eta": {"min": 0.0}}}, DataError, "sample 'both': .*'eta' has .* values outside"),
        ({"species": np.full(N, 1)}, {}, DataError, r"has no event with signal = .*; it has 1 \("),
        ({"species": np.full(N, 7)}, {}, DataError, "class 'background' has no events.*class 'signal' has no events"),
        ({"w": np.full(N, -1.0)}, {}, DataError, "training events add up to -"),
        ({"w": np.full(N, -1.0)}, {"weights": {"negative": "refuse"}}, DataError, "negative in"),
        ({"w": np.full(N, 1e300)}, {}, DataError, r"sample 'both': .*weight 'w' reaches 1e\+300.*another unit"),
        ({"w": np.full(N, 1e-300)}, {}, DataError, "training events .*e-29.*needs at least 1e-100: use another unit"),
        ({"eta": np.full(N, 1e300)}, {"derive": {}, "features": {"inputs": ["eta"]}}, DataError, "precision cannot"),
        ({"species": np.full(N, "mu", dtype=object)}, {}, ColumnTypeError, "holds text .first: 'mu'."),
        ({"eta": np.full(N, "mu", dtype=object)}, {"derive": {}, "features": {"inputs": ["eta"]}}, WinnowError, "text"),
    ],
)
def test_events_that_are_not_what_was_declared_are_refused_by_name(
    tmp_path: Path, events: dict[str, Any], sections: dict[str, Any], error: type[Exception], message: str
) -> None:
    import pandas as pd

    pd.DataFrame({**columns(), **events}).to_csv(tmp_path / "a.csv", index=False)
    samples = [{"name": "both", "label": LABEL, "files": ["a.csv"], "weight": "w"}]
    with pytest.raises(error, match=message):
        prepared(tmp_path, **{"samples": samples, **sections})
    assert not list((tmp_path / "store").glob("*"))


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_class_without_a_positive_sum_in_a_part_that_judges_is_refused_before_training(
    folder: Path, part: str
) -> None:
    events = columns() | {"w": np.ones(N)}
    write(folder / "a.root", events)
    members = [row for row, name in event_parts(prepared(folder)).items() if name == part]
    events["w"][members] = np.where(events["species"][members] == 2, -1.0, 1.0)
    write(folder / "a.root", events)
    message = f"class 'signal': the weights of its .* {part} events add up to -.*judging needs a positive sum"
    with pytest.raises(DataError, match=message):
        prepared(folder)


@pytest.mark.parametrize("part", PARTS)
def test_a_feature_that_may_not_be_missing_is_refused_in_every_part(folder: Path, part: str) -> None:
    events = columns()
    without = {"features": {"inputs": ["eta"]}, "derive": {}}
    where = next(event for event, name in event_parts(prepared(folder, **without)).items() if name == part)
    events["eta"][where] = np.nan
    write(folder / "a.root", events)
    strict = {"inputs": ["eta"], "missing": {"policy": "refuse"}}
    with pytest.raises(DataError, match=r"feature 'eta' is missing in 1 of .* its policy is 'refuse'"):
        prepared(folder, features=strict, derive={})


def event_parts(dataset: PreparedDataset) -> dict[int, str]:
    """Return the part of each event that is kept, by its row in the file."""
    chunk = chunk_of({"event": columns()["event"]})
    found = event_identities(chunk, SplitSpec(by=("event",)), "both", "a.root", ())
    parts = by_identity(dataset)
    return {row: parts[int(identity)] for row, identity in enumerate(found) if int(identity) in parts}


def test_a_list_needs_a_reduction(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        tree = file.mktree("events", {"species": "int32", "jet": "var * float32"})
        import awkward as ak

        tree.extend({"species": np.arange(300) % 2 + 1, "jet": ak.unflatten(np.ones(300, "f4"), [0, 1, 2] * 100)})
    samples = [{"name": "both", "label": LABEL, "files": ["a.root"]}]
    common = {"samples": samples, "derive": {}, "split": {"by": "row"}}
    with pytest.raises(ExpressionError, match=r"'jet' is a list for each event"):
        prepared(tmp_path, features={"inputs": ["jet"]}, **common)
    dataset = prepared(tmp_path, features={"inputs": ["count(jet)"]}, **common)
    assert sorted(set(dataset.part("train").features[:, 0].tolist())) == [0.0, 1.0, 2.0]


def test_progress_adds_up_to_the_events_that_were_read(folder: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    prepare(spec_of(), folder, folder / "store", lambda *message: told.append(message), chunk_bytes=5000)
    assert len(told) > 1
    assert sum(n for _, n, _ in told) == N
    assert {(work, total) for work, _, total in told} == {("prepare", N)}


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from pipeline.plan import DataSpec;"
        "from pipeline.prepare import prepare; folder = Path(sys.argv[2]);"
        "prepare(DataSpec.model_validate_json(sys.argv[1]), folder, folder / 'store', chunk_bytes=2**20);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for n in (150_000, 1_200_000):  # the sample for quantiles is full in both
        (folder := tmp_path / str(n)).mkdir()
        with uproot.recreate(folder / "a.root") as file:
            tree = file.mktree("events", {name: column.dtype for name, column in columns(1).items()})
            for seed in range(n // 50_000):
                tree.extend(columns(50_000, seed))
        command = [sys.executable, "-c", code, spec_of(split={"by": "row"}).model_dump_json(), str(folder)]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 60, peaks  # MiB; the features alone would be 29 more, all columns 30
