"""An alignment through the ledger, without Ray: a version with its lineage, and what a stop leaves."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest
import torch

from services.adapters.diffusion_folder import load_latent_diffusion
from services.adapters.weights import DirectoryRegistry
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.loading import scalings_of
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.settings import DiffusionSettings
from services.training.alignment import work
from services.training.folders import RunFolder, Stopped
from services.training.steps import perform
from services.training.zoo import ZOO

BASE = "cardiac-skewed-diffusion"


async def test_it_leaves_a_version_of_the_base_that_says_what_it_was_aligned_to(room, asked):
    operation = room.create(**asked())
    async with room.working():
        finished = await room.state_within(operation.name, 240, "succeeded", "failed")
    assert finished.state == "succeeded", finished.error
    training = room.get(finished.resource)
    base = DirectoryRegistry([ZOO]).find(BASE)
    assert (training.model, training.model_version) == (f"models/{BASE}", str(int(base.version) + 1))
    assert training.base_digest == base.digest
    assert len(training.alignment.prompts) == 3
    assert dict(training.alignment.shares[0].target) == pytest.approx({"Female": 0.3, "Male": 0.7})
    assert (finished.progress["epochs_done"], finished.progress["epochs_total"]) == (2, 2)

    registry = DirectoryRegistry([room.settings.models])
    record = registry.find(BASE)
    assert record.digest == training.versions[0].digest != base.digest
    assert record.training["base"] == {"name": BASE, "version": base.version, "digest": base.digest}
    guide, judge = record.training["alignment"]["verdicts"]
    assert (guide["guided"], judge["guided"]) == (True, False)
    assert guide["before"]["images"] == guide["after"]["images"] == 10
    assert set(training.scores) == set(record.scores)
    model = load_latent_diffusion(registry.folder(record))
    assert scalings_of(record).prediction == "v"
    weights = load_latent_diffusion(ZOO / BASE / base.version).unet.state_dict()
    assert any(not torch.equal(tensor, weights[name]) for name, tensor in model.unet.state_dict().items())


async def test_a_generator_that_runs_draws_with_the_version_that_it_left(room, asked, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / BASE).symlink_to(ZOO / BASE)
    host = DiffusionHost(
        DiffusionSettings(registries=(tmp_path / "base", room.settings.models), device="cpu"), ("text-to-image",)
    )
    before = await drawn(host, "1")
    operation = room.create(**asked(epochs=1))
    async with room.working():
        finished = await room.state_within(operation.name, 240, "succeeded", "failed")
    assert finished.state == "succeeded", finished.error
    await host.meet(f"models/{BASE}@2")
    assert [entry["version"] for entry in host.catalogue()] == ["1", "2"]
    assert host.find(BASE).digest == room.get(finished.resource).versions[0].digest
    np.testing.assert_array_equal(await drawn(host, "1"), before)
    assert (await drawn(host, "2") != before).any()
    host.close()


async def drawn(host, version):
    """One image of a version, from the same noise and the same words."""
    record = host.find(BASE, version)
    condition = await host.any_condition(record)
    return await host.images(record, [Order(condition, host.plan(record, "dpmpp-2m", 2), seed=3)])


async def test_cancelling_leaves_nothing(room, asked):
    operation = room.create(**asked(epochs=500))
    async with room.working():
        await room.state_within(operation.name, 60, "running")
        room.ledger.request_cancel(operation.name)
        await room.state_within(operation.name, 10, "cancelled")
        async with asyncio.timeout(60):
            while room.settings.runs.exists() and any(room.settings.runs.iterdir()):
                await asyncio.sleep(0.05)
    assert not list(room.settings.models.glob("*/*/model.yaml"))


def test_whoever_takes_it_up_from_a_checkpoint_publishes_the_same_weights(run_of, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "CHECKPOINT_EVERY", 1)
    run = run_of(epochs=3)
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    for folder in (whole, parts):
        folder.place_order(run, tmp_path / f"models-{folder.path.name}", "2")
    perform(whole)
    snapshots = []

    def stop_after_the_second(epoch):
        snapshots.append(epoch.snapshot())
        if epoch.done == 2:
            parts.ask_to_stop()

    with contextlib.suppress(Stopped):
        perform(parts, checkpoint=stop_after_the_second)
    assert parts.result() is None
    (parts.path / "stop").unlink()
    perform(parts, resume=snapshots[-1])
    one, other = (folder.result()["versions"][0]["digest"] for folder in (whole, parts))
    assert one == other
