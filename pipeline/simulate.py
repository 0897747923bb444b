"""Simulate: samples whose right answers are known, with the experiment file that uses them.

Owns the table of simulations, the one public verb, and the sections that all their experiment files
share. The physics of each sample is in a module of ``simulation``; how files are written is in ``simulation.files``.

The same name, number of events, seed and options give the same events again. Truth that a classifier
must not see is only in the files of new events, in a column whose name begins with ``true_``: it is there
to judge scores by.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np

from pipeline.declare import Declaration, declaration_error, read_declaration
from pipeline.durable import write_whole
from pipeline.errors import DeclarationError, nearest_spelling
from pipeline.simulation import (
    blobs,
    bump,
    calorimeter,
    functions,
    gaussians,
    jets,
    lectures,
    particles,
    problems,
    showers,
    sky,
)
from pipeline.simulation.experiment import CLASSES, DENSE, PICTURES, QUANTITY, Network, experiment_text
from pipeline.simulation.files import Files, write_events

log = logging.getLogger(__name__)

DEFAULT_SEED = 20261121
FEWEST_EVENTS = 10
Options = TypeVar("Options", bound=Declaration)


@dataclass(frozen=True)
class Simulation(Generic[Options]):
    """How one sample is made.

    ``files`` draws the labelled events and the new ones, by file name; ``sections`` writes the part of
    the experiment file that knows the columns; ``options`` declares what may be chosen; ``tree`` is where events are
    in a ROOT file.
    """

    question: str
    options: type[Options]
    files: Callable[[int, np.random.Generator, Options], tuple[Files, Files]]
    sections: Callable[[Options], str]
    network: Network = DENSE
    tree: str = "events"


@dataclass(frozen=True)
class SimulatedSample:
    """What was written: the experiment file, the files it trains on, and the files of unlabelled events."""

    experiment: Path
    training_files: tuple[Path, ...]
    new_files: tuple[Path, ...]


SIMULATIONS: Mapping[str, Simulation[Any]] = MappingProxyType(
    {
        "pion-muon": Simulation(
            "Does the pattern of ten layers tell muons from pions?",
            calorimeter.PionMuonOptions,
            calorimeter.pion_muon_files,
            calorimeter.pion_muon_sections,
            tree="tracks",
        ),
        "star-galaxy": Simulation(
            "Is it a galaxy or a star?", sky.StarGalaxyOptions, sky.star_galaxy_files, sky.star_galaxy_sections
        ),
        "gaussians": Simulation(
            "Does training reach the best AUC there can be?",
            gaussians.GaussiansOptions,
            gaussians.gaussians_files,
            gaussians.gaussians_sections,
            tree="tracks",
        ),
        **{
            problem.name: Simulation(
                problem.question,
                problems.ProblemOptions,
                partial(problems.problem_files, problem),
                partial(problems.problem_sections, problem),
            )
            for problem in lectures.PROBLEMS
        },
        "blobs": Simulation(
            "Is this blob a star or a galaxy?", blobs.BlobsOptions, blobs.blobs_files, blobs.blobs_sections, PICTURES
        ),
        "jets": Simulation(
            "Do two of the jets come from a resonance?",
            jets.JetsOptions,
            jets.jets_files,
            jets.jets_sections,
            jets.SETS,
        ),
        "mass-bump": Simulation(
            "Is it signal, whatever its mass?",
            bump.MassBumpOptions,
            bump.mass_bump_files,
            bump.mass_bump_sections,
            bump.DECORRELATED,
        ),
        "showers": Simulation(
            "How much energy had the particle?",
            showers.ShowersOptions,
            showers.showers_files,
            showers.showers_sections,
            QUANTITY,
        ),
        "curve": Simulation(
            "Can a network follow a curve?",
            functions.CurveOptions,
            functions.curve_files,
            functions.curve_sections,
            functions.ONE_LAYER,
        ),
        "region": Simulation(
            "On which side of the border is a point?",
            functions.RegionOptions,
            functions.region_files,
            functions.region_sections,
        ),
        "particles": Simulation(
            "Is it an electron, a pion, a muon or a photon?",
            particles.ParticlesOptions,
            particles.particles_files,
            particles.particles_sections,
            CLASSES,
        ),
    }
)


def simulate(name: str, folder: Path, n_events: int, seed: int = DEFAULT_SEED, **options: object) -> SimulatedSample:
    """Write ``n_events`` labelled events, a fifth as many new ones, and ``<name>.toml`` into ``folder``.

    The folder is created where there is none; files of the same names are replaced, each in one step,
    and the experiment file comes last: where it is, its events are complete. ``options`` are the fields
    of ``SIMULATIONS[name].options``.

    Raises:
        DeclarationError: there is no such simulation or option, or a number is out of its range.

    """
    simulation = _simulation(name)
    _check_numbers(name, n_events, seed)
    chosen = read_declaration(dict(options), simulation.options, f"simulate {name!r}")
    training, new = simulation.files(n_events, np.random.default_rng(seed), chosen)
    folder.mkdir(parents=True, exist_ok=True)
    training_files, new_files = _write(folder, training, simulation.tree), _write(folder, new, simulation.tree)
    sections = simulation.sections(chosen)
    text = experiment_text(name, simulation.question, sections, simulation.network, n_events, seed, new_files[0].name)
    experiment = write_whole(folder / f"{name}.toml", lambda draft: _write_text(draft, text))
    log.info("simulated %d %s events and %d new ones in %s", n_events, name, n_events // 5, folder)
    return SimulatedSample(experiment, training_files, new_files)


def _simulation(name: str) -> Simulation[Any]:
    if name not in SIMULATIONS:
        known, hint = ", ".join(SIMULATIONS), nearest_spelling(name, SIMULATIONS)
        raise DeclarationError(f"no simulation {name!r}{hint}; there are: {known}")
    return SIMULATIONS[name]


def _check_numbers(name: str, n_events: int, seed: int) -> None:
    problems = []
    if n_events < FEWEST_EVENTS:
        problems.append(f"events: received {n_events}; allowed: at least {FEWEST_EVENTS}")
    if seed < 0:
        problems.append(f"seed: received {seed}; allowed: zero or more")
    if problems:
        raise declaration_error(f"simulate {name!r}", problems)


def _write(folder: Path, files: Files, tree: str) -> tuple[Path, ...]:
    return tuple(write_events(folder / name, events, tree) for name, events in files.items())


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
