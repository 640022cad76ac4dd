"""The shipped text-to-image model and its control branch: what is asked for is read back from the pixels."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch

from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.settings import DiffusionSettings
from services.maths.diffusion.guidance import Guidance
from services.maths.imaging.quality import dice
from services.maths.phantoms import draw_records
from services.maths.phantoms.caption_readers import read_attributes
from services.maths.phantoms.captions import UNREAD, attributes_of, compose, is_clear, random_attributes
from services.maths.phantoms.cardiac_readers import segment_cardiac
from services.maths.pixels import resize_masks

ZOO = Path(__file__).parents[2] / "deploy" / "zoo"
KINDS = ("chest", "brain", "pelvis", "cardiac")
SIDE = 64
STRUCTURES = ("left ventricle", "myocardium", "right ventricle")


class Studio:
    """Both models at their own default settings."""

    def __init__(self) -> None:
        settings = DiffusionSettings(registries=(ZOO,), batch=16)
        self.host = DiffusionHost(settings, ("text-to-image", "mask-to-image"))

    def render(self, model: str, prompts: list[str], planes: list | None = None, seed: int = 3) -> np.ndarray:
        record = self.host.find(model)
        denoiser, stated = self.host.denoiser(record), record.diffusion
        plan = self.host.plan(record, "dpmpp-2m", stated.default_steps)
        orders = []
        with torch.inference_mode():
            for index, prompt in enumerate(prompts):
                condition = denoiser.condition(prompt, None if planes is None else planes[index])
                guidance = Guidance(stated.guidance_scale)
                null = denoiser.null(condition)
                orders.append(Order(condition, plan, seed=seed, index=index, guidance=guidance, null=null))
        return asyncio.run(self.host.images(record, orders))


@pytest.fixture(scope="module")
def studio():
    threads = torch.get_num_threads()
    yield Studio()
    torch.set_num_threads(threads)


def fidelity(studio, count):
    """Share of images, by organ and attribute, in which the attribute that was asked for is read back."""
    shares = {}
    for number, kind in enumerate(KINDS):
        rng = np.random.default_rng((7, number))
        asked = [random_attributes(kind, rng) for _ in range(count // len(KINDS))]
        images = studio.render(
            "phantom-diffusion", [compose(kind, attributes, rng) for attributes in asked], seed=number
        )
        read = read_attributes(kind, images)
        for name in asked[0]:
            if name not in UNREAD.get(kind, ()):
                right = [told[name] == seen for told, seen in zip(asked, read[name], strict=True)]
                shares[f"{kind} {name}"] = float(np.mean(right))
    return shares


def test_attributes_that_were_asked_for_are_shown(studio):
    shares = fidelity(studio, 96)
    assert np.mean(list(shares.values())) >= 0.9, shares
    assert min(shares.values()) >= 0.8, shares


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_of_500_images_each_attribute_is_right_in_nine_of_ten(studio):
    shares = fidelity(studio, 500)
    assert min(shares.values()) >= 0.9, shares


def test_an_image_follows_the_mask_that_it_was_given(studio):
    """Dice of the masks that are read from generated hearts with those that were asked for, both phases together."""
    prompts, planes = [], []
    for patient in range(40):
        record = next(iter(draw_records("cardiac", "null", patient, 991, 128)))
        attributes = attributes_of("cardiac", record.row)
        if is_clear(attributes):
            prompts.append(compose("cardiac", attributes))
            planes.append(resize_masks(np.stack([record.mask, record.es_mask]), SIDE, SIDE))
    images = studio.render("phantom-controlnet", prompts[:24], planes[:24])
    found = np.stack([[segment_cardiac(image[phase]) for phase in (0, 1)] for image in images])
    wanted = np.stack(planes[:24])
    assert _overlap(found > 0, wanted > 0) >= 0.93, "whole heart"
    scores = {name: _overlap(found == label, wanted == label) for label, name in enumerate(STRUCTURES, start=1)}
    assert np.mean(list(scores.values())) >= 0.9, scores
    # A wall of three pixels loses more to half a pixel than a cavity does; real phantoms at this size reach 0.96.
    assert min(scores.values()) >= 0.86, scores


def _overlap(found, wanted):
    """Mean Dice over images, both phases together."""
    count = len(found)
    return float(np.mean(dice(found.reshape(count, -1, SIDE), wanted.reshape(count, -1, SIDE))))


def test_distinct_images_have_distinct_noise(studio):
    record = studio.host.find("phantom-diffusion")
    denoiser = studio.host.denoiser(record)
    plan = studio.host.plan(record, "dpmpp-2m", 1)
    with torch.inference_mode():
        condition = denoiser.condition("Pelvis radiograph")

    async def noises():
        orders = [Order(condition, plan, seed=seed, index=index) for seed in (0, 1) for index in range(300)]
        return {event.noise_digest async for event in studio.host.sample(record, orders, background=True) if event.done}

    assert len(asyncio.run(noises())) == 600
