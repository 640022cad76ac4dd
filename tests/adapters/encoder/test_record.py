import re

import pytest

from services.adapters.encoder import record_digest
from services.adapters.encoder.record import derivation
from services.errors import InvalidInput


def test_derivation_names_model_digest_sampler_steps_seed_and_guidance(record):
    words = derivation(record)
    spec = record["spec"]
    for part in (
        f"model pelvis-diffusion version 2, sha256:{spec['model_digest']}",
        "sampler dpmpp-2m",
        "steps 20",
        "seed 9223372036854775807 index 3",
        "guidance scale 4 rescale 0.7",
        f"super-resolution model pelvis-upscaler version 5, sha256:{spec['upscale_model_digest']}",
        "sampler ddim, steps 12",
        f"noise sha256:{record['noise_digest']}",
    ):
        assert part in words
    assert words.startswith("SYNTHETIC")


def test_derivation_says_where_guidance_acts_and_where_there_is_none(record):
    record["spec"]["guidance"] = {"scale": 2.5, "low": 0.2, "high": 0.8}
    assert "guidance scale 2.5 within 0.2 to 0.8 of the noise levels" in derivation(record)
    del record["spec"]["guidance"]
    assert "guidance none" in derivation(record)


@pytest.mark.parametrize("key", ["model", "model_digest", "sampler", "steps", "seed"])
def test_record_that_cannot_make_its_image_again_is_refused_by_the_field_it_lacks(record, key):
    del record["spec"][key]
    with pytest.raises(InvalidInput) as caught:
        derivation(record)
    assert (caught.value.field, caught.value.reason) == (f"record.spec.{key}", "RECORD_INCOMPLETE")


def test_seed_zero_is_a_seed(record):
    record["spec"]["seed"] = 0
    assert "seed 0" in derivation(record)


def test_digest_does_not_depend_on_the_order_of_keys_and_changes_with_any_value(record):
    turned = dict(reversed(record.items()))
    assert record_digest(turned) == record_digest(record)
    assert re.fullmatch("[0-9a-f]{64}", record_digest(record))
    record["spec"]["seed"] = "1"
    assert record_digest(record) != record_digest(turned | {"spec": turned["spec"] | {"seed": "2"}})


def test_record_that_is_no_json_is_refused(record):
    with pytest.raises(InvalidInput, match="JSON"):
        record_digest(record | {"when": object()})
