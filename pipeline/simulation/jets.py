"""Events with a jagged list of jets, two of which come from the decay of one particle, or do not.

Owns the ``jets`` sample and the part of its experiment file that names the columns.

Every event has a pair of jets from a two-body decay, and as many more as a Poisson variate says. In a signal event the
pair has the mass of a resonance, in a background event one from a falling spectrum; how the pair is thrown and
decays, how many jets there are, and the momentum that is missing, are the same. So all that tells the classes
apart is the mass of two of the jets, and nobody says which two: the list is in no order.
"""

from functools import partial

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.declare import Declaration
from pipeline.simulation.classes import Classes, labelled_and_new
from pipeline.simulation.experiment import Network, columns, sample, split
from pipeline.simulation.files import Events, Files

Floats = NDArray[np.float64]

SETS = Network(
    "sets",
    training='# The jets one after the other, largest first: write [model] architecture = "recurrent".\n',
)
LIGHTEST_PAIR, FALLING_MASS = 40.0, 60.0  # where the background's masses begin, and how fast they fall, GeV
PAIR_PT, PAIR_RAPIDITY = 60.0, 1.0  # mean of the pair's transverse momentum, GeV; spread of its rapidity
SOFTEST_JET, FALLING_PT = 20.0, 15.0  # of the jets beside the pair, GeV
JET_MASS_SHARE = 0.08  # of a jet's transverse momentum, mean
MET_SHARE = 0.5  # the missing momentum's scale is this times the root of all jets' momenta, √GeV


class JetsOptions(Declaration):
    """What may be chosen: the resonance's mass in GeV, a jet's relative resolution, the mean number of jets beside."""

    mass: float = Field(default=125.0, gt=0.0)
    resolution: float = Field(default=0.08, ge=0.0, lt=0.3)
    more_jets: float = Field(default=1.5, ge=0.0, le=20.0)


def jets_files(n_events: int, generator: np.random.Generator, options: JetsOptions) -> tuple[Files, Files]:
    """Draw ``n_events`` labelled events, half of them with the resonance, and a fifth as many new ones."""
    draw = partial(draw_jet_events, generator=generator, options=options)
    return labelled_and_new("jets.root", "label", np.array([0, 1]), draw, n_events, generator)


def draw_jet_events(labels: Classes, generator: np.random.Generator, options: JetsOptions) -> Events:
    """Draw one event for every label (1 with the resonance): ``jet``, ``met`` (GeV) and ``weight``."""
    n_events = len(labels)
    falling = LIGHTEST_PAIR + generator.exponential(FALLING_MASS, n_events)
    pair = draw_pairs(np.where(labels == 1, options.mass, falling), generator)
    n_more = generator.poisson(options.more_jets, n_events)
    more = draw_more_jets(int(n_more.sum()), generator)
    event = np.concatenate([np.arange(n_events), np.arange(n_events), np.repeat(np.arange(n_events), n_more)])
    pt, eta, phi = (np.concatenate([*decayed, beside]) for decayed, beside in zip(pair, more, strict=True))
    pt = pt * np.maximum(1.0 + options.resolution * generator.standard_normal(len(pt)), 0.1)
    order = np.lexsort([generator.random(len(event)), event])
    jets = {"pt": pt, "eta": eta, "phi": phi, "mass": pt * generator.gamma(4.0, JET_MASS_SHARE / 4.0, len(pt))}
    records = ak.zip({name: values[order].astype(np.float32) for name, values in jets.items()})
    total = np.bincount(event, weights=pt)
    return {
        "jet": ak.unflatten(records, n_more + 2),
        "met": (MET_SHARE * np.sqrt(total) * generator.rayleigh(1.0, n_events)).astype(np.float32),
        # the look of a pile-up weight: mean one, independent of everything else
        "weight": generator.gamma(10.0, 0.1, n_events).astype(np.float32),
    }


def draw_pairs(mass: Floats, generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Let particles of ``mass`` (GeV) decay to two massless jets, in any direction of their rest frame.

    Returns transverse momentum (GeV), pseudorapidity and azimuth, each of shape ``(2, n_events)``.
    """
    n_events = len(mass)
    pt, azimuth = generator.exponential(PAIR_PT, n_events), generator.uniform(-np.pi, np.pi, n_events)
    rapidity = PAIR_RAPIDITY * generator.standard_normal(n_events)
    boost = np.stack([pt * np.cos(azimuth), pt * np.sin(azimuth), np.hypot(mass, pt) * np.sinh(rapidity)])
    cosine, turn = generator.uniform(-1.0, 1.0, n_events), generator.uniform(-np.pi, np.pi, n_events)
    sine = np.sqrt(1.0 - cosine**2)
    direction = np.stack([sine * np.cos(turn), sine * np.sin(turn), cosine])
    momenta = np.stack([boosted(sign * mass / 2 * direction, boost, mass) for sign in (1.0, -1.0)])
    return as_seen(momenta.transpose(1, 0, 2))


def boosted(momentum: Floats, boost: Floats, mass: Floats) -> Floats:
    """Return a massless particle's momentum, given in the rest frame of a ``mass`` that moves with momentum ``boost``.

    Both of shape ``(3, n_events)``.
    """
    energy = np.sqrt(np.sum(boost**2, axis=0) + mass**2)
    own = np.linalg.norm(momentum, axis=0)
    along = np.sum(momentum * boost, axis=0) / (mass * (energy + mass))
    return np.asarray(momentum + boost * (along + own / mass))


def as_seen(momentum: Floats) -> tuple[Floats, Floats, Floats]:
    """Return transverse momentum, pseudorapidity and azimuth of momenta, shape ``(3, …)``."""
    x, y, z = momentum
    pt = np.hypot(x, y)
    return pt, np.arcsinh(z / pt), np.arctan2(y, x)


def draw_more_jets(n_jets: int, generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Draw jets that belong to no pair: falling transverse momentum (GeV), pseudorapidity, azimuth."""
    return (
        SOFTEST_JET + generator.exponential(FALLING_PT, n_jets),
        1.5 * generator.standard_normal(n_jets),
        generator.uniform(-np.pi, np.pi, n_jets),
    )


def jets_sections(options: JetsOptions) -> str:
    """Return the sections of the experiment file that know these columns."""
    story = f"""\
# Two of the jets of a signal event come from a resonance of {options.mass:g} GeV; the same two of a background
# event have a mass that falls exponentially, and all else is alike. The jets are in no order in the file.
"""
    derive = """\
[derive]
jet_log_pt = "log(jet_pt)"
# An angle has no beginning and no end.
jet_cos_phi = "cos(jet_phi)"
jet_sin_phi = "sin(jet_phi)"
"""
    features = """\
[features]
inputs = ["met"]

[features.collections.jets]
inputs = ["jet_log_pt", "jet_eta", "jet_cos_phi", "jet_sin_phi", "jet_mass"]
order = "jet_pt"
length = 10
"""
    jets = sample("jets.root", '{ column = "label", signal = 1, background = 0 }') + 'weight = "weight"\n'
    units = columns({"met": "GeV", "jet_pt": "GeV", "jet_mass": "GeV"})
    return "\n".join([story + jets, units, derive, features, split("event")])
