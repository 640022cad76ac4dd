"""A model host's replica meets packages that appear while it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from services.errors import NotFound
from services.hosting import replica
from services.hosting.envelope import unseal
from services.hosting.replica import HostReplica
from services.hosting.settings import HostSettings
from tests.packages import write_package


@pytest.fixture
async def running(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENHAND_NEAR_DIR", str(tmp_path / "near"))
    write_package(tmp_path / "models")
    running = HostReplica()
    yield running, HostSettings(registries=(tmp_path / "models",)), tmp_path / "models"
    running._watch.cancel()


async def versions(running: HostReplica) -> list[str]:
    return [entry["version"] for entry in unseal(await running.catalogue())]


async def test_what_a_training_leaves_is_served_within_seconds(running, monkeypatch):
    monkeypatch.setattr(replica, "LOOK_EVERY_S", 0.05)
    host, settings, models = running
    await host.open(settings, ["reconstruction"], app="reconstruction")
    write_package(models, version="2")
    async with asyncio.timeout(60):
        while await versions(host) != ["1", "2"]:
            await asyncio.sleep(0.02)


async def test_a_version_that_another_replica_saw_first_is_looked_for_when_it_is_asked_for(running, monkeypatch):
    monkeypatch.setattr(replica, "LOOK_EVERY_S", 3600)
    host, settings, models = running
    await host.open(settings, ["reconstruction"], app="reconstruction")
    write_package(models, version="2")
    image = np.zeros((1, 1, 8, 8), np.float32)
    answer = unseal(await host.infer("affine", "2", {"image": image}, {}))
    np.testing.assert_allclose(answer["image"], 0.25)
    with pytest.raises(NotFound):
        unseal(await host.infer("affine", "3", {"image": image}, {}))


async def test_a_package_that_cannot_be_read_takes_nothing_away(running, monkeypatch, caplog):
    monkeypatch.setattr(replica, "LOOK_EVERY_S", 3600)
    host, settings, models = running
    await host.open(settings, ["reconstruction"], app="reconstruction")
    broken: Path = models / "affine" / "2"
    broken.mkdir()
    (broken / "model.yaml").write_text("name: [")
    await host.look()
    assert "model.yaml is not valid YAML" in caplog.text
    assert await versions(host) == ["1"]
