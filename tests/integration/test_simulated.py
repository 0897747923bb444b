"""Every simulation writes an experiment that can be trained as it is: its file and its events pass `winnow check`."""

from pathlib import Path

import pytest

from flows.experiment import load_experiment
from pipeline.rehearsal import rehearse
from pipeline.simulate import SIMULATIONS, simulate

N_EVENTS = 400


@pytest.mark.parametrize("name", sorted(SIMULATIONS))
def test_a_simulated_experiment_passes_its_check(name: str, tmp_path: Path) -> None:
    file = load_experiment(simulate(name, tmp_path, N_EVENTS).experiment)
    rehearsal = rehearse(file.content, file.folder)
    assert rehearsal.problems == ()
    assert rehearsal.notes == ()
    assert sum(found.read for found in rehearsal.files) == N_EVENTS
