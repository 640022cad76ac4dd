"""GenerateImages: each image as it is done, and everything that makes it again."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from evenhand.generation.v1 import generation_pb2, generation_service_pb2
from google.protobuf.json_format import ParseDict

from services.errors import DeadlineExceeded
from services.generator.application import Application
from services.hosting.diffusion.records import pixels_digest
from services.hosting.envelope import unseal
from tests.generator.world import World, make_world

MODEL = "models/pelvis-diffusion"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def generator(world: World) -> Application:
    return world.generator()


async def generated(
    application: Application, spec: generation_pb2.GenerationSpec, *, previews_every: int = 0, deadline_s: float = 60
) -> list[generation_service_pb2.GenerateImagesResponse]:
    request = generation_service_pb2.GenerateImagesRequest(spec=spec, previews_every=previews_every)
    replies = application.GenerateImages(request.SerializeToString(), {"deadline_s": deadline_s})
    return [generation_service_pb2.GenerateImagesResponse.FromString(unseal(reply)) async for reply in replies]


def pixels(response: generation_service_pb2.GenerateImagesResponse) -> np.ndarray:
    return np.frombuffer(response.image.data, "<f4").reshape(tuple(response.image.shape))


def spec(**fields: object) -> generation_pb2.GenerationSpec:
    return generation_pb2.GenerationSpec(model=MODEL, steps=5, seed=7, **fields)


async def test_images_come_one_by_one_with_their_records(generator: Application) -> None:
    responses = await generated(generator, spec(attributes={"sex": "Female", "age": "63"}, count=3))
    assert [response.index for response in responses] == [0, 1, 2]
    assert all(response.step == response.steps == 5 and not response.preview for response in responses)
    digests = {json.loads(response.record_json)["noise_digest"] for response in responses}
    assert len(digests) == 3
    for response in responses:
        image = pixels(response)
        assert image.shape == (1, 16, 16) and 0 <= image.min() <= image.max() <= 1
        record = ParseDict(json.loads(response.record_json), generation_pb2.ImageRecord())
        assert record.pixels_digest == pixels_digest(image)
        assert record.synthetic and record.spec.model_digest and record.spec.sampler == "dpmpp-2m"


@pytest.mark.parametrize("sampler", ["ddpm", "unipc"])
async def test_an_image_is_made_again_from_its_record_alone(generator: Application, sampler: str) -> None:
    asked = spec(
        attributes={"sex": "Male"}, count=4, sampler=sampler, guidance=generation_pb2.Guidance(scale=3, rescale=0.5)
    )
    (last,) = [response for response in await generated(generator, asked) if response.index == 3]
    record = ParseDict(json.loads(last.record_json), generation_pb2.ImageRecord())
    (again,) = await generated(generator, record.spec)
    assert again.index == 3
    assert again.image.data == last.image.data
    assert again.record_json == last.record_json


async def test_upscaled_images_keep_their_order_of_noise(generator: Application) -> None:
    asked = spec(attributes={"sex": "Male"}, count=3, upscale_model="models/pelvis-upscaler", upscale_steps=3)
    responses = {response.index: response for response in await generated(generator, asked)}
    assert {pixels(response).shape for response in responses.values()} == {(1, 32, 32)}
    record = ParseDict(json.loads(responses[2].record_json), generation_pb2.ImageRecord())
    assert record.upscale_model_version == "1" and record.spec.upscale_model_digest
    (again,) = await generated(generator, record.spec)
    assert again.image.data == responses[2].image.data


async def test_previews_come_between(generator: Application) -> None:
    responses = await generated(generator, spec(attributes={"sex": "Male"}), previews_every=2)
    assert [(response.preview, response.step) for response in responses] == [(True, 2), (True, 4), (False, 5)]
    assert not responses[0].record_json


async def test_a_passed_deadline_ends_the_work(generator: Application) -> None:
    asked = spec(attributes={"sex": "Male"}, count=8)
    asked.steps = 1000
    with pytest.raises(DeadlineExceeded):
        await generated(generator, asked, deadline_s=0.3)
    await asyncio.sleep(0.05)
    assert generator.host.engine.waiting == 0


async def test_attributes_as_a_tensor_give_the_same_image(generator: Application) -> None:
    vector = np.array([[1, 0, np.nan, 0, 1]], np.float32)
    reply = await generator.infer("pelvis-diffusion", "", {"attributes": vector}, {"seed": 7, "steps": 5})
    (response,) = await generated(generator, spec(attributes={"sex": "Female", "race": "Black"}))
    assert np.array_equal(unseal(reply)["image"][0], pixels(response))
