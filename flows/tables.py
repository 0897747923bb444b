"""Tables: the numbers of an evaluation that are recorded as tables beside its metrics.

Owns which tables each kind of evaluation has, and their columns.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from models.judgement import Judgement
from models.multiclass import MulticlassEvaluation
from models.multilabel import MultilabelEvaluation
from models.outputs import OutputFinding
from models.plain import plain
from models.record import Evaluation
from models.regression import RegressionEvaluation

Table = Mapping[str, Sequence[Any]]


def _of_signal(found: Evaluation) -> dict[str, Table]:
    return {"roc.json": _roc(found)}


def _roc(found: Evaluation) -> Table:
    # The curve starts above every score, at a threshold that JSON cannot hold.
    thresholds = [float(t) if np.isfinite(t) else None for t in found.roc.thresholds]
    return {"fpr": found.roc.fpr.tolist(), "tpr": found.roc.tpr.tolist(), "threshold": thresholds}


def _of_classes(found: MulticlassEvaluation) -> dict[str, Table]:
    return {"confusion.json": _confusion(found), "classes.json": _outputs("class", found.outputs)}


def _confusion(found: MulticlassEvaluation) -> Table:
    """Return one row for each cell of the matrix: a true class and the one that its events were taken for."""
    confusion, n = found.confusion, len(found.classes)
    columns = {
        "events": confusion.events,
        "sum_of_weights": confusion.sums,
        "efficiency": confusion.efficiencies.values,
        "efficiency_error": confusion.efficiencies.errors,
        "purity": confusion.purities.values,
        "purity_error": confusion.purities.errors,
    }
    pairs = {"true": [name for name in found.classes for _ in range(n)], "taken_for": list(found.classes) * n}
    return pairs | {name: plain(np.ravel(values)) for name, values in columns.items()}


def _of_labels(found: MultilabelEvaluation) -> dict[str, Table]:
    return {"labels.json": _outputs("label", found.outputs)}


def _outputs(noun: str, found: Sequence[OutputFinding]) -> Table:
    return {
        noun: [one.name for one in found],
        "auc": plain([one.auc.value for one in found]),
        "auc_error": plain([one.auc.error for one in found]),
        "auc_train": plain([one.auc_train.value for one in found]),
        "brier_score": plain([one.brier_score.value for one in found]),
    }


def _of_quantities(found: RegressionEvaluation) -> dict[str, Table]:
    columns: dict[str, list[Any]] = {"target": [one.name for one in found.quantities]}
    for name in ("bias", "rms", "rms_train", "median", "width", "tails", "trivial_rms", "r_squared"):
        measured = [getattr(one, name) for one in found.quantities]
        columns[name], columns[f"{name}_error"] = (
            plain([getattr(m, of) for m in measured]) for of in ("value", "error")
        )
    return {"targets.json": columns}


TABLES: Mapping[type, Callable[[Any], dict[str, Table]]] = {
    Evaluation: _of_signal,
    MulticlassEvaluation: _of_classes,
    MultilabelEvaluation: _of_labels,
    RegressionEvaluation: _of_quantities,
}


def tables_of(found: Judgement) -> dict[str, Table]:
    """Return the tables of an evaluation by the names of their files, each as columns of equal lengths."""
    return TABLES[type(found)](found)
