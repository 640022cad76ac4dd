"""The real generator and upscaler behind the real gateway, as the real client meets them: tiny untrained models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from evenhand.client import Client
from evenhand.errors import Cancelled, InvalidInput

from services.adapters.telemetry import PrometheusTelemetry
from services.gateway.backends import LocalBackends
from services.gateway.edge import open_edge
from services.gateway.replica import Replica
from services.gateway.settings import Settings
from services.hosting.envelope import unseal
from services.upscaler.application import Application as Upscaler
from services.upscaler.settings import Settings as UpscalerSettings
from tests.generator.world import QUICK, make_world

MODEL, UPSCALER = "pelvis-diffusion", "pelvis-upscaler"


class Unsealed:
    """An application as a host in this process."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def catalogue(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._application.host.catalogue()
        return found

    async def infer(self, *arguments: Any) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = unseal(await self._application.infer(*arguments))
        return found


class Studio:
    """Everything on one loop in a thread; the client and Triton's are outside of it."""

    def __init__(self, folder: Path) -> None:
        self._world = make_world(folder)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._open(folder))
        self.grpc = f"127.0.0.1:{self._replica.grpc_port}"
        self.http = f"http://127.0.0.1:{self._replica.http_port}"

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    async def _open(self, folder: Path) -> None:
        world = self._world
        settings = UpscalerSettings(registries=(world.zoo,), data_dir=folder, device="cpu", **QUICK)
        upscaler = Upscaler("up", ledger=world.ledger(), store=world.store(), settings=settings)
        self._apps = {"generator": world.generator(), "upscaler": upscaler}
        self._working = [asyncio.create_task(app.run()) for app in self._apps.values()]
        edge = open_edge(
            Settings(data_dir=folder, http_port=0, grpc_port=0, drain_s=1.0),
            backends=LocalBackends({name: Unsealed(app) for name, app in self._apps.items()}, self._apps),
            ledger=world.ledger(),
            store=world.store(),
            telemetry=PrometheusTelemetry(),
        )
        self._replica = Replica(edge)
        await self._replica.start()

    def close(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _close(self) -> None:
        await self._replica.stop()
        for working in self._working:
            working.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)
        for app in self._apps.values():
            app.close()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    studio = Studio(tmp_path_factory.mktemp("studio"))
    yield studio
    studio.close()


@pytest.fixture
def client(studio: Studio) -> Iterator[Client]:
    with Client(studio.grpc, timeout=120) as client:
        yield client


def test_operation_stream_record_and_tensor_give_the_same_bits(client: Client, studio: Studio, tmp_path: Path) -> None:
    asked: Any = {"attributes": {"sex": "Female"}, "seed": 11, "steps": 3}
    generation = client.generations.create(**asked, count=3, formats=["npy", "png"]).result(120)
    images = generation.images()
    streamed = {image.index: image for image in client.generations.stream(**asked, count=3, previews_every=1)}
    np.testing.assert_array_equal(np.stack([streamed[index].pixels for index in range(3)]), images)
    generation.download(tmp_path)
    again = client.generations.repeat(tmp_path / "image-0002.png")
    assert again.identical
    np.testing.assert_array_equal(again.image.pixels, images[2])
    conditions = client.models.get(MODEL).proto.conditions
    width = sum(len(condition.levels) or 1 for condition in conditions)
    vector = np.full((3, width), np.nan, np.float32)
    vector[:, :2] = [1, 0] if list(conditions[0].levels) == ["Female", "Male"] else [0, 1]
    attributes = triton_grpc.InferInput("attributes", vector.shape, "FP32")
    attributes.set_data_from_numpy(vector)
    triton = triton_grpc.InferenceServerClient(studio.grpc)
    reply = triton.infer(MODEL, [attributes], parameters={"seed": 11, "steps": 3})
    np.testing.assert_array_equal(reply.as_numpy("image"), images)
    assert generation.to_pandas()["noise_digest"].nunique() == 3


def test_a_counterfactual_leaves_video_frames_trace_and_page(client: Client) -> None:
    operation = client.counterfactuals.create(
        {"sex": "Female"},
        {"sex": "Male"},
        frames=4,
        steps=2,
        upscale_model=UPSCALER,
        upscale_steps=2,
        classifier_model="race-classifier",
        formats=["npy"],
    )
    counterfactual = operation.result(120)
    assert counterfactual.images().shape[0] == 4
    assert len(counterfactual.to_pandas()) == 4
    assert b"ftyp" in counterfactual.video()[:16]
    assert counterfactual.read("counterfactual.html").lower().startswith(b"<!doctype html")
    assert operation.metadata.unit == "frames"


def test_an_upscaling_is_larger_and_the_same_over_tensors(client: Client, studio: Studio) -> None:
    pixels = np.random.default_rng(0).random((1, 16, 16), np.float32)
    large = client.upscalings.create(pixels, seed=3, steps=2, formats=["npy"]).result(120).image()
    factor = client.models.get(UPSCALER).proto.factor
    assert large.shape == (1, factor * 16, factor * 16)
    image = triton_grpc.InferInput("image", [1, 1, 16, 16], "FP32")
    image.set_data_from_numpy(pixels[None])
    triton = triton_grpc.InferenceServerClient(studio.grpc)
    reply = triton.infer(UPSCALER, [image], parameters={"seed": 3, "steps": 2})
    np.testing.assert_array_equal(reply.as_numpy("image")[0], large)


def test_a_long_generation_is_cancelled(client: Client) -> None:
    operation = client.generations.create(attributes={"sex": "Male"}, count=16, steps=200)
    operation.cancel()
    with pytest.raises(Cancelled):
        operation.result(60)


def test_wrong_requests_name_their_field_on_both_transports(client: Client, studio: Studio) -> None:
    with pytest.raises(InvalidInput) as caught:
        list(client.generations.stream(attributes={"sex": "unheard of"}))
    assert caught.value.reason == "LEVEL_UNKNOWN"
    body = {"spec": {"model": f"models/{MODEL}", "attributes": {"shoe": "43"}}}
    for path in ("generations", "generations:stream"):
        problem = httpx.post(f"{studio.http}/v1/{path}", json=body).json()
        assert (problem["status"], problem["reason"]) == (400, "ATTRIBUTE_UNKNOWN")
    with pytest.raises(InvalidInput) as caught:
        client.generations.create("words for a model that takes none", model=MODEL)
    assert (caught.value.reason, caught.value.field) == ("CONDITION_MISMATCH", "spec.prompt")
