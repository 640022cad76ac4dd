"""Dealing, matching and asking: who is compared with whom."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from services.errors import InvalidInput
from services.maths.pixels import PixelSpec
from services.platform.evaluation.asking import MOST_IMAGES, make_images
from services.platform.evaluation.samples import Sample, combinations, deal, matched, one_image_each

SPEC = PixelSpec(1, 2, 2)


def sample(patients: list[str], **levels: list[str | None]) -> Sample:
    pixels = np.arange(len(patients), dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 2, 2), np.float32)
    return Sample("chest", pixels / 1000, np.array(patients), pd.DataFrame(levels, dtype=object))


def test_a_patient_gives_one_image_and_the_seed_says_which():
    many = sample([f"p{row // 3}" for row in range(60)], sex=["Female"] * 60)
    once = one_image_each(many, 1)
    assert len(once) == len(set(once.patients)) == 20
    assert (one_image_each(many, 1).pixels == once.pixels).all()
    assert (one_image_each(many, 2).pixels != once.pixels).any()


def test_halves_hold_different_patients_and_the_same_groups():
    whole = sample([f"p{row}" for row in range(100)], sex=["Female" if row % 5 else "Male" for row in range(100)])
    real, control = deal(whole, 3, 100)
    assert not set(real.patients) & set(control.patients)
    assert (real.levels["sex"] == "Male").sum() == (control.levels["sex"] == "Male").sum() == 10
    assert len(deal(whole, 3, 20)[0]) == 20


def test_images_find_real_ones_of_the_same_attributes_once():
    made = sample(["a"] * 4, sex=["Female", "Female", "Male", None], extra=["x"] * 4)
    real = sample(["p", "q", "r"], sex=["Male", "Female", "Male"])
    rows, partners = matched(made, real, 1)
    pairs = set(zip(made.levels["sex"].iloc[rows], real.levels["sex"].iloc[partners], strict=True))
    assert pairs == {("Female", "Female"), ("Male", "Male")}
    assert len(set(partners.tolist())) == len(partners) == 2
    with pytest.raises(InvalidInput, match="sex"):
        matched(sample(["a"], sex=["Other"]), real, 1)


def test_combinations_tell_missing_from_every_level():
    codes = combinations(pd.DataFrame({"sex": ["F", None, "F", "M"], "age": ["1", "1", "1", None]}))
    assert codes[0] == codes[2]
    assert len(set(codes.tolist())) == 3


def test_equal_requests_travel_together_and_no_two_images_share_an_index():
    asked = []

    def ask(wanted):
        asked.append(dict(wanted))
        for number in reversed(range(wanted["count"])):  # images may come in any order
            index = wanted["first_index"] + number
            yield index, np.full((1, 2, 2), int(wanted["prompt"][-1]) / 10, np.float32), {"noise_digest": str(index)}

    requests = [{"prompt": f"prompt {row % 2}"} for row in range(2 * MOST_IMAGES + 2)]
    made = make_images(ask, requests, SPEC, {"seed": 5, "steps": 3})
    np.testing.assert_allclose(made.pixels[:, 0, 0, 0], [0.0, 0.1] * (MOST_IMAGES + 1), atol=1e-6)
    assert made.distinct_noises == len(requests)
    assert len(asked) == 4
    assert all((one["seed"], one["steps"]) == (5, 3) for one in asked)


def test_masks_make_requests_differ():
    seen = []

    def ask(wanted):
        seen.append(int(wanted["mask"].sum()))
        yield wanted["first_index"], np.zeros((1, 2, 2), np.float32), {}

    masks = [np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)]
    make_images(ask, [{"prompt": "heart", "mask": mask} for mask in masks], SPEC, {})
    assert sorted(seen) == [0, 4]


def test_one_failure_ends_the_other_streams_at_their_next_image():
    sent, closed = [], []

    def ask(wanted):
        if wanted["prompt"] == "bad":
            raise InvalidInput("no", field="prompt")
        try:
            for number in range(wanted["count"]):
                time.sleep(0.1)
                sent.append(number)
                yield wanted["first_index"] + number, np.zeros((1, 2, 2), np.float32), {}
        finally:
            closed.append(True)

    requests = [{"prompt": "good"}] * MOST_IMAGES + [{"prompt": "bad"}]
    with pytest.raises(InvalidInput):
        make_images(ask, requests, SPEC, {})
    assert closed == [True]
    assert len(sent) < MOST_IMAGES


def test_an_error_of_the_platform_reaches_the_caller():
    def ask(_):
        raise InvalidInput("no", field="prompt")
        yield

    with pytest.raises(InvalidInput):
        make_images(ask, [{"prompt": "a"}], SPEC, {})
