"""The readers agree with the captions on phantoms at a generator's size, and see an attribute change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from services.maths.phantoms import draw_cohort
from services.maths.phantoms.caption_readers import read_attributes, read_organ
from services.maths.phantoms.captions import UNREAD, attributes_of, caption_attributes
from services.maths.phantoms.chest_reader import fit_weights, read_chest, standard_blocks
from services.maths.phantoms.chest_weights import WEIGHTS
from services.maths.pixels import PixelSpec, to_model

KINDS = ("chest", "brain", "pelvis", "cardiac")
PATIENTS = 60


@pytest.fixture(scope="module")
def pictures():
    """kind -> (images (N, 3, 64, 64), attributes by the table), of patients that no reader was made with."""
    found = {}
    for kind in KINDS:
        cohort = draw_cohort(kind, "null", PATIENTS, 71)
        truth = pd.DataFrame([attributes_of(kind, row) for row in cohort.table.to_dict("records")])
        found[kind] = to_model(cohort.images, PixelSpec(3, 64, 64)), truth
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_what_the_caption_says(pictures, kind):
    images, truth = pictures[kind]
    read = read_attributes(kind, images)
    assert list(read) == [name for name in caption_attributes(kind) if name not in UNREAD.get(kind, ())]
    clear = truth.notna().all(axis=1)
    assert clear.sum() > 40
    for name in read:
        assert (read[name] == truth[name])[clear].mean() >= 0.97, name


@pytest.mark.parametrize("kind", KINDS)
def test_the_organ_is_recognised(pictures, kind):
    assert set(read_organ(pictures[kind][0])) == {kind}


def test_every_level_is_read_somewhere(pictures):
    for kind, (images, _) in pictures.items():
        read = read_attributes(kind, images)
        for name in read:
            assert set(read[name].dropna()) == set(caption_attributes(kind)[name]), (kind, name)


def test_sides_change_in_the_mirror(pictures):
    images = pictures["brain"][0]
    there, back = (read_attributes("brain", view)["hemisphere"] for view in (images, images[..., ::-1]))
    seen = there.notna()
    assert (there.map({"left": "right", "right": "left"}) == back)[seen].mean() > 0.97


def test_gray_organs_may_have_one_channel(pictures):
    images = pictures["brain"][0][:8]
    pd.testing.assert_frame_equal(read_attributes("brain", images), read_attributes("brain", images[:, :1]))


def test_noise_reads_as_something_or_nothing_but_does_not_fail():
    noise = np.random.default_rng(0).random((2, 3, 64, 64), dtype=np.float32)
    for kind in KINDS:
        for images in (noise, np.zeros_like(noise)):
            assert len(read_attributes(kind, images)) == 2
            assert len(read_organ(images)) == 2


def test_the_chest_weights_are_those_of_a_fit_to_phantoms():
    """Other patients give other weights that read the same."""
    cohort = draw_cohort("chest", "null", 120, 4321, 64)
    blocks = np.stack([standard_blocks(image[0]) for image in cohort.images])
    heart = cohort.table["heart_ratio"].to_numpy()
    side = np.where(cohort.table["effusion_side"] == "left", 1.0, -1.0)
    fluid = side * (cohort.table["strength_Pleural Effusion"] > 0).to_numpy()
    truths = np.stack([(cohort.table["sex"] == "Female").to_numpy(float), heart, fluid], axis=1)
    weights, _ = fit_weights(blocks, truths)
    for ours, shipped in zip(weights, WEIGHTS, strict=True):
        assert np.corrcoef(ours, shipped)[0, 1] > 0.3
    read = read_chest(cohort.images[:, 0])
    assert np.corrcoef(read[:, 1], heart)[0, 1] > 0.9
    assert np.corrcoef(read[:, 2], fluid)[0, 1] > 0.85


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        ("spine", (1, 3, 64, 64), "kind must be one of chest, brain, pelvis, cardiac"),
        ("chest", (1, 64, 64), "images must have shape"),
        ("cardiac", (1, 1, 64, 64), "a heart is read from two frames"),
    ],
)
def test_wrong_arguments_are_named(kind, shape, message):
    with pytest.raises(ValueError, match=message):
        read_attributes(kind, np.zeros(shape, np.float32))
