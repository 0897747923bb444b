"""The study: the trials of a search, kept on disk from one run to the next; the only importer of Optuna.

Owns which trial comes next, which one is stopped early, and what is remembered of each. A study is a SQLite file in a
folder of its own; one process at a time may go on with it. A trial that was under way when its process was killed
counts as failed, and its values are tried again.
"""

import fcntl
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flows.search import Axis, TuneSpec
from pipeline.errors import DeclarationError, WinnowError

if TYPE_CHECKING:
    import optuna

NAME = "winnow"
DECLARED, PROBLEM, RUN, EPOCHS, SETTINGS = "declared", "problem", "run", "epochs", "settings"
"""What a trial has besides its parameters, under the names that it has in Optuna."""

FEWEST_FOR_IMPORTANCE = 8
"""Complete trials below which their values do not say which of the settings matters."""

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class TrialRecord:
    """A trial that has ended: its settings, its loss (of a pruned one the last) and what became of it."""

    number: int
    state: State
    is_declared: bool
    settings: dict[str, Any]
    loss: float | None
    epochs: int
    run_id: str | None
    problem: str = ""


class Trial:
    """A trial under way: the values to train with, and who hears how it goes."""

    def __init__(self, trial: "optuna.Trial", search: Mapping[str, Axis], declared: Mapping[str, Any]) -> None:
        """Draw the values; of the experiment as declared, those that are not on an axis stay as they are."""
        self._trial, self.number = trial, trial.number
        self.is_declared = bool(trial.user_attrs.get(DECLARED))
        drawn = {k: axis for k, axis in search.items() if not self.is_declared or axis.contains(declared[k])}
        self.settings = {name: _drawn(trial, name, axis) for name, axis in drawn.items()}
        trial.set_user_attr(SETTINGS, json.dumps(self.settings))

    def remember(self, **what: Any) -> None:
        """Keep something with the trial."""
        for name, value in what.items():
            self._trial.set_user_attr(name, value)

    def is_hopeless(self, epoch: int, loss: float) -> bool:
        """Hear of an epoch, and return whether it is not worth going on."""
        self._trial.report(loss, epoch)
        return not self.is_declared and bool(self._trial.should_prune())


class Study:
    """The trials of a search; make it with ``open_study``."""

    def __init__(self, study: "optuna.Study", spec: TuneSpec, declared: Mapping[str, Any]) -> None:
        self._study, self._spec, self._declared = study, spec, declared
        if not study.trials:
            values = {k: _parameter(axis, declared[k]) for k, axis in spec.search.items() if axis.contains(declared[k])}
            study.enqueue_trial(values, user_attrs={DECLARED: True})

    def remembered(self, name: str) -> str | None:
        """Return what is kept with the study under a name."""
        found = self._study.user_attrs.get(name)
        return None if found is None else str(found)

    def remember(self, name: str, value: str) -> None:
        """Keep a text with the study."""
        self._study.set_user_attr(name, value)

    def give_up_interrupted(self) -> list[str]:
        """Count trials whose process is gone as failed, to be done again; return the MLflow runs that they had."""
        from optuna.trial import TrialState

        gone = self._study.get_trials(states=[TrialState.RUNNING])
        for trial in gone:
            kept = {DECLARED: True} if trial.user_attrs.get(DECLARED) else {}
            self._study.enqueue_trial(trial.params, user_attrs=kept)
            self._study.tell(trial.number, state=TrialState.FAIL)
        return [str(trial.user_attrs[RUN]) for trial in gone if RUN in trial.user_attrs]

    def ask(self) -> Trial:
        """Begin the next trial."""
        return Trial(self._study.ask(), self._spec.search, self._declared)

    def complete(self, trial: Trial, loss: float) -> None:
        """End a trial with the loss of the network that it kept."""
        self._study.tell(trial.number, loss)

    def prune(self, trial: Trial) -> None:
        """End a trial that was stopped early."""
        from optuna.trial import TrialState

        self._study.tell(trial.number, state=TrialState.PRUNED)

    def fail(self, trial: Trial, problem: str) -> None:
        """End a trial that gave nothing."""
        from optuna.trial import TrialState

        trial.remember(**{PROBLEM: problem[:2000]})
        self._study.tell(trial.number, state=TrialState.FAIL)

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """The trials that have ended, but for those that were interrupted."""
        states: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        return tuple(
            TrialRecord(
                number=trial.number,
                state=states[trial.state.name],
                is_declared=bool(trial.user_attrs.get(DECLARED)),
                settings=json.loads(trial.user_attrs[SETTINGS]),
                loss=trial.value,
                epochs=int(trial.user_attrs.get(EPOCHS, 0)),
                run_id=trial.user_attrs.get(RUN),
                problem=trial.user_attrs.get(PROBLEM, ""),
            )
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state.name in ("COMPLETE", "PRUNED") or PROBLEM in trial.user_attrs
        )

    def importance(self) -> dict[str, float]:
        """Return how much of the spread of the losses each setting is behind, 1 in all; nothing of too few trials.

        References:
            S. Watanabe, A. Bansal, F. Hutter, "PED-ANOVA", IJCAI 2023.
        """
        import optuna

        whole = [trial for trial in self._study.trials if trial.state.name == "COMPLETE"]
        whole = [trial for trial in whole if trial.params.keys() == self._spec.search.keys()]
        if len(whole) < FEWEST_FOR_IMPORTANCE:
            return {}
        judged = optuna.create_study()
        judged.add_trials(whole)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is new, and that few trials say little
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            found = optuna.importance.get_param_importances(judged, evaluator=evaluator)
        return {name: float(share) for name, share in found.items()}


@contextmanager
def open_study(folder: Path, spec: TuneSpec, declared: Mapping[str, Any], seed: int) -> Iterator[Study]:
    """Begin a study, or go on with it; in one go, everything that is drawn follows from the seed.

    Raises:
        DeclarationError: Optuna is not installed.
        WinnowError: another process is at work on the same study.
    """
    optuna = _optuna()
    with _alone(folder):
        storage = f"sqlite:///{folder / 'study.db'}"
        study = optuna.create_study(storage=storage, study_name=NAME, load_if_exists=True, pruner=_pruner(spec))
        # Otherwise the draws of a study that is gone on with would be those that it began with.
        drawn = (seed + len(study.trials)) % 2**32
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=spec.startup_trials, multivariate=False, seed=drawn)
        yield Study(study, spec, declared)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise DeclarationError("a search needs Optuna, which is not installed: pip install 'winnow[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _pruner(spec: TuneSpec) -> "optuna.pruners.BasePruner":
    import optuna

    if spec.pruner == "none":
        return optuna.pruners.NopPruner()
    # Steps count as epochs do, from 1, and the warm-up ends before the step that is named.
    return optuna.pruners.MedianPruner(n_startup_trials=spec.startup_trials, n_warmup_steps=spec.warm_up_epochs + 1)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WinnowError(f"another process is at work on the same search, in {folder}") from None
        yield


def _parameter(axis: Axis, value: Any) -> Any:
    """Return a value as Optuna keeps it: choices are texts, since they may be lists."""
    return json.dumps(value) if axis.choices else value


def _drawn(trial: "optuna.Trial", name: str, axis: Axis) -> Any:
    if axis.low is None or axis.high is None:
        return json.loads(trial.suggest_categorical(name, [json.dumps(one) for one in axis.choices or ()]))
    if axis.is_whole:
        return trial.suggest_int(name, int(axis.low), int(axis.high), log=axis.log)
    return trial.suggest_float(name, axis.low, axis.high, log=axis.log)
