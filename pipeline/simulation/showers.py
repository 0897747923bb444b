"""The energy of showers, to be estimated from the signals of five calorimeter layers.

Owns the ``showers`` sample and the part of its experiment file that names the columns.

What a shower leaves in all layers together is its energy with a relative error of a / √E ⊕ b. The deeper it
begins, the more falls into the later layers; every layer has a response of its own, and saturates. So the plain
sum of the signals is off by an amount that varies from shower to shower. But both can be undone, layer by layer,
and what is left is the error a / √E ⊕ b, which nobody who sees the signals can do without.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import gammainc

from pipeline.declare import Declaration
from pipeline.simulation.classes import numbered
from pipeline.simulation.experiment import columns, quoted, sample, split
from pipeline.simulation.files import Events, Files

Floats = NDArray[np.float64]

LOWEST, HIGHEST = 5.0, 200.0  # energies, GeV
BORDERS = np.array([0.0, 4.0, 7.0, 10.0, 15.0, np.inf])  # of the layers, radiation lengths
RESPONSES = np.array([0.7, 1.0, 0.9, 0.8, 0.6])
SATURATION = 150.0  # the energy in a layer at which half of it is seen, GeV
CRITICAL_ENERGY = 0.02  # GeV
LAYERS = tuple(f"layer_{k}" for k in range(1, len(RESPONSES) + 1))


class ShowersOptions(Declaration):
    """What may be chosen: the stochastic term in √GeV, and the constant one."""

    stochastic: float = Field(default=0.1, ge=0.0, le=0.5)
    constant: float = Field(default=0.01, ge=0.0, le=0.1)

    def resolution(self, energy: Floats) -> Floats:
        """Return the relative error of the energy in GeV: a / √E ⊕ b."""
        return np.hypot(self.stochastic / np.sqrt(energy), self.constant)


def showers_files(n_events: int, generator: np.random.Generator, options: ShowersOptions) -> tuple[Files, Files]:
    """Draw ``n_events`` showers, and a fifth as many new ones; ``true_energy`` is what is to be found."""
    draw = partial(draw_showers, generator=generator, options=options)
    training, new = draw(n_events), draw(n_events // 5)
    return {"showers.root": numbered(training, 0)}, {"new_showers.root": numbered(new, n_events)}


def draw_showers(n_events: int, generator: np.random.Generator, options: ShowersOptions) -> Events:
    """Draw showers of log-uniform energy: the signals of the layers and ``true_energy``, in GeV."""
    energy = LOWEST * (HIGHEST / LOWEST) ** generator.random(n_events)
    left = energy * np.maximum(1.0 + options.resolution(energy) * generator.standard_normal(n_events), 0.0)
    signals = seen(left[:, None] * draw_shares(energy, generator))
    return {**dict(zip(LAYERS, signals.T.astype(np.float32), strict=True)), "true_energy": energy}


def draw_shares(energy: Floats, generator: np.random.Generator) -> Floats:
    """Draw which share of a shower is in each layer, shape ``(n_events, 5)``: Gamma profiles that begin early or late.

    References:
        E. Longo, I. Sestili, "Monte Carlo calculation of photon-initiated electromagnetic showers in lead glass",
        Nucl. Instrum. Methods 128 (1975) 283.

    """
    shape = 0.5 + 0.5 * np.log(energy / CRITICAL_ENERGY)
    shape *= generator.lognormal(0.0, 0.15, len(energy))
    return np.asarray(np.diff(gammainc(shape[:, None], 0.5 * BORDERS), axis=1))


def seen(energy: Floats) -> Floats:
    """Return the signals of layers in which ``energy`` is left, both in GeV."""
    return np.asarray(RESPONSES * energy / (1.0 + energy / SATURATION))


def unseen(signals: Floats) -> Floats:
    """Return the energy left in layers from their signals, the inverse of ``seen``."""
    return np.asarray(signals / (RESPONSES - signals / SATURATION))


def showers_sections(options: ShowersOptions) -> str:
    """Return the sections of the experiment file that know these columns."""
    return "\n".join(
        [
            f"# The layers respond differently, and saturate. No estimate is better than {options.stochastic:g} / √E ⊕ "
            f"{options.constant:g}, with E in GeV.",
            sample("showers.root"),
            columns(dict.fromkeys((*LAYERS, "true_energy"), "GeV")),
            f'[features]\ninputs = [{quoted(LAYERS)}]\n\n[targets]\nenergy = "true_energy"\n',
            split("event"),
        ]
    )
