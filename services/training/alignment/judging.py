"""What a model makes of prompts that nobody tuned on: shares by prompt, by the guide and by whoever did not guide.

The guide is the only supervision of an alignment, and a generator can learn to please it alone: its own verdict is
told beside that of another classifier, of another architecture and other data, and is no evidence by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from services.maths.diffusion.noise import image_noise
from services.maths.fairness.distributions.kernel import kid
from services.maths.fairness.generator_bias import generator_bias
from services.training.alignment.generator import Generator
from services.training.alignment.objective import Objective
from services.training.tuning import Pin, Shares

STEPS = 12
_AT_ONCE = 50
_FEWEST = 10
"""Images of a group without which nothing is said of their quality."""


@dataclass(frozen=True)
class Judge:
    """A classifier of one attribute, (B, C, H, W) in [0, 1] → (B, K) logits; ``guided`` if it led the alignment."""

    shares: Shares
    pin: Pin
    network: nn.Module
    guided: bool


@dataclass(frozen=True)
class Drawn:
    """Of N images, prompt by prompt: ``classes`` (J, N) int64 by judge, ``features`` (N, F), ``prompts`` (N,)."""

    classes: np.ndarray
    features: np.ndarray
    prompts: np.ndarray

    def tensors(self) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(value) for name, value in vars(self).items()}


def drawn_from(tensors: Mapping[str, torch.Tensor]) -> Drawn:
    """The inverse of :meth:`Drawn.tensors`."""
    return Drawn(**{name: tensors[name].numpy() for name in ("classes", "features", "prompts")})


@torch.no_grad()
def draw(
    generator: Generator,
    unet: Any,
    judges: Sequence[Judge],
    objective: Objective,
    *,
    prompts: Sequence[str],
    images: int,
    seed: int,
    check: Callable[[], None] = lambda: None,
) -> Drawn:
    """``images`` of each prompt, the noise of each pinned by (seed, its number): before and after share it."""
    plan = generator.plan(STEPS)
    classes: list[np.ndarray] = []
    features: list[np.ndarray] = []
    owners = np.repeat(np.arange(len(prompts)), images)
    for start in range(0, len(owners), _AT_ONCE):
        check()
        rows = range(start, min(start + _AT_ONCE, len(owners)))
        noise = np.stack([image_noise(seed, row, "base", generator.shape) for row in rows])
        x = torch.from_numpy(noise).to(generator.device).contiguous(memory_format=torch.channels_last)
        states = generator.states([prompts[owner] for owner in owners[list(rows)]])
        pictures = generator.pictures(generator.sample(unet, x, states, plan).image)
        shown = objective.shown(pictures)
        classes.append(np.stack([judge.network(shown).argmax(1).cpu().numpy() for judge in judges]))
        features.append(objective.features(pictures).cpu().numpy())
    return Drawn(np.concatenate(classes, axis=1), np.concatenate(features), owners)


def verdicts(judges: Sequence[Judge], before: Drawn, after: Drawn, *, seed: int) -> list[dict[str, Any]]:
    """One for each judge: its levels, shares and readings of bias(T) before and after, and KID by group.

    KID is that of the images after to those before, of the same group: what moved beside the shares. It is None for a
    group that hardly any image shows before or after.
    """
    return [
        {
            "attribute": judge.shares.attribute,
            "classifier": f"{judge.pin.name}@{judge.pin.version}",
            "guided": judge.guided,
            "levels": list(judge.shares.levels),
            "target": list(judge.shares.target),
            "before": _bias(judge, before.classes[place], before.prompts, seed),
            "after": _bias(judge, after.classes[place], after.prompts, seed),
            "kid": _quality(judge, place, before, after, seed),
        }
        for place, judge in enumerate(judges)
    ]


def _bias(judge: Judge, classes: np.ndarray, prompts: np.ndarray, seed: int) -> dict[str, Any]:
    found = generator_bias(classes, groups=judge.shares.levels, cluster=prompts, target=judge.shares.target, seed=seed)
    reading = found.reading("bias_to_target")
    numbers = ("estimate", "noise_floor", "corrected", "ci_low", "ci_high")
    return {
        "shares": [round(one.estimate, 4) for one in found.frequencies],
        "bias_to_target": {name: round(float(getattr(reading, name)), 4) for name in numbers},
        "bias_to_target_pooled": round(found.reading("bias_to_target_pooled").estimate, 4),
        "images": found.images,
        "prompts": found.prompts,
    }


def _quality(judge: Judge, place: int, before: Drawn, after: Drawn, seed: int) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for number, level in enumerate(judge.shares.levels):
        old, new = before.classes[place] == number, after.classes[place] == number
        if min(old.sum(), new.sum()) < _FEWEST:
            found[level] = None
            continue
        distance = kid(
            after.features[new],
            before.features[old],
            first_cluster=np.flatnonzero(new),
            second_cluster=np.flatnonzero(old),
            permutations=1,
            seed=seed,
        )
        found[level] = round(distance.value, 6)
    return found
