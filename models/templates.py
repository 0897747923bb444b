"""Templates: histograms of the score, one per sample, in bins that a likelihood fit bears.

Owns where the bins end and what is in them. The files that fits read are ``workspace``'s, the significance of a bin is
``significance``'s.

Edges are chosen on one part of the data and filled with another, so that no bin is made around a fluctuation
that it then shows. What breaks fits is a bin that expects nothing or less: a Poisson mean that is not positive
is NaN, and a negative yield has no relative error (pyhf #1143 and #2577; cabinetry #340, #404, #424). So in every
bin that is written the total background is positive and each sample is either absent or positive. Bins that are
not so are merged with a neighbour; nothing is set to zero, so every sample keeps its yield exactly.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.histograms import Kind
from models.scored import Floats, scored_events
from models.significance import asimov_significance
from pipeline.errors import DataError, DeclarationError

log = logging.getLogger(__name__)

N_FINE_BINS = 200
CANCELLED = 1e-9  # of its error: a sum of weights below this is what rounding leaves of nothing


@dataclass(frozen=True, eq=False)
class SampledEvents:
    """Checked events of named samples: ``scores``, ``weights`` and the index ``sample``, all ``(n_events,)``.

    ``names`` and ``kinds`` are those of the samples, in the order of the index.
    """

    scores: Floats
    sample: NDArray[np.intp]
    weights: Floats
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, eq=False)
class Templates:
    """Histograms of the score: sums of weights, of squared weights, and raw numbers of events.

    Each of shape ``(n_samples, n_bins)``; ``edges`` rise from 0 to 1, ``(n_bins + 1,)``. A score on an edge belongs
    to the bin above it, a score of 1 to the last bin. ``n_merged`` counts the chosen edges that were given up.
    """

    edges: Floats
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    sums: Floats
    squares: Floats
    counts: NDArray[np.int64]
    n_merged: int

    @property
    def is_signal(self) -> NDArray[np.bool_]:
        """Which samples are signal, ``(n_samples,)``."""
        return _is_signal(self.kinds)

    def significance(self, background_uncertainty: float = 0.0, has_errors: bool = True) -> float:
        """Return the Asimov significances of the bins in quadrature: about what a fit of all of them would reach.

        The relative uncertainty of each bin is the one given and, with ``has_errors``, the statistical error of its
        background in quadrature; the bins are taken as independent.
        """
        signal, background = self.sums[self.is_signal].sum(axis=0), self.sums[~self.is_signal].sum(axis=0)
        statistical = np.sqrt(self.squares[~self.is_signal].sum(axis=0)) / background if has_errors else 0.0
        relative = np.hypot(background_uncertainty, statistical)
        return float(np.linalg.norm(asimov_significance(signal, background, relative)))


def sampled_events(
    scores: ArrayLike, sample: ArrayLike, weights: ArrayLike, names: Sequence[str], kinds: Sequence[Kind]
) -> SampledEvents:
    """Check scores in [0, 1], sample indices and physics weights, one of each per event.

    Weights must add up to the yield of the whole sample, whatever part of it is given. They may be negative. A
    sample may have no events, but there must be some of each kind.

    Raises:
        DataError: arrays of different lengths, values that are not finite, scores outside [0, 1], an index
            without a sample, no signal or no background events.
        DeclarationError: names and kinds are not one each per sample, or a kind is unknown.

    """
    _require_samples(names, kinds)
    index = _sample_index(sample, len(names))
    events = scored_events(scores, _is_signal(kinds)[index], weights)
    if n_outside := int(np.count_nonzero((events.scores < 0.0) | (events.scores > 1.0))):
        raise DataError(f"{n_outside} of {index.size} scores are not between 0 and 1")
    return SampledEvents(
        scores=events.scores.astype(np.float64),
        sample=index,
        weights=events.every_weight(),
        names=tuple(names),
        kinds=tuple(kinds),
    )


def make_templates(
    validation: SampledEvents, test: SampledEvents, *, min_effective_events: float = 10.0, max_loss: float = 0.01
) -> Templates:
    """Choose edges on the validation part and fill them with the test part.

    Raises:
        DataError: as in `choose_edges` and `fill_templates`.
        DeclarationError: the parts are not of the same samples.

    """
    described = [", ".join(map(" ".join, zip(part.kinds, part.names, strict=True))) for part in (validation, test)]
    _require(described[0] == described[1], f"validation has the samples {described[0]}; test has {described[1]}")
    edges = choose_edges(validation, min_effective_events=min_effective_events, max_loss=max_loss)
    return fill_templates(test, edges)


def choose_edges(events: SampledEvents, *, min_effective_events: float = 10.0, max_loss: float = 0.01) -> Floats:
    """Choose the fewest bins of the score that separate signal from background nearly as well as any.

    In each bin the total background is positive and worth at least ``min_effective_events``, (Σw)²/Σw²,
    so that its relative error is at most one over the root of that; each sample that is positive as a whole is
    absent or positive. Among all bins that can be put together from at most 200
    fine ones, even in numbers of events, the largest √ΣZ² is found exactly; then the smallest number of bins
    that loses at most the fraction ``max_loss`` of it, and the best bins of that number. Edges are scores
    of events. Equal scores cannot be parted: where all are equal, there is one bin.

    Raises:
        DataError: even one bin does not hold enough background.
        DeclarationError: the number of events is not positive, or the loss not between 0 and 1 (excluded).

    """
    _require(0.0 < min_effective_events < np.inf, f"min_effective_events {min_effective_events!r} is not positive")
    _require(0.0 <= max_loss < 1.0, f"max_loss {max_loss!r} is not at least 0 and below 1")
    fine = _filled(events, _fine_edges(events))
    kept = _best_partition(_gains(fine, min_effective_events), max_loss)
    return fine.edges[kept]


def fill_templates(events: SampledEvents, edges: ArrayLike) -> Templates:
    """Fill histograms, and merge bins until no fit can stumble over one.

    A bin is merged where its total background is not positive, or where weights of a sample in it add up to zero
    or less; a sample without events there does no harm. It joins the bin below, since those above are
    purer in signal; the lowest joins the one above.

    Raises:
        DataError: even in a single bin the background, all signal or a sample does not add up to something positive.
        DeclarationError: the edges do not rise from 0 to 1.

    """
    filled = _filled(events, _checked_edges(edges))
    while not (usable := _usable(filled)).all():
        if usable.size == 1:
            raise _refusal(filled)
        filled = _without_edge(filled, max(int(np.flatnonzero(~usable)[-1]), 1))
    if filled.sums[filled.is_signal].sum() <= 0.0:
        raise _refusal(filled)
    log.info("%d bins, %d merged; significance %.4g", usable.size, filled.n_merged, filled.significance())
    return filled


def _is_signal(kinds: Sequence[Kind]) -> NDArray[np.bool_]:
    return np.array([kind == "signal" for kind in kinds], dtype=np.bool_)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise DeclarationError(message)


def _require_samples(names: Sequence[str], kinds: Sequence[Kind]) -> None:
    problems = [f"{kind!r} is neither 'signal' nor 'background'" for kind in kinds if kind not in get_args(Kind)]
    if len(names) != len(kinds):
        problems.append(f"there are {len(names)} names of samples, but {len(kinds)} kinds")
    _require(not problems, "; ".join(problems))


def _sample_index(sample: ArrayLike, n_samples: int) -> NDArray[np.intp]:
    index = np.asarray(sample)
    if index.size and index.dtype.kind not in "iu":
        raise DataError(f"a sample index is a whole number; received {index.dtype}")
    if bad := index[(index < 0) | (index >= n_samples)].tolist():
        raise DataError(f"{len(bad)} of {index.size} events have a sample index outside 0..{n_samples - 1}: {bad[0]}")
    return index.astype(np.intp)


def _checked_edges(edges: ArrayLike) -> Floats:
    found = np.asarray(edges, dtype=np.float64)
    rises = found.ndim == 1 and found.size >= 2 and bool((np.diff(found) > 0.0).all())
    _require(rises and (found[0], found[-1]) == (0.0, 1.0), f"bin edges rise from 0 to 1; received {found.tolist()}")
    return found


def _fine_edges(events: SampledEvents) -> Floats:
    """Return edges that are as even in numbers of signal events as in numbers of background events."""
    is_signal = _is_signal(events.kinds)[events.sample]
    # Raw numbers, since a quantile has no meaning where weights are negative.
    shares = np.linspace(0.0, 1.0, N_FINE_BINS // 2 + 1)[1:-1]
    inner = [np.quantile(events.scores[members], shares, method="higher") for members in (is_signal, ~is_signal)]
    return np.unique(np.concatenate(([0.0, 1.0], *inner))).astype(np.float64)


def _filled(events: SampledEvents, edges: Floats) -> Templates:
    n_bins = edges.size - 1
    place = events.sample * n_bins + np.searchsorted(edges[1:-1], events.scores, side="right")
    shape = (len(events.names), n_bins)
    size = shape[0] * n_bins
    return Templates(
        edges=edges,
        names=events.names,
        kinds=events.kinds,
        sums=np.bincount(place, events.weights, size).astype(np.float64).reshape(shape),
        squares=np.bincount(place, np.square(events.weights), size).astype(np.float64).reshape(shape),
        counts=np.bincount(place, minlength=size).astype(np.int64).reshape(shape),
        n_merged=0,
    )


def _absent_or_positive(sums: Floats, squares: Floats) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (squares == 0.0) | (sums > CANCELLED * np.sqrt(squares))
    return found


def _usable(templates: Templates) -> NDArray[np.bool_]:
    """Say of each bin whether its background is positive and no sample in it is negative."""
    background = ~templates.is_signal
    total, noise = templates.sums[background].sum(axis=0), templates.squares[background].sum(axis=0)
    has_background: NDArray[np.bool_] = total > CANCELLED * np.sqrt(noise)
    return has_background & _absent_or_positive(templates.sums, templates.squares).all(axis=0)


def _gains(fine: Templates, min_effective_events: float) -> Floats:
    """Return Z² of the bin from each fine edge (row) to each other (column); -inf where that can be no bin.

    Raises:
        DataError: the bin of everything does not hold enough background.

    """
    is_signal = fine.is_signal
    sums, squares = _between_edges(fine.sums), _between_edges(fine.squares)
    background, noise = sums[~is_signal].sum(axis=0), squares[~is_signal].sum(axis=0)
    enough = (background > 0.0) & (np.square(background) >= min_effective_events * noise)
    if not enough[0, -1]:
        worth = background[0, -1] ** 2 / noise[0, -1] if noise[0, -1] > 0.0 else 0.0
        found = f"the background adds up to {background[0, -1]:.4g} and is worth {worth:.3g} effective events"
        raise DataError(f"no bin can be made: {found} in all, of {min_effective_events:g} that each bin needs")
    good = _absent_or_positive(sums, squares)
    good[~good[:, 0, -1]] = True  # no choice of edges helps a sample that is negative as a whole
    allowed = enough & good.all(axis=0)
    gains = np.full(allowed.shape, -np.inf)
    signal = np.maximum(sums[is_signal].sum(axis=0)[allowed], 0.0)
    gains[allowed] = np.square(asimov_significance(signal, background[allowed]))
    return gains


def _between_edges(values: Floats) -> Floats:
    """Return the sum from each fine edge up to each other, ``(n_samples, n_edges, n_edges)``; 0 on the way down."""
    from_below = np.concatenate((np.zeros((values.shape[0], 1)), np.cumsum(values, axis=1)), axis=1)
    return np.triu(from_below[:, None, :] - from_below[:, :, None])


def _best_partition(gains: Floats, max_loss: float) -> list[int]:
    """Return the fine edges that bound the fewest bins of nearly the largest sum of gains.

    Dynamic programming: the best k bins up to an edge are the best k - 1 up to another, and one more.
    """
    best, before = [gains[0]], [np.zeros(gains.shape[0], dtype=np.intp)]
    for _ in range(gains.shape[0] - 2):
        candidates = best[-1][:, None] + gains
        before.append(candidates.argmax(axis=0))
        best.append(candidates.max(axis=0))
    reached = np.array([values[-1] for values in best])
    n_bins = int(np.argmax(reached >= (1.0 - max_loss) ** 2 * reached.max())) + 1
    kept = [gains.shape[0] - 1]
    for came_from in reversed(before[:n_bins]):
        kept.append(int(came_from[kept[-1]]))
    return kept[::-1]


def _without_edge(templates: Templates, edge: int) -> Templates:
    starts = np.delete(np.arange(templates.edges.size - 1), edge)
    contents: dict[str, Any] = {
        name: np.add.reduceat(getattr(templates, name), starts, axis=1) for name in ("sums", "squares", "counts")
    }
    edges = np.delete(templates.edges, edge)
    return replace(templates, edges=edges, n_merged=templates.n_merged + 1, **contents)


def _refusal(single: Templates) -> DataError:
    """Return the error for templates that are not even fit for a single bin."""
    sums, is_signal = single.sums[:, 0], _is_signal(single.kinds)
    negative = np.flatnonzero(~_absent_or_positive(sums, single.squares[:, 0]))
    named = {"the background": sums[~is_signal].sum(), "the signal": sums[is_signal].sum()}
    bad = {what: total for what, total in named.items() if total <= 0.0}
    bad |= {f"sample {single.names[i]!r}": sums[i] for i in negative}
    found = "; ".join(f"{what} adds up to {total:.4g}" for what, total in bad.items())
    advice = "a fit needs positive yields: join the sample with another, or leave it out"
    return DataError(f"no bin can be filled for a fit: {found}; {advice}")
