"""Super-resolution: over tensors, as an operation, and in tiles that leave no seam."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evenhand.resources.v1 import image_pb2
from evenhand.upscaling.v1 import upscaling_pb2, upscaling_service_pb2
from google.longrunning import operations_pb2
from google.protobuf.json_format import ParseDict

from services.adapters.ledger import Ledger, Operation, open_ledger
from services.adapters.object_store import ObjectStore, open_object_store
from services.errors import ServiceError
from services.hosting.diffusion.families import Condition, Window
from services.hosting.diffusion.rows import Order, blending, make_row, step, windows_of
from services.hosting.envelope import unseal
from services.upscaler.application import Application
from services.upscaler.settings import Settings
from tests.diffusion_packages import write_super_resolution

MODEL = "models/pelvis-upscaler"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upscaler")
    write_super_resolution(folder / "zoo")
    return folder


def ledger_of(folder: Path) -> Ledger:
    return open_ledger(f"sqlite:///{folder / 'ledger.db'}")


def store_of(folder: Path) -> ObjectStore:
    return open_object_store(f"file://{folder / 'objects'}")


@pytest.fixture(scope="module")
def upscaler(folder: Path) -> Iterator[Application]:
    quick: dict[str, Any] = {"poll_every_s": 0.02, "watch_every_s": 0.05, "progress_every_s": 0.0, "most_side": 128}
    settings = Settings(registries=(folder / "zoo",), data_dir=folder, device="cpu", **quick)
    application = Application("one", ledger=ledger_of(folder), store=store_of(folder), settings=settings)
    yield application
    application.close()


def images(count: int, side: int = 16, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 1, side, side), np.float32)


async def enlarged(upscaler: Application, given: np.ndarray, **parameters: Any) -> np.ndarray:
    asked = {"steps": 3, "seed": 2} | parameters
    return np.asarray(unseal(await upscaler.infer("pelvis-upscaler", "", {"image": given}, asked))["image"])


async def test_each_row_has_noise_of_its_own_unless_it_is_shared(upscaler: Application) -> None:
    same = np.repeat(images(1), 3, axis=0)
    own = await enlarged(upscaler, same)
    shared = await enlarged(upscaler, same, shared_noise=True)
    assert own.shape == (3, 1, 32, 32)
    assert not np.array_equal(own[0], own[1])
    assert np.array_equal(shared[0], shared[1]) and np.array_equal(shared[0], own[0])
    later = await enlarged(upscaler, same[:1], index=2)
    assert np.array_equal(later[0], own[2])


async def test_images_of_other_sizes_come_out_at_their_own_size(upscaler: Application) -> None:
    for shape in ((10, 12), (16, 40), (33, 21)):
        given = np.random.default_rng(1).random((1, 1, *shape), np.float32)
        assert (await enlarged(upscaler, given)).shape == (1, 1, 2 * shape[0], 2 * shape[1])


def test_windows_cover_and_their_weights_add_up_to_one() -> None:
    for side in (32, 33, 40, 57, 100):
        canvas, seen = (1, side, 32), (1, 32, 32)
        windows = windows_of(canvas, seen)
        total = np.zeros(canvas[1:])
        for window, share in zip(windows, blending(canvas, seen, windows).numpy(), strict=True):
            total[window.top : window.top + 32, window.left : window.left + 32] += share
        np.testing.assert_allclose(total, 1.0, atol=1e-6)
        tops = sorted({window.top for window in windows})
        assert tops[-1] == side - 32
        assert max(np.diff(tops), default=0) <= 24, "neighbours overlap by a quarter"


async def test_tiles_leave_no_seam(upscaler: Application) -> None:
    """A flat image: whatever the network says of a pixel, the step across a tile's edge is no larger than elsewhere."""
    given = np.full((1, 1, 40, 40), 0.5, np.float32)
    large = (await enlarged(upscaler, given, steps=8))[0, 0]
    steps = np.abs(np.diff(large, axis=1)).mean(axis=0)
    edges = sorted(
        {edge for window in windows_of((1, 80, 80), (1, 32, 32)) for edge in (window.left, window.left + 32)}
    )
    inside = [edge - 1 for edge in edges if 0 < edge < 80]
    elsewhere = np.delete(steps, inside)
    assert steps[inside].mean() < elsewhere.mean() + 2 * elsewhere.std()


def test_the_order_in_which_tiles_are_answered_changes_nothing(upscaler: Application) -> None:
    """Windows are blended in their own order: rows whose answers came shuffled move on to the same bits."""
    host = upscaler.host
    record = host.find("pelvis-upscaler")
    denoiser = host.denoiser(record)
    plan = host.plan(record, "dpmpp-2m", 2)
    outcomes = []
    with torch.inference_mode():
        order = Order(Condition(hint=torch.zeros(1, 56, 56)), plan, seed=1)
        for backwards in (False, True):
            row = make_row(order, denoiser)
            row.begin()
            asked = row.wanted[::-1] if backwards else list(row.wanted)
            row.wanted.clear()
            generator = torch.Generator().manual_seed(0)
            answers = torch.randn(len(asked), 1, 32, 32, generator=generator)
            for evaluation in asked:
                row.received[evaluation.window, True] = answers[evaluation.window]
            step([row], denoiser)
            assert row.state is not None
            outcomes.append(row.state.x)
        assert row.windows[0] == Window(0, 0) and len(row.windows) == 4
    assert torch.equal(*outcomes)


def tensor(pixels: np.ndarray) -> image_pb2.Image:
    data = np.ascontiguousarray(pixels, "<f4").tobytes()
    return image_pb2.Image(tensor=image_pb2.Tensor(shape=pixels.shape, data=data))


async def create(upscaler: Application, pixels: np.ndarray, **fields: Any) -> str:
    spec = upscaling_pb2.UpscalingSpec(**({"model": MODEL, "steps": 3, "seed": 2} | fields))
    request = upscaling_service_pb2.CreateUpscalingRequest(image=tensor(pixels), spec=spec)
    reply = unseal(await upscaler.CreateUpscaling(request.SerializeToString(), {}))
    return operations_pb2.Operation.FromString(reply).name


async def finished(folder: Path, upscaler: Application, name: str) -> Operation:
    running = asyncio.create_task(upscaler.run())
    try:
        async with asyncio.timeout(120):
            while not (operation := ledger_of(folder).get_operation(name)).done:
                await asyncio.sleep(0.02)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return operation


async def test_an_upscaling_is_the_same_as_over_tensors(folder: Path, upscaler: Application) -> None:
    (pixels,) = images(1, 40, seed=3)
    name = await create(upscaler, pixels, formats=["png", "npy", "dicom"])
    operation = await finished(folder, upscaler, name)
    assert operation.state == "succeeded", operation.error
    made = ParseDict((operation.response or {})["value"], upscaling_pb2.Upscaling())
    assert list(made.input_shape) == [1, 40, 40] and list(made.output_shape) == [1, 80, 80]
    assert made.spec.tile == 16 and list(made.batch_shape) == [4, 1, 32, 32]
    keys = {artifact.filename: artifact.key for artifact in made.artifacts}
    assert set(keys) == {"image.png", "image.npy", "image.dcm", "record.json"}
    image = np.load(io.BytesIO(store_of(folder).get(keys["image.npy"])))
    (expected,) = await enlarged(upscaler, pixels[None])
    assert np.array_equal(image, expected)
    record = json.loads(store_of(folder).get(keys["record.json"]))
    assert record["synthetic"] is True and record["input_digest"] == made.input_digest
    assert operation.rows_done == 9, "as many tiles as windows"


async def test_larger_tiles_are_seen_whole(folder: Path, upscaler: Application) -> None:
    (pixels,) = images(1, 32, seed=4)
    operation = await finished(folder, upscaler, await create(upscaler, pixels, tile=32))
    assert operation.state == "succeeded", operation.error
    assert operation.rows_done == 1


@pytest.mark.parametrize(
    ("side", "fields", "reason", "field"),
    [
        (16, {"steps": 5000}, "VALUE_OUT_OF_RANGE", "spec.steps"),
        (16, {"seed": -1}, "VALUE_OUT_OF_RANGE", "spec.seed"),
        (16, {"sampler": "x"}, "SAMPLER_UNKNOWN", "spec.sampler"),
        (16, {"tile": -16}, "VALUE_OUT_OF_RANGE", "spec.tile"),
        (16, {"tile": 1000}, "VALUE_OUT_OF_RANGE", "spec.tile"),
        (16, {"model": "models/none"}, "MODEL_NOT_FOUND", "spec.model"),
        (16, {"formats": ["gif"]}, "FORMAT_UNKNOWN", "spec.formats"),
        (16, {"model_digest": "0" * 64}, "MODEL_DIGEST_MISMATCH", "spec.model_digest"),
        (100, {}, "TOO_LARGE", "image"),
    ],
)
async def test_bad_requests_name_their_field(
    upscaler: Application, side: int, fields: dict[str, Any], reason: str, field: str
) -> None:
    with pytest.raises(ServiceError) as refused:
        await create(upscaler, images(1, side)[0], **fields)
    assert (refused.value.reason, refused.value.field) == (reason, field)


async def test_three_channels_are_not_one(upscaler: Application) -> None:
    with pytest.raises(ServiceError) as refused:
        await create(upscaler, np.zeros((3, 16, 16), np.float32))
    assert (refused.value.reason, refused.value.field) == ("SHAPE_MISMATCH", "image")
