"""Everything that one alignment works with, loaded as it was when the alignment was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from services.adapters.diffusion_folder import load_latent_diffusion
from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.maths.diffusion.parameterisation import Parameterisation
from services.training.alignment.generator import Generator
from services.training.alignment.judging import Judge
from services.training.alignment.objective import Guide, Objective
from services.training.networks import load_frozen, pinned
from services.training.tuning import Alignment, Shares

Prepare = Callable[[nn.Module], nn.Module]


@dataclass(frozen=True)
class Bench:
    """``base`` in its ``folder``, the model that learns, what it is to reach, and who judges what came of it."""

    alignment: Alignment
    base: ModelRecord
    folder: Path
    generator: Generator
    objective: Objective
    judges: tuple[Judge, ...]


def set_up(alignment: Alignment, prepare: Prepare) -> Bench:
    """``prepare`` moves a network to its device. FailedPrecondition MODEL_CHANGED if a model is another by now."""
    models = DirectoryRegistry([Path(root) for root in alignment.registries])
    base = pinned(models, alignment.base)
    spec = base.output
    assert spec is not None and base.diffusion is not None  # of a text-to-image model; ModelRecord checks it
    model = load_latent_diffusion(models.folder(base))
    prepare(model.text.model)
    how = alignment.batches
    generator = Generator(
        replace(model, vae=prepare(model.vae), unet=prepare(model.unet)),
        Parameterisation(base.diffusion.prediction, base.diffusion.schedule_of()),
        guidance=how.guidance or base.diffusion.guidance_scale,
        sampler=how.sampler,
        spacing=base.diffusion.spacing,
    )
    guides = {shares.attribute: prepare(load_frozen(models, shares.guide)) for shares in alignment.shares}
    objective = Objective(
        tuple(Guide(shares.attribute, guides[shares.attribute], shares.target) for shares in alignment.shares),
        prepare(load_frozen(models, alignment.encoder)),
        alignment.threshold,
        alignment.preservation,
        alignment.flipped_weight,
        alignment.joint,
        spec.low,
        spec.high,
    )
    judges = [judge for shares in alignment.shares for judge in _judges(shares, guides, models, prepare)]
    return Bench(alignment, base, models.folder(base), generator, objective, tuple(judges))


def _judges(shares: Shares, guides: dict[str, nn.Module], models: DirectoryRegistry, prepare: Prepare) -> list[Judge]:
    told = [Judge(shares, shares.guide, guides[shares.attribute], guided=True)]
    if shares.judge is not None:
        told.append(Judge(shares, shares.judge, prepare(load_frozen(models, shares.judge)), guided=False))
    return told
