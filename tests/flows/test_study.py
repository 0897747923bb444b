"""The trials of a search: drawn, judged, kept on disk, and begun again where they were interrupted."""

import sys
from pathlib import Path

import pytest

from flows.search import TuneSpec
from flows.study import Study, Trial, open_study
from pipeline.errors import DeclarationError, WinnowError

SEARCH = {
    "rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "widths": {"choices": [[8], [16, 16]]},
    "n": {"low": 1, "high": 9},
}
SPEC = TuneSpec.model_validate(
    {"startup_trials": 2, "warm_up_epochs": 1, "search": {f"training.{name}": axis for name, axis in SEARCH.items()}}
)
DECLARED = {"training.rate": 1e-3, "training.widths": [8], "training.n": 50}


def run(study: Study, *losses: float) -> Trial:
    """Make one trial that has these losses, epoch by epoch."""
    trial = study.ask()
    for epoch, loss in enumerate(losses, 1):
        if trial.is_hopeless(epoch, loss):
            study.prune(trial)
            return trial
    study.complete(trial, losses[-1])
    return trial


def test_the_first_trial_is_the_experiment_as_declared_as_far_as_the_axes_know_its_values(tmp_path: Path) -> None:
    with open_study(tmp_path, SPEC, DECLARED, seed=1) as study:
        first, second = run(study, 0.5), run(study, 0.4)
        assert (first.is_declared, first.settings) == (True, {"training.rate": 1e-3, "training.widths": [8]})
        assert second.settings.keys() == DECLARED.keys()
        assert second.settings["training.widths"] in ([8], [16, 16])
        assert isinstance(second.settings["training.n"], int)
        assert [(one.number, one.state, one.loss) for one in study.trials] == [
            (0, "complete", 0.5),
            (1, "complete", 0.4),
        ]


def test_a_trial_worse_than_the_median_is_hopeless_but_not_in_its_first_epochs(tmp_path: Path) -> None:
    with open_study(tmp_path, SPEC, DECLARED, seed=1) as study:
        run(study, 0.9, 0.5, 0.4)
        run(study, 0.9, 0.6, 0.5)
        trial = study.ask()
        assert [trial.is_hopeless(epoch, 2.0) for epoch in (1, 2)] == [False, True]
        study.prune(trial)
        assert [one.state for one in study.trials] == ["complete", "complete", "pruned"]


def test_without_a_pruner_nothing_is_hopeless(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"pruner": "none"})
    with open_study(tmp_path, spec, DECLARED, seed=1) as study:
        for losses in ((0.5, 0.4), (0.5, 0.4), (9.0, 9.0)):
            run(study, *losses)
        assert {one.state for one in study.trials} == {"complete"}


def test_an_interrupted_trial_is_not_counted_and_its_values_are_tried_again(tmp_path: Path) -> None:
    with open_study(tmp_path, SPEC, DECLARED, seed=1) as study:
        run(study, 0.5)
        interrupted = study.ask()
        interrupted.remember(run="ab12")
    with open_study(tmp_path, SPEC, DECLARED, seed=1) as study:
        assert study.give_up_interrupted() == ["ab12"]
        assert [one.number for one in study.trials] == [0]
        assert run(study, 0.4).settings == interrupted.settings
        assert study.give_up_interrupted() == []
        assert [one.number for one in study.trials] == [0, 2]


def test_the_declared_one_stays_so_when_it_is_interrupted(tmp_path: Path) -> None:
    with open_study(tmp_path, SPEC, DECLARED, seed=1) as study:
        study.ask()
        study.give_up_interrupted()
        assert run(study, 0.5).is_declared


def test_the_same_seed_draws_the_same_and_going_on_draws_something_new(tmp_path: Path) -> None:
    drawn = []
    for folder, pieces in (("once", [4]), ("again", [4]), ("pieces", [2, 2])):
        values = []
        for n_trials in pieces:
            with open_study(tmp_path / folder, SPEC, DECLARED, seed=3) as study:
                values += [run(study, 0.5).settings for _ in range(n_trials)]
        drawn.append(values)
    assert drawn[0] == drawn[1]
    assert drawn[2][:2] == drawn[0][:2]
    assert drawn[2][2] not in drawn[0][:2]


def test_a_failed_trial_counts_and_says_why(tmp_path: Path) -> None:
    with open_study(tmp_path, SPEC, DECLARED, seed=1) as study:
        study.fail(study.ask(), "the loss is not finite")
        [failed] = study.trials
        assert (failed.state, failed.loss, failed.problem) == ("failed", None, "the loss is not finite")


def test_the_setting_that_matters_is_the_important_one(tmp_path: Path) -> None:
    with open_study(tmp_path, SPEC, DECLARED, seed=1) as study:
        for _ in range(8):
            trial = study.ask()
            study.complete(trial, float(trial.settings.get("training.n", 9)))
        assert study.importance() == {}  # the first one says nothing of what it does not have
        trial = study.ask()
        study.complete(trial, float(trial.settings["training.n"]))
        found = study.importance()
    assert max(found, key=lambda name: found[name]) == "training.n"
    assert sum(found.values()) == pytest.approx(1.0)


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    with open_study(tmp_path, SPEC, DECLARED, seed=1):
        second = open_study(tmp_path, SPEC, DECLARED, seed=1)
        with pytest.raises(WinnowError, match="another process is at work on the same search, in"), second:
            pytest.fail("two searches at once")


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with (
        pytest.raises(DeclarationError, match=r"pip install 'winnow\[tune\]'"),
        open_study(tmp_path, SPEC, DECLARED, 1),
    ):
        pytest.fail("a study without Optuna")
