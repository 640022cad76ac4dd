"""A whole fine-tuning from its folder: gather, fit each λ, choose on the validation data, publish a version for each.

A λ that is done leaves its weights in the folder, so that whoever takes an interrupted sweep up goes on with the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from safetensors.torch import load

from services.training.folders import RunFolder
from services.training.learning import Epoch
from services.training.mitigation.bench import Bench, Prepare, fit_weight, set_up
from services.training.mitigation.judging import Judgement
from services.training.mitigation.publication import Tuned, publish_sweep
from services.training.packages import weights_bytes
from services.training.runs import Run
from services.training.snapshots import State

_SWEEP, _EPOCHS = "sweep", "epochs"
"""Beside the tensors of a snapshot: which λ it belongs to. Beside the weights of a λ: after how many epochs."""


def tune(
    folder: RunFolder,
    *,
    checkpoint: Callable[[Epoch], None] = lambda epoch: None,
    resume: State | None = None,
    prepare: Prepare = lambda network: network,
) -> None:
    """Carry out the order in ``folder``. ``checkpoint`` is called after every epoch; raises Stopped when asked to."""
    run, registry, version = folder.order()
    assert isinstance(run, Run) and run.tuning is not None
    weights = run.tuning.mitigation.weights
    progress = _Progress(folder, run, len(weights))
    progress.tell("preparing", 0)
    bench = set_up(run, folder.check, prepare)
    before = bench.judge(bench.network(), bench.data.validation)
    for index, weight in enumerate(weights):
        if folder.kept(index) is None:
            fitted = fit_weight(
                bench,
                weight,
                before,
                report=progress.of_weight(index, checkpoint),
                check=folder.check,
                resume=resume if resume is not None and int(resume[_SWEEP]) == index else None,
            )
            folder.keep(index, fitted.state | {_EPOCHS: torch.tensor(fitted.epochs)})
    progress.tell("evaluating", len(weights))
    tuned = [_judged(bench, before, weight, folder.kept(index)) for index, weight in enumerate(weights)]
    base = bench.judge(bench.network(), bench.data.held_out) if len(bench.data.held_out) else None
    progress.tell("publishing", len(weights))
    folder.check()
    folder.finish(**publish_sweep(bench, tuned, before, base, registry=registry, first_version=int(version)))


def _judged(bench: Bench, before: Judgement, weight: float, kept: State | None) -> Tuned:
    assert kept is not None  # its fine-tuning has ended
    epochs = int(kept.pop(_EPOCHS))
    shipped = load(weights_bytes(kept, half=bench.run.recipe.half))  # what is judged is what is shipped
    network = bench.network(shipped)
    validation = bench.judge(network, bench.data.validation)
    held_out = bench.judge(network, bench.data.held_out) if len(bench.data.held_out) else None
    return Tuned(weight, shipped, epochs, validation, held_out, bench.prefer(validation, before))


@dataclass(frozen=True)
class _Progress:
    """What an operation shows of a sweep: epochs of all λ together."""

    folder: RunFolder
    run: Run
    weights: int

    def tell(self, stage: str, weights_done: int, epochs: int = 0, loss: float = 0.0) -> None:
        done, total = weights_done * self.run.epochs + epochs, self.weights * self.run.epochs
        self.folder.report(stage, done, total, loss, weights_done=weights_done, weights_total=self.weights)

    def of_weight(self, index: int, checkpoint: Callable[[Epoch], None]) -> Callable[[Epoch], None]:
        """Tells of an epoch, and gives it with the λ's number in its snapshot to ``checkpoint``."""

        def after(epoch: Epoch) -> None:
            self.tell("training", index, epoch.done, epoch.loss)
            checkpoint(replace(epoch, snapshot=lambda: epoch.snapshot() | {_SWEEP: torch.tensor(index)}))

        return after
