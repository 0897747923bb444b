"""Dependence: what a score tells of a variable, before a network was trained not to, and after.

Owns the number that is quoted for it. It is the squared distance correlation of the score and the variable's rank, on
test events, as the mean over samples of a thousand events, drawn without repetition. A finite sample always shows some:
what it shows of a variable whose values were shuffled among the events stands beside it, as in a permutation test.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.decorrelation import DecorrelateSpec, distance_correlation
from models.record import Dependence, SpectatorFinding
from models.scored import Floats, Measured
from pipeline.errors import DataError

SAMPLE = 1000
MOST_SAMPLES = 50
N_SHUFFLES = 50


def sampled_dependence(
    scores: ArrayLike, values: ArrayLike, weights: ArrayLike, random: np.random.Generator
) -> Measured:
    """Return the squared distance correlation of score and rank, 0 to 1, with the error of its mean over samples.

    Args:
        scores: shape ``(n_events,)``.
        values: of the variable, likewise; events without one (NaN) are left out.
        weights: likewise; what is negative counts as 0.
        random: draws the samples.

    Raises:
        DataError: there are too few events for two samples of ten.
    """
    samples = _samples(scores, values, weights, random)
    found = [_of_sample(columns) for columns in samples]
    return Measured(float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(len(samples))))


def dependence_by_chance(
    scores: ArrayLike, values: ArrayLike, weights: ArrayLike, random: np.random.Generator
) -> Measured:
    """Return what `sampled_dependence` would be if the score told nothing, and how far chance takes it from there.

    The variable is shuffled among the events of a sample, fifty times in all; the "error" is the spread of these
    values, for a mean over as many samples as there are.
    """
    samples = _samples(scores, values, weights, random)
    found = []
    for shuffle in range(N_SHUFFLES):
        columns = samples[shuffle % len(samples)].copy()
        columns[:, 1] = random.permutation(columns[:, 1])
        found.append(_of_sample(columns))
    return Measured(float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(len(samples))))


def _samples(scores: ArrayLike, values: ArrayLike, weights: ArrayLike, random: np.random.Generator) -> list[Floats]:
    """Return scores, ranks and weights of some events each, ``(n_events, 3)``."""
    columns = np.column_stack([np.asarray(column, dtype=np.float64) for column in (scores, values, weights)])
    columns = columns[np.isfinite(columns[:, 1]) & (columns[:, 2] > 0)]
    columns[:, 1] = _ranks(columns[:, 1])
    n_samples = min(MOST_SAMPLES, max(2, len(columns) // SAMPLE))
    if len(columns) < 10 * n_samples:
        raise DataError(f"{len(columns)} events with a value are too few to tell what a score says of it")
    rows = random.permutation(len(columns))[: n_samples * SAMPLE]
    return [columns[part] for part in np.array_split(rows, n_samples)]


def _of_sample(columns: Floats) -> float:
    scores, ranks, weights = columns.astype(np.float32).T
    return float(distance_correlation(scores, ranks, weights))


def _ranks(values: Floats) -> Floats:
    """Return the rank of each value between 0 and 1; equal ones share the middle of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - (counts - 1) / 2 - 0.5
    return np.asarray(middles[places] / max(len(values), 1))


def judge_dependence(
    spec: DecorrelateSpec,
    plain: SpectatorFinding,
    scores: tuple[ArrayLike, ArrayLike],
    values: Floats,
    is_signal: NDArray[np.bool_],
    weights: NDArray[np.floating],
    random: np.random.Generator,
) -> Dependence:
    """Compare two networks on the same test events.

    Args:
        spec: what was asked of the second one.
        plain: how the score of the first one depends on the variable in bins.
        scores: of the network that was trained without decorrelation, and of the one with it.
        values: of the variable, ``(n_events,)``.
        is_signal: likewise.
        weights: physics weights, likewise.
        random: draws the samples, the same for all.

    Raises:
        DataError: as for ``sampled_dependence``.
    """
    members = ~is_signal if spec.within == "background" else np.ones(len(values), dtype=np.bool_)
    seed = int(random.integers(2**62))

    before, after = (
        (np.asarray(of)[members], values[members], weights[members], np.random.default_rng(seed)) for of in scores
    )

    return Dependence(
        variable=spec.variable,
        method=spec.method,
        strength=spec.strength,
        within=spec.within,
        plain=sampled_dependence(*before),
        decorrelated=sampled_dependence(*after),
        by_chance=dependence_by_chance(*after[:3], np.random.default_rng(seed)),
        plain_spectator=plain,
    )
