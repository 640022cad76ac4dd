"""A whole run from its folder: draw, train, publish. The same steps in this process and in Ray Train's workers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from services.training.alignment.work import align
from services.training.folders import RunFolder
from services.training.learning import Epoch, Share, train
from services.training.mitigation.work import tune
from services.training.runs import AlignmentRun, draw_for_training, publish
from services.training.snapshots import State


def perform(
    folder: RunFolder,
    *,
    checkpoint: Callable[[Epoch], None] = lambda epoch: None,
    resume: State | None = None,
    prepare: Callable[[torch.nn.Module], torch.nn.Module] = lambda network: network,
    share: Share | None = None,
) -> None:
    """Carry out the order in ``folder``; the first worker reports, publishes and writes the result.

    ``checkpoint`` is called after every epoch by every worker. Raises Stopped soon after the folder was asked to stop.
    A fine-tuning is the work of one process: its rates by group are those of whole batches.
    """
    share = share or Share()
    leads = share.rank == 0
    run, registry, version = folder.order()
    if isinstance(run, AlignmentRun):
        align(folder, checkpoint=checkpoint, resume=resume, prepare=prepare)
        return
    if run.tuning is not None:
        tune(folder, checkpoint=checkpoint, resume=resume, prepare=prepare)
        return

    def tell(stage: str, done: int, loss: float) -> None:
        if leads:
            folder.report(stage, done, run.epochs, loss)

    def after_epoch(epoch: Epoch) -> None:
        tell("training", epoch.done, epoch.loss)
        checkpoint(epoch)

    tell("preparing", 0, 0.0)
    training, validation = draw_for_training(run, folder.check)
    state = train(
        run.recipe,
        training,
        validation,
        seed=run.seed,
        epochs=run.epochs,
        report=after_epoch,
        check=folder.check,
        resume=resume,
        prepare=prepare,
        share=share,
    )
    if leads:
        tell("publishing", run.epochs, 0.0)
        folder.finish(publish(run, state, validation, registry=registry, version=version, check=folder.check))
