"""Electrons, pions, muons and photons in the calorimeter of ``pion-muon``: four classes at once.

Owns the ``particles`` sample, what electrons and photons do in the calorimeter, and the part of the experiment
file that names the columns. Muons, pions and the read-out are those of ``calorimeter``.

An electron showers from the first layer on. A photon leaves nothing until it makes a pair of electrons, 9/7 of
a radiation length deep on average, a third of a layer; the pair's shower is a little shorter than an electron's.
That is all that tells the two apart, so they are often mistaken for each other, and seldom for anything else.

References:
    E. Longo, I. Sestili, "Monte Carlo calculation of photon-initiated electromagnetic showers in lead glass",
    Nucl. Instrum. Methods 128 (1975) 283.
    Particle Data Group, "Review of Particle Physics" (2022), "Passage of particles through matter":
    electromagnetic cascades.

"""

from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import gammainc

from pipeline.declare import Declaration
from pipeline.simulation.calorimeter import (
    ELECTROMAGNETIC_RESPONSE,
    LAYERS,
    MUON,
    N_LAYERS,
    PION,
    RADIATION_LENGTHS_A_LAYER,
    SAMPLED,
    blur,
    draw_deposits,
    draw_tracks,
)
from pipeline.simulation.classes import Classes, labelled_and_new
from pipeline.simulation.experiment import columns, quoted, sample, split
from pipeline.simulation.files import Events, Files

Floats = NDArray[np.float64]

ELECTRON, PHOTON = 11, 22  # the Particle Data Group's numbers
SPECIES = MappingProxyType({"electron": ELECTRON, "pion": PION, "muon": MUON, "photon": PHOTON})
CRITICAL_ENERGY = 0.0217  # of iron, GeV
STOCHASTIC_TERM = 0.3  # relative resolution of an electromagnetic shower at 1 GeV
LAYER_NAMES = tuple(f"layer_{k}" for k in LAYERS)


class ParticlesOptions(Declaration):
    """What may be chosen: the noise of a layer in MeV."""

    noise: float = Field(default=0.6, ge=0.0)


def particles_files(n_events: int, generator: np.random.Generator, options: ParticlesOptions) -> tuple[Files, Files]:
    """Draw ``n_events`` labelled particles, a quarter of each species, and a fifth as many new ones."""
    draw = partial(draw_particles, generator=generator, options=options)
    codes = np.array(list(SPECIES.values()), dtype=np.int32)
    return labelled_and_new("particles.root", "species", codes, draw, n_events, generator)


def draw_particles(species: Classes, generator: np.random.Generator, options: ParticlesOptions) -> Events:
    """Draw one particle for every entry of ``species``: its direction, and the deposits of the layers in MeV."""
    tracks = draw_tracks(species == MUON, generator)
    deposits = draw_deposits(tracks, generator)
    for code in (ELECTRON, PHOTON):
        own = species == code
        deposits[own] = draw_cascades(tracks.momentum[own], tracks.path[own], code == PHOTON, generator)
    layers = blur(deposits, options.noise, generator).astype(np.float32)
    return {"eta": tracks.eta.astype(np.float32), **dict(zip(LAYER_NAMES, layers.T, strict=True))}


def draw_cascades(energy: Floats, path: Floats, is_photon: bool, generator: np.random.Generator) -> Floats:
    """Draw what electrons or photons of ``energy`` (GeV) leave in the layers, in MeV, shape ``(n_events, 10)``."""
    begin = generator.exponential(9.0 / 7.0, len(energy)) if is_photon else np.zeros(len(energy))
    each = energy / 2.0 if is_photon else energy
    faces = path[:, None] * RADIATION_LENGTHS_A_LAYER * np.arange(N_LAYERS + 1)
    behind = np.maximum(faces - begin[:, None], 0.0)
    # the maximum of a Gamma profile with slope 0.5 is at ln(E / critical energy) - 0.5 radiation lengths
    shape = 1.0 + 0.5 * (np.log(each / CRITICAL_ENERGY) - 0.5)
    shares = np.diff(gammainc(shape[:, None], 0.5 * behind), axis=1)
    quantum = STOCHASTIC_TERM**2
    sampled = quantum * generator.gamma(energy[:, None] * ELECTROMAGNETIC_RESPONSE * shares / quantum)
    return np.asarray(1e3 * SAMPLED * sampled)


def particles_sections(options: ParticlesOptions) -> str:
    """Return the sections of the experiment file that know these columns."""
    codes = ", ".join(f"{name} = {code}" for name, code in SPECIES.items())
    return "\n".join(
        [
            "# Textbook parametrisations of ten layers, no Geant4. Electrons and photons differ in where their\n"
            "# showers begin, and in nothing else.",
            sample("particles.root", f'{{ column = "species", {codes} }}'),
            columns(dict.fromkeys(LAYER_NAMES, "MeV")),
            f'[derive]\ntotal = "{" + ".join(LAYER_NAMES)}"\n',
            f'[features]\ninputs = [{quoted(LAYER_NAMES)}, "eta", "total"]\n',
            split("event"),
        ]
    )
