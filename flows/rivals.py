"""Rivals: what the baselines make of the events that the networks are judged by.

Owns which events a baseline learns from, and by which one an event is scored: with folds by one that was trained
without it, as by the networks.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flows.experiment import Experiment
from flows.parts import at_once, judged_rows
from models.baselines import fit_baseline
from pipeline.dataset import PreparedDataset, loaded_blocks
from pipeline.table import EventTable, Packing, pack, table_of

MOST_EVENTS = 500_000
"""Training events of a baseline, drawn at random where there are more: with these it is about as good as it gets."""


def baseline_scores(name: str, datasets: Sequence[PreparedDataset], experiment: Experiment) -> NDArray[np.float64]:
    """Return a baseline's scores of the test events, with folds each by one that was trained without them."""
    seed, split, scores = experiment.experiment.seed, experiment.split, []
    for dataset in datasets:
        random, manifest = np.random.default_rng(seed), dataset.manifest
        train, validation = (_some_events(dataset, part, random) for part in ("train", "validation"))
        scorer = fit_baseline(name, train, validation, seed)
        for block in loaded_blocks(dataset.part("test"), at_once(dataset)):
            rows = judged_rows(block.identity, "test", manifest.fold, split)
            scores.append(scorer(manifest.transform.apply(block.features[rows])))
    return np.concatenate(scores)


def _some_events(dataset: PreparedDataset, part: str, random: np.random.Generator) -> EventTable:
    events, transform = dataset.part(part), dataset.manifest.transform
    if len(events) <= MOST_EVENTS:
        return table_of(events, Packing(transform))
    rows, factors = drawn(events.label, MOST_EVENTS, random)
    weights = events.training_weight[rows] * factors
    return pack(transform.apply(events.features[rows]), events.label[rows], weights)


def drawn(
    labels: NDArray[np.integer], most: int, random: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Draw at most ``most`` events, as many of a rare class as of the others; return rows, and factors for weights."""
    rows, factors = [], []
    kinds, counts = np.unique(labels, return_counts=True)
    for kind, count in zip(kinds, counts, strict=True):
        n_drawn = min(int(count), most // len(kinds))
        rows.append(random.choice(np.flatnonzero(labels == kind), n_drawn, replace=False))
        factors.append(np.full(n_drawn, count / n_drawn))
    order = np.argsort(joined := np.concatenate(rows))
    return joined[order], np.concatenate(factors)[order]
