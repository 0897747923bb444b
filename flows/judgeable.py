"""Judgeable: whether a network can be judged by the events that there are.

Owns asking that before a network is trained: of events whose scores nobody knows yet, judging would refuse what it
refuses of scored ones. With folds the events of a part are those of several datasets, and which of them a network is
judged by is known in ``parts``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from flows.experiment import Experiment
from flows.parts import holding, judged_rows
from models.build import head_of
from models.evaluation import ScoredPart
from models.heads import JudgedAs
from models.histograms import PartName
from models.multiclass import ScoredClasses
from models.multilabel import ScoredFlags
from models.regression import PredictedQuantities
from models.yardsticks import Truth
from pipeline.dataset import PreparedDataset
from pipeline.errors import DataError
from pipeline.splitting import SplitSpec


def _as_signal(truth: Truth, part: PartName, names: Sequence[str]) -> None:
    ScoredPart(np.zeros(truth.label.size, dtype=np.float32), truth.label, truth.weight).events(part)


def _as_classes(truth: Truth, part: PartName, names: Sequence[str]) -> None:
    undecided = np.full((truth.label.size, len(names)), 1.0 / len(names))
    ScoredClasses(undecided, truth.label, truth.weight).checked(part, names)


def _as_flags(truth: Truth, part: PartName, names: Sequence[str]) -> None:
    ScoredFlags(np.zeros(truth.target.shape), truth.target, truth.weight).checked(part, names)


def _as_quantities(truth: Truth, part: PartName, names: Sequence[str]) -> None:
    PredictedQuantities(truth.target, truth.target, truth.weight).checked(part, names)


CHECKS: Mapping[JudgedAs, Callable[[Truth, PartName, Sequence[str]], None]] = {
    "signal": _as_signal,
    "class": _as_classes,
    "flags": _as_flags,
    "quantities": _as_quantities,
}


def require_judgeable(datasets: Sequence[PreparedDataset], experiment: Experiment) -> None:
    """Refuse events, before a network is trained on them, by which no network can be judged.

    Raises:
        DataError: targets are not what the head finds; or, among the events of a part that judge, a kind is missing or
            has no positive sum of weights.
    """
    head, names = head_of(experiment.model), tuple(experiment.targets) or experiment.classes
    if experiment.targets and (problems := head.target_problems(datasets[0].manifest.targets)):
        raise DataError("; ".join(problems))
    for part in get_args(PartName):
        CHECKS[head.judged_as](_truth_of(datasets, part, experiment.split), part, names)


def _truth_of(datasets: Sequence[PreparedDataset], part: PartName, split: SplitSpec) -> Truth:
    found: list[tuple[NDArray[np.generic], ...]] = []
    for dataset in datasets:
        events = holding(dataset, part, split)
        rows = judged_rows(np.asarray(events.identity), part, dataset.manifest.fold, split)
        found.append((events.label[rows], events.target[rows], events.physics_weight[rows]))
    return Truth(*map(np.concatenate, zip(*found, strict=True)))
