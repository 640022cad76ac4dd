"""Counting noises catches the published reseeding loop, and counter-based seeds pass."""

import random

from services.maths.diffusion.noise import image_noise
from services.maths.synthesis.noise import distinct_noises

IMAGES = 4000


def noise(seed):
    """What a generator that was reset to ``seed`` draws first, as a digest of an image's noise would tell it."""
    return random.Random(seed).getrandbits(256).to_bytes(32).hex()


def test_seeds_that_reset_the_generator_they_are_drawn_from_run_into_a_short_cycle():
    random.seed(23)
    digests = []
    for _ in range(IMAGES):
        seed = random.randint(0, 65535)
        random.seed(seed)  # the published fault: seed_everything resets what the next seed is drawn from
        digests.append(noise(seed))
    assert distinct_noises(digests) <= 545


def test_counter_based_noise_is_distinct_in_every_image():
    digests = [image_noise(7, index, "base", (4, 2, 2)).tobytes().hex() for index in range(IMAGES)]
    assert distinct_noises(digests) == IMAGES
