"""A sweep on a real Ray Train whose training process is killed."""

from __future__ import annotations

import asyncio
import signal
import time

import psutil
import pytest
import torch

from services.adapters.weights import DirectoryRegistry
from services.training.folders import RunFolder
from services.training.launch import RayLaunch
from services.training.mitigation.work import tune
from services.training.runs import run_from_dict
from tests.processes import command_line
from tests.training.mitigation.cohorts import records
from tests.training.ray_cluster import ray_cluster

pytestmark = [pytest.mark.ray, pytest.mark.timeout(420)]

EPOCHS = 3
PATIENCE_S = 120.0

torch.set_num_threads(1)


@pytest.fixture
def cluster():
    with ray_cluster():
        yield


@pytest.fixture
def placed(room, asked, put, tmp_path):
    """Places the order of a sweep over two λ on a cohort, whose size no worker process has to be told."""
    put("cohorts/a", records(range(24)))
    fields = {"epochs": EPOCHS, "patients": 0, "mitigation": {"weights": [0.5, 1.0]}, "data": {"cohort": "cohorts/a"}}
    operation = room.create(**asked(**fields))
    run = run_from_dict(room.ledger.get_operation(operation.name).request)

    def place(name):
        folder = RunFolder(tmp_path / name)
        folder.place_order(run, tmp_path / f"{name}-models", "2")
        return folder

    return place


def files_of(folder):
    return [record.files for record in DirectoryRegistry([folder.order()[1]]).models()]


def training_processes():
    """Ray Train's workers among the processes that this one has started."""
    found = psutil.Process().children(recursive=True)
    return [process for process in found if "RayTrainWorker" in " ".join(command_line(process)[:1])]


async def trained(running, folder, epochs):
    """Wait until so many epochs of all λ together are done."""
    end = time.monotonic() + PATIENCE_S
    while folder.progress().get("epochs_done", 0) < epochs:
        if running.done():
            running.result()
            raise AssertionError(f"the sweep ended before it was killed: {folder.progress()}")
        assert time.monotonic() < end, f"fewer than {epochs} epochs in {PATIENCE_S} s: {folder.progress()}"
        await asyncio.sleep(0.02)


async def test_a_sweep_whose_process_is_killed_goes_on_with_the_next_weight_to_the_same_models(room, cluster, placed):
    folder = placed("killed")
    running = asyncio.ensure_future(RayLaunch(room.settings)(folder))
    await trained(running, folder, EPOCHS + 1)
    (worker,) = training_processes()
    worker.send_signal(signal.SIGKILL)
    first = (folder.path / "kept-0.safetensors").stat().st_mtime_ns
    await asyncio.wait_for(running, PATIENCE_S)
    assert (folder.path / "kept-0.safetensors").stat().st_mtime_ns == first  # the first λ was not fitted again

    undisturbed = placed("undisturbed")
    await asyncio.to_thread(tune, undisturbed)
    assert folder.result() == undisturbed.result()
    assert files_of(folder) == files_of(undisturbed)
    assert len(files_of(folder)) == 2
