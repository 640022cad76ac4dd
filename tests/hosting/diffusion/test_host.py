"""A host of sampled models meets packages that appear while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from services.adapters.weights import load_record
from services.errors import FailedPrecondition, NotFound
from services.hosting import registries
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.settings import DiffusionSettings
from tests.diffusion_packages import write_class_to_image, write_mask_to_image, write_text_to_image

MODEL = "pelvis-diffusion"
LATENT = ("text-to-image", "mask-to-image")


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    write_class_to_image(tmp_path)
    return tmp_path


@pytest.fixture
def host(zoo: Path) -> Iterator[DiffusionHost]:
    host = opened(zoo, "class-to-image")
    yield host
    host.close()


def opened(zoo: Path, *tasks: str) -> DiffusionHost:
    return DiffusionHost(DiffusionSettings(registries=(zoo,), device="cpu"), tasks)


def served(host: DiffusionHost, model: str = MODEL) -> list[str]:
    """Versions that are served by now, without a look for more."""
    return [entry["version"] for entry in host.catalogue() if entry["name"] == model]


async def image(host: DiffusionHost, version: str, steps: int = 3, seed: int = 1) -> np.ndarray:
    record = host.find(MODEL, version)
    order = Order(await host.any_condition(record), host.plan(record, "ddim", steps), seed=seed)
    return await host.images(record, [order])


async def test_what_a_training_leaves_is_sampled_within_seconds_and_changes_nothing_else(host, zoo, monkeypatch):
    monkeypatch.setattr(registries, "LOOK_EVERY_S", 0.05)
    before = await image(host, "1")
    async with host.watching(), asyncio.timeout(60):
        write_class_to_image(zoo, version="10", seed=9)
        write_class_to_image(zoo, version="9", seed=8)
        while served(host) != ["1", "9", "10"]:
            await asyncio.sleep(0.02)
        assert host.find(MODEL).version == "10"
        new = await image(host, "10")
    np.testing.assert_array_equal(await image(host, "1"), before)
    fresh = opened(zoo, "class-to-image")
    np.testing.assert_array_equal(await image(fresh, "10"), new)
    fresh.close()


async def test_images_in_work_go_on_while_a_version_is_met(host, zoo):
    alone = await image(host, "1", steps=40)
    write_class_to_image(zoo, version="2", seed=9)
    both, _ = await asyncio.gather(image(host, "1", steps=40), host.look())
    np.testing.assert_array_equal(both, alone)
    assert served(host) == ["1", "2"]


async def test_meeting_looks_only_for_what_is_not_there(host, zoo):
    digest = load_record(write_class_to_image(zoo, version="2", seed=9)).digest
    await host.meet(f"models/{MODEL}@1")
    await host.meet(MODEL, digest=host.find(MODEL).digest)
    assert served(host) == ["1"]
    await host.meet(MODEL, digest=digest)
    assert host.find(MODEL, digest=digest).version == "2"
    await host.meet(f"{MODEL}@3")
    with pytest.raises(NotFound):
        host.find(f"{MODEL}@3")


async def test_a_package_that_cannot_be_opened_hinders_no_others_and_is_told_once(host, zoo, caplog):
    (write_class_to_image(zoo, version="2") / "weights.safetensors").write_bytes(b"cut off")
    write_class_to_image(zoo, version="3", seed=9)
    await host.look()
    write_class_to_image(zoo, version="4", seed=9)
    await host.look()
    assert served(host) == ["1", "3", "4"]
    assert caplog.text.count(f"{MODEL}/2 is not served") == 1


async def test_a_new_control_branch_shares_the_base_that_is_in_memory(tmp_path):
    folder = write_text_to_image(tmp_path)
    host = opened(tmp_path, *LATENT)
    write_mask_to_image(tmp_path, folder)
    await host.look()
    base, branch = host.find("phantom-diffusion"), host.find("phantom-controlnet")
    assert host.denoiser(branch)._model is host.denoiser(base)._model
    host.close()


async def test_a_branch_whose_base_is_another_is_left_out(tmp_path, caplog):
    folder = write_text_to_image(tmp_path)
    host = opened(tmp_path, *LATENT)
    record = write_mask_to_image(tmp_path, folder) / "model.yaml"
    record.write_text(record.read_text().replace(load_record(folder).digest, "f" * 64))
    await host.look()
    assert [entry["name"] for entry in host.catalogue()] == ["phantom-diffusion"]
    assert "was trained on another phantom-diffusion/1" in caplog.text
    host.close()
    with pytest.raises(FailedPrecondition):  # at the start it stops the host instead
        opened(tmp_path, *LATENT)
