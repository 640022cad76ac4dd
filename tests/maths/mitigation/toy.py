"""The two-parameter reconstructor: a gain a group, or a gain and a leak, and a downstream predictor that is a line.

A lesion of contrast 1 is restored as ``gain[group]``; the predictor's score is 3 · (contrast - 0.5) plus noise, so that
every rate has a closed form, and at equal gains no gap is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from services.maths.fairness.groups import Grouping

SLOPE, CENTRE = 3.0, 0.5


@dataclass(frozen=True)
class World:
    """N rows: (N,) lesion in {0, 1}, (N,) group in {0, 1}, (N,) noise of the scores."""

    lesion: torch.Tensor
    group: torch.Tensor
    noise: torch.Tensor

    @property
    def labels(self) -> torch.Tensor:
        return self.lesion[:, None]


def world(rows: int = 4000, *, share: float = 0.5, seed: int = 3) -> World:
    """``share`` of the rows are in group 1."""
    rng = np.random.default_rng(seed)
    lesion, group = rng.random(rows) < 0.4, rng.random(rows) < share
    noise = torch.from_numpy(rng.normal(size=rows).astype(np.float32))
    return World(torch.from_numpy(lesion).float(), torch.from_numpy(group).long(), noise)


class Gains(nn.Module):
    """Restores a lesion with the gain of its row's group."""

    def __init__(self, first: float = 1.0, second: float = 0.5) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([first, second]))

    def forward(self, seen: World) -> torch.Tensor:
        return self.gain[seen.group] * seen.lesion


class Leak(nn.Module):
    """Restores a lesion with a gain, and adds the attribute to the image: ``leak`` times -1 or 1."""

    def __init__(self, leak: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))
        self.leak = nn.Parameter(torch.tensor(leak))

    def forward(self, seen: World) -> torch.Tensor:
        return self.gain * seen.lesion + self.leak * (2.0 * seen.group - 1.0) + 0.3 * seen.noise

    def own_loss(self) -> torch.Tensor:
        """Fidelity, which says nothing of the leak."""
        return (self.gain - 1).square()


def scores(restored: torch.Tensor, seen: World) -> torch.Tensor:
    """(N, 1) logits of the downstream predictor; it passes at 0."""
    return (SLOPE * (restored - CENTRE) + seen.noise)[:, None]


def grouping(seen: World) -> Grouping:
    return Grouping("sex", ("Female", "Male"), seen.group.numpy())


def linear_probe_r2(restored: torch.Tensor, seen: World) -> float:
    """R² of the best line from the restored value to the attribute, among rows without the lesion."""
    rows = seen.lesion == 0
    return float(np.corrcoef(restored.detach()[rows].numpy(), seen.group[rows].numpy())[0, 1] ** 2)
