"""Simulate: samples whose right answers are known, with the experiment file that uses them.

Owns the table of simulations, the one public verb, and the sections that all their experiment files
share. The physics of each sample is in ``simulation.calorimeter``, ``simulation.sky`` and
``simulation.gaussians``; how files are written is in ``simulation.files``.

The same name, number of events, seed and options give the same events again. Truth that a classifier
must not see is only in the files of new events, in a column whose name begins with ``true_``: it is there
to judge scores by.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np

from pipeline.declare import Declaration, declaration_error, read_declaration
from pipeline.durable import write_whole
from pipeline.errors import DeclarationError, nearest_spelling
from pipeline.simulation.calorimeter import PionMuonOptions, pion_muon_files, pion_muon_sections
from pipeline.simulation.files import Files, write_events
from pipeline.simulation.gaussians import GaussiansOptions, gaussians_files, gaussians_sections
from pipeline.simulation.sky import StarGalaxyOptions, star_galaxy_files, star_galaxy_sections

log = logging.getLogger(__name__)

DEFAULT_SEED = 20261121
FEWEST_EVENTS = 10
Options = TypeVar("Options", bound=Declaration)


@dataclass(frozen=True)
class Simulation(Generic[Options]):
    """How one sample is made.

    ``files`` draws the labelled events and the new ones, by file name; ``sections`` writes the part of
    the experiment file that knows the columns; ``options`` declares what may be chosen.
    """

    question: str
    options: type[Options]
    files: Callable[[int, np.random.Generator, Options], tuple[Files, Files]]
    sections: Callable[[Options], str]


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
            PionMuonOptions,
            pion_muon_files,
            pion_muon_sections,
        ),
        "star-galaxy": Simulation(
            "Is it a galaxy or a star?", StarGalaxyOptions, star_galaxy_files, star_galaxy_sections
        ),
        "gaussians": Simulation(
            "Does training reach the best AUC there can be?",
            GaussiansOptions,
            gaussians_files,
            gaussians_sections,
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
    training_files, new_files = _write(folder, training), _write(folder, new)
    text = _experiment(name, simulation.question, simulation.sections(chosen), n_events, seed, new_files[0])
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


def _write(folder: Path, files: Files) -> tuple[Path, ...]:
    return tuple(write_events(folder / name, events) for name, events in files.items())


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _experiment(name: str, question: str, sections: str, n_events: int, seed: int, new_file: Path) -> str:
    """Return the text of the experiment file: who asks what, the sample's own sections, how to train."""
    return f"""\
# Simulated: {n_events} labelled events, and new ones to score in {new_file.name}.

[experiment]
name = "{name}"
seed = {seed}
question = "{question}"

{sections}
[normalise]
method = "standard"

[weights]
negative = "keep"
balance = "classes"

[model]
architecture = "deep-dense"
head = "binary"
options = {{ widths = [64, 64, 64], batch_norm = true, dropout = 0.1 }}

[training]
epochs = 30
batch_size = {1024 if n_events >= 20_000 else 256}
optimizer = "adam"
learning_rate = 1e-3
early_stopping = {{ watch = "validation_loss", patience = 6 }}
reduce_on_plateau = {{ factor = 0.3, patience = 3 }}

[evaluation]
signal_efficiencies = [0.5, 0.8, 0.9]
baselines = {'["logistic", "trees"]' if n_events >= 20_000 else "[]"}

[promotion]
metric = "auc"
better_than_champion_by = 0.0

[schedule]
train = "0 3 * * *"
score = {{ every = "10m", watch = "incoming/*{new_file.suffix}", out = "scored/" }}
"""
