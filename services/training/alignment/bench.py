"""Everything that one alignment works with, loaded as it was when the alignment was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from services.adapters.diffusion_folder import load_latent_diffusion
from services.adapters.object_store import open_object_store
from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.hosting.diffusion.loading import scalings_of
from services.maths.alignment import cut_offsets
from services.training.alignment.generator import Generator
from services.training.alignment.judging import Judge
from services.training.alignment.objective import Guide, Objective
from services.training.cohorts import read_manifest, record_images
from services.training.networks import load_frozen, load_network, pinned
from services.training.tuning import Alignment, Pin, Shares

MOST_FIXED = 2000
"""Images of a cohort that make the set of targets; a share needs no more."""

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
        scalings_of(base),
        guidance=how.guidance or base.diffusion.guidance_scale,
        sampler=how.sampler,
        spacing=base.diffusion.spacing,
    )
    guides = [_guide(shares, alignment, models, prepare) for shares in alignment.shares]
    objective = Objective(
        tuple(guides),
        prepare(load_frozen(models, alignment.encoder)),
        alignment.threshold,
        alignment.preservation,
        alignment.flipped_weight,
        alignment.holding,
        alignment.joint,
        spec.low,
        spec.high,
    )
    judges = [
        judge
        for shares, guide in zip(alignment.shares, guides, strict=True)
        for judge in _judges(replace(shares, target=guide.target), guide.network, models, prepare)
    ]
    return Bench(alignment, base, models.folder(base), generator, objective, tuple(judges))


class AtItsCut(nn.Module):
    """A classifier whose logits are even where its package's thresholds are: (B, C, H, W) → (B, K)."""

    def __init__(self, network: nn.Module, thresholds: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("offsets", torch.from_numpy(cut_offsets(thresholds)).float())

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(pictures) + self.offsets
        return logits


def _classifier(models: DirectoryRegistry, pin: Pin, prepare: Prepare) -> nn.Module:
    record = pinned(models, pin)
    network = AtItsCut(load_network(models, record), [record.thresholds.get(label, 0.0) for label in record.labels])
    return prepare(network.eval().requires_grad_(False))


def _guide(shares: Shares, alignment: Alignment, models: DirectoryRegistry, prepare: Prepare) -> Guide:
    network = _classifier(models, shares.guide, prepare)
    if not shares.cohort:
        return Guide(shares.attribute, network, shares.target)
    fixed = _outputs(network, models.find(shares.guide.name, shares.guide.version), alignment.store, shares)
    classes = np.bincount(fixed.argmax(1), minlength=fixed.shape[1])
    return Guide(shares.attribute, network, tuple((classes / len(fixed)).tolist()), fixed)


@torch.no_grad()
def _outputs(network: nn.Module, record: ModelRecord, store: str, shares: Shares) -> np.ndarray:
    """(M, K) float64 probabilities of the cohort's images, the first :data:`MOST_FIXED` in record order."""
    opened = open_object_store(store)
    images = record_images(opened, read_manifest(opened, shares.manifest_key), record.input.spec())
    device = next(network.parameters()).device
    parts = [
        network(torch.from_numpy(image).to(device)).double().softmax(1).cpu().numpy()
        for _, image in islice(images, MOST_FIXED)
    ]
    return np.concatenate(parts)


def _judges(shares: Shares, guide: nn.Module, models: DirectoryRegistry, prepare: Prepare) -> list[Judge]:
    told = [Judge(shares, shares.guide, guide, guided=True)]
    if shares.judge is not None:
        told.append(Judge(shares, shares.judge, _classifier(models, shares.judge, prepare), guided=False))
    return told
