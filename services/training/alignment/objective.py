"""What one batch should become, and the gradient that this gives its latents.

Targets come from the images as they are, without gradients; the losses from the same images with one. There is one
sampling for both, since the gradient needs no more of the chain than the final latents (services.maths.alignment).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from services.maths.alignment import (
    alignment_loss,
    balanced_weights,
    by_attribute,
    by_prompt,
    class_sums,
    crossed,
    crossed_logits,
    equal_weights,
    features_of_class,
    preservation_loss,
    preservation_weights,
    pseudo_labels,
)

TEMPERATURE = 4.0
"""Of the guide's logits in the loss: a classifier of clear images is sure of anything a little beyond its cut, and a
generator that stops there draws images between the groups."""
VIEWS = 3
_REACH, _GAIN, _GRAIN, _COARSER = 3, 0.05, 0.04, (1.5, 2.5)
"""Of a view: pixels of its shift, parts of its gain, the deviation of its noise on a scale from -1 to 1, and how many
pixels become one: fine patterns fool a classifier without showing anything, and are gone in a coarser picture."""


@dataclass(frozen=True)
class Guide:
    """A frozen classifier of one attribute, (B, 3, H, W) in [0, 1] → (B, K) logits, and the shares to reach.

    ``fixed`` (M, K) are its outputs of real images instead, of which every prompt's images get as many as they are.
    """

    attribute: str
    network: nn.Module
    target: tuple[float, ...]
    fixed: np.ndarray | None = None


@dataclass(frozen=True)
class Objective:
    """All that is constant between batches. ``low`` and ``high`` are the generator's range of values.

    ``encoder`` takes pictures in that range. With ``joint`` the crossing of the attributes is aligned, to the product
    of their targets, else each attribute by itself. ``holding`` is the weight of keeping the outputs of the steps that
    do not learn.
    """

    guides: tuple[Guide, ...]
    encoder: nn.Module
    threshold: float
    preservation: float
    flipped_weight: float
    holding: float = 0.0
    joint: bool = False
    low: float = -1.0
    high: float = 1.0

    def shown(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures as serving gives them to a classifier: in [0, 1], cut off beyond."""
        scaled = ((pictures - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
        return scaled.contiguous(memory_format=torch.channels_last)

    def logits(self, pictures: torch.Tensor, draws: torch.Generator) -> list[torch.Tensor]:
        """Of each attribute, the mean over :data:`VIEWS` views of each picture that differ in what says nothing.

        A generator soon finds patterns that move a classifier and show nothing; they seldom outlast a shift, a blur
        and some noise (expectation over transformations, Athalye et al. 2018).
        """
        views = [self.shown(_seen_anew(pictures, draws)) for _ in range(VIEWS)]
        found = [torch.stack([guide.network(view) for view in views]).mean(0) for guide in self.guides]
        return found

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.encoder(pictures.contiguous(memory_format=torch.channels_last))
        return found

    def own_classes(self, classes: torch.Tensor) -> torch.Tensor:
        """Of (B, A) classes of attributes those that are aligned: the same, or (B, 1) numbers of their crossing."""
        if not self.joint:
            return classes
        sizes = [len(guide.target) for guide in self.guides]
        number = classes[:, 0]
        for a, size in enumerate(sizes[1:], start=1):
            number = number * size + classes[:, a]
        return number[:, None]

    @property
    def levels(self) -> tuple[int, ...]:
        """How many classes each column of :meth:`own_classes` has."""
        sizes = tuple(len(guide.target) for guide in self.guides)
        return (math.prod(sizes),) if self.joint else sizes


@dataclass(frozen=True)
class Originals:
    """What the frozen model drew of the same noise: ``features`` (B, F) and ``classes`` (B, A) as they are aligned."""

    features: torch.Tensor
    classes: torch.Tensor

    def sums(self, prompts: torch.Tensor, levels: Sequence[int]) -> list[torch.Tensor]:
        """Of each column of classes, what its differences are computed of; ``prompts`` (B,) are numbers."""
        return [class_sums(self.features, self.classes[:, a], prompts, count) for a, count in enumerate(levels)]


@dataclass(frozen=True)
class Judged:
    """A batch's losses, ``gradient`` of its latents, the share of sure images, and ``shares`` of each attribute."""

    alignment: float
    preservation: float
    loss: float
    gradient: torch.Tensor
    sure: float
    shares: tuple[tuple[float, ...], ...]


def originals(objective: Objective, pictures: torch.Tensor, draws: torch.Generator) -> Originals:
    with torch.no_grad():
        classes = [logits.argmax(1) for logits in objective.logits(pictures, draws)]
        return Originals(objective.features(pictures), objective.own_classes(torch.stack(classes, 1)))


def judge(
    objective: Objective,
    decode: Callable[[torch.Tensor], torch.Tensor],
    latents: torch.Tensor,
    *,
    before: Originals,
    prompts: Sequence[str],
    rng: np.random.Generator,
    effects: Sequence[torch.Tensor] = (),
) -> Judged:
    """Losses of the images that ``latents`` (B, C, h, w) decode to. ``prompts`` (B,): each is aligned by itself.

    ``effects`` are (K, F) of each column of classes, how they differ in the originals' features; without them an image
    that changes its class is held to the one that it was.
    """
    latents = latents.detach().requires_grad_(True)
    pictures = decode(latents)
    logits = objective.logits(pictures, torch.Generator().manual_seed(int(rng.integers(2**62))))
    labels, sure = _labels(objective, [each.detach() for each in logits], prompts, rng)
    softer = [each / TEMPERATURE for each in logits]
    scored = [crossed_logits(softer)] if objective.joint else softer
    of_prompt = torch.from_numpy(np.unique(np.asarray(prompts), return_inverse=True)[1]).to(latents.device)
    weights = [balanced_weights(each, labels[:, a], sure[:, a], of_prompt) for a, each in enumerate(scored)]
    losses = [alignment_loss(each, labels[:, a], weights[a]) for a, each in enumerate(scored)]
    aligned = torch.stack(losses).sum()
    wanted = torch.where(sure, labels, before.classes)
    held = preservation_weights(before.classes, wanted, flipped_weight=objective.flipped_weight).to(latents.device)
    held = held * equal_weights(wanted, of_prompt)
    kept = preservation_loss(objective.features(pictures), _expected(before, wanted, effects), held)
    loss = aligned + objective.preservation * kept
    (gradient,) = torch.autograd.grad(loss, latents)
    shares = tuple(tuple(each.softmax(1).mean(0).tolist()) for each in logits)
    return Judged(
        float(aligned.detach()),
        float(kept.detach()),
        float(loss.detach()),
        gradient,
        float(sure.float().mean()),
        shares,
    )


def _seen_anew(pictures: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
    """(B, C, H, W) coarser, shifted, brighter or darker, and noisy, each by its own amounts."""
    count, height, width = len(pictures), pictures.shape[2], pictures.shape[3]
    down, across = (int(place) for place in torch.randint(2 * _REACH + 1, (2,), generator=draws))
    padded = functional.pad(pictures, (_REACH,) * 4, mode="replicate")
    moved = padded[:, :, down : down + height, across : across + width]
    coarser = 1.0 / (_COARSER[0] + (_COARSER[1] - _COARSER[0]) * float(torch.rand(1, generator=draws)))
    small = functional.interpolate(moved, scale_factor=coarser, mode="bilinear", antialias=True)
    seen = functional.interpolate(small, size=(height, width), mode="bilinear")
    gain, grain = torch.rand(2, count, 1, 1, 1, generator=draws).to(pictures.device)
    noise = torch.randn(pictures.shape, generator=draws).to(pictures.device)
    changed: torch.Tensor = (1 + _GAIN * (2 * gain - 1)) * seen + _GRAIN * grain * noise
    return changed


def _labels(
    objective: Objective, logits: Sequence[torch.Tensor], prompts: Sequence[str], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, A) int64 classes and (B, A) bool whether they are sure; one column if the attributes are crossed."""
    found = [each.double().softmax(1).cpu().numpy() for each in logits]
    targets = [guide.target for guide in objective.guides]
    if objective.joint:
        (wanted,) = crossed([[target] for target in targets])
        q = [by_prompt(crossed(found), prompts, wanted, rng=rng)]
    else:
        fixed = [guide.fixed for guide in objective.guides]
        shares = [target if given is None else None for target, given in zip(targets, fixed, strict=True)]
        q = by_attribute(found, prompts, shares, rng=rng, fixed=fixed)
    pairs = [pseudo_labels(each, objective.threshold) for each in q]
    device = logits[0].device
    return (
        torch.stack([torch.from_numpy(label) for label, _ in pairs], 1).to(device),
        torch.stack([torch.from_numpy(sure) for _, sure in pairs], 1).to(device),
    )


def _expected(before: Originals, wanted: torch.Tensor, effects: Sequence[torch.Tensor]) -> torch.Tensor:
    """(B, F) features that the images should have: the original's, moved where they are to change their class.

    ``wanted`` (B, A) are the classes that they should show; where that is not sure, those that the original's show.
    """
    expected = before.features
    for a, of_class in enumerate(effects):
        expected = features_of_class(expected, before.classes[:, a], wanted[:, a], of_class.to(expected.device))
    return expected
