"""Inputs: what each feature is worth, alone and to the network, in one record.

Owns the composing; the definitions are in ``importance``. A collection or an image is one feature: its columns are
shuffled together, and what is asked of a single number is not asked of it.
"""

from collections.abc import Mapping, Sequence
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
from models.scored import Measured
from models.yardsticks import Gain, Truth
from pipeline.blocks import Block, groups_of, is_absent

N_REPEATS = 3

NOT_ASKED = Measured(float("nan"), float("nan"))


@dataclass(frozen=True)
class InputFinding:
    """What one feature is worth: the AUC that the network loses when it is shuffled, its separation, its own AUC.

    A collection or an image has neither of the latter two (NaN); its ``n_missing`` counts values of what is there.
    """

    name: str
    importance: Measured
    separation: Measured
    auc: Measured
    n_missing: int


@dataclass(frozen=True, eq=False)
class InputFindings:
    """All features, the most important first; ``correlations`` are in the order of ``names``, those of one number."""

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
    blocks: Sequence[Block] = (),
) -> InputFindings:
    """Find out what each feature is worth on events that the network has not seen.

    Args:
        score: feature matrix → scores.
        features: as the network takes them, ``(n_events, n_features)``.
        values: the same, with NaN where a value is missing.
        names: of the columns.
        labels: 1 = signal, ``(n_events,)``.
        weights: physics weights, ``(n_events,)``.
        random: shuffles the columns.
        blocks: the columns that are one feature.

    Raises:
        DataError: the events cannot be judged, as in `models.metrics.weighted_roc`.

    """
    groups = groups_of(names, blocks)
    important = permutation_importance(
        score, features, labels, weights, random=random, groups=groups, n_repeats=N_REPEATS
    )
    flat = [name for name in groups if name not in {block.name for block in blocks}]
    of_flat = values[:, [groups[name][0] for name in flat]]
    separations = dict(zip(flat, input_separations(of_flat, labels, weights), strict=True))
    n_missing = (~np.isfinite(values) & ~is_absent(features, blocks)).sum(axis=0)
    findings = tuple(
        InputFinding(
            found.group,
            found.fall,
            separations[found.group].separation if found.group in separations else NOT_ASKED,
            separations[found.group].auc if found.group in separations else NOT_ASKED,
            int(n_missing[list(found.columns)].sum()),
        )
        for found in important
    )
    return InputFindings(findings, tuple(flat), correlations(of_flat, labels, weights), len(features))


def judge_shares(
    score: Scorer,
    features: Matrix,
    values: Matrix,
    groups: Mapping[str, tuple[int, ...]],
    truth: Truth,
    gain: Gain,
    random: np.random.Generator,
    blocks: Sequence[Block] = (),
) -> InputShares:
    """Find out what each feature is worth to a network of several outputs, on events that it has not seen.

    ``truth`` says what the events are, and ``gain`` what shuffling costs; the others are as in `judge_inputs`.

    Raises:
        DataError: the events cannot be judged.

    """
    found = falls(score, features, groups, lambda a, b: gain(np.asarray(a), np.asarray(b), truth), random, N_REPEATS)
    missing = np.count_nonzero(np.isnan(values) & ~is_absent(features, blocks), axis=0)
    shares = (InputShare(one.group, one.fall, int(missing[list(one.columns)].sum())) for one in found)
    return InputShares(tuple(shares), len(features))
