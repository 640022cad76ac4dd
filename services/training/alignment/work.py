"""A whole alignment from its folder: judge the base, fit, judge what came of it, publish a version.

What is judged is what is shipped: low-rank additions are added, and weights are rounded as they are stored.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from services.training.alignment.adapters import make_trainable, merge
from services.training.alignment.bench import Bench, Prepare, set_up
from services.training.alignment.fitting import Fitting
from services.training.alignment.judging import Drawn, draw, drawn_from, verdicts
from services.training.alignment.objective import Judged
from services.training.alignment.publication import publish, scores
from services.training.folders import RunFolder
from services.training.learning import Epoch
from services.training.runs import AlignmentRun
from services.training.snapshots import State

CHECKPOINT_EVERY = 5
"""Iterations; some seconds each on a processor, and a checkpoint is written in a moment."""
_BEFORE, _FITTED, _AFTER = 0, 1, 2
"""What the folder keeps once it is done."""


def align(
    folder: RunFolder,
    *,
    checkpoint: Callable[[Epoch], None] = lambda epoch: None,
    resume: State | None = None,
    prepare: Prepare = lambda network: network,
) -> None:
    """Carry out the order in ``folder``. ``checkpoint`` is called every few iterations; Stopped when asked to."""
    run, registry, version = folder.order()
    assert isinstance(run, AlignmentRun)
    total = run.epochs
    folder.report("preparing", 0, total, 0.0)
    bench = set_up(run.alignment, prepare)
    before = _drawn(folder, _BEFORE, bench, bench.generator.original, run.seed)
    fitted = folder.kept(_FITTED)
    if fitted is None:
        fitted = _fit(folder, bench, run, checkpoint, resume)
        folder.keep(_FITTED, fitted)
    unet = bench.generator.original  # the frozen one has done its work; its place is taken by what it became
    unet.load_state_dict({name: tensor.half().float() for name, tensor in fitted.items()})
    folder.report("evaluating", total, total, 0.0)
    after = _drawn(folder, _AFTER, bench, unet, run.seed)
    folder.report("publishing", total, total, 0.0)
    folder.check()
    found = verdicts(bench.judges, before, after, seed=run.seed)
    record = publish(bench, unet.to("cpu"), found, registry=registry, version=version, seed=run.seed)
    version_of = {"version": version, "digest": record.digest, "chosen": True, "epochs_kept": total}
    folder.finish(scores(found), versions=[version_of | {"scores": scores(found)}])


def _fit(
    folder: RunFolder,
    bench: Bench,
    run: AlignmentRun,
    checkpoint: Callable[[Epoch], None],
    resume: State | None,
) -> State:
    """The averaged weights of a plain U-Net, on the CPU."""
    how, generator = run.alignment.batches, bench.generator
    learning = make_trainable(generator.unet, run.alignment.adapter, seed=run.seed)
    fitting = Fitting(generator, learning, how)
    if resume is not None:
        fitting.restore(resume)

    def after(done: int, judged: Judged) -> None:
        folder.report("training", done, how.iterations, float(np.nan_to_num(judged.loss)))
        if done % CHECKPOINT_EVERY == 0:
            checkpoint(Epoch(done, how.iterations, judged.loss, -judged.loss, fitting.snapshot))

    fitting.run(bench.objective, run.alignment.prompts, seed=run.seed, report=after, check=folder.check)
    fitting.use_average()
    merge(generator.unet)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in generator.unet.state_dict().items()}


def _drawn(folder: RunFolder, part: int, bench: Bench, unet: torch.nn.Module, seed: int) -> Drawn:
    """The images of the test prompts as judged, once: an interrupted run finds them in its folder."""
    kept = folder.kept(part)
    if kept is not None:
        return drawn_from(kept)
    drawn = draw(
        bench.generator,
        unet,
        bench.judges,
        bench.objective,
        prompts=bench.alignment.test_prompts,
        images=bench.alignment.batches.test_images,
        seed=seed,
        check=folder.check,
    )
    folder.keep(part, drawn.tensors())
    return drawn
