"""A record as the API writes it, pictures with fine detail, and the project's own decoder."""

import copy

import numpy as np
import pytest

from services.adapters.decoder import Decoder, InMemory, Limits, Source

RECORD = {
    "spec": {
        "model": "models/pelvis-diffusion",
        "model_digest": "0123456789abcdef" * 4,
        "attributes": {"sex": "Female", "race": "Ñandú → 東"},
        "guidance": {"scale": 4.0, "high": 1.0, "rescale": 0.7},
        "sampler": "dpmpp-2m",
        "steps": 20,
        "seed": "9223372036854775807",
        "count": 1,
        "first_index": 3,
        "upscale_model": "models/pelvis-upscaler",
        "upscale_model_digest": "fedcba9876543210" * 4,
        "upscale_sampler": "ddim",
        "upscale_steps": 12,
    },
    "model_version": "2",
    "upscale_model_version": "5",
    "batch_shape": ["4", "1", "32", "32"],
    "device": "cpu",
    "noise_digest": "aa55" * 16,
    "synthetic": True,
}


@pytest.fixture
def record():
    return copy.deepcopy(RECORD)


@pytest.fixture
def image():
    """``image(channels, height, width, seed=0)``: smooth structures under fine grain, all of [0, 1] used."""

    def draw(channels, height, width, seed=0):
        y, x = np.mgrid[:height, :width] / max(height, width)
        noise = np.random.default_rng(seed).normal(0, 0.02, (channels, height, width))
        waves = [0.5 + 0.5 * np.sin(9 * x + 5 * y * y + channel + seed / 10) for channel in range(channels)]
        pixels = np.clip(np.stack(waves) + noise, 0, 1).astype(np.float32)
        pixels[:, 0, 0], pixels[:, 0, -1] = 0.0, 1.0
        return pixels

    return draw


@pytest.fixture(scope="session")
def decode():
    """``decode(data, name, frame="middle")``: what the project's decoder makes of a file."""
    with Decoder(Limits(cpu_s=10.0), workers=1) as decoder:
        yield lambda data, name, frame="middle": decoder.decode(Source(InMemory(name, data), frame=frame))[0]
