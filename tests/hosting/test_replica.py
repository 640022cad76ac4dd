"""A model host's replica meets packages that appear while it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from evenhand.resources.v1 import image_pb2

from services.errors import InvalidInput, NotFound
from services.hosting import registries
from services.hosting.envelope import unseal
from services.hosting.images import image_message
from services.hosting.nearby import NearbyHosts
from services.hosting.replica import HostReplica
from services.hosting.settings import HostSettings
from tests.packages import write_package

IMAGE = np.zeros((1, 1, 8, 8), np.float32)


@pytest.fixture
async def running(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENHAND_NEAR_DIR", str(tmp_path / "near"))
    monkeypatch.setattr(registries, "LOOK_EVERY_S", 3600)
    write_package(tmp_path / "models")
    running = HostReplica()
    yield running, HostSettings(registries=(tmp_path / "models",)), tmp_path / "models"
    running._looking.cancel()
    running._nearby.close()
    running._decoder.close()
    await running.host.close()


async def started(running) -> tuple[HostReplica, Path]:
    """A replica that looks only when it is asked, and its registry."""
    host, settings, models = running
    await host.open(settings, ["reconstruction"], app="reconstruction")
    return host, models


def served(running: HostReplica) -> list[str]:
    """What is served by now, without a look for more."""
    return [entry["version"] for entry in running.host.catalogue()]


def break_package(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text("name: [")
    return folder


async def test_what_a_training_leaves_is_served_within_seconds_though_nobody_asks(running, monkeypatch):
    monkeypatch.setattr(registries, "LOOK_EVERY_S", 0.05)
    host, models = await started(running)
    write_package(models, version="2")
    async with asyncio.timeout(60):
        while served(host) != ["1", "2"]:
            await asyncio.sleep(0.02)


async def test_the_catalogue_lists_what_is_there_when_it_is_asked_for(running):
    host, models = await started(running)
    write_package(models, version="2")
    assert [entry["version"] for entry in unseal(await host.catalogue())] == ["1", "2"]
    read = host.host._registry
    await host.catalogue()
    assert host.host._registry is read  # nothing is new, so no package is read again


async def test_a_version_that_another_replica_saw_first_is_looked_for_when_it_is_asked_for(running):
    host, models = await started(running)
    write_package(models, version="2")
    answer = unseal(await host.infer("affine", "2", {"image": IMAGE}, {}))
    np.testing.assert_allclose(answer["image"], 0.25)
    with pytest.raises(NotFound):
        unseal(await host.infer("affine", "3", {"image": IMAGE}, {}))


async def test_a_neighbour_finds_a_new_version_too(running):
    _, models = await started(running)
    write_package(models, version="2")
    answer = await NearbyHosts("reconstruction").infer("affine", "2", {"image": IMAGE}, {})
    np.testing.assert_allclose(answer["image"], 0.25)


async def test_a_request_of_one_image_finds_a_new_model_too(running):
    host, models = await started(running)
    write_package(models, name="other")
    image = image_pb2.Image(tensor=image_message(IMAGE[0]))
    reply = await host.answer_one(lambda: ("other", image), lambda record, row: record.name.encode() + row.tobytes())
    assert unseal(reply) == b"other" + np.full((1, 8, 8), 0.25, np.float32).tobytes()


async def test_a_caller_who_leaves_does_not_break_a_look_off(running):
    host, models = await started(running)
    write_package(models, version="2")
    asked = asyncio.create_task(host.catalogue())
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(*(host.look() for _ in range(3)))
    assert served(host) == ["1", "2"]


async def test_packages_that_cannot_be_served_hinder_no_others_and_are_told_once(running, caplog):
    host, models = await started(running)
    break_package(models / "affine" / "2")
    write_package(models, version="3")
    write_package(models, version="4", family="unet")  # its weights are not those of a U-Net
    write_package(models, version="5", family="unet", architecture={"colour": "red"})
    await host.look()
    write_package(models, version="6")
    await host.look()
    assert served(host) == ["1", "3", "6"]
    assert caplog.text.count("affine/2 is not served: model.yaml is not valid YAML") == 1
    assert caplog.text.count("affine/4 is not served: the weights") == 1
    assert caplog.text.count("affine/5 is not served") == 1


async def test_a_package_whose_weights_come_after_its_record_is_served_once_they_are_there(running, monkeypatch):
    host, models = await started(running)
    weights = write_package(models, version="2") / "weights.safetensors"
    data = weights.read_bytes()
    weights.unlink()
    await host.look()
    assert served(host) == ["1"]
    read = host.host._registry
    await host.look()
    assert host.host._registry is read  # the package is as it was, so there is no use in another try,
    with monkeypatch.context() as patch:
        patch.setattr(registries, "RETRY_EVERY_S", 0.0)
        await host.look()
    assert host.host._registry is not read  # but now and then there is: some faults leave no trace in the files
    weights.write_bytes(data)
    await host.look()
    assert served(host) == ["1", "2"]


async def test_a_package_that_cannot_be_read_at_the_start_stops_the_host(running):
    host, settings, models = running
    broken = break_package(models / "affine" / "2")
    with pytest.raises(InvalidInput, match="not valid YAML"):
        await host.open(settings, ["reconstruction"], app="reconstruction")
    (broken / "model.yaml").unlink()
    await host.open(settings, ["reconstruction"], app="reconstruction")  # so that there is something to close
