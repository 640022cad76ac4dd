"""Generations by a real worker, from attributes, words and masks; and what bad requests are told."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from evenhand.generation.v1 import generation_pb2, generation_service_pb2
from google.longrunning import operations_pb2
from google.protobuf.json_format import ParseDict

from services.errors import ServiceError
from services.generator.application import Application
from services.hosting.envelope import unseal
from tests.diffusion_packages import TOKENS, write_class_to_image, write_mask_to_image, write_text_to_image
from tests.generator.world import World, make_world, working

PELVIS, WORDS, MASKS = "models/pelvis-diffusion", "models/phantom-diffusion", "models/phantom-controlnet"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("generations"), images_per_chunk=2, most_images=16)
    write_mask_to_image(world.zoo, write_text_to_image(world.zoo))
    return world


@pytest.fixture(scope="module")
def generator(world: World) -> Iterator[Application]:
    generator = world.generator()
    yield generator
    generator.close()


def mask(shape: tuple[int, ...] = (2, 64, 64), value: int = 0) -> generation_pb2.Mask:
    planes = np.full(shape, value, np.uint8)
    planes[..., 20:40, 20:40] = 2
    return generation_pb2.Mask(labels=generation_pb2.LabelMap(shape=shape, data=planes.tobytes()))


def spec(**fields: Any) -> generation_pb2.GenerationSpec:
    return generation_pb2.GenerationSpec(**({"model": PELVIS, "steps": 3, "seed": 5} | fields))


async def create(generator: Application, asked: generation_pb2.GenerationSpec) -> str:
    request = generation_service_pb2.CreateGenerationRequest(spec=asked, display_name="some")
    reply = unseal(await generator.CreateGeneration(request.SerializeToString(), {}))
    return operations_pb2.Operation.FromString(reply).name


async def streamed(generator: Application, asked: generation_pb2.GenerationSpec) -> list[bytes]:
    request = generation_service_pb2.GenerateImagesRequest(spec=asked).SerializeToString()
    replies = [unseal(reply) async for reply in generator.GenerateImages(request, {})]
    return [generation_service_pb2.GenerateImagesResponse.FromString(reply).image.data for reply in replies]


async def test_a_generation_leaves_its_files_and_its_records(world: World, generator: Application) -> None:
    asked = spec(attributes={"sex": "Male"}, count=5, formats=["dicom", "npy", "png"], first_index=2)
    running = asyncio.create_task(generator.run())
    try:
        operation = await world.wait(await create(generator, asked))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    made = ParseDict((operation.response or {})["value"], generation_pb2.Generation())
    assert made.state == 3 and made.images_done == 5 and made.display_name == "some"
    names = [artifact.filename for artifact in made.artifacts]
    assert names[:3] == ["image-0002.png", "image-0002.npy", "image-0002.dcm"]
    assert len(names) == 16 and names[-1] == "records.jsonl"
    records = [json.loads(line) for line in world.artifact(operation, "records.jsonl").splitlines()]
    assert [record["spec"]["first_index"] for record in records] == [2, 3, 4, 5, 6]
    assert len({record["noise_digest"] for record in records}) == 5
    image = np.load(io.BytesIO(world.artifact(operation, "image-0004.npy")))
    (again,) = await streamed(generator, ParseDict(records[2]["spec"], generation_pb2.GenerationSpec()))
    assert image.astype("<f4").tobytes() == again, "durable and streamed images are the same to the bit"
    dataset = pydicom.dcmread(io.BytesIO(world.artifact(operation, "image-0004.dcm")))
    assert dataset.SyntheticData == "YES" and made.model_digest in dataset.DerivationDescription


async def test_words_make_images_and_negative_words_others(generator: Application) -> None:
    asked = spec(model=WORDS, prompt="axial mri of a female")
    (plain,) = await streamed(generator, asked)
    (other,) = await streamed(generator, spec(model=WORDS, prompt="chest of a male"))
    (away,) = await streamed(generator, spec(model=WORDS, prompt="axial mri of a female", negative_prompt="obese"))
    assert len({plain, other, away}) == 3
    assert np.frombuffer(plain, "<f4").size == 3 * 64 * 64


async def test_a_mask_steers_and_is_part_of_the_record(world: World, generator: Application) -> None:
    asked = spec(model=MASKS, prompt="axial mri", mask=mask())
    (steered,) = await streamed(generator, asked)
    (other,) = await streamed(generator, spec(model=MASKS, prompt="axial mri", mask=mask(value=1)))
    assert steered != other
    request = generation_service_pb2.GenerateImagesRequest(spec=asked).SerializeToString()
    (reply,) = [unseal(reply) async for reply in generator.GenerateImages(request, {})]
    response = generation_service_pb2.GenerateImagesResponse.FromString(reply)
    record = ParseDict(json.loads(response.record_json), generation_pb2.ImageRecord())
    (again,) = await streamed(generator, record.spec)
    assert again == steered


async def test_a_masks_file_is_read_as_labels(generator: Application) -> None:
    planes = np.frombuffer(mask().labels.data, np.uint8).reshape(2, 64, 64)
    file = io.BytesIO()
    np.save(file, planes)
    by_file = spec(model=MASKS, prompt="axial mri", mask=generation_pb2.Mask(file=file.getvalue(), filename="m.npy"))
    by_labels = spec(model=MASKS, prompt="axial mri", mask=mask())
    assert await streamed(generator, by_file) == await streamed(generator, by_labels)


async def test_prompts_and_masks_come_as_tensors_too(generator: Application) -> None:
    prompts = np.array([["axial mri"], ["chest"]], object)
    planes = np.frombuffer(mask().labels.data, np.uint8).reshape(2, 64, 64).astype(np.float32)
    reply = await generator.infer(
        "phantom-controlnet", "", {"prompt": prompts, "mask": np.stack([planes] * 2)}, {"steps": 3, "seed": 5}
    )
    images = unseal(reply)["image"]
    assert images.shape == (2, 3, 64, 64)
    (first,) = await streamed(generator, spec(model=MASKS, prompt="axial mri", mask=mask()))
    assert images[0].tobytes() == first


async def test_the_catalogue_says_what_each_model_can_be_asked(generator: Application) -> None:
    models = {entry["name"]: entry for entry in unseal(await generator.catalogue())}
    assert set(models) == {"pelvis-diffusion", "phantom-diffusion", "phantom-controlnet"}
    assert models["phantom-diffusion"]["prompt_tokens"] == TOKENS
    assert models["phantom-controlnet"]["mask_phases"] == ["ED", "ES"]
    assert all(entry["samplers"][0] == "dpmpp-2m" and entry["output_name"] == "image" for entry in models.values())


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"prompt": "a"}, "CONDITION_MISMATCH", "spec.prompt"),
        ({"model": WORDS}, "PROMPT_MISSING", "spec.prompt"),
        ({"model": WORDS, "prompt": "a", "attributes": {"sex": "Male"}}, "CONDITION_MISMATCH", "spec.attributes"),
        ({"model": WORDS, "prompt": "a " * TOKENS}, "PROMPT_TOO_LONG", "spec.prompt"),
        ({"model": WORDS, "prompt": "a", "negative_prompt": "a " * TOKENS}, "PROMPT_TOO_LONG", "spec.negative_prompt"),
        ({"negative_prompt": "a"}, "NEGATIVE_PROMPT_UNUSED", "spec.negative_prompt"),
        ({"model": WORDS, "prompt": "a", "mask": mask()}, "CONDITION_MISMATCH", "spec.mask"),
        ({"model": MASKS, "prompt": "a"}, "MASK_MISSING", "spec.mask"),
        ({"model": MASKS, "prompt": "a", "mask": mask((2, 32, 32))}, "SHAPE_MISMATCH", "spec.mask"),
        ({"model": MASKS, "prompt": "a", "mask": mask((64, 64))}, "SHAPE_MISMATCH", "spec.mask"),
        ({"model": MASKS, "prompt": "a", "mask": mask(value=9)}, "MASK_LABEL_UNKNOWN", "spec.mask"),
        ({"attributes": {"height": "1"}}, "ATTRIBUTE_UNKNOWN", "spec.attributes.height"),
        ({"attributes": {"sex": "X"}}, "LEVEL_UNKNOWN", "spec.attributes.sex"),
        ({"count": 17}, "VALUE_OUT_OF_RANGE", "spec.count"),
        ({"count": -1}, "VALUE_OUT_OF_RANGE", "spec.count"),
        ({"first_index": -1}, "VALUE_OUT_OF_RANGE", "spec.first_index"),
        ({"seed": -5}, "VALUE_OUT_OF_RANGE", "spec.seed"),
        ({"upscale_steps": 3}, "UPSCALING_UNUSED", "spec.upscale_steps"),
        ({"upscale_model": "models/none"}, "MODEL_NOT_FOUND", "spec.upscale_model"),
        (
            {"model": WORDS, "prompt": "a", "upscale_model": "models/pelvis-upscaler"},
            "SHAPE_MISMATCH",
            "spec.upscale_model",
        ),
    ],
)
async def test_bad_requests_name_their_field(
    generator: Application, fields: dict[str, Any], reason: str, field: str
) -> None:
    for ask in (create, streamed):
        with pytest.raises(ServiceError) as refused:
            await ask(generator, spec(**fields))
        assert (refused.value.reason, refused.value.field) == (reason, field)
        assert refused.value.http < 500


async def test_guidance_needs_a_model_that_knows_no_condition(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    write_class_to_image(
        world.zoo, name="unguidable", diffusion={"schedule": "cosine", "prediction": "epsilon", "null_condition": False}
    )
    generator = world.generator()
    with pytest.raises(ServiceError) as refused:
        await streamed(generator, spec(model="models/unguidable", guidance=generation_pb2.Guidance(scale=2)))
    assert (refused.value.reason, refused.value.field) == ("GUIDANCE_UNSUPPORTED", "spec.guidance.scale")
    assert len(await streamed(generator, spec(model="models/unguidable"))) == 1
    generator.close()


async def test_a_generation_is_listed_by_model_and_deleted_when_done(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    async with working(world.generator()) as generator:
        operation = await world.wait(await create(generator, spec(attributes={"sex": "Male"})))
        for model, count in ((PELVIS, 1), ("models/other", 0)):
            request = generation_service_pb2.ListGenerationsRequest(model=model).SerializeToString()
            reply = unseal(await generator.ListGenerations(request, {}))
            found = generation_service_pb2.ListGenerationsResponse.FromString(reply).generations
            assert len(found) == count
        named = generation_service_pb2.DeleteGenerationRequest(name=operation.resource).SerializeToString()
        unseal(await generator.DeleteGeneration(named, {}))
        gone = generation_service_pb2.GetGenerationRequest(name=operation.resource).SerializeToString()
        with pytest.raises(ServiceError) as missing:
            unseal(await generator.GetGeneration(gone, {}))
        assert missing.value.reason == "GENERATION_NOT_FOUND"
