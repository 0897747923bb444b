"""The same events: whether experiments can be judged side by side, and if not, why not.

Owns what makes two test parts the same: the same events in the same order, with the same classes or targets, and the
same physics weights.
What is learnt from the others, features, normalisation, balance, may differ.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.experiment import Experiment
from pipeline.dataset import PreparedDataset, hash_of
from pipeline.errors import DeclarationError

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


def require_same_events(prepared: Mapping[str, Prepared]) -> None:
    """Refuse experiments that are not tested on the same events, and say what to write instead.

    Raises:
        DeclarationError: one line for each experiment whose test events are not those of the first.

    """
    first, *others = prepared
    found = {name: _difference(prepared[first], prepared[name], (first, name)) for name in others}
    problems = [f"{first!r} and {name!r}: {problem}" for name, problem in found.items() if problem]
    if problems:
        raise DeclarationError("only experiments with the same test events can be compared\n  " + "\n  ".join(problems))


def _difference(a: Prepared, b: Prepared, names: tuple[str, str]) -> str:
    if (ours := a.experiment.model.head) != (theirs := b.experiment.model.head):
        return f"the heads differ: {ours}, and {theirs}"
    if list(a.experiment.targets) != list(b.experiment.targets):
        return f"the targets differ: {_listed(list(a.experiment.targets))}, and {_listed(list(b.experiment.targets))}"
    if a.experiment.classes != b.experiment.classes:
        return f"the classes differ: {_listed(a.experiment.classes)}, and {_listed(b.experiment.classes)}"
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
