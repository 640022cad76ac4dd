"""What a synthetic cohort is refused for: every error comes with the request, before any image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evenhand.cohort.v1 import cohort_service_pb2

from services.audit.cohorts import Cohorts
from services.errors import FailedPrecondition, InvalidInput, NotFound, ServiceError, UnknownAttribute, UnknownLabel
from tests.audit.studio import COHORT, LEVELS, MASKS, WORDS_ONLY, Studio, make_studio, put_hearts, request


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    made = make_studio(tmp_path_factory.mktemp("studio"))
    put_hearts(made, "cohorts/unmasked", masks=False, more={})
    put_hearts(made, "cohorts/other-masks", more={**MASKS, "mask_labels": ["background", "heart"]})
    put_hearts(made, "cohorts/unnamed-masks", more={})
    return made


def words(**fields: dict[str, str]) -> dict[str, Any]:
    return {name: {"of_level": levels} for name, levels in fields.items()}


REFUSED: list[tuple[dict[str, Any], type[ServiceError], str, str]] = [
    ({"cohort": "hearts"}, InvalidInput, "NAME_MALFORMED", "spec.cohort"),
    ({"cohort": "cohorts/nobody"}, NotFound, "COHORT_NOT_FOUND", "spec.cohort"),
    ({"cohort": "cohorts/unmasked"}, FailedPrecondition, "COHORT_WITHOUT_MASKS", "spec.cohort"),
    ({"cohort": "cohorts/other-masks"}, FailedPrecondition, "MASKS_DIFFER", "spec.cohort"),
    ({"cohort": "cohorts/unnamed-masks"}, FailedPrecondition, "MASKS_DIFFER", "spec.cohort"),
    ({"model": None}, InvalidInput, "MODEL_MISSING", "spec.model"),
    ({"model": "models/nothing"}, NotFound, "MODEL_NOT_FOUND", "spec.model"),
    ({"model": "models/heart"}, InvalidInput, "MODEL_TASK_MISMATCH", "spec.model"),
    ({"attributes": None, "labels": None}, InvalidInput, "ATTRIBUTES_MISSING", "spec.attributes"),
    ({"attributes": ["sex", "sex"]}, InvalidInput, "NAMED_TWICE", "spec.attributes"),
    ({"attributes": ["sex", "height"]}, UnknownAttribute, UnknownAttribute.default_reason, "spec.attributes[1]"),
    ({"labels": ["stroke"]}, UnknownLabel, UnknownLabel.default_reason, "spec.labels[0]"),
    ({"template": " "}, InvalidInput, "TEMPLATE_MISSING", "spec.template"),
    ({"template": "{sex"}, InvalidInput, "TEMPLATE_INVALID", "spec.template"),
    ({"template": "{sex} {height}"}, InvalidInput, "TEMPLATE_FIELD_UNKNOWN", "spec.template"),
    ({"template": "{sex} " + "long " * 80}, InvalidInput, "PROMPT_TOO_LONG", "spec.template"),
    ({"words": words(race={"White": "x"})}, InvalidInput, "WORDS_UNUSED", "spec.words.race"),
    ({"words": words(bmi={"slim": "x"})}, InvalidInput, "LEVEL_UNKNOWN", "spec.words.bmi"),
    ({"words": words(heart_failure={"yes": "x"})}, InvalidInput, "LEVEL_UNKNOWN", "spec.words.heart_failure"),
    ({"images": 0}, InvalidInput, "VALUE_OUT_OF_RANGE", "spec.images"),
    ({"images": 1_000_001}, InvalidInput, "VALUE_OUT_OF_RANGE", "spec.images"),
    ({"cap": 0}, InvalidInput, "VALUE_OUT_OF_RANGE", "spec.cap"),
    ({"cap": -1}, InvalidInput, "VALUE_OUT_OF_RANGE", "spec.cap"),
    ({"seed": -1}, InvalidInput, "VALUE_OUT_OF_RANGE", "spec.seed"),
    ({"steps": 5000}, InvalidInput, "VALUE_OUT_OF_RANGE", "spec.steps"),
    ({"sampler": "euler"}, InvalidInput, "SAMPLER_UNKNOWN", "spec.sampler"),
    ({"guidance_scale": 200.0}, InvalidInput, "VALUE_OUT_OF_RANGE", "spec.guidance_scale"),
    ({"negative_prompt": "x", "guidance_scale": 1.0}, InvalidInput, "NEGATIVE_PROMPT_UNUSED", "spec.negative_prompt"),
    ({"split": "validation"}, FailedPrecondition, "SPLIT_EMPTY", "spec.split"),
    ({"attributes": ["sex", "bmi", "race"]}, InvalidInput, "GROUP_EMPTY", "spec.attributes"),
]


@pytest.mark.parametrize(("changes", "kind", "reason", "field"), REFUSED, ids=lambda value: str(value)[:40])
async def test_a_bad_request_names_its_field_and_leaves_nothing_behind(
    studio: Studio, changes: dict[str, Any], kind: type[ServiceError], reason: str, field: str
) -> None:
    with pytest.raises(kind) as caught:
        await studio.creation.create(request(**changes))
    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert not studio.world.ledger().list_operations()[0]


async def test_an_empty_group_is_named_and_may_be_skipped_knowingly(studio: Studio) -> None:
    asked = {"attributes": ["sex", "bmi", "race"]}
    with pytest.raises(InvalidInput) as caught:
        await studio.creation.create(request(**asked))
    assert "sex=Female, bmi=normal, race=Black, heart_failure=1" in caught.value.message
    operation = await studio.create(**asked, skip_empty_groups=True)
    empty = operation.request["empty_groups"]
    assert "sex=Female, bmi=normal, race=Black, heart_failure=1" in empty
    assert len(empty) + len(operation.request["groups"]) == 2 * len(LEVELS["sex"]) * len(LEVELS["bmi"]) * 2
    studio.world.ledger().request_cancel(operation.name)
    studio.world.ledger().delete_operation(operation.name)


async def test_a_cohort_without_masks_serves_a_model_of_words(studio: Studio) -> None:
    operation = await studio.create(cohort="cohorts/unmasked", model=WORDS_ONLY, split="all")
    assert operation.request["resolved"]["mask"] is None
    studio.world.ledger().request_cancel(operation.name)
    studio.world.ledger().delete_operation(operation.name)


async def test_a_synthetic_cohort_lends_nothing_to_another(tmp_path: Path) -> None:
    studio = make_studio(tmp_path)
    synthetic = await studio.made(images=2)
    with pytest.raises(FailedPrecondition) as caught:
        await studio.creation.create(request(cohort=synthetic.name))
    assert caught.value.reason == "COHORT_SYNTHETIC"


async def test_a_cohort_is_kept_while_images_are_drawn_from_it(tmp_path: Path) -> None:
    studio = make_studio(tmp_path)
    operation = await studio.create(images=2)
    cohorts = Cohorts(studio.world.ledger(), studio.world.store(), studio.settings)
    delete = cohort_service_pb2.DeleteCohortRequest(name=COHORT).SerializeToString()
    with pytest.raises(FailedPrecondition) as caught:
        await cohorts.delete(delete)
    assert caught.value.reason == "COHORT_IN_USE" and operation.name in caught.value.message
    studio.world.ledger().request_cancel(operation.name)
    await cohorts.delete(delete)
