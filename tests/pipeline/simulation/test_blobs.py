"""Blobs: no pixel and no sum of pixels separates them, and the shape does."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipeline.simulation.blobs import GALAXY, SIDE, Blobs, BlobsOptions, draw_images, shine

N_EVENTS = 16_000
Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def images() -> tuple[Floats, NDArray[np.bool_]]:
    """Images with noise, shape ``(n_events, 256)``, and which are galaxies."""
    kinds = np.arange(N_EVENTS) % 2
    flux = draw_images(kinds, np.random.default_rng(1), BlobsOptions())["flux"]
    return np.asarray(flux, np.float64), kinds == GALAXY


def auc(score: Floats, is_galaxy: NDArray[np.bool_]) -> float:
    n_galaxies = int(is_galaxy.sum())
    above = rankdata(score)[is_galaxy].sum() - n_galaxies * (n_galaxies + 1) / 2
    return float(above / n_galaxies / (len(score) - n_galaxies))


def one_blob(light: float, size: float, stretch: float, angle: float, x: float, y: float) -> Floats:
    numbers = (np.array([value]) for value in (light, size, stretch, angle))
    return np.asarray(shine(Blobs(*numbers, np.array([[x, y]])))[0], np.float64)


def moments(images: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Sum, and second central moments xx, yy and xy, of images ``(n, 16, 16)``; y counts rows."""
    place = np.arange(SIDE)
    light = images.sum(axis=(1, 2))
    x = place - (images.sum(axis=1) @ place / light)[:, None]
    y = place - (images.sum(axis=2) @ place / light)[:, None]
    xx, yy, xy = (
        np.einsum(sum_over, images, *factors) / light
        for sum_over, factors in (("nyx,nx->n", [x**2]), ("nyx,ny->n", [y**2]), ("nyx,ny,nx->n", [y, x]))
    )
    return light, xx, yy, xy


def test_a_blob_has_the_light_and_the_second_moments_that_it_was_given() -> None:
    """The covariance is size² [[1 + e cos 2a, e sin 2a], [e sin 2a, 1 - e cos 2a]]."""
    light, xx, yy, xy = moments(one_blob(100.0, 1.8, 0.6, 0.4, 0.5, -0.3)[None])
    assert light == pytest.approx(100.0, rel=1e-2)
    expected = 1.8**2 * np.array([1 + 0.6 * np.cos(0.8), 1 - 0.6 * np.cos(0.8), 0.6 * np.sin(0.8)])
    assert np.concatenate([xx, yy, xy]) == pytest.approx(expected, rel=0.02)


def test_a_blob_lies_where_it_was_put() -> None:
    brightest = np.unravel_index(one_blob(1.0, 1.8, 0.0, 0.0, 2.5, -1.5).argmax(), (SIDE, SIDE))
    assert brightest == (6, 10)


def test_the_mean_images_of_both_kinds_are_the_same(images: tuple[Floats, NDArray[np.bool_]]) -> None:
    flux, is_galaxy = images
    galaxies, stars = flux[is_galaxy], flux[~is_galaxy]
    error = np.sqrt((galaxies.var(axis=0) + stars.var(axis=0)) / len(stars))
    pulls = (galaxies.mean(axis=0) - stars.mean(axis=0)) / error
    assert np.abs(pulls).max() < 4.5
    assert pulls.std() < 1.5


def test_no_pixel_and_no_weighted_sum_of_pixels_tells_the_kinds_apart(
    images: tuple[Floats, NDArray[np.bool_]],
) -> None:
    flux, is_galaxy = images
    half = N_EVENTS // 2
    known, kinds = flux[:half], is_galaxy[:half]
    apart = known[kinds].mean(axis=0) - known[~kinds].mean(axis=0)
    fisher = np.linalg.solve(np.cov(known.T), apart)
    assert auc(flux[half:] @ fisher, is_galaxy[half:]) == pytest.approx(0.5, abs=0.03)
    assert all(abs(auc(pixel, is_galaxy) - 0.5) < 0.06 for pixel in flux.T[:: SIDE + 3])


def test_the_light_tells_nothing_and_the_stretch_a_lot(images: tuple[Floats, NDArray[np.bool_]]) -> None:
    flux, is_galaxy = images
    bright = np.where(flux > 1.0, flux, 0.0).reshape(-1, SIDE, SIDE)
    _, xx, yy, xy = moments(bright)
    assert auc(flux.sum(axis=1), is_galaxy) == pytest.approx(0.5, abs=0.02)
    assert auc(np.hypot(xx - yy, 2 * xy) / (xx + yy), is_galaxy) > 0.85


def test_the_noise_of_a_pixel_is_the_asked_for() -> None:
    kinds = np.zeros(500, np.int64)
    with_noise, without = (
        draw_images(kinds, np.random.default_rng(2), BlobsOptions(noise=noise))["flux"] for noise in (2.0, 0.0)
    )
    assert np.std(with_noise - without) == pytest.approx(2.0, rel=0.02)
