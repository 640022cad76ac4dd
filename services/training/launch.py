"""Carrying out a run's folder on Ray Train.

The run's name and storage are the folder, so that a run that is launched again after a crash of any of its processes,
or of all of them, goes on from its last checkpoint. Checkpoints are safetensors, like everything else that is loaded.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Protocol

import ray
import ray.train
import ray.train.torch
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from safetensors.torch import load_file, save_file

from services.training.folders import RunFolder, Stopped
from services.training.learning import Epoch, Share
from services.training.settings import Settings
from services.training.snapshots import State
from services.training.steps import perform

SNAPSHOT = "snapshot.safetensors"


class Launch(Protocol):
    """Carries out the order in a folder; returns when its result is there or it was stopped, raises if it failed.

    Cancelled, it ends the run at once, wherever its processes are, and only then returns.
    """

    async def __call__(self, folder: RunFolder) -> None: ...


class RayLaunch:
    """On Ray Train, in a task of its own: its death ends no deployment, and a deployment's death ends it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.model_dump(mode="json")

    async def __call__(self, folder: RunFolder) -> None:
        fitting = _fit_remotely.remote(str(folder.path), folder.token, self._settings)
        try:
            await fitting
        except asyncio.CancelledError:
            # The task owns Ray Train's controller and that one its workers: killed, it takes them all along.
            ray.cancel(fitting, force=True)
            await asyncio.gather(fitting, return_exceptions=True)
            raise


def fit(folder: RunFolder, settings: Settings) -> None:
    """Run Ray Train to the end, in a process that is connected to Ray. A fine-tuning has one worker."""
    run, _, _ = folder.order()
    trainer = TorchTrainer(
        _work,
        train_loop_config={"folder": str(folder.path), "token": folder.token, "threads": settings.threads},
        scaling_config=ScalingConfig(
            num_workers=1 if run.alone else settings.num_workers,
            use_gpu=settings.use_gpu,
            resources_per_worker={"CPU": settings.cpus_per_worker, **({"GPU": 1.0} if settings.use_gpu else {})},
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=str(folder.path),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(max_failures=settings.max_failures),
        ),
    )
    trainer.fit()


@ray.remote(num_cpus=0, max_retries=0)
def _fit_remotely(folder: str, token: int, settings: dict[str, Any]) -> None:
    fit(RunFolder(Path(folder), token), Settings.model_validate(settings))


def _work(config: dict[str, Any]) -> None:
    """What each of Ray Train's workers does."""
    torch.set_num_threads(config["threads"])
    context = ray.train.get_context()
    share = Share(context.get_world_rank(), context.get_world_size())
    folder = RunFolder(Path(config["folder"]), config["token"])
    try:
        perform(
            folder,
            checkpoint=lambda epoch: _checkpoint(epoch, share),
            resume=_latest(),
            prepare=ray.train.torch.prepare_model,
            share=share,
        )
    except Stopped:
        return


def _checkpoint(epoch: Epoch, share: Share) -> None:
    metrics = {"epoch": epoch.done, "loss": epoch.loss, "validation": epoch.validation}
    if share.rank > 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        save_file(epoch.snapshot(), str(Path(folder) / SNAPSHOT))
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def _latest() -> State | None:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        snapshot: State = load_file(str(Path(folder) / SNAPSHOT))
    return snapshot
