"""Sampling that depends on nothing but the degraded images, a plan and a seed; serving and scoring both use it."""

from __future__ import annotations

import numpy as np
import torch

from services.maths.restoration.noise import pixel_noise
from services.maths.restoration.plans import Noise


def keyed_noise(degraded: torch.Tensor, seed: int) -> Noise:
    """The draws of images (B, C, H, W), each row's keyed by its own pixels and the seed."""
    rows = degraded.detach().cpu().numpy()

    def noise(draw: int) -> torch.Tensor:
        drawn = np.stack([pixel_noise(row, seed, draw) for row in rows])
        return torch.from_numpy(drawn).to(degraded.device)

    return noise
