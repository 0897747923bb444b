"""Judgeable: whether a network can be judged by the events that there are.

Owns asking that before a network is trained. With folds the events of a part are those of several datasets, and which
of them a network is judged by is known in ``parts``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from flows.experiment import Experiment
from flows.parts import holding, judged_rows
from models.build import head_of
from models.heads import JudgedAs
from models.histograms import PartName
from models.parts import judging, without_weight
from pipeline.dataset import PreparedDataset
from pipeline.splitting import SplitSpec

Members = NDArray[np.bool_]
Labels = NDArray[np.int8]
Targets = NDArray[np.float64]
Weights = NDArray[np.float64]


def _of_each_class(names: Sequence[str], labels: Labels, targets: Targets) -> dict[str, Members]:
    return {name: labels == i for i, name in enumerate(names)}


def _of_each_flag(names: Sequence[str], labels: Labels, targets: Targets) -> dict[str, Members]:
    return {f"target {name} = {flag}": targets[:, i] == flag for i, name in enumerate(names) for flag in (0, 1)}


def _of_any_kind(names: Sequence[str], labels: Labels, targets: Targets) -> dict[str, Members]:
    return {"any kind": np.ones(len(labels), dtype=np.bool_)}


NEEDED: Mapping[JudgedAs, Callable[[Sequence[str], Labels, Targets], dict[str, Members]]] = {
    "signal": _of_each_class,
    "class": _of_each_class,
    "flags": _of_each_flag,
    "quantities": _of_any_kind,
}
"""The kinds of events of which every part needs some, with a positive sum of weights."""


def require_judgeable(datasets: Sequence[PreparedDataset], experiment: Experiment) -> None:
    """Refuse events, before a network is trained on them, by which no network can be judged.

    Raises:
        DataError: among the events of a part that judge, a kind is missing or has no positive sum of weights.
    """
    needed, names = NEEDED[head_of(experiment.model).judged_as], tuple(experiment.targets) or experiment.classes
    for part in get_args(PartName):
        labels, targets, weights = _truth_of(datasets, part, experiment.split)
        with judging(part) as problems:
            found = needed(names, labels, targets).items()
            problems += without_weight({kind: weights[members] for kind, members in found})


def _truth_of(datasets: Sequence[PreparedDataset], part: PartName, split: SplitSpec) -> tuple[Labels, Targets, Weights]:
    found = []
    for dataset in datasets:
        events = holding(dataset, part, split)
        rows = judged_rows(np.asarray(events.identity), part, dataset.manifest.fold, split)
        found.append((events.label[rows], events.target[rows], events.physics_weight[rows]))
    labels, targets, weights = map(np.concatenate, zip(*found, strict=True))
    return labels, targets, weights
