"""Simulated files are whole or absent, blanks are blanks, and jagged columns stay jagged."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from pipeline.durable import write_whole
from pipeline.simulation.files import write_events


def test_a_writer_that_fails_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    def write_half(draft: Path) -> None:
        draft.write_text("half", encoding="utf-8")
        raise OSError("the disk is full")

    (tmp_path / "events.csv").write_text("old", encoding="utf-8")
    with pytest.raises(OSError, match="the disk is full"):
        write_whole(tmp_path / "events.csv", write_half)
    assert [path.name for path in tmp_path.iterdir()] == ["events.csv"]
    assert (tmp_path / "events.csv").read_text(encoding="utf-8") == "old"


def test_a_missing_number_is_a_blank_in_csv(tmp_path: Path) -> None:
    events = {
        "objid": np.array([2**53 + 1, 7]),
        "u": np.array([np.nan, 1.5]),
        "type": np.array(["STAR", "QSO"], object),
    }
    text = write_events(tmp_path / "objects.csv", events).read_text(encoding="utf-8")
    assert text == "objid,u,type\n9007199254740993,,STAR\n7,1.5,QSO\n"


def test_records_of_hits_become_a_counter_and_jagged_branches(tmp_path: Path) -> None:
    hits = ak.Array([[{"energy": 1.5, "layer": 2}], [], [{"energy": 2.0, "layer": 1}, {"energy": 3.0, "layer": 9}]])
    path = write_events(tmp_path / "tracks.root", {"event": np.array([4, 5, 6]), "hit": hits}, tree="tracks")
    with uproot.open(path) as file:
        arrays = file["tracks"].arrays()
    assert arrays["nhit"].to_list() == [1, 0, 2]
    assert arrays["hit_energy"].to_list() == [[1.5], [], [2.0, 3.0]]
    assert arrays["event"].to_list() == [4, 5, 6]
