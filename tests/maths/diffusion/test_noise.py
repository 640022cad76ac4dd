import itertools

import numpy as np
import pytest

from services.maths.diffusion.noise import image_noise

SHAPE = (1, 32, 32)


def test_noise_is_standard_normal_float32():
    noise = image_noise(7, 0, "base", (4, 128, 128))
    assert noise.dtype == np.float32 and noise.shape == (4, 128, 128)
    assert abs(noise.mean()) < 0.015 and abs(noise.std() - 1) < 0.01
    assert abs(np.mean(noise**4) - 3) < 0.15


def test_noise_is_made_again_from_its_key_alone():
    first = image_noise(7, 3, "step-12", SHAPE)
    image_noise(8, 0, "base", SHAPE)
    assert np.array_equal(first, image_noise(7, 3, "step-12", SHAPE))
    assert np.array_equal(first, image_noise(np.int64(7), np.int64(3), "step-12", list(SHAPE)))


def test_every_seed_image_and_stage_has_its_own_noise():
    keys = itertools.product((0, 1, 11, 2**63 - 1), range(60), ("base", "upscale", "step-1", "step-11"))
    seen = {image_noise(seed, index, stage, (16,)).tobytes() for seed, index, stage in keys}
    assert len(seen) == 4 * 60 * 4


def test_thousand_images_of_one_request_are_all_distinct():
    assert len({image_noise(5, index, "base", (8,)).tobytes() for index in range(1000)}) == 1000


def test_neighbouring_keys_are_not_correlated():
    rows = np.stack([image_noise(seed, index, "base", (4096,)) for seed in (1, 2) for index in range(8)])
    correlations = np.corrcoef(rows)[np.triu_indices(16, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(4096)


def test_noise_is_pinned():
    # It is part of every record: other values would make other images of old records.
    expected = [-0.75395876, -1.4280716, -0.68607444, -1.3499718]
    np.testing.assert_array_equal(image_noise(2024, 5, "base", (4,)), np.array(expected, np.float32))


def test_seed_or_index_out_of_range_is_refused_by_name():
    for seed in (-1, 2**63):
        with pytest.raises(ValueError, match="seed must lie in"):
            image_noise(seed, 0, "base", SHAPE)
    with pytest.raises(ValueError, match="index must be at least 0"):
        image_noise(1, -1, "base", SHAPE)
