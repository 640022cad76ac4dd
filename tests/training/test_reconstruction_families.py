"""The shipped families of reconstruction, on the same fresh patients: what each is good at."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml

from services.adapters.restoration import SampledRestoration
from services.adapters.weights import DirectoryRegistry
from services.hosting.networks import load_network
from services.maths.imaging.perceptual import encoder_distance
from services.maths.imaging.quality import psnr
from services.maths.pixels import to_model
from services.training.examples import HELD_OUT, draw_examples
from services.training.recipes import RECIPES
from services.training.scoring import predict
from services.training.zoo import ZOO

torch.set_num_threads(1)

FRESH_SEED = 9003
PATIENTS = 40
FAMILIES = ("unet", "pix2pix", "irsde", "flow")
LARGEST_PACKAGE_BYTES = 1_250_000
MOST_CALLS = 20


@pytest.fixture(scope="module")
def zoo():
    return DirectoryRegistry([ZOO])


@pytest.fixture(scope="module", params=["xray", "mri"])
def judged(request, zoo):
    """Mean PSNR and mean perceptual distance by family, and of the degraded images."""
    recipe = RECIPES[f"{request.param}-unet"]
    examples = draw_examples(recipe, HELD_OUT, PATIENTS, FRESH_SEED)
    originals = examples.targets.numpy()
    encoder_record = zoo.find("phantom-clip")
    encoder = load_network(encoder_record, zoo.load_tensors(encoder_record))
    spec = encoder_record.input.spec()
    found = {}
    for family in ("degraded", *FAMILIES):
        images = examples.inputs.numpy()
        if family != "degraded":
            record = zoo.find(f"{request.param}-{family}")
            network = load_network(record, zoo.load_tensors(record))
            images = predict(network, examples.inputs, "reconstruction", restoration=record.restoration)
        distance = encoder_distance(to_model(images, spec), to_model(originals, spec), encoder)
        found[family] = (float(np.mean(psnr(images, originals))), float(distance.mean()))
    return found


def test_every_family_is_worth_having(judged):
    """3 dB better than what it was given, and nearer to the original in what the encoder sees."""
    for family in FAMILIES:
        assert judged[family][0] > judged["degraded"][0] + 3.0, family
        assert judged[family][1] < 0.7 * judged["degraded"][1], family


def test_of_the_published_three_ir_sde_looks_most_like_the_original(judged):
    """As in the paper, whose LPIPS are .030, .022 and .016 for U-Net, Pix2Pix and IR-SDE on MRI."""
    assert judged["irsde"][1] < min(judged["unet"][1], judged["pix2pix"][1])


@pytest.mark.parametrize("name", [f"{modality}-{family}" for modality in ("xray", "mri") for family in FAMILIES[1:]])
def test_a_package_is_small_and_says_how_it_is_asked(zoo, name):
    record = zoo.find(name)
    assert record.restoration is not None
    folder = ZOO / name / record.version
    assert sum(path.stat().st_size for path in folder.iterdir()) <= LARGEST_PACKAGE_BYTES
    stated = yaml.safe_load((folder / "model.yaml").read_text("utf-8"))["restoration"]
    assert stated == record.restoration.model_dump(mode="json")
    if isinstance(record.restoration, SampledRestoration):
        how = record.restoration
        assert how.process().plan(how.sampler, how.steps).evaluations <= MOST_CALLS
