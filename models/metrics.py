"""How well scores separate signal from background: the ROC curve, and the AUC with its error.

Owns the definitions, as pure functions of arrays; which part of the data they are asked about, and what
is done with the answers, belongs to ``evaluation``; thresholds belong to ``working_points``. Throughout, an
event *passes* a threshold when its score is at or above it, label 1 is signal, and weights are physics
weights, 1 where none are given. Negative weights are allowed: every sum below is then a signed sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from models.ladder import area, ladder_of, placements
from models.scored import Floats, Measured, ScoredEvents, effective_events, scored_events
from pipeline.errors import DeclarationError

ROUNDING = 1e-12
"""An error of an area below this is one of floating-point sums, and none of the events."""


@dataclass(frozen=True, eq=False)
class Roc:
    """Background (``fpr``) and signal (``tpr``) efficiency above each threshold, from (0, 0) to (1, 1).

    All of shape ``(n_distinct_scores + 1,)``; ``thresholds`` fall, and begin at +inf.
    """

    fpr: Floats
    tpr: Floats
    thresholds: Floats


def weighted_roc(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Roc:
    """Compute the ROC curve, one point per distinct score; events with equal scores are one step.

    With negative weights an efficiency is a ratio of signed sums: it may leave [0, 1] on the way and
    need not rise with falling threshold. The two ends are always (0, 0) and (1, 1).

    Raises:
        DataError: arrays of different lengths, values that are not finite, labels other than 0 and 1,
            a class without events, or with a sum of weights that is not positive.

    """
    events = scored_events(scores, labels, weights)
    ladder = ladder_of(events)
    thresholds = events.scores[ladder.order[ladder.last]].astype(np.float64)
    return Roc(
        fpr=np.concatenate(([0.0], ladder.background / ladder.background[-1])),
        tpr=np.concatenate(([0.0], ladder.signal / ladder.signal[-1])),
        thresholds=np.concatenate(([np.inf], thresholds)),
    )


def weighted_auc(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Compute the area under the ROC curve: the chance that signal scores above background.

    This is the Mann-Whitney form: the sum over pairs of one signal and one background event of the
    product of their weights, a pair with equal scores counting half, divided by the product of the sums
    of weights. It equals the trapezoid area of `weighted_roc` and is exactly 0.5 when all scores are
    equal. With negative weights it stays defined and may leave [0, 1].

    Raises:
        DataError: as in `weighted_roc`.

    """
    return area(ladder_of(scored_events(scores, labels, weights)))


def auc_with_error(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Measured:
    """Compute the AUC and its standard error from the placement of each event in the other class.

    Without weights this is the estimate of DeLong et al. With weights, a class contributes
    sum w² (V - AUC)² / (sum w)², V being the placement values, times N/(N - 1) with N its effective
    number of events; for N < 2 the error is NaN. Perfectly separated classes have error 0: the
    estimate is blind there.

    Raises:
        DataError: as in `weighted_roc`.

    References:
        E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837 (variance from placements).
        X. Sun, W. Xu, IEEE Signal Processing Letters 21 (2014) 1389 (placements by sorting).

    """
    events = scored_events(scores, labels, weights)
    ladder = ladder_of(events)
    value = area(ladder)
    return Measured(value, _standard_error(events, placements(events, ladder) - value))


def auc_difference(
    scores_a: ArrayLike, scores_b: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> Measured:
    """Compute AUC(a) - AUC(b) of two scores on the same events, with the error of the paired difference.

    What the two share cancels event by event, so the error is much smaller than the two errors in
    quadrature when the scores are alike; identical scores give 0 ± 0.

    Raises:
        DataError: as in `weighted_roc`, for either score.

    """
    events_a, events_b = scored_events(scores_a, labels, weights), scored_events(scores_b, labels, weights)
    ladder_a, ladder_b = ladder_of(events_a), ladder_of(events_b)
    difference = area(ladder_a) - area(ladder_b)
    shares = placements(events_a, ladder_a) - placements(events_b, ladder_b)
    return Measured(difference, _standard_error(events_a, shares - difference))


def thin_roc(roc: Roc, n_points: int) -> Roc:
    """Keep at most about ``n_points`` points: the ends, and others even in fpr, in log fpr and in tpr.

    Raises:
        DeclarationError: fewer than two points are asked for.

    """
    if n_points < 2:
        msg = f"a ROC curve cannot be thinned to {n_points} points; it has two ends"
        raise DeclarationError(msg)
    if roc.fpr.size <= n_points:
        return roc
    share = max((n_points - 2) // 3, 0)
    # With negative weights the efficiencies may fall again; their running maxima can still be searched.
    fpr, tpr = np.maximum.accumulate(roc.fpr), np.maximum.accumulate(roc.tpr)
    even = np.linspace(0.0, 1.0, share)
    even_in_log = np.geomspace(fpr[fpr > 0.0][0], 1.0, share)
    by_background = np.searchsorted(fpr, np.concatenate((even, even_in_log)), side="right") - 1
    by_signal = np.searchsorted(tpr, even)
    kept = np.unique(np.concatenate((by_background, by_signal, [0, roc.fpr.size - 1])))
    return Roc(roc.fpr[kept], roc.tpr[kept], roc.thresholds[kept])


def aucs_with_mean(scored: Sequence[ScoredEvents]) -> tuple[tuple[Measured, ...], Measured]:
    """Compute the AUCs of several scores on the same events, each with labels of its own, and their mean.

    The areas share events, so the error of the mean adds up event by event what each moves all of them by; of equal
    areas it is the error of one.

    Raises:
        DataError: as in `weighted_roc`.

    """
    areas, moved = [], np.zeros(scored[0].scores.size)
    for events in scored:
        ladder = ladder_of(events)
        value = area(ladder)
        influences = influences_on(events, placements(events, ladder) - value)
        areas.append(Measured(value, _norm(influences)))
        moved += influences / len(scored)
    return tuple(areas), Measured(float(np.mean([one.value for one in areas])), _norm(moved))


def _standard_error(events: ScoredEvents, deviations: Floats) -> float:
    return _norm(influences_on(events, deviations))


def influences_on(events: ScoredEvents, deviations: Floats) -> Floats:
    """Return (n,) by how much each event moves an area: the sum of their squares is its variance."""
    influences = np.empty(deviations.size)
    for members in (events.is_signal, ~events.is_signal):
        weights = events.weights_where(members)
        n_effective = effective_events(weights)
        if n_effective < 2.0 - 1e-9:  # one event, or one that outweighs the others, or weights that all but cancel
            return np.full(deviations.size, np.nan)
        correction = np.sqrt(n_effective / (n_effective - 1.0)) / weights.sum()
        influences[members] = weights * deviations[members] * correction
    return influences


def _norm(influences: Floats) -> float:
    error = float(np.linalg.norm(influences))
    return 0.0 if error <= ROUNDING else error
