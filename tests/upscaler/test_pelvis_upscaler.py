"""The shipped super-resolution: nearer to the truth than bicubic on patients it never saw, and even between groups."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from services.hosting.diffusion.families import Condition
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.settings import DiffusionSettings
from services.maths.imaging.quality import psnr
from services.maths.networks import build_network
from services.maths.phantoms import draw_records
from services.maths.phantoms.pelvis_reader import read_pelvis
from services.maths.pixels import PixelSpec, to_model

ZOO = Path(__file__).parents[2] / "deploy" / "zoo"
PATIENTS = 20


@pytest.fixture(scope="module")
def study():
    """(table, truth, bicubic, upscaled), each (N, 1, 128, 128), of held-out patients of the null world."""
    records = [record for patient in range(PATIENTS) for record in draw_records("pelvis", "null", patient, 995, 128)]
    truth = np.stack([record.image for record in records])
    small = to_model(truth, PixelSpec(1, 32, 32))
    bicubic = functional.interpolate(torch.from_numpy(small), scale_factor=4, mode="bicubic", align_corners=False)
    threads = torch.get_num_threads()
    host = DiffusionHost(DiffusionSettings(registries=(ZOO,), batch=4), ("super-resolution",))
    record = host.find("pelvis-upscaler")
    denoiser = host.denoiser(record)
    plan = host.plan(record, "dpmpp-2m", record.diffusion.default_steps)
    orders = [
        Order(Condition(hint=denoiser.enlarge(image)), plan, seed=1, index=index) for index, image in enumerate(small)
    ]
    upscaled = asyncio.run(host.images(record, orders))
    torch.set_num_threads(threads)
    return [row.row for row in records], truth, bicubic.clamp(0, 1).numpy(), upscaled


def test_it_beats_bicubic_by_two_decibels(study):
    _, truth, bicubic, upscaled = study
    gain = psnr(upscaled, truth) - psnr(bicubic, truth)
    assert float(np.mean(gain)) >= 2.0
    assert float(np.mean(gain > 0)) > 0.95


def test_it_is_nearer_in_the_features_of_the_in_domain_encoder(study):
    _, truth, bicubic, upscaled = study
    true, plain, better = (embedded(images) for images in (truth, bicubic, upscaled))
    assert float(np.mean(distance(better, true))) < 0.8 * float(np.mean(distance(plain, true)))


def test_it_moves_no_feature_of_one_group_more_than_of_another(study):
    """In the null world sexes and races differ in no feature's error: paired with the truth, in SD of the error."""
    rows, truth, _, upscaled = study
    errors = read_pelvis(upscaled).select_dtypes("number") - read_pelvis(truth).select_dtypes("number")
    sex = np.array([row["sex"] for row in rows])
    race = np.array([str(row["race"]) for row in rows])
    for feature in ("inter_acetabular_distance", "neck_shaft_angle", "cortical_thickness", "osteoarthritis"):
        error = errors[feature].to_numpy()
        for group in (sex == "Female", race == "White"):
            a, b = error[group], error[~group]
            noise = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
            assert abs(a.mean() - b.mean()) < 3.5 * noise, feature


def embedded(images):
    """(N, 128) features before the projection of the image half of the zoo's CLIP, of images brought to 64 pixels."""
    from services.adapters.weights import DirectoryRegistry

    registry = DirectoryRegistry([ZOO])
    record = registry.find("phantom-clip")
    network = build_network(record.family, dict(record.architecture)).eval()
    state = {
        name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in registry.load_tensors(record).items()
    }
    network.load_state_dict(state)
    pixels = torch.from_numpy(to_model(images, record.input.spec()))
    with torch.inference_mode():
        return network.blocks(network.stem(pixels)).flatten(2).numpy()


def distance(a, b):
    """(N,) mean squared distance of normalised feature maps, as LPIPS without learned weights."""
    a, b = (part / (np.linalg.norm(part, axis=1, keepdims=True) + 1e-8) for part in (a, b))
    return ((a - b) ** 2).sum(axis=1).mean(axis=1)
