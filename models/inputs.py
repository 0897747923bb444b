"""Inputs: what each feature is worth, alone and to the network, in one record.

Owns the composing; the definitions are in ``importance``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from models.importance import (
    Correlations,
    Matrix,
    Scorer,
    correlations,
    falls,
    input_separations,
    permutation_importance,
)
from models.paired import Gain, Truth
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


@dataclass(frozen=True)
class InputShare:
    """What a feature is worth to a network of several outputs: what is lost of its headline when it is shuffled."""

    name: str
    importance: Measured
    n_missing: int


@dataclass(frozen=True)
class InputShares:
    """All features, the most important first."""

    inputs: tuple[InputShare, ...]
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


def judge_shares(
    score: Scorer,
    features: Matrix,
    values: Matrix,
    names: Sequence[str],
    truth: Truth,
    gain: Gain,
    random: np.random.Generator,
) -> InputShares:
    """Find out what each feature is worth to a network of several outputs, on events that it has not seen.

    ``truth`` says what the events are, and ``gain`` what shuffling costs; the others are as in `judge_inputs`.

    Raises:
        DataError: the events cannot be judged.

    """
    columns = {str(column): (column,) for column in range(features.shape[1])}
    found = falls(score, features, columns, lambda a, b: gain(np.asarray(a), np.asarray(b), truth), random, N_REPEATS)
    missing = np.count_nonzero(np.isnan(values), axis=0)
    ordered = [(one.columns[0], one.fall) for one in found]
    return InputShares(tuple(InputShare(names[i], fall, int(missing[i])) for i, fall in ordered), len(features))
