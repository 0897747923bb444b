"""Stars, galaxies and a few quasars in a five-band survey: easy while bright, hard when faint.

Owns the ``star-galaxy`` sample and the part of its experiment file that names the columns.

Colours follow two tables: along the stellar locus for stars, with redshift for red and blue galaxies.
They are rounded values, meant for their shape and not for astrophysics. Magnitudes are inverse hyperbolic
sines of noisy fluxes, so that a band in which an object has vanished still has one. Galaxies are larger
than the point-spread function, but the less so the fainter they are, and the measured sizes grow noisy.
Quasars are points with an excess in ``u``; the experiment names two classes and leaves them out.

References:
    R. H. Lupton, J. E. Gunn, A. S. Szalay, "A modified magnitude system that produces well-behaved
    magnitudes, colors, and errors even for low signal-to-noise ratio measurements",
    Astronomical Journal 118 (1999) 1406.
    K. R. Covey et al., "Stellar SEDs from 0.3 to 2.5 microns: tracing the stellar locus and searching for
    color outliers in the SDSS and 2MASS", Astronomical Journal 134 (2007) 2398.
    M. Fukugita, K. Shimasaku, T. Ichikawa, "Galaxy colors in various photometric band systems",
    Publications of the Astronomical Society of the Pacific 107 (1995) 945.

"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.chunk import Column
from pipeline.declare import Declaration
from pipeline.simulation.experiment import split
from pipeline.simulation.files import Events, Files

Floats = NDArray[np.float64]

BANDS = ("u", "g", "r", "i", "z")
SOFTENING = np.array([1.4e-10, 0.9e-10, 1.2e-10, 1.8e-10, 7.4e-10])
"""The sky noise of each band, in units of the flux of magnitude zero: the survey's softening parameters."""

BRIGHTEST, FAINTEST = 16.0, 22.5  # r magnitude
POINT_SPREAD = 1.3  # full width of the image of a point, arc seconds
FIRST_OBJECT = 1_237_648_720_000_000_001  # beyond 2^53: no double can tell neighbours apart

# colour tables: a row is u-g, g-r, r-i, i-z
STAR_POSITIONS = np.array([0.0, 0.35, 0.55, 0.75, 0.9, 1.0])  # along the locus, from F to late M
STAR_COLOURS = np.array(
    [
        [0.95, 0.28, 0.08, 0.02],
        [1.20, 0.45, 0.15, 0.05],
        [2.00, 0.80, 0.30, 0.16],
        [2.55, 1.35, 0.62, 0.35],
        [2.60, 1.45, 1.20, 0.65],
        [2.60, 1.50, 1.70, 0.95],
    ]
)
GALAXY_REDSHIFTS = np.array([0.0, 0.2, 0.4, 0.6])
RED_GALAXY_COLOURS = np.array(
    [[1.75, 0.75, 0.38, 0.30], [1.90, 1.15, 0.45, 0.35], [2.00, 1.60, 0.65, 0.36], [1.90, 1.75, 1.00, 0.45]]
)
BLUE_GALAXY_COLOURS = np.array(
    [[1.15, 0.45, 0.25, 0.15], [1.10, 0.62, 0.30, 0.20], [1.00, 0.80, 0.42, 0.25], [0.75, 0.85, 0.55, 0.30]]
)
QUASAR_COLOURS = np.array([0.20, 0.18, 0.14, 0.08])


class StarGalaxyOptions(Declaration):
    """What may be chosen: the share of quasars among the objects, and of blanks in three of the columns."""

    quasar_fraction: float = Field(default=0.05, ge=0.0, le=0.5)
    blank_fraction: float = Field(default=0.01, ge=0.0, lt=1.0)


def star_galaxy_files(n_events: int, generator: np.random.Generator, options: StarGalaxyOptions) -> tuple[Files, Files]:
    """Draw ``n_events`` objects with their type, and a fifth as many new ones whose type is apart."""
    n_new = n_events // 5
    objid = FIRST_OBJECT + generator.permutation(n_events + n_new).astype(np.int64)
    types = draw_types(n_events, generator, options.quasar_fraction)
    truth = draw_types(n_new, generator, options.quasar_fraction)
    training = {**draw_objects(types, objid[:n_events], generator, options), "type": types}
    new = {**draw_objects(truth, objid[n_events:], generator, options), "true_type": truth}
    return {"objects.csv": training}, {"new_objects.csv": new}


def draw_types(n_events: int, generator: np.random.Generator, quasar_fraction: float) -> NDArray[np.object_]:
    """Return types in random order: the asked-for share of quasars, the rest half stars, half galaxies."""
    types = np.where(np.arange(n_events) % 2 == 0, "STAR", "GALAXY").astype(object)
    types[: round(quasar_fraction * n_events)] = "QSO"
    return generator.permutation(types)


def draw_objects(
    types: NDArray[np.object_],
    objid: NDArray[np.int64],
    generator: np.random.Generator,
    options: StarGalaxyOptions,
) -> Events:
    """Draw one object for every type, as the columns of the CSV file; angles in degrees.

    The distribution of ``r`` is the same for all types, so that brightness alone gives nothing away.
    """
    n_events = len(types)
    r = FAINTEST + np.log10(generator.uniform(10 ** (0.2 * (BRIGHTEST - FAINTEST)), 1.0, n_events)) / 0.2
    magnitudes = measure(_magnitudes(r, draw_colours(types, r, generator)), generator)
    concentration, size_ratio = draw_shapes(types == "GALAXY", r, generator)
    numbers: dict[str, Column] = {
        "ra": np.round(generator.uniform(0.0, 360.0, n_events), 6),
        "dec": np.round(generator.uniform(-1.25, 1.25, n_events), 6),
        **{band: np.round(magnitudes[:, i], 4) for i, band in enumerate(BANDS)},
        "concentration": np.round(concentration, 4),
        "size_ratio": np.round(size_ratio, 4),
    }
    for name in ("u", "z", "concentration"):
        blank = generator.random(n_events) < options.blank_fraction
        numbers[name] = np.where(blank, np.nan, numbers[name])
    return {"objid": objid, **numbers}


def draw_colours(types: NDArray[np.object_], r: Floats, generator: np.random.Generator) -> Floats:
    """Draw true colours u-g, g-r, r-i, i-z, shape ``(n_events, 4)``; fainter galaxies are farther away."""
    n_events = len(types)
    stars = _interpolated(generator.random(n_events), STAR_POSITIONS, STAR_COLOURS)
    typical = 0.1 * 10.0 ** (0.13 * (r - 17.5))
    redshift = np.minimum(typical * generator.gamma(4.0, 0.25, n_events), GALAXY_REDSHIFTS[-1])
    red = _interpolated(redshift, GALAXY_REDSHIFTS, RED_GALAXY_COLOURS)
    blue = _interpolated(redshift, GALAXY_REDSHIFTS, BLUE_GALAXY_COLOURS)
    galaxies = np.where(generator.random(n_events)[:, None] < 0.5, red, blue)
    galaxies += generator.normal(0.0, 0.08, galaxies.shape)
    quasars = QUASAR_COLOURS + generator.normal(0.0, 0.12, galaxies.shape)
    stars += generator.normal(0.0, 0.03, stars.shape)
    kind = types[:, None]
    return np.where(kind == "STAR", stars, np.where(kind == "GALAXY", galaxies, quasars))


def _interpolated(position: Floats, knots: Floats, table: Floats) -> Floats:
    return np.stack([np.interp(position, knots, column) for column in table.T], axis=1)


def _magnitudes(r: Floats, colours: Floats) -> Floats:
    u_g, g_r, r_i, i_z = colours.T
    return np.stack([r + g_r + u_g, r + g_r, r, r - r_i, r - r_i - i_z], axis=1)


def measure(magnitudes: Floats, generator: np.random.Generator) -> Floats:
    """Return magnitudes in u, g, r, i, z as a survey measures them, shape ``(n_events, 5)``.

    Flux noise: the sky's, and two per cent of calibration.

    References:
        Lupton, Gunn and Szalay (1999): magnitudes as inverse hyperbolic sines of the flux.

    """
    flux = 10.0 ** (-0.4 * magnitudes)
    noise = np.hypot(SOFTENING, 0.02 * flux)
    noisy = flux + noise * generator.standard_normal(flux.shape)
    return np.asarray(-2.5 / np.log(10.0) * (np.arcsinh(noisy / (2.0 * SOFTENING)) + np.log(SOFTENING)))


def draw_shapes(is_galaxy: NDArray[np.bool_], r: Floats, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw the concentration (radius of 90 % of the light over that of half) and the size over a point's.

    A point has 2.1 and 1; a well resolved galaxy 2.3 (disc) to 3.3 (elliptical) and several.
    """
    n_events = len(r)
    radius = 2.0 * 10.0 ** (-0.11 * (r - 17.0)) * generator.lognormal(0.0, 0.4, n_events)  # arc seconds
    extent = np.where(is_galaxy, 2.0 * radius / POINT_SPREAD, 0.0)
    resolved = extent**2 / (1.0 + extent**2)
    profile = np.where(generator.random(n_events) < 0.5, 3.3, 2.3)
    relative_noise = 0.02 + 10.0 ** (0.4 * (r - 22.2)) * 0.25
    concentration = 2.1 + (profile - 2.1) * resolved + relative_noise * generator.standard_normal(n_events)
    size = np.hypot(1.0, extent) * (1.0 + relative_noise * generator.standard_normal(n_events))
    return concentration, np.maximum(size, 0.1)


def star_galaxy_sections(options: StarGalaxyOptions) -> str:
    """Return the sections of the experiment file that know these columns."""
    return f"""\
[[samples]]
name = "objects"
label = {{ column = "type", signal = "GALAXY", background = "STAR" }}   # quasars are left out, and counted
files = ["objects.csv"]

[columns]
objid = {{ kind = "id" }}
r = {{ unit = "mag" }}
ra = {{ unit = "deg", min = 0.0, max = 360.0 }}
dec = {{ unit = "deg", min = -90.0, max = 90.0 }}
type = {{ kind = "text" }}

[derive]
u_g = "u - g"
g_r = "g - r"
r_i = "r - i"
i_z = "i - z"

[[select]]
name = "bright enough"
keep = "r < 22.2"

[features]
inputs = ["r", "u_g", "g_r", "r_i", "i_z", "concentration", "size_ratio"]
missing = {{ values = [-999.0], policy = "median", flag = true }}

{split("objid")}"""
