"""Two versions of one model: which of them a request is for."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from evenhand.generation.v1 import generation_pb2, generation_service_pb2
from google.longrunning import operations_pb2

from services.errors import ServiceError
from services.generator.application import Application
from services.hosting.envelope import unseal
from tests.diffusion_packages import write_class_to_image, write_super_resolution
from tests.generator.world import make_world, working

MODEL = "models/pelvis-diffusion"


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    world = make_world(tmp_path_factory.mktemp("versions"))
    write_class_to_image(world.zoo, version="2", seed=9)
    generator = world.generator()
    yield generator
    generator.close()


async def image(generator: Application, **named: str) -> bytes:
    asked = generation_pb2.GenerationSpec(attributes={"sex": "Male"}, steps=2, seed=5, **named)
    request = generation_service_pb2.GenerateImagesRequest(spec=asked).SerializeToString()
    (reply,) = [unseal(reply) async for reply in generator.GenerateImages(request, {})]
    return generation_service_pb2.GenerateImagesResponse.FromString(reply).image.data


async def test_a_version_is_named_behind_an_at_or_by_its_digest(generator: Application) -> None:
    digests = {one["version"]: one["digest"] for one in generator.host.catalogue() if f"models/{one['name']}" == MODEL}
    first, second = [await image(generator, model=f"{MODEL}@{version}") for version in ("1", "2")]
    assert first != second
    assert await image(generator, model=MODEL) == second
    assert await image(generator, model=MODEL, model_digest=digests["1"]) == first


async def test_a_version_that_is_not_served_is_refused(generator: Application) -> None:
    with pytest.raises(ServiceError) as caught:
        await image(generator, model=f"{MODEL}@3")
    assert caught.value.reason == "MODEL_NOT_FOUND"
    assert "version 3" in caught.value.message
    with pytest.raises(ServiceError) as caught:
        await image(generator, model=f"{MODEL}@1", model_digest="0" * 64)
    assert caught.value.reason == "MODEL_DIGEST_MISMATCH"


async def test_a_version_that_was_just_trained_is_drawn_without_a_restart(tmp_path) -> None:
    world = make_world(tmp_path)
    generator = world.generator()
    assert await listed(generator) == ["1"]
    first = await image(generator, model=MODEL)
    write_class_to_image(world.zoo, version="2", seed=9)
    assert await image(generator, model=MODEL) == first  # nobody has looked, and version 1 is what is asked for
    second = await image(generator, model=f"{MODEL}@2")
    assert second != first
    assert await listed(generator) == ["1", "2"]
    assert await image(generator, model=MODEL) == second
    generator.close()


async def test_what_was_ordered_of_a_version_is_made_with_it_though_a_higher_one_came(tmp_path) -> None:
    world = make_world(tmp_path)
    generator = world.generator()
    asked = generation_pb2.GenerationSpec(
        model=MODEL,
        attributes={"sex": "Male"},
        steps=2,
        upscale_model="models/pelvis-upscaler",
        upscale_steps=2,
    )
    request = generation_service_pb2.CreateGenerationRequest(spec=asked)
    name = operations_pb2.Operation.FromString(
        unseal(await generator.CreateGeneration(request.SerializeToString(), {}))
    ).name
    write_class_to_image(world.zoo, version="2", seed=9)
    write_super_resolution(world.zoo, version="2", seed=9)
    await generator.host.look()
    async with working(generator):
        operation = await world.wait(name)
    record = json.loads(world.artifact(operation, "records.jsonl"))
    assert (record["model_version"], record["upscale_model_version"]) == ("1", "1")


async def listed(generator: Application) -> list[str]:
    """Versions of the model in the catalogue."""
    entries = unseal(await generator.catalogue())
    return [entry["version"] for entry in entries if f"models/{entry['name']}" == MODEL]
