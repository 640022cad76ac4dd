"""What a request for an alignment is refused for, with the field and nothing started."""

from __future__ import annotations

import shutil
import uuid

import pytest
import yaml

from services.errors import FailedPrecondition, InvalidInput, NotFound, OutOfRange
from services.training.zoo import ZOO

SHARES = "alignment.shares[0]"
REFUSED = {
    "shares that do not add up": (
        {"shares": {"target": {"Female": 0.5, "Male": 0.6}}},
        InvalidInput,
        f"{SHARES}.target",
        "TARGET_INVALID",
    ),
    "a share below 0": (
        {"shares": {"target": {"Female": -0.5, "Male": 1.5}}},
        InvalidInput,
        f"{SHARES}.target",
        "TARGET_INVALID",
    ),
    "an unknown level": (
        {"shares": {"target": {"Female": 0.5, "Child": 0.5}}},
        InvalidInput,
        f"{SHARES}.target",
        "LEVEL_UNKNOWN",
    ),
    "an unknown classifier": ({"shares": {"classifier": "models/none"}}, NotFound, f"{SHARES}.classifier", ""),
    "no classifier": ({"shares": {"classifier": ""}}, InvalidInput, f"{SHARES}.classifier", "CLASSIFIER_MISSING"),
    "a classifier of other images": (
        {"shares": {"classifier": "models/sex-classifier"}},
        InvalidInput,
        f"{SHARES}.classifier",
        "CLASSIFIER_MISMATCH",
    ),
    "a classifier of another attribute": (
        {"shares": {"attribute": "age"}},
        InvalidInput,
        f"{SHARES}.classifier",
        "CLASSIFIER_MISMATCH",
    ),
    "a judge that is the guide": (
        {"shares": {"judge": "models/cardiac-sex-classifier"}},
        FailedPrecondition,
        f"{SHARES}.judge",
        "CLASSIFIERS_OVERLAP",
    ),
    "no attribute": ({"alignment": {"shares": []}}, InvalidInput, "alignment.shares", "ATTRIBUTES_MISSING"),
    "a threshold of 1": ({"alignment": {"confidence": 1.0}}, OutOfRange, "alignment.confidence", ""),
    "a threshold below 0": ({"alignment": {"confidence": -0.1}}, OutOfRange, "alignment.confidence", ""),
    "a weight below 0": ({"alignment": {"preservation": -1.0}}, OutOfRange, "alignment.preservation", ""),
    "a part beyond 1": ({"alignment": {"flipped_weight": 1.5}}, OutOfRange, "alignment.flipped_weight", ""),
    "another method": ({"alignment": {"method": "prayer"}}, InvalidInput, "alignment.method", ""),
    "another part": ({"alignment": {"part": "text-encoder"}}, InvalidInput, "alignment.part", ""),
    "a sampler that draws": ({"alignment": {"sampler": "ddpm"}}, InvalidInput, "alignment.sampler", ""),
    "steps upside down": ({"alignment": {"least_steps": 9}}, OutOfRange, "alignment.least_steps", ""),
    "too large a batch": ({"alignment": {"batch_images": 600}}, OutOfRange, "alignment.batch_images", ""),
    "more prompts than there are": (
        {"alignment": {"prompts": ["Cardiac MRI in short axis"]}},
        OutOfRange,
        "alignment.batch_prompts",
        "",
    ),
    "a prompt twice": ({"alignment": {"prompts": ["a", "a"]}}, InvalidInput, "alignment.prompts", ""),
    "an empty prompt": ({"alignment": {"prompts": ["a", " "]}}, InvalidInput, "alignment.prompts", ""),
    "a prompt that names a level": (
        {"alignment": {"prompts": ["a heart", "the heart of a female patient"]}},
        InvalidInput,
        "alignment.prompts[1]",
        "PROMPT_NAMES_ATTRIBUTE",
    ),
    "a prompt that names it in other words": (
        {"alignment": {"prompts": ["a heart", "Short-axis cardiac MRI. a woman, healthy"]}},
        InvalidInput,
        "alignment.prompts[1]",
        "PROMPT_NAMES_ATTRIBUTE",
    ),
    "a prompt that is too long": (
        {"alignment": {"prompts": ["a heart", "heart " * 40]}},
        InvalidInput,
        "alignment.prompts",
        "PROMPT_TOO_LONG",
    ),
    "prompts in both lists": (
        {"alignment": {"prompts": ["Short-axis cardiac MRI", "a heart"]}},
        InvalidInput,
        "alignment.test_prompts",
        "PROMPTS_OVERLAP",
    ),
    "few test prompts": (
        {"alignment": {"test_prompts": ["a heart"]}},
        InvalidInput,
        "alignment.test_prompts",
        "PROMPTS_MISSING",
    ),
    "an encoder that is none": (
        {"alignment": {"encoder": "models/sex-classifier"}},
        InvalidInput,
        "alignment.encoder",
        "TASK_MISMATCH",
    ),
    "a base that restores": ({"base": "models/xray-unet"}, InvalidInput, "base", "TASK_MISMATCH"),
    "an unknown base": ({"base": "models/none"}, NotFound, "base", "MODEL_NOT_FOUND"),
    "no base": ({"base": ""}, InvalidInput, "base", "BASE_MISSING"),
    "a recipe": ({"recipe": "xray-unet"}, InvalidInput, "recipe", "TASK_MISMATCH"),
    "a mitigation beside it": ({"mitigation": {"method": "none"}}, InvalidInput, "mitigation", ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_before_any_compute(room, asked, case):
    changes, kind, field, reason = REFUSED[case]
    with pytest.raises(kind) as raised:
        room.create(request_id=str(uuid.uuid4()), **asked(**changes))
    assert raised.value.field == field
    assert not reason or raised.value.reason == reason
    assert not room.ledger.list_operations()[0]


def test_the_prompts_of_the_phantoms_are_taken_where_none_are_given(run_of):
    alignment = run_of(alignment={"prompts": [], "test_prompts": []}).alignment
    assert (len(alignment.prompts), len(alignment.test_prompts)) == (100, 20)


def test_equal_shares_where_none_are_given(run_of):
    (shares,) = run_of(shares={"target": {}}).alignment.shares
    assert dict(zip(shares.levels, shares.target, strict=True)) == {"Female": 0.5, "Male": 0.5}


def test_a_judge_who_learned_from_the_guides_patients_is_refused_with_their_number(room, asked, settings):
    copy = settings.models / "twin" / "1"
    shutil.copytree(ZOO / "cardiac-sex-classifier" / "1", copy)
    record = yaml.safe_load((copy / "model.yaml").read_text())
    record |= {"name": "twin", "modality": "cardiac-short-axis", "thresholds": {}, "threshold_source": None}
    (copy / "model.yaml").write_text(yaml.safe_dump(record))
    with pytest.raises(FailedPrecondition) as raised:
        room.create(**asked(shares={"judge": "models/twin"}))
    assert raised.value.reason == "CLASSIFIERS_OVERLAP"
    assert raised.value.details == {"patients": "1000"}
