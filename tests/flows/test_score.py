import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from flows.journal import JOURNAL
from flows.reference import ModelReference
from flows.score import ScoredFile, ScoreOptions, ScoreOutcome, score_files
from pipeline.chunk import chunk_of_frame
from pipeline.errors import DeclarationError
from pipeline.layout import Layout

N_EVENTS = 5000


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    generator = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "y": generator.normal(size=N_EVENTS),
            "run": generator.integers(2**62, 2**63, N_EVENTS),
            "x": generator.normal(size=N_EVENTS),
            "particle": generator.choice(["mu", "pi"], N_EVENTS),
        }
    )


@pytest.fixture
def reference(make_bundle) -> ModelReference:
    return ModelReference("made", "1", make_bundle([1.0, -2.0], ["x", "y"]))


def write_csv(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


def write_parquet(frame: pd.DataFrame, path: Path) -> Path:
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=700)
    return path


def write_root(frame: pd.DataFrame, path: Path) -> Path:
    arrays = {name: frame[name].to_numpy() for name in ("y", "run", "x")}
    with uproot.recreate(path) as file:
        file.mktree("tracks", {name: array.dtype for name, array in arrays.items()})
        file["tracks"].extend(arrays)
    return path


def write_rntuple(frame: pd.DataFrame, path: Path) -> Path:
    with uproot.recreate(path) as file:
        file["tracks"] = {name: frame[name].to_numpy() for name in ("y", "run", "x")}
    return path


def read_root(path: Path) -> pd.DataFrame:
    with uproot.open(path) as file:
        return pd.DataFrame({name: branch.array(library="np") for name, branch in file["tracks"].iteritems()})


WRITERS = {"csv": write_csv, "parquet": write_parquet, "root": write_root}
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {"csv": pd.read_csv, "parquet": pd.read_parquet, "root": read_root}


@pytest.fixture
def events(frame, tmp_path) -> Path:
    return write_csv(frame, tmp_path / "events.csv")


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "scored"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def error_of(outcome: ScoreOutcome) -> str:
    assert not outcome.scored
    [quarantined] = outcome.quarantined
    assert "\n" not in quarantined.error
    return quarantined.error


@pytest.mark.parametrize("kind", WRITERS)
def test_every_column_is_kept_in_its_place_and_the_score_is_added(kind, frame, reference, tmp_path, out):
    path = WRITERS[kind](frame, tmp_path / f"events.{kind}")
    outcome = score_files(reference, [path], out)
    before, after = READERS[kind](path), READERS[kind](out / path.name)
    assert list(after) == [*before, "score"]
    pd.testing.assert_frame_equal(after[list(before)], before, check_exact=True)
    expected = reference.bundle.score(chunk_of_frame(before))
    assert np.array_equal(after["score"].to_numpy(np.float32).view(np.int32), expected.view(np.int32))
    assert (outcome.scored[0].events_in, outcome.scored[0].events_out) == (N_EVENTS, N_EVENTS)


def test_the_text_of_a_csv_is_kept_character_by_character(reference, tmp_path, out):
    path = tmp_path / "odd.csv"
    path.write_text('x,y,note\r\n1.50, 2e0,"a, b"\r\n-0.0,+3,\r\n')
    score_files(reference, [path], out)
    lines = (out / "odd.csv").read_text().splitlines()
    assert [line.rpartition(",")[0] for line in lines] == path.read_text().splitlines()


def test_a_file_without_events_gives_a_file_without_events(frame, reference, tmp_path, out):
    paths = [write_csv(frame[:0], tmp_path / "none.csv"), write_root(frame[:0], tmp_path / "none.root")]
    outcome = score_files(reference, paths, out)
    assert [(file.events_in, file.events_out) for file in outcome.scored] == [(0, 0), (0, 0)]
    assert list(read_root(out / "none.root")) == ["y", "run", "x", "score"]


def test_the_score_may_have_another_name(events, reference, out):
    score_files(reference, [events], out, ScoreOptions(score_column="is_muon"))
    assert list(pd.read_csv(out / "events.csv", nrows=1))[-1] == "is_muon"


def test_a_layout_says_how_a_file_without_header_is_read(frame, reference, tmp_path, out):
    path = tmp_path / "bare.csv"
    frame.to_csv(path, index=False, header=False, sep=";")
    layout = Layout(columns=tuple(frame), separator=";")
    score_files(reference, [path], out, ScoreOptions(layout))
    assert pd.read_csv(out / "bare.csv", sep=";", header=None).shape == (N_EVENTS, len(frame.columns) + 1)


def truncated(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


AT_FAULT = {
    "a missing column": (
        lambda frame, folder: write_csv(frame.rename(columns={"y": "Y"}), folder / "f.csv"),
        r"f\.csv has no column 'y' \(did you mean 'Y'\?\); it has: Y, particle, run, x",
    ),
    "text where numbers were": (
        lambda frame, folder: write_csv(frame.assign(y=frame["particle"]), folder / "f.csv"),
        r"'y' is text",
    ),
    "text where numbers were, late": (
        lambda frame, folder: write_csv(
            pd.concat([frame.astype(object)] * 20 + [frame[:1].assign(y="none")]), folder / "f.csv"
        ),
        r"f\.csv.*'y'.*",
    ),
    "a truncated ROOT file": (
        lambda frame, folder: truncated(write_root(frame, folder / "f.root")),
        r"f\.root cannot be read: it is truncated \([\d,]+ of [\d,]+ bytes are there\)",
    ),
    "a truncated RNTuple": (
        lambda frame, folder: truncated(write_rntuple(frame, folder / "f.root")),
        r"f\.root cannot be read: it is truncated",
    ),
    "a truncated Parquet file": (
        lambda frame, folder: truncated(write_parquet(frame, folder / "f.parquet")),
        r"f\.parquet cannot be read: it is truncated, corrupt or locked",
    ),
    "an empty file": (
        lambda frame, folder: (folder / "f.root").touch() or folder / "f.root",
        r"f\.root is empty \(0 bytes\)",
    ),
    "a directory": (
        lambda frame, folder: (folder / "f.root").mkdir() or folder / "f.root",
        r"f\.root cannot be opened: Is a directory",
    ),
    "no file": (lambda frame, folder: folder / "f.root", r"f\.root cannot be opened: No such file"),
    "a score there already": (
        lambda frame, folder: write_csv(frame.assign(score=0), folder / "f.csv"),
        r"f\.csv has a column 'score' already; give the score another name with --score-column",
    ),
}


@pytest.mark.parametrize("case", AT_FAULT)
def test_a_file_at_fault_is_named_in_one_line_and_nothing_is_written(case, frame, reference, tmp_path, out):
    make, told = AT_FAULT[case]
    path = make(frame, tmp_path)
    error = error_of(score_files(reference, [path], out))
    assert re.search(told, error), error
    assert names_in(out) == []


def test_a_file_at_fault_leaves_the_others_to_be_scored(events, reference, tmp_path, out):
    (tmp_path / "empty.csv").touch()
    outcome = score_files(reference, [tmp_path / "empty.csv", events, tmp_path / "gone.root"], out)
    assert [Path(file.input).name for file in outcome.scored] == ["events.csv"]
    assert [Path(file.input).name for file in outcome.quarantined] == ["empty.csv", "gone.root"]
    assert names_in(out) == ["events.csv", JOURNAL]


def test_what_is_scored_already_is_not_scored_again(events, reference, out):
    first = score_files(reference, [events], out)
    stamp = (out / "events.csv").stat().st_mtime_ns
    second = score_files(reference, [events], out)
    assert (second.scored, second.already_scored) == ((), first.scored)
    assert second.to_json()["events_out"] == N_EVENTS
    assert (out / "events.csv").stat().st_mtime_ns == stamp


def another_model(reference: ModelReference, make_bundle) -> ModelReference:
    return replace(reference, version="2", bundle=make_bundle([1.0, 2.0], ["x", "y"]))


CHANGES = {
    "the input": lambda events, out: events.write_text(events.read_text() + "1,2,3,mu\n"),
    "the output": lambda events, out: (out / events.name).write_text("x\n1\n"),
    "the end of the output": lambda events, out: truncated(out / events.name),
    "the output is gone": lambda events, out: (out / events.name).unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_scored_again(change, events, reference, out):
    score_files(reference, [events], out)
    CHANGES[change](events, out)
    again = score_files(reference, [events], out)
    assert len(again.scored) == 1
    assert len(pd.read_csv(out / "events.csv")) == len(pd.read_csv(events)) == again.scored[0].events_out


def test_a_newer_version_of_the_model_scores_again(events, reference, make_bundle, out):
    score_files(reference, [events], out)
    other = another_model(reference, make_bundle)
    assert [file.version for file in score_files(other, [events], out).scored] == ["2"]
    assert not score_files(other, [events], out).scored


@pytest.fixture
def two_trees(frame, tmp_path) -> Path:
    """Two trees that a model can score, a histogram beside them, and an older cycle and more in folders."""
    with uproot.recreate(tmp_path / "two.root") as file:
        for name in ("TreeS", "TreeB", "TreeB"):
            file.mktree(name, {"x": "f8", "y": "f8"}).extend({"x": frame["x"], "y": frame["y"]})
        file["h"] = np.histogram(frame["x"])
        file["deep/er/h"] = np.histogram(frame["y"])
    return tmp_path / "two.root"


def trained_on(reference: ModelReference, *trees: str) -> ModelReference:
    layouts = tuple(Layout(tree=tree) for tree in trees)
    manifest = reference.bundle.manifest.model_copy(update={"layouts": layouts})
    return replace(reference, bundle=replace(reference.bundle, manifest=manifest))


def test_of_several_trees_that_can_be_scored_one_must_be_named(two_trees, reference, out):
    reference = trained_on(reference, "TreeS", "TreeB")
    error = error_of(score_files(reference, [two_trees], out))
    assert error == f"{two_trees} holds several trees that this model can score: TreeS, TreeB; name one with --tree"
    outcome = score_files(reference, [two_trees], out, ScoreOptions(Layout(tree="TreeB")))
    assert outcome.scored[0].tree == "TreeB"


@pytest.mark.parametrize("trees", [("TreeB",), ("TreeB", "TreeB"), ("gone", "TreeB")])
def test_the_one_tree_of_the_training_files_needs_no_name(trees, two_trees, reference, out):
    outcome = score_files(trained_on(reference, *trees), [two_trees], out)
    assert [file.tree for file in outcome.scored] == ["TreeB"]


def test_what_else_a_root_file_holds_is_said_not_to_be_copied(two_trees, frame, reference, tmp_path, out):
    alone = write_root(frame, tmp_path / "alone.root")
    options = ScoreOptions(Layout(tree="TreeS"))
    expected = {str(out / "two.root"): ["TreeB (TTree)", "h (TH1D)", "deep/er/h (TH1D)"]}
    assert score_files(reference, [two_trees], out, options).to_json()["not_copied"] == expected
    again = score_files(trained_on(reference, "tracks", "TreeS"), [two_trees, alone], out)
    assert (again.to_json()["not_copied"], len(again.already_scored)) == (expected, 1)


def elsewhere(events: Path) -> Path:
    folder = events.parent / "elsewhere"
    folder.mkdir()
    write_csv(pd.read_csv(events)[1:], folder / events.name)
    return folder / events.name


OTHER_QUESTIONS = {
    "another input": (
        lambda r, _, path: (r, elsewhere(path), ScoreOptions()),
        r"holds the scores of /.*/events\.csv; ",
    ),
    "another column": (
        lambda r, _, path: (r, path, ScoreOptions(score_column="p")),
        r"holds the scores under the name 'score', not 'p'; ",
    ),
    "another model": (
        lambda _, other, path: (replace(other, name="other"), path, ScoreOptions()),
        r"holds the scores of the model 'made', not 'other'; ",
    ),
}


@pytest.mark.parametrize("case", OTHER_QUESTIONS)
def test_the_answer_to_another_question_is_replaced_only_if_one_says_so(case, events, reference, make_bundle, out):
    score_files(reference, [events], out)
    before = (out / events.name).read_bytes()
    ask, told = OTHER_QUESTIONS[case]
    asked, path, options = ask(reference, another_model(reference, make_bundle), events)
    error = error_of(score_files(asked, [path], out, options))
    assert re.search(told + "choose another folder, or --overwrite replaces it$", error), error
    assert (out / events.name).read_bytes() == before
    assert len(score_files(asked, [path], out, replace(options, overwrite=True)).scored) == 1


def test_another_tree_of_a_file_is_another_question(two_trees, reference, out):
    score_files(reference, [two_trees], out, ScoreOptions(Layout(tree="TreeS")))
    error = error_of(score_files(reference, [two_trees], out, ScoreOptions(Layout(tree="TreeB"))))
    assert "two.root holds the scores of the tree 'TreeS', not 'TreeB'; choose another folder" in error
    assert score_files(reference, [two_trees], out, ScoreOptions(Layout(tree="TreeS"))).already_scored


@pytest.mark.usefixtures("trained")  # which makes the test's folder the current one
@pytest.mark.parametrize("spelling", ["events.csv", "../{folder}/events.csv", "link/events.csv"])
def test_one_input_may_be_spelt_in_several_ways(spelling, events, reference, out):
    (events.parent / "link").symlink_to(events.parent)
    score_files(reference, [events], out)
    CHANGES["the input"](events, out)
    spelt = Path(spelling.format(folder=events.parent.name))
    [scored] = score_files(reference, [spelt], out).scored
    assert Path(scored.input).is_absolute()


def test_a_record_of_an_earlier_version_does_not_stand_in_the_way(frame, reference, tmp_path, out):
    path = write_root(frame, tmp_path / "events.root")
    score_files(reference, [path], out)
    announced, record = map(json.loads, (out / JOURNAL).read_text().splitlines())
    record = {key: value for key, value in record.items() if key not in ("tree", "not_copied")}
    record["input"] = "somewhere/events.root"
    (out / JOURNAL).write_text(f"{json.dumps(announced)}\n\n{json.dumps(record)}\n")
    assert [file.tree for file in score_files(reference, [path], out).scored] == ["tracks"]


@pytest.mark.usefixtures("trained")  # which makes the test's folder the current one
def test_a_folder_may_be_named_in_another_way_or_moved(events, reference, out):
    first = score_files(reference, [events], Path("scored"))
    assert len(score_files(reference, [events], out).already_scored) == 1
    moved = out.rename(out.with_name("moved"))
    again = score_files(reference, [events], moved)
    assert again.to_json()["already_scored"] == [str(moved / "events.csv")]
    assert again.already_scored[0].output_sha256 == first.scored[0].output_sha256


def test_a_foreign_file_is_replaced_only_if_one_says_so(events, reference, out):
    out.mkdir()
    (out / "events.csv").write_text("somebody's work\n")
    error = error_of(score_files(reference, [events], out))
    assert error == f"{out}/events.csv exists and was not written by Winnow; --overwrite replaces it"
    assert (out / "events.csv").read_text() == "somebody's work\n"
    assert len(score_files(reference, [events], out, ScoreOptions(overwrite=True)).scored) == 1


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 1.0])
def test_a_journal_that_a_kill_cut_short_does_not_matter(cut, events, frame, reference, tmp_path, out):
    other = write_csv(frame, tmp_path / "other.csv")
    score_files(reference, [events, other], out)
    lines = (out / JOURNAL).read_text().rstrip("\n").split("\n")
    lines[-1] = lines[-1][: int(cut * len(lines[-1]))]
    (out / JOURNAL).write_text("\n".join(lines))
    again = score_files(reference, [events, other], out)
    assert (len(again.scored) + len(again.already_scored), again.quarantined) == (2, ())
    assert len(score_files(reference, [events, other], out).already_scored) == 2


@pytest.mark.parametrize("line", ["[]", "null", "3", '{"input": "x"}', '{"announced": 3}', "\x00\xff", '"announced"'])
def test_a_line_of_nonsense_in_the_journal_does_not_matter(line, events, reference, out):
    score_files(reference, [events], out)
    with (out / JOURNAL).open("a") as journal:
        journal.write(f"{line}\n")
    assert len(score_files(reference, [events], out).already_scored) == 1


def test_a_line_of_the_journal_says_what_was_made_of_what_by_whom(events, reference, out):
    score_files(reference, [events], out)
    lines = [json.loads(line) for line in (out / JOURNAL).read_text().splitlines()]
    assert lines[0] == {"announced": "events.csv"}
    assert lines[1].keys() == ScoredFile.__dataclass_fields__.keys()
    assert (lines[1]["bundle"], lines[1]["version"]) == (reference.bundle.digest, "1")


def test_two_inputs_of_one_name_are_refused(events, reference, tmp_path, out):
    (tmp_path / "more").mkdir()
    other = shutil.copy(events, tmp_path / "more")
    with pytest.raises(DeclarationError, match=r"two input files are called 'events\.csv'"):
        score_files(reference, [events, Path(other)], out)


@pytest.mark.parametrize("spelling", [".", "more/..", "link"])
def test_scoring_into_the_folder_of_the_inputs_is_refused(spelling, events, reference, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(DeclarationError, match=r"holds the input 'events\.csv' itself; choose another folder"):
        score_files(reference, [events], tmp_path / spelling)


def test_a_file_for_a_folder_is_refused(events, reference, out):
    out.write_text("")
    with pytest.raises(DeclarationError, match=r"--out .*scored is a file; name a folder"):
        score_files(reference, [events], out)


def closed(folder: Path, mode: int = 0o500) -> Path:
    folder.mkdir(exist_ok=True)
    folder.chmod(mode)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    return folder


@pytest.mark.parametrize("place", [".", "in", "in/it"])
def test_a_folder_that_may_not_be_written_to_is_refused_once(place, events, reference, out):
    folder = closed(out) / place
    with pytest.raises(
        DeclarationError, match=rf"--out {re.escape(str(folder))} cannot be written to: Permission denied"
    ):
        score_files(reference, [events, events.with_name("gone.csv")], folder)


def test_a_folder_that_cannot_be_made_is_refused_once(events, reference):
    with pytest.raises(DeclarationError, match=r"--out .*/in/it cannot be written to: .*/events\.csv is a file"):
        score_files(reference, [events], events / "in" / "it")


def test_a_folder_of_an_impossible_name_is_refused_once(events, reference, out):
    with pytest.raises(DeclarationError, match=r"cannot be written to: File name too long"):
        score_files(reference, [events], out.with_name("x" * 300))


def test_an_output_that_cannot_be_written_is_named(events, reference, out):
    (out / "events.csv").mkdir(parents=True)
    error = error_of(score_files(reference, [events], out, ScoreOptions(overwrite=True)))
    assert error == f"{out}/events.csv is a folder, where the scored file should go"
    assert names_in(out / "events.csv") == []


def test_the_watcher_is_told_of_every_event(events, reference, out):
    told: list[tuple[str, int]] = []
    score_files(reference, [events], out, progress=lambda work, n, total: told.append((work, n)))
    assert {work for work, _ in told} == {"score events.csv"}
    assert sum(n for _, n in told) == N_EVENTS
