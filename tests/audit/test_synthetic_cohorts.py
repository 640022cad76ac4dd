"""From a real cohort to a balanced synthetic one, by a real worker and a real generator."""

from __future__ import annotations

import io
import json
import uuid

import numpy as np
import pandas as pd
import pytest
from evenhand.cohort.v1 import cohort_pb2, cohort_service_pb2
from google.longrunning import operations_pb2

from services.errors import NotFound
from services.hosting.diffusion.records import pixels_digest
from services.hosting.shards import ShardRef, read_shard
from services.maths.pixels import resize_masks
from tests.audit.studio import MASK_LABELS, MODEL, PATIENTS, WORDS_ONLY, Studio, make_studio, request


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return make_studio(tmp_path_factory.mktemp("studio"))


def manifest_of(studio: Studio, cohort: cohort_pb2.Cohort) -> dict:
    return json.loads(studio.world.store().get(cohort.manifest_key))


def shards_of(studio: Studio, manifest: dict) -> list:
    return [read_shard(studio.world.store(), ShardRef.from_dict(ref)) for ref in manifest["shards"]]


async def test_a_balanced_cohort_has_shares_provenance_and_its_origin_everywhere(studio: Studio) -> None:
    cohort = await studio.made(images=16)
    manifest = manifest_of(studio, cohort)
    synthetic = cohort.synthetic
    assert (cohort.display_name, cohort.records, cohort.has_masks, cohort.modality) == ("balanced", 16, True, "MR")
    assert [(group.images, group.expected_share) for group in synthetic.groups] == [(2, 0.125)] * 8
    assert [group.patients for group in synthetic.groups] == list(PATIENTS.values())
    assert (synthetic.images, synthetic.distinct_noise, synthetic.left_out) == (16, 16, 1)
    assert list(cohort.mask_labels) == MASK_LABELS and list(cohort.mask_planes) == ["ED", "ES"]
    assert synthetic.spec.model == MODEL and len(synthetic.model_digest) == 64
    assert synthetic.spec.split == "train" and synthetic.spec.sampler == "dpmpp-2m"
    assert manifest["synthetic"]["source_digest"] == synthetic.source_digest
    table = pd.concat([shard.records for shard in shards_of(studio, manifest)])
    assert table["record_id"].str.match(r"synthetic-\d{6}-of-r\d{3}-\d$").all()
    assert set(table["split"]) == {"train"}
    assert cohort.patients == table["patient_id"].nunique()


async def test_every_image_can_be_traced_to_its_source_mask_noise_and_model(studio: Studio) -> None:
    cohort = await studio.made(images=9)
    provenance = pd.read_parquet(io.BytesIO(studio.artifact(cohort, "provenance.parquet")))
    sources = {
        row["record_id"]: (row, mask)
        for shard in shards_of(studio, manifest_of(studio, await studio.cohort("cohorts/hearts")))
        for (_, row), mask in zip(shard.records.iterrows(), shard.masks, strict=True)
    }
    made = [
        (row, image, mask)
        for shard in shards_of(studio, manifest_of(studio, cohort))
        for (_, row), image, mask in zip(shard.records.iterrows(), shard.images, shard.masks, strict=True)
    ]
    assert list(provenance["index"]) == list(range(9))
    assert provenance["noise_digest"].nunique() == 9
    for (_, told), (row, image, mask) in zip(provenance.iterrows(), made, strict=True):
        source, planes = sources[told["source_record"]]
        assert (told["source_patient"], row["patient_id"]) == (source["patient_id"], source["patient_id"])
        assert told["pixels_digest"] == pixels_digest(image)
        np.testing.assert_array_equal(mask, resize_masks(planes, 64, 64))
        failing = "heart failure" if source["label_heart_failure"] == 1 else "no heart failure"
        assert told["prompt"] == f"{source['attribute_sex']}, {source['attribute_bmi']} BMI, {failing}"
        assert row["label_heart_failure"] == source["label_heart_failure"]
        assert (row["spacing_row_mm"], image.shape) == (1.0, (3, 64, 64))


async def test_what_the_model_was_not_told_is_missing_from_its_images(studio: Studio) -> None:
    cohort = await studio.made(attributes=["sex"], labels=None, template="{sex}", images=4)
    missing = {attribute.name: attribute.missing for attribute in cohort.attributes}
    assert missing == {"sex": 0, "bmi": 4, "race": 4}
    assert cohort.labels[0].missing == 4


async def test_a_cap_takes_from_groups_of_few_patients_as_the_closed_form_says(studio: Studio) -> None:
    cohort = await studio.made(images=24, cap=4)
    weights = np.minimum(1.0, np.array(list(PATIENTS.values())) / 4)
    groups = cohort.synthetic.groups
    np.testing.assert_allclose([group.expected_share for group in groups], weights / weights.sum())
    assert all((group.share_without_cap, group.images_without_cap) == (0.125, 3) for group in groups)
    made = np.array([group.images for group in groups])
    assert np.abs(made - 24 * weights / weights.sum()).max() < 1
    np.testing.assert_allclose([group.share for group in groups], made / 24)


async def test_a_text_to_image_model_makes_images_without_masks(studio: Studio) -> None:
    cohort = await studio.made(model=WORDS_ONLY, images=3)
    assert not cohort.has_masks and not cohort.mask_labels and not cohort.mask_planes
    assert "mask_labels" not in manifest_of(studio, cohort)


async def test_a_version_behind_an_at_is_the_same_request_as_that_version_by_default(studio: Studio) -> None:
    named, plain = await studio.made(model=f"{MODEL}@1", images=2), await studio.made(images=2)
    assert named.digest == plain.digest
    assert (named.synthetic.spec.model, named.synthetic.model_version) == (MODEL, "1")
    with pytest.raises(NotFound, match="version 2"):
        await studio.create(model=f"{MODEL}@2")


async def test_words_stand_for_levels_and_labels(studio: Studio) -> None:
    words = {
        "bmi": {"of_level": {"normal": "a slim"}},
        "heart_failure": {"of_level": {"0": "healthy", "1": "a failing heart"}},
    }
    cohort = await studio.made(words=words, template="{bmi} one, {heart_failure}", images=8)
    provenance = pd.read_parquet(io.BytesIO(studio.artifact(cohort, "provenance.parquet")))
    assert set(provenance["prompt"]) == {
        f"{bmi} one, {heart}" for bmi in ("a slim", "obese") for heart in ("healthy", "a failing heart")
    }


async def test_the_card_says_what_it_is_and_what_it_is_not_for(studio: Studio) -> None:
    cohort = await studio.made(images=8, cap=4)
    text = studio.artifact(cohort, "card.md").decode()
    card = json.loads(studio.artifact(cohort, "card.json"))
    assert "clinician must review" in text and "| sex=Female, bmi=normal, heart_failure=1 | 1 |" in text
    assert card["synthetic"] is True and card["digest"] == cohort.digest
    assert card["cap"] == 4 and len(card["groups"]) == 8


async def test_a_request_is_answered_again_with_the_first_operation(studio: Studio) -> None:
    data = request(request_id=str(uuid.uuid4()), images=1)
    first, again = [operations_pb2.Operation.FromString(await studio.creation.create(data)) for _ in range(2)]
    assert first.name == again.name
    metadata = cohort_service_pb2.CreateSyntheticCohortMetadata()
    assert first.metadata.Unpack(metadata)
    assert (metadata.stage, metadata.images_total) == ("queued", 1)
    studio.world.ledger().request_cancel(first.name)
