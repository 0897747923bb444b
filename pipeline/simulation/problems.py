"""Problems of two classes whose best possible classifier is known: one generator for all of them.

Owns how events of a ``Problem`` are drawn, how good the best classifier can be, and the part of the
experiment file that names the columns. The problems themselves are in ``lectures``.

Features are correlated Gaussians on a scale of their own, with the same spread and correlation in both classes.
Scales (a logarithm) and bends (a feature is raised by the square of another one) make them skewed and their
borders curved, but lose nothing: both can be undone and change no volume ratio between the classes. Counts are
Poisson variates beside them. So the likelihood ratio, and how well it separates, stay known in closed form.
"""

from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from pipeline.declare import Declaration
from pipeline.simulation.classes import Classes, labelled_and_new
from pipeline.simulation.experiment import columns, quoted, sample, split
from pipeline.simulation.files import Events, Files

Floats = NDArray[np.float64]

SCALES = MappingProxyType(
    {
        "linear": (np.positive, np.positive),
        "log": (np.log, np.exp),
        "share": (logit, expit),
    }
)
"""From a feature to where it is Gaussian, and back."""


@dataclass(frozen=True)
class Feature:
    """A feature: its typical value in both classes, in its unit, and its standard deviation on its scale.

    A ``log`` feature with a spread of 0.5 is off by a factor of 1.65; a ``share`` lies between 0 and 1.
    """

    name: str
    unit: str
    signal: float
    background: float
    spread: float
    scale: str = "linear"


@dataclass(frozen=True)
class Count:
    """A number of things, Poisson-distributed: its mean in both classes."""

    name: str
    signal: float
    background: float


@dataclass(frozen=True)
class Bend:
    """``feature`` is raised by ``strength`` of its spreads where ``by`` is one spread from halfway between the classes.

    The shift grows with the square; ``by`` itself may not be bent.
    """

    feature: str
    by: str
    strength: float


@dataclass(frozen=True)
class Problem:
    """Two classes with their names, and the features that tell them apart; ``story`` says why, one line each."""

    name: str
    question: str
    signal: str
    background: str
    story: tuple[str, ...]
    features: tuple[Feature, ...]
    counts: tuple[Count, ...] = ()
    correlations: tuple[tuple[str, str, float], ...] = ()
    bends: tuple[Bend, ...] = ()

    @property
    def names(self) -> list[str]:
        """The features and counts."""
        return [feature.name for feature in self.features] + [count.name for count in self.counts]

    def place(self, name: str) -> int:
        """Return which feature has this name."""
        return [feature.name for feature in self.features].index(name)

    @property
    def means(self) -> Floats:
        """The mean of each feature on its scale, shape ``(2, n_features)``: background, then signal."""
        pairs = [SCALES[f.scale][0]([f.background, f.signal]) for f in self.features]
        return np.stack(pairs, axis=1)

    @property
    def spreads(self) -> Floats:
        """The standard deviation of each feature on its scale."""
        return np.array([feature.spread for feature in self.features])

    @property
    def correlation(self) -> Floats:
        """The correlation matrix on the features' scales, the same in both classes."""
        matrix = np.eye(len(self.features))
        for one, other, value in self.correlations:
            i, j = self.place(one), self.place(other)
            matrix[i, j] = matrix[j, i] = value
        return matrix

    @property
    def squared_distance(self) -> float:
        """The squared Mahalanobis distance between the classes' means."""
        apart = np.diff(self.means, axis=0)[0] / self.spreads
        return float(apart @ np.linalg.solve(self.correlation, apart))

    @property
    def best_auc(self) -> float:
        """The AUC of the likelihood ratio, which no classifier can exceed.

        Its logarithm in a signal event less that in a background event is a Gaussian of mean D² and variance
        2 D², D the distance between the means, plus log(s/b) times the difference of two Poisson variates
        for each count. The chance that this is positive follows from its characteristic function; without
        counts it is Phi(D / √2).

        References:
            J. Gil-Pelaez, "Note on the inversion theorem", Biometrika 38 (1951) 481.

        """
        squared = self.squared_distance
        ratios = [np.log(count.signal / count.background) for count in self.counts]
        variances = [r**2 * (c.signal + c.background) for r, c in zip(ratios, self.counts, strict=True)]
        step = 0.02 / np.sqrt(2.0 * squared + sum(variances))
        t = np.arange(step / 2, 8.0 / np.sqrt(squared), step)
        exponent = (1j * t - t**2) * squared
        for ratio, count in zip(ratios, self.counts, strict=True):
            exponent += count.signal * np.expm1(1j * t * ratio) + count.background * np.expm1(-1j * t * ratio)
        return float(0.5 + np.sum(np.exp(exponent).imag / t) * step / np.pi)


class ProblemOptions(Declaration):
    """Nothing may be chosen: a problem is what its table says."""


def problem_files(
    problem: Problem, n_events: int, generator: np.random.Generator, options: ProblemOptions
) -> tuple[Files, Files]:
    """Draw ``n_events`` labelled events of a problem, half of them signal, and a fifth as many new ones."""
    kinds = np.array([problem.background, problem.signal], dtype=object)
    draw = partial(draw_problem, problem, generator=generator)
    return labelled_and_new(f"{problem.name}.csv", "kind", kinds, draw, n_events, generator)


def draw_problem(problem: Problem, kinds: Classes, generator: np.random.Generator) -> Events:
    """Draw one event for every kind (the problem's name of its class), as the columns of the CSV file."""
    is_signal = kinds == problem.signal
    independent = generator.standard_normal((len(kinds), len(problem.features)))
    correlated = independent @ np.linalg.cholesky(problem.correlation).T
    gaussian = problem.means[is_signal.astype(int)] + problem.spreads * correlated
    bent = gaussian + bend_shifts(problem, gaussian)
    features = {f.name: SCALES[f.scale][1](bent[:, i]).astype(np.float32) for i, f in enumerate(problem.features)}
    counts = {c.name: generator.poisson(np.where(is_signal, c.signal, c.background)) for c in problem.counts}
    return {**features, **counts}


def bend_shifts(problem: Problem, gaussian: Floats) -> Floats:
    """Return by how much bends raise each feature on its scale, shape ``(n_events, n_features)``."""
    from_halfway = (gaussian - problem.means.mean(axis=0)) / problem.spreads
    shifts = np.zeros_like(gaussian)
    for bend in problem.bends:
        bent = problem.place(bend.feature)
        shifts[:, bent] += bend.strength * problem.spreads[bent] * from_halfway[:, problem.place(bend.by)] ** 2
    return shifts


def problem_sections(problem: Problem, options: ProblemOptions) -> str:
    """Return the sections of the experiment file that know these columns."""
    drawn_from = "Poisson counts, and from Gaussians" if problem.counts else "Gaussians"
    lines = [
        *problem.story,
        f"Drawn from {drawn_from} that are correlated, bent and on scales of their own:",
        f"a sketch of the real thing, on which no classifier can do better than AUC = {problem.best_auc:.4f}.",
    ]
    label = f'{{ column = "kind", signal = "{problem.signal}", background = "{problem.background}" }}'
    return "\n".join(
        [
            *(f"# {line}" for line in lines),
            sample(f"{problem.name}.csv", label),
            columns({feature.name: feature.unit for feature in problem.features}) + 'kind = { kind = "text" }\n',
            f"[features]\ninputs = [{quoted(problem.names)}]\n",
            split("event"),
        ]
    )
