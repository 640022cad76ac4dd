"""A generator's card, of what its package says of its alignment."""

from __future__ import annotations

import pytest

from services.gateway.generator_cards import generator_card

SIDE = {"shares": [0.75, 0.25], "images": 100, "prompts": 20, "bias_to_target_pooled": 0.5}
BIAS = {"estimate": 0.5, "noise_floor": 0.1, "corrected": 0.45, "ci_low": 0.4, "ci_high": 0.6}
VERDICT = {
    "attribute": "sex",
    "classifier": "judge@1",
    "guided": False,
    "levels": ["Female", "Male"],
    "target": [0.5, 0.5],
    "before": {**SIDE, "bias_to_target": BIAS},
    "after": {**SIDE, "shares": [0.52, 0.48], "bias_to_target": {**BIAS, "estimate": 0.12}},
    "kid": {"Female": 0.001, "Male": None},
}


def entry(task="text-to-image", **training):
    return {"task": task, "training": training}


def test_whom_it_drew_before_and_after():
    (verdict,) = generator_card(entry(alignment={"verdicts": [VERDICT]})).verdicts
    assert verdict.classifier == "models/judge@1"
    assert not verdict.guided
    assert dict(verdict.before) == {"Female": 0.75, "Male": 0.25}
    assert dict(verdict.after) == pytest.approx({"Female": 0.52, "Male": 0.48})
    assert (verdict.bias_before.estimate, verdict.bias_after.estimate) == (0.5, 0.12)
    assert dict(verdict.kid) == {"Female": 0.001}
    assert (verdict.prompts, verdict.images) == (20, 100)


def test_a_generator_that_was_never_aligned_has_a_card_without_verdicts():
    card = generator_card(entry())
    assert not card.verdicts
    assert "radiologist" in card.notice
    assert card.intended_use


@pytest.mark.parametrize("task", ["classification", "reconstruction", "super-resolution", "image-embedding"])
def test_what_makes_no_images_of_nobody_has_none(task):
    assert generator_card(entry(task)) is None
