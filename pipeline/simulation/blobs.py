"""Images of round and of elongated blobs in noise: stars and galaxies that no single pixel tells apart.

Owns the ``blobs`` sample and the part of its experiment file that names the columns.

A galaxy is stretched along one axis by as much as it is squeezed along the other, in any direction; a star is
round, and as wide as a galaxy is along a line that crosses it in any direction. With that the mean images of both
kinds are the same in every pixel (the mean over directions of a stretched Gaussian is the mean of round ones
of those widths), as are place and light: no pixel and no weighted sum of pixels separates them. The
shape is in the products of neighbours. A convolution finds it; the second moments of a bright blob show it.
"""

from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.declare import Declaration
from pipeline.simulation.classes import Classes, labelled_and_new
from pipeline.simulation.experiment import columns, sample, split
from pipeline.simulation.files import Events, Files

Images = NDArray[np.float32]
Floats = NDArray[np.float64]

SIDE = 16  # pixels
STAR, GALAXY = 0, 1
SIZES = (1.6, 2.4)  # from and to, of the root mean square radius of a galaxy along an axis, pixels
STRETCHES = (0.6, 0.8)  # from and to, of (a² - b²) / (a² + b²) of a galaxy's axes
WANDERING = 2.5  # largest distance of a centre from the middle, along each side, pixels


BLOCK = 500
"""Images at a time: as many as stay in the cache."""


class BlobsOptions(Declaration):
    """What may be chosen: the noise of a pixel, where a blob's light sums to 100 in the median."""

    noise: float = Field(default=0.5, ge=0.0)


@dataclass(frozen=True, eq=False)
class Blobs:
    """What blobs look like; ``centre`` of shape ``(n_events, 2)``, the others ``(n_events,)``.

    ``size`` is the root mean square radius along an axis in pixels, whatever the ``stretch``, which is
    (a² - b²) / (a² + b²) of the axes; ``centre`` is x and y from the middle of the image.
    """

    light: Floats
    size: Floats
    stretch: Floats
    angle: Floats
    centre: Floats

    def part(self, start: int, stop: int) -> "Blobs":
        """Return the blobs from ``start`` to before ``stop``."""
        return Blobs(*(getattr(self, entry.name)[start:stop] for entry in fields(self)))


def blobs_files(n_events: int, generator: np.random.Generator, options: BlobsOptions) -> tuple[Files, Files]:
    """Draw ``n_events`` labelled images, half of them galaxies, and a fifth as many new ones."""
    draw = partial(draw_images, generator=generator, options=options)
    return labelled_and_new("blobs.root", "label", np.array([STAR, GALAXY]), draw, n_events, generator)


def draw_images(kinds: Classes, generator: np.random.Generator, options: BlobsOptions) -> Events:
    """Draw one image for every kind: ``flux``, row by row, shape ``(n_events, 256)``."""
    n_events = len(kinds)
    stretch, angle = generator.uniform(*STRETCHES, n_events), generator.uniform(0.0, np.pi, n_events)
    size, is_galaxy = generator.uniform(*SIZES, n_events), kinds == GALAXY
    blobs = Blobs(
        light=100.0 * generator.lognormal(0.0, 0.4, n_events),
        size=np.where(is_galaxy, size, size * np.sqrt(1.0 + stretch * np.cos(2.0 * angle))),
        stretch=np.where(is_galaxy, stretch, 0.0),
        angle=angle,
        centre=generator.uniform(-WANDERING, WANDERING, (n_events, 2)),
    )
    images = generator.standard_normal((n_events, SIDE, SIDE), dtype=np.float32)
    images *= np.float32(options.noise)
    for start in range(0, n_events, BLOCK):
        images[start : start + BLOCK] += shine(blobs.part(start, start + BLOCK))
    return {"flux": images.reshape(n_events, SIDE * SIDE)}


def shine(blobs: Blobs) -> Images:
    """Return Gaussian blobs without noise, shape ``(n_events, 16, 16)``; they sum to their light unless cut off."""
    pixels = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
    x, y = (pixels - blobs.centre[:, i, None].astype(np.float32) for i in (0, 1))
    along, across = (blobs.stretch * turned(2.0 * blobs.angle) for turned in (np.cos, np.sin))
    # the exponents are of the inverse of the covariance size² [[1 + along, across], [across, 1 - along]]
    narrow = 2.0 * blobs.size**2 * (1.0 - blobs.stretch**2)
    in_x, in_y, in_both = ((term / narrow).astype(np.float32)[:, None] for term in (1 - along, 1 + along, 2 * across))
    peak = blobs.light / (2.0 * np.pi * blobs.size**2 * np.sqrt(1.0 - blobs.stretch**2))
    exponent = (in_both * y)[:, :, None] * x[:, None, :]
    exponent -= (in_x * x**2)[:, None, :]
    exponent -= (in_y * y**2)[:, :, None]
    return np.asarray(peak.astype(np.float32)[:, None, None] * np.exp(exponent, out=exponent))


def blobs_sections(options: BlobsOptions) -> str:
    """Return the sections of the experiment file that know these columns."""
    return "\n".join(
        [
            "# Gaussian blobs of the same light and mean square size in noise, stretched (galaxies) or round (stars):\n"
            "# no pixel and no weighted sum of pixels tells them apart, only the pattern does.",
            sample("blobs.root", f'{{ column = "label", signal = {GALAXY}, background = {STAR} }}'),
            columns({}),
            f'[features]\ninputs = []\n\n[features.images.cutout]\npixels = "flux"\nshape = [{SIDE}, {SIDE}]\n',
            split("event"),
        ]
    )
