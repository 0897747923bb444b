"""What the journal of a folder promises."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from flows.journal import JOURNAL, Journal, ScoredFile, announce, record

SCORED = ScoredFile(
    input="/data/a.root",
    input_sha256="1",
    output="scored/a.root",
    output_sha256="2",
    events_in=3,
    events_out=3,
    model="made",
    version="1",
    bundle="4",
    score_column="score",
    scored_at="2026-01-01T00:00:00+00:00",
    tree="tracks",
    not_copied=("h (TH1D)",),
)


def test_what_is_recorded_is_read_again(tmp_path: Path) -> None:
    announce(tmp_path / "a.root")
    announce(tmp_path / "b.root")
    record(tmp_path / "a.root", SCORED)
    assert Journal.read(tmp_path) == Journal({"a.root": SCORED}, frozenset({"a.root", "b.root"}))


def test_the_last_record_of_an_output_counts(tmp_path: Path) -> None:
    newer = replace(SCORED, version="2")
    for scored in (SCORED, newer):
        record(tmp_path / "a.root", scored)
    assert Journal.read(tmp_path).last == {"a.root": newer}


def test_every_line_is_one_json_object(tmp_path: Path) -> None:
    for name in ("a.root", "b.root"):
        announce(tmp_path / name)
        record(tmp_path / name, SCORED)
    lines = (tmp_path / JOURNAL).read_text().split("\n")
    assert lines.pop() == ""
    assert [len(json.loads(line)) for line in lines] == [1, len(asdict(SCORED))] * 2


@pytest.mark.parametrize("n_left", [1, 10, 30, 40])
def test_a_line_cut_short_is_ended_before_the_next(tmp_path: Path, n_left: int) -> None:
    announce(tmp_path / "a.root")
    (tmp_path / JOURNAL).write_text((tmp_path / JOURNAL).read_text() + json.dumps(asdict(SCORED))[:n_left])
    announce(tmp_path / "b.root")
    first, cut, last = (tmp_path / JOURNAL).read_text().splitlines()
    assert (json.loads(first), len(cut), json.loads(last)) == ({"announced": "a.root"}, n_left, {"announced": "b.root"})


def test_lines_of_several_workers_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text("cut sho")
    names = [f"{i}.root" for i in range(50)]
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(lambda name: announce(tmp_path / name), names))
    lines = (tmp_path / JOURNAL).read_text().splitlines()
    assert sorted(lines[1:]) == sorted(json.dumps({"announced": name}) for name in names)


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    line = {key: value for key, value in asdict(SCORED).items() if key not in ("tree", "not_copied")}
    (tmp_path / JOURNAL).write_text(f"\n{json.dumps(line)}\n")
    assert Journal.read(tmp_path).last == {"a.root": replace(SCORED, tree=None, not_copied=())}


@pytest.mark.parametrize("wrong", [{"output": 3}, {"input": None}, {"more": 1}])
def test_a_record_of_another_kind_is_left_out(tmp_path: Path, wrong: dict[str, object]) -> None:
    (tmp_path / JOURNAL).write_text(json.dumps({**asdict(SCORED), **wrong}) + "\n")
    assert Journal.read(tmp_path) == Journal({}, frozenset())
