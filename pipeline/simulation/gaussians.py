"""Two Gaussians: the sample whose best possible classifier is known in closed form.

Owns the ``gaussians`` sample and the part of its experiment file that names the columns.

Both classes are unit Gaussians in ``dimensions`` features, ``distance`` apart along the diagonal. The
likelihood ratio is a monotone function of the sum of the features; projected on the line between the
means, a signal event less a background event follows N(distance, 2), so that the best AUC there can be
is Phi(distance / √2): 0.8556 for a distance of 1.5, in any number of dimensions. Event weights are drawn
independently of the features, negative ones too, and change nothing about it.
"""

from functools import partial
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.stats import norm

from pipeline.chunk import Column
from pipeline.declare import Declaration
from pipeline.simulation.classes import labelled_and_new
from pipeline.simulation.experiment import split
from pipeline.simulation.files import Events, Files


class GaussiansOptions(Declaration):
    """What may be chosen.

    ``weights`` adds a column ``weight`` of mean one; ``negative_fraction`` of its entries change sign.
    ``missing_fraction`` of all feature values are left out: then the best AUC is below the closed form.
    """

    format: Literal["csv", "root"] = "csv"
    distance: float = Field(default=1.5, ge=0.0)
    dimensions: int = Field(default=4, ge=1, le=1000)
    weights: bool = False
    negative_fraction: float = Field(default=0.0, ge=0.0, lt=0.5)
    missing_fraction: float = Field(default=0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _negative_weights_are_weights(self) -> Self:
        if self.negative_fraction > 0.0 and not self.weights:
            raise ValueError("negative_fraction is about the event weights: it needs weights = true")
        return self

    @property
    def best_auc(self) -> float:
        """The AUC of the likelihood ratio, Phi(distance / √2), where nothing is missing."""
        return float(norm.cdf(self.distance / np.sqrt(2.0)))

    @property
    def features(self) -> list[str]:
        """The names of the features."""
        return [f"x_{i}" for i in range(1, self.dimensions + 1)]


def gaussians_files(n_events: int, generator: np.random.Generator, options: GaussiansOptions) -> tuple[Files, Files]:
    """Draw ``n_events`` labelled events, half of them signal in random order, and a fifth as many new ones."""
    draw = partial(draw_events, generator=generator, options=options)
    return labelled_and_new(f"gaussians.{options.format}", "label", np.array([0, 1]), draw, n_events, generator)


def draw_events(label: NDArray[np.int64], generator: np.random.Generator, options: GaussiansOptions) -> Events:
    """Draw one event for every label (1 signal, 0 background)."""
    n_events = len(label)
    towards_signal = (label - 0.5) * options.distance / np.sqrt(options.dimensions)
    features = towards_signal[:, None] + generator.standard_normal((n_events, options.dimensions))
    if options.missing_fraction > 0.0:
        features[generator.random(features.shape) < options.missing_fraction] = np.nan
    events: dict[str, Column] = dict(zip(options.features, features.T, strict=True))
    if options.weights:
        sign = np.where(generator.random(n_events) < options.negative_fraction, -1.0, 1.0)
        # divided by the mean sign, so that the yields stay what they are without negative weights
        events["weight"] = sign * generator.gamma(10.0, 0.1, n_events) / (1.0 - 2.0 * options.negative_fraction)
    return events


def gaussians_sections(options: GaussiansOptions) -> str:
    """Return the sections of the experiment file that know these columns."""
    tree = '\ntree = "tracks"' if options.format == "root" else ""
    weight = '\nweight = "weight"' if options.weights else ""
    inputs = ", ".join(f'"{name}"' for name in options.features)
    return f"""\
# two unit Gaussians {options.distance:g} apart: no classifier can do better than AUC = {options.best_auc:.4f}
[[samples]]
name = "gaussians"
label = {{ column = "label", signal = 1, background = 0 }}
files = ["gaussians.{options.format}"]{tree}{weight}

[columns]
event = {{ kind = "id" }}

[[select]]
name = "no outliers"
keep = "!(abs(x_1) > {options.distance / 2 + 6:g})"   # said this way round, it keeps a missing x_1

[features]
inputs = [{inputs}]
missing = {{ values = [-999.0], policy = "median", flag = true }}

{split("event")}"""
