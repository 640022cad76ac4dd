"""Counterfactuals by a real worker over a real ledger and store, undisturbed and disturbed."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest
from evenhand.generation.v1 import counterfactual_pb2, generation_pb2, generation_service_pb2
from google.longrunning import operations_pb2

from services.adapters.encoder import read_png_record, read_video_record
from services.adapters.ledger import Operation
from services.errors import ServiceError
from services.generator.application import Application
from services.hosting.envelope import unseal
from tests.generator.world import World, make_world, working

FRAMES = 10
CHANGES = {"frames_per_chunk": 3}


def spec(**fields: Any) -> counterfactual_pb2.CounterfactualSpec:
    given = {
        "model": "models/pelvis-diffusion",
        "source_attributes": {"race": "White"},
        "target_attributes": {"race": "Black"},
        "held_attributes": {"sex": "Female"},
        "frames": FRAMES,
        "steps": 4,
        "seed": 11,
        "guidance": generation_pb2.Guidance(scale=3),
        "upscale_model": "models/pelvis-upscaler",
        "upscale_steps": 2,
        "classifier_model": "models/race-classifier",
        "both_directions": True,
    }
    return counterfactual_pb2.CounterfactualSpec(**(given | fields))


async def create(generator: Application, asked: counterfactual_pb2.CounterfactualSpec, **more: str) -> str:
    request = generation_service_pb2.CreateCounterfactualRequest(spec=asked, **more)
    reply = unseal(await generator.CreateCounterfactual(request.SerializeToString(), {}))
    return operations_pb2.Operation.FromString(reply).name


async def get(generator: Application, name: str) -> counterfactual_pb2.Counterfactual:
    request = generation_service_pb2.GetCounterfactualRequest(name=name)
    reply = unseal(await generator.GetCounterfactual(request.SerializeToString(), {}))
    return counterfactual_pb2.Counterfactual.FromString(reply)


async def finished(world: World, asked: counterfactual_pb2.CounterfactualSpec) -> Operation:
    async with working(world.generator()) as generator:
        return await world.wait(await create(generator, asked))


def fingerprint(operation: Operation) -> dict[str, str]:
    assert operation.state == "succeeded", operation.error
    return {part["filename"]: part["sha256"] for part in (operation.response or {})["value"]["artifacts"]}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Operation]:
    world = make_world(tmp_path_factory.mktemp("undisturbed"), **CHANGES)
    return world, asyncio.run(finished(world, spec()))


def frames_of(world: World, operation: Operation) -> list[np.ndarray]:
    chunks = world.ledger().chunk_results(operation.name)
    frames = [frame for chunk in chunks for frame in chunk["result"].get("frames", ()) if "pixels" in frame]
    store = world.store()
    return [np.load(io.BytesIO(store.get(frame["pixels"]["key"]))) for frame in frames]


def test_everything_that_a_person_looks_at_is_there(undisturbed: tuple[World, Operation]) -> None:
    world, operation = undisturbed
    names = set(fingerprint(operation))
    assert names >= {f"frame-{frame:04d}.png" for frame in range(FRAMES)}
    assert names >= {"video.mp4", "video-back.mp4", "difference.png", "filmstrip.png", "record.json"}
    assert names >= {"trace.csv", "trace.parquet", "trace.svg", "counterfactual.html"}
    for video in ("video.mp4", "video-back.mp4"):
        with av.open(io.BytesIO(world.artifact(operation, video))) as container:
            assert len(list(container.decode(video=0))) == FRAMES
        assert read_video_record(world.artifact(operation, video))["synthetic"] is True
    record = read_png_record(world.artifact(operation, "frame-0003.png"))
    assert record["frame"] == 3
    whole = json.loads(world.artifact(operation, "record.json"))
    assert len(whole["frames"]) == FRAMES
    assert whole["noise_digest"] == record["noise_digest"]


def test_the_trace_has_the_classifiers_probability_of_every_frame(undisturbed: tuple[World, Operation]) -> None:
    world, operation = undisturbed
    table = pd.read_csv(io.BytesIO(world.artifact(operation, "trace.csv")))
    assert len(table) == FRAMES
    total = table["probability: race White"] + table["probability: race Black"]
    np.testing.assert_allclose(total, 1.0, atol=1e-5)
    assert {"neck_shaft_angle", "inter_acetabular_distance"} <= set(table.columns)


async def test_the_resource_tells_how_it_was_made(undisturbed: tuple[World, Operation]) -> None:
    world, operation = undisturbed
    generator = world.generator()
    made = await get(generator, operation.resource)
    assert made.state == 3 and made.frames_done == FRAMES
    assert made.model_version == made.upscale_model_version == made.classifier_model_version == "1"
    assert made.model_digest and made.upscale_model_digest and made.classifier_model_digest
    assert list(made.batch_shape) == [4, 1, 16, 16]
    assert any("age" in warning for warning in made.warnings), "age was left open and may move along"
    generator.close()


def test_frames_share_their_noise_and_move_from_one_end_to_the_other(undisturbed: tuple[World, Operation]) -> None:
    world, operation = undisturbed
    frames = frames_of(world, operation)
    assert len(frames) == FRAMES and {frame.shape for frame in frames} == {(1, 32, 32)}
    neighbours = [np.abs(one - other).mean() for one, other in itertools.pairwise(frames)]
    assert 0 < np.mean(neighbours) < np.abs(frames[0] - frames[-1]).mean()


async def test_the_ends_are_what_generation_makes_of_the_same_seed(undisturbed: tuple[World, Operation]) -> None:
    world, operation = undisturbed
    generator = world.generator()
    asked = generation_pb2.GenerationSpec(
        model="models/pelvis-diffusion",
        attributes={"race": "Black", "sex": "Female"},
        steps=4,
        seed=11,
        guidance=generation_pb2.Guidance(scale=3),
        upscale_model="models/pelvis-upscaler",
        upscale_steps=2,
    )
    request = generation_service_pb2.GenerateImagesRequest(spec=asked).SerializeToString()
    (reply,) = [unseal(reply) async for reply in generator.GenerateImages(request, {})]
    image = generation_service_pb2.GenerateImagesResponse.FromString(reply).image
    last = frames_of(world, operation)[-1]
    assert image.data == last.astype("<f4").tobytes()
    generator.close()


KILLED = """
import asyncio, os, sys
from pathlib import Path
from tests.generator.world import World, working

async def main():
    world = World(Path(sys.argv[1]), {"frames_per_chunk": 3})
    async with working(world.generator("to-be-killed")) as generator:
        ledger = world.ledger()
        while ledger.get_operation(sys.argv[2]).rows_done < 6:
            await asyncio.sleep(0.005)
        print("now", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_killed_workers_frames_are_kept_and_the_rest_gives_the_same_bytes(
    tmp_path: Path, undisturbed: tuple[World, Operation]
) -> None:
    world = make_world(tmp_path, **CHANGES, lease_ttl_s=1.0, renew_every_s=0.3)
    generator = world.generator()
    name = await create(generator, spec())
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), name], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert (await asyncio.to_thread(child.stdout.readline)).strip() == "now"
    child.send_signal(signal.SIGKILL)
    child.wait()
    committed = {chunk["chunk"]: chunk["result"] for chunk in world.ledger().chunk_results(name)}
    assert sum(len(result["frames"]) for result in committed.values()) >= 6
    async with working(generator):
        operation = await world.wait(name)
    assert fingerprint(operation) == fingerprint(undisturbed[1])
    after = {chunk["chunk"]: chunk["result"] for chunk in world.ledger().chunk_results(name)}
    assert {chunk: after[chunk] for chunk in committed} == committed
    leased = [event["details"].get("chunk") for event in world.ledger().history(name) if event["event"] == "leased"]
    assert not {chunk for chunk in committed if leased.count(chunk) > 1}, "committed frames are not made again"


async def test_a_cancelled_counterfactual_stops_within_a_step(tmp_path: Path) -> None:
    world = make_world(tmp_path, **CHANGES)
    async with working(world.generator()) as generator:
        name = await create(generator, spec(steps=1000, sampler="ddim"))
        ledger = world.ledger()
        async with asyncio.timeout(120):
            while not ledger.get_operation(name).progress.get("steps_done"):
                await asyncio.sleep(0.02)
        ledger.request_cancel(name)
        operation = await world.wait(name, limit_s=30)
        assert operation.state == "cancelled"
        await asyncio.sleep(0.1)
        lanes = generator.host.engine._lanes.values()
        assert not [seat for lane in lanes for seat in lane.seats]


async def test_progress_counts_every_frame_and_every_step(tmp_path: Path) -> None:
    world = make_world(tmp_path, **CHANGES)
    seen: list[dict[str, Any]] = []
    async with working(world.generator()) as generator:
        name = await create(generator, spec(classifier_model="", guidance=generation_pb2.Guidance(scale=1)))
        while not (operation := world.ledger().get_operation(name)).done:
            seen.append(operation.progress)
            await asyncio.sleep(0.005)
    told = [progress for progress in seen if progress]
    assert all(progress["frames_total"] == FRAMES for progress in told)
    assert {progress["steps_total"] for progress in told if "steps_total" in progress} == {FRAMES * (4 + 2)}
    done = [progress["frames_done"] for progress in told]
    assert len(set(done)) >= 4 and max(done) == FRAMES


async def test_a_repeated_request_is_one_counterfactual(tmp_path: Path) -> None:
    world = make_world(tmp_path, **CHANGES)
    generator = world.generator()
    known = str(uuid.uuid4())
    first = await create(generator, spec(), request_id=known)
    assert await create(generator, spec(), request_id=known) == first
    generator.close()


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"model": "models/none"}, "MODEL_NOT_FOUND", "spec.model"),
        ({"source_attributes": {"height": "3"}}, "ATTRIBUTE_UNKNOWN", "spec.source_attributes.height"),
        ({"target_attributes": {"race": "Green"}}, "LEVEL_UNKNOWN", "spec.target_attributes.race"),
        ({"held_attributes": {"age": "300"}}, "VALUE_OUT_OF_RANGE", "spec.held_attributes.age"),
        ({"held_attributes": {"age": "nan"}}, "VALUE_OUT_OF_RANGE", "spec.held_attributes.age"),
        ({"held_attributes": {"race": "White"}}, "ATTRIBUTE_TWICE", "spec.held_attributes.race"),
        ({"target_attributes": {"race": "White"}}, "ATTRIBUTES_UNCHANGED", "spec.target_attributes"),
        ({"target_attributes": {"sex": "Male"}}, "ATTRIBUTES_NOT_ALIKE", "spec.target_attributes"),
        ({"frames": 1}, "VALUE_OUT_OF_RANGE", "spec.frames"),
        ({"frames": 100_000}, "VALUE_OUT_OF_RANGE", "spec.frames"),
        ({"steps": 5000}, "VALUE_OUT_OF_RANGE", "spec.steps"),
        ({"upscale_steps": 5000}, "VALUE_OUT_OF_RANGE", "spec.upscale_steps"),
        ({"seed": -1}, "VALUE_OUT_OF_RANGE", "spec.seed"),
        ({"sampler": "euler"}, "SAMPLER_UNKNOWN", "spec.sampler"),
        ({"path": "winding"}, "PATH_UNKNOWN", "spec.path"),
        ({"guidance": generation_pb2.Guidance(scale=-1)}, "VALUE_OUT_OF_RANGE", "spec.guidance.scale"),
        ({"guidance": generation_pb2.Guidance(low=0.7, high=0.2)}, "VALUE_OUT_OF_RANGE", "spec.guidance.low"),
        ({"upscale_model": "models/race-classifier"}, "MODEL_TASK_MISMATCH", "spec.upscale_model"),
        ({"classifier_model": "models/pelvis-upscaler"}, "MODEL_TASK_MISMATCH", "spec.classifier_model"),
        ({"model_digest": "0" * 64}, "MODEL_DIGEST_MISMATCH", "spec.model_digest"),
        ({"formats": ["gif"]}, "FORMAT_UNKNOWN", "spec.formats"),
    ],
)
async def test_bad_requests_name_their_field(
    undisturbed: tuple[World, Operation], fields: dict[str, Any], reason: str, field: str
) -> None:
    world, _ = undisturbed
    generator = _shared(world)
    with pytest.raises(ServiceError) as refused:
        await create(generator, spec(**fields))
    assert (refused.value.reason, refused.value.field) == (reason, field)
    assert refused.value.http < 500


_generators: dict[Path, Application] = {}


def _shared(world: World) -> Application:
    if world.folder not in _generators:
        _generators[world.folder] = world.generator()
    return _generators[world.folder]
