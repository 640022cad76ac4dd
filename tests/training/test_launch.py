"""Runs on a real Ray Train."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch

from services.adapters.weights import load_record
from services.training.folders import RunFolder
from services.training.launch import RayLaunch
from services.training.recipes import RECIPES
from services.training.runs import Run
from services.training.settings import Settings
from services.training.steps import perform
from tests.training.ray_cluster import ray_cluster

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster():
        yield


def order(path: Path, epochs: int) -> RunFolder:
    folder = RunFolder(path)
    folder.place_order(Run(RECIPES["sex-classifier"], 3, epochs, 60), path.parent / f"{path.name}-models", "1")
    return folder


def digest_of(folder: RunFolder) -> str:
    _, registry, version = folder.order()
    return load_record(registry / "sex-classifier" / version).files["weights.safetensors"]


async def test_a_run_that_was_stopped_goes_on_from_its_checkpoint_to_the_same_weights(cluster, tmp_path):
    folder, launch = order(tmp_path / "a", 6), RayLaunch(Settings(data_dir=tmp_path))
    running = asyncio.ensure_future(launch(folder))
    while folder.progress().get("epochs_done", 0) < 1 and not running.done():
        await asyncio.sleep(0.1)
    folder.ask_to_stop()
    await running
    assert folder.result() is None
    assert list(folder.path.glob("ray/checkpoint_*/snapshot.safetensors"))

    (folder.path / "stop").unlink()
    await launch(folder)
    undisturbed = order(tmp_path / "b", 6)
    await asyncio.to_thread(perform, undisturbed)
    assert folder.result() == undisturbed.result()
    assert digest_of(folder) == digest_of(undisturbed)


async def test_a_run_whose_launch_is_cancelled_ends_everywhere_and_can_be_taken_up(cluster, tmp_path):
    folder, launch = order(tmp_path / "d", 400), RayLaunch(Settings(data_dir=tmp_path))
    running = asyncio.ensure_future(launch(folder))
    while folder.progress().get("epochs_done", 0) < 1 and not running.done():
        await asyncio.sleep(0.1)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    await asyncio.sleep(2)  # Ray ends what the killed task owned a moment after the task itself
    reported = folder.progress()
    await asyncio.sleep(3)
    assert folder.progress() == reported
    assert reported["epochs_done"] < 400

    taken_up = RunFolder(folder.path, 2)
    taken_up.claim()
    running = asyncio.ensure_future(launch(taken_up))
    while folder.progress()["epochs_done"] <= reported["epochs_done"] and not running.done():
        await asyncio.sleep(0.1)
    taken_up.ask_to_stop()
    await running


async def test_two_workers_share_a_run_and_publish_one_package(cluster, tmp_path):
    folder = order(tmp_path / "c", 1)
    await RayLaunch(Settings(data_dir=tmp_path, num_workers=2))(folder)
    assert folder.result()["scores"]["mean_auroc"] > 0
    assert digest_of(folder)
