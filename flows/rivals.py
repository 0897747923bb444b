"""Rivals: what the baselines make of the events that the networks are judged by.

Owns which events a baseline learns from, and by which one an event is scored: with folds by one that was trained
without it, as by the networks.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flows.experiment import Experiment
from flows.parts import at_once, judged_rows
from models.build import head_of
from models.rivals import fit_rival
from pipeline.dataset import PreparedDataset, loaded_blocks
from pipeline.table import EventTable, Packing, pack, table_of

MOST_EVENTS = 500_000
"""Training events of a baseline, drawn at random where there are more: with these it is about as good as it gets."""

MOST_NUMBERS = 50_000_000
"""Features of all of them together, 400 MB: of events that are images there are fewer."""


def baseline_scores(name: str, datasets: Sequence[PreparedDataset], experiment: Experiment) -> NDArray[np.float64]:
    """Return a baseline's scores of the test events, with folds each by one that was trained without them.

    They have the shape of the network's own; quantities are in their own units.
    """
    seed, split, head, scores = experiment.experiment.seed, experiment.split, head_of(experiment.model), []
    outputs = head.output_names(datasets[0].manifest.classes, tuple(experiment.targets))
    for dataset in datasets:
        random, manifest = np.random.default_rng(seed), dataset.manifest
        targets = head.target_transform(manifest.targets)
        packing = Packing(manifest.transform, targets)
        train, validation = (_some_events(dataset, part, packing, random) for part in ("train", "validation"))
        scorer = fit_rival(name, head.judged_as, train, validation, seed, outputs)
        for block in loaded_blocks(dataset.part("test"), at_once(dataset)):
            rows = judged_rows(block.identity, "test", manifest.fold, split)
            said = scorer(manifest.transform.apply(block.features[rows]))
            scores.append(targets.undone(said) if targets else said)
    return np.concatenate(scores)


def _some_events(dataset: PreparedDataset, part: str, packing: Packing, random: np.random.Generator) -> EventTable:
    events = dataset.part(part)
    most = min(MOST_EVENTS, MOST_NUMBERS // len(packing.transform.features))
    if len(events) <= most:
        return table_of(events, packing)
    rows, factors = drawn(events.label, most, random)
    weights = events.training_weight[rows] * factors
    return pack(packing.transform.apply(events.features[rows]), packing.targets_of(events, rows), weights)


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
