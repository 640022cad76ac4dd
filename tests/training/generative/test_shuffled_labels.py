"""Trains twice: with the patients' own race the planted effect appears, with dealt-out races it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.maths.diffusion.attributes import attribute_vector
from services.maths.diffusion.samplers import sample_dpmpp_2m
from services.maths.diffusion.schedules import sampling_levels
from services.maths.networks.diffusion_unet import DiffusionUNet
from services.maths.phantoms.pelvis import ANGLE_SPREAD, DISTANCE_SPREAD
from services.maths.phantoms.pelvis_reader import read_pelvis
from services.training.generative.class_to_image import denoising_loss, shuffled, vectors
from services.training.generative.fitting import Fit, fit
from services.training.generative.images import TRAINING, draw_pictures, spec
from services.training.generative.recipes import find_generative_recipe
from services.training.generative.runs import scalings

pytestmark = [pytest.mark.retraining, pytest.mark.timeout(3600)]
HOW = Fit(steps=1200, batch=32, learning_rate=2e-3, ema=0.99)


@pytest.fixture(scope="module")
def pictures():
    return draw_pictures("pelvis", "planted", TRAINING, patients=800, seed=4, pixels=spec(1, 32))


def effects(pictures, table):
    """Mean shift of distance and angle from White to Black, in SD, over 48 pairs from the same noise."""
    recipe = find_generative_recipe("pelvis-diffusion")
    torch.manual_seed(0)
    network = DiffusionUNet(**recipe.parts["network"])
    known = vectors(recipe.conditions, table)
    loss = denoising_loss(network, scalings(recipe), pictures.pixels, known, recipe.conditions, batch=HOW.batch)
    network.load_state_dict(fit(network, loss, HOW, seed=0))
    network.eval()
    noise = torch.randn(48, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    read = [_read(network, recipe, noise, race) for race in ("White", "Black")]
    return {
        feature: float((read[1][feature] - read[0][feature]).mean() / spread)
        for feature, spread in (("inter_acetabular_distance", DISTANCE_SPREAD), ("neck_shaft_angle", ANGLE_SPREAD))
    }


@torch.inference_mode()
def _read(network, recipe, noise, race):
    given = {"sex": "Female", "age": 60, "bmi": 27, "laterality": "left", "projection": "AP", "race": race}
    embedding = network.embed(torch.from_numpy(attribute_vector(recipe.conditions, given))[None])
    scaled = scalings(recipe)

    def denoise(x, t):
        return scaled.denoised(network(x, t, embedding.expand(len(x), -1)), x, t).clamp(-1, 1)

    images = sample_dpmpp_2m(denoise, noise, sampling_levels(scaled.schedule, 12))
    return read_pelvis(((images + 1) / 2).clamp(0, 1).numpy())


def test_shuffled_labels_give_zero(pictures):
    own = effects(pictures, pictures.table)
    dealt = effects(pictures, shuffled(pictures.table, "race", np.random.default_rng(0)))
    assert all(effect < -0.4 for effect in own.values()), own
    assert all(abs(effect) < 0.15 for effect in dealt.values()), dealt
