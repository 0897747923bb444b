"""Inputs: what each feature is worth, alone and to the network, in one record.

Owns the composing; the definitions are in ``importance``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from models.importance import Correlations, Matrix, Scorer, correlations, input_separations, permutation_importance
from models.scored import Measured

N_REPEATS = 3


@dataclass(frozen=True)
class InputFinding:
    """What one feature is worth: the AUC that the network loses when it is shuffled, its separation, its own AUC."""

    name: str
    importance: Measured
    separation: Measured
    auc: Measured
    n_missing: int


@dataclass(frozen=True, eq=False)
class InputFindings:
    """All features, the most important first; ``correlations`` are in the order of ``names``."""

    inputs: tuple[InputFinding, ...]
    names: tuple[str, ...]
    correlations: Correlations
    n_events: int


def judge_inputs(
    score: Scorer,
    features: Matrix,
    values: Matrix,
    names: Sequence[str],
    labels: ArrayLike,
    weights: ArrayLike,
    random: np.random.Generator,
) -> InputFindings:
    """Find out what each feature is worth on events that the network has not seen.

    Args:
        score: feature matrix → scores.
        features: as the network takes them, ``(n_events, n_features)``.
        values: the same, with NaN where a value is missing.
        names: of the features.
        labels: 1 = signal, ``(n_events,)``.
        weights: physics weights, ``(n_events,)``.
        random: shuffles the columns.

    Raises:
        DataError: the events cannot be judged, as in `models.metrics.weighted_roc`.

    """
    important = permutation_importance(score, features, labels, weights, random=random, n_repeats=N_REPEATS)
    separations = input_separations(values, labels, weights)
    findings = tuple(
        InputFinding(names[column], found.fall, alone.separation, alone.auc, alone.n_missing)
        for found in important
        for column in found.columns
        for alone in (separations[column],)
    )
    return InputFindings(findings, tuple(names), correlations(values, labels, weights), len(features))
