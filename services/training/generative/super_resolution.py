"""Diffusion super-resolution: the low-resolution picture, enlarged, is the condition beside the noisy one."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from services.maths.diffusion.parameterisation import Parameterisation
from services.maths.networks.diffusion_unet import DiffusionUNet

WINDOW = 64  # pixels a side that the network sees while it learns; it is convolutional, so it serves any size


def reduced(pixels: torch.Tensor, factor: int) -> torch.Tensor:
    """(N, C, H, W) → (N, C, H / factor, W / factor), as ``services.maths.pixels.to_model`` makes small pictures."""
    small = (pixels.shape[-2] // factor, pixels.shape[-1] // factor)
    return functional.interpolate(pixels, small, mode="bilinear", antialias=True, align_corners=False)


def enlarged(small: torch.Tensor, factor: int) -> torch.Tensor:
    """The bicubic enlargement that the network corrects, within the pictures' range [-1, 1]."""
    large = functional.interpolate(small, scale_factor=factor, mode="bicubic", align_corners=False)
    return large.clamp(-1.0, 1.0)


def super_resolution_loss(
    network: DiffusionUNet, scalings: Parameterisation, pixels: torch.Tensor, *, factor: int, batch: int
) -> Any:
    """A loss for :func:`~services.training.generative.fitting.fit` over random windows of ``pixels``."""
    condition = torch.cat([enlarged(reduced(part.float(), factor), factor).half() for part in torch.split(pixels, 256)])

    def loss(generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(pixels), (batch,), generator=generator)
        span = pixels.shape[-1] - WINDOW
        top, left = (factor * int(torch.randint(span // factor + 1, (1,), generator=generator)) for _ in range(2))
        window = (rows, slice(None), slice(top, top + WINDOW), slice(left, left + WINDOW))
        x0, low = pixels[window].float(), condition[window].float()
        t = torch.randint(scalings.schedule.steps, (batch,), generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        noisy = torch.cat([scalings.noisy(x0, eps, t), low], 1).contiguous(memory_format=torch.channels_last)
        return scalings.loss(network(noisy, t), x0, eps, t).mean()

    return loss
