"""A peak in a mass on a falling background, and a good feature that depends on the mass.

Owns the ``mass-bump`` sample and the part of its experiment file that names the columns.

The network does not see the mass, but one of its features does: of the background, this feature and the mass
(put on a Gaussian's scale) are Gaussians with the asked-for correlation. Whoever cuts on it chooses masses as
well, and a background that has been cut so no longer falls: it grows a bump of its own. The other feature
is independent of the mass, in both classes; it separates with an AUC of Phi(1 / √2) = 0.760.
"""

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import norm

from pipeline.declare import Declaration
from pipeline.simulation.classes import Classes, labelled_and_new
from pipeline.simulation.experiment import DENSE, columns, sample, split
from pipeline.simulation.files import Events, Files

Floats = NDArray[np.float64]

DECORRELATED = replace(
    DENSE, training='decorrelate = { variable = "mass", method = "distance-correlation", strength = 10.0 }\n'
)
LOWEST, HIGHEST, FALL = 50.0, 250.0, 60.0  # of the background's masses, GeV
PEAK, WIDTH = 125.0, 10.0  # of the signal's, GeV
TILTED_DISTANCE, PLAIN_DISTANCE = 1.5, 1.0  # between the classes, in standard deviations


class MassBumpOptions(Declaration):
    """What may be chosen: the correlation of the background's tilted feature with its mass."""

    correlation: float = Field(default=0.7, gt=-1.0, lt=1.0)


def mass_bump_files(n_events: int, generator: np.random.Generator, options: MassBumpOptions) -> tuple[Files, Files]:
    """Draw ``n_events`` labelled events, half of them signal, and a fifth as many new ones."""
    draw = partial(draw_bump, generator=generator, options=options)
    return labelled_and_new("mass_bump.root", "label", np.array([0, 1]), draw, n_events, generator)


def draw_bump(labels: Classes, generator: np.random.Generator, options: MassBumpOptions) -> Events:
    """Draw one event for every label (1 signal): ``mass`` in GeV, ``tilted`` and ``plain``."""
    n_events = len(labels)
    falling = LOWEST - FALL * np.log1p(-generator.random(n_events) * -np.expm1((LOWEST - HIGHEST) / FALL))
    mass = np.where(labels == 1, generator.normal(PEAK, WIDTH, n_events), falling)
    own = np.sqrt(1.0 - options.correlation**2) * generator.standard_normal(n_events)
    return {
        "mass": mass,
        "tilted": options.correlation * gaussian_mass(mass) + own + TILTED_DISTANCE * labels,
        "plain": generator.standard_normal(n_events) + PLAIN_DISTANCE * labels,
    }


def gaussian_mass(mass: Floats) -> Floats:
    """Return a monotone function of the mass (GeV) that is a unit Gaussian for the background."""
    share = np.expm1((LOWEST - mass) / FALL) / np.expm1((LOWEST - HIGHEST) / FALL)
    return np.asarray(norm.ppf(np.clip(share, 1e-9, 1.0 - 1e-9)))


def mass_bump_sections(options: MassBumpOptions) -> str:
    """Return the sections of the experiment file that know these columns."""
    return "\n".join(
        [
            f"# A peak at {PEAK:g} GeV on an exponential. Of the background, `tilted` has a correlation of "
            f"{options.correlation:g} with the mass\n# (on a Gaussian's scale), and `plain` has none: does the score "
            "sculpt a bump into the background?",
            sample("mass_bump.root", '{ column = "label", signal = 1, background = 0 }'),
            columns({"mass": "GeV"}),
            '[features]\ninputs = ["tilted", "plain"]\nspectators = ["mass"]\n',
            split("event"),
        ]
    )
