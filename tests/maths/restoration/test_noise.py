"""Noise keyed by the pixels it is for."""

from __future__ import annotations

import numpy as np
import pytest

from services.maths.restoration.noise import pixel_noise

PIXELS = np.random.default_rng(1).random((1, 64, 64), np.float32)


def test_it_is_standard_normal_and_the_same_again():
    noise = pixel_noise(PIXELS, 7, 0)
    assert noise.shape == PIXELS.shape
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 0.06
    assert abs(noise.std() - 1) < 0.05
    np.testing.assert_array_equal(noise, pixel_noise(PIXELS.copy(), 7, 0))


def test_pixels_seed_and_draw_each_make_it_another():
    one_bit_off = PIXELS.copy()
    one_bit_off[0, 0, 0] = np.nextafter(one_bit_off[0, 0, 0], np.float32(1))
    noises = [pixel_noise(PIXELS, 7, 0), pixel_noise(one_bit_off, 7, 0), pixel_noise(PIXELS, 8, 0)]
    noises.append(pixel_noise(PIXELS, 7, 1))
    correlations = np.corrcoef(np.stack(noises).reshape(4, -1)) - np.eye(4)
    assert np.abs(correlations).max() < 0.06


def test_the_value_is_pinned():
    """A change here makes every sampled reconstruction another one."""
    np.testing.assert_allclose(pixel_noise(np.zeros((1, 1, 4), np.float32), 0, 0).ravel(), PINNED, rtol=1e-6)


PINNED = [0.29293802, 0.69557279, -0.67429531, -0.36876708]


@pytest.mark.parametrize(("seed", "draw", "message"), [(-1, 0, "seed"), (2**63, 0, "seed"), (0, -1, "draw")])
def test_impossible_keys_are_refused(seed, draw, message):
    with pytest.raises(ValueError, match=message):
        pixel_noise(PIXELS, seed, draw)
