"""The same events: whether experiments can be judged side by side, and if not, why not.

Owns what makes two test parts the same: the same events in the same order, with the same classes or targets, and the
same physics weights. What is learnt from the others, features, normalisation, balance, may differ.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from flows.experiment import Experiment
from pipeline.dataset import PreparedDataset, hash_of
from pipeline.errors import DeclarationError

T = TypeVar("T")

DECIDE = ("samples", "derive", "targets", "select", "weights", "split")
"""The sections that decide which events are tested, and with which weights."""

ARRAYS = {"identity": "events", "label": "classes", "target": "targets", "physics_weight": "physics weights"}
"""What has to be the same, by its name in a dataset, and in words."""


@dataclass(frozen=True)
class Prepared:
    """An experiment and its datasets, one for each fold."""

    experiment: Experiment
    datasets: tuple[PreparedDataset, ...]

    @property
    def inputs(self) -> str:
        """A hash of what a baseline learns from: the arrays of the datasets, and what is made of their features."""
        return hash_of(
            [[one.manifest.content, one.manifest.transform.model_dump(mode="json")] for one in self.datasets]
        )

    def tested(self, array: str) -> NDArray[np.generic]:
        """Return one of the arrays of the test events, those of all folds one after the other."""
        return np.concatenate([getattr(dataset.part("test"), array) for dataset in self.datasets])


def require_same_task(experiments: Mapping[str, Experiment]) -> None:
    """Refuse experiments that do not look for the same, before anything is prepared.

    Raises:
        DeclarationError: one line for each experiment that has another head, other targets or other classes.

    """
    _refuse({name: _task_of(one) for name, one in experiments.items()}, _other_task, "that find the same")


def require_same_events(prepared: Mapping[str, Prepared]) -> None:
    """Refuse experiments that are not tested on the same events, and say what to write instead.

    Raises:
        DeclarationError: one line for each experiment whose test events are not those of the first.

    """
    _refuse(prepared, _difference, "with the same test events")


def _refuse(compared: Mapping[str, T], differ: Callable[[T, T, tuple[str, str]], str], needed: str) -> None:
    first, *others = compared
    found = {name: differ(compared[first], compared[name], (first, name)) for name in others}
    problems = [f"{first!r} and {name!r}: {problem}" for name, problem in found.items() if problem]
    if problems:
        raise DeclarationError(f"only experiments {needed} can be compared\n  " + "\n  ".join(problems))


def _task_of(experiment: Experiment) -> dict[str, list[str]]:
    return {
        "heads": [experiment.model.head],
        "targets": list(experiment.targets),
        "classes": list(experiment.classes),
    }


def _other_task(a: dict[str, list[str]], b: dict[str, list[str]], names: tuple[str, str]) -> str:
    different = next((what for what in a if a[what] != b[what]), None)
    return f"the {different} differ: {_listed(a[different])}, and {_listed(b[different])}" if different else ""


def _difference(a: Prepared, b: Prepared, names: tuple[str, str]) -> str:
    differing = [words for array, words in ARRAYS.items() if not np.array_equal(a.tested(array), b.tested(array))]
    return f"the {differing[0]} of the test part differ; {_why(a, b, names)}" if differing else ""


def _why(a: Prepared, b: Prepared, names: tuple[str, str]) -> str:
    if text := _why_of_content(a, b, names):
        return text
    ours, theirs = a.tested("identity"), b.tested("identity")
    if not np.array_equal(ours, theirs) and np.array_equal(np.sort(ours), np.sort(theirs)):
        return "they are the same in another order: declare samples and files in the same order"
    declared = [one.experiment.model_dump(mode="json", include=set(DECIDE)) for one in (a, b)]
    differing = [section for section in DECIDE if declared[0][section] != declared[1][section]]
    return f"what is declared differently: {_listed(differing) or 'nothing, but other files are found'}"


def _why_of_content(a: Prepared, b: Prepared, names: tuple[str, str]) -> str:
    """Say so where the part of an event follows from columns that only one of the experiments needs."""
    if "content" not in (a.experiment.split.by, b.experiment.split.by):
        return ""
    columns = [set(one.datasets[0].manifest.columns) for one in (a, b)]
    own = [sorted(columns[0] - columns[1]), sorted(columns[1] - columns[0])]
    if not any(own) and a.experiment.split == b.experiment.split:
        return ""
    only = " and ".join(f"only {name!r} needs {_listed(some)}" for name, some in zip(names, own, strict=True) if some)
    msg = "[split] by = 'content' (the default) has an event's part follow from the columns that its features need"
    ids = [name for name, column in a.experiment.columns.items() if column.kind == "id"] or ["run", "event"]
    remedy = f'by = {json.dumps(ids)}, the columns that identify an event, or by = "row"'
    return f"{msg}{', and ' + only if only else ''}; write the same in each file: [split] {remedy}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
