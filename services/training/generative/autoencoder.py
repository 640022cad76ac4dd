"""The autoencoder of latent diffusion (Rombach et al. 2022), without a discriminator: phantoms have little texture."""

from __future__ import annotations

from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from torch import nn

from services.training.generative.captioned import Captioned

KL_WEIGHT = 1e-4


class Autoencoder(nn.Module):
    """diffusers' AutoencoderKL under a name of ours, so that its checkpoint is a module's like any other."""

    def __init__(self, **architecture: Any) -> None:
        super().__init__()
        self.vae: Any = cast("Any", AutoencoderKL)(**architecture)


def reconstruction_loss(network: Autoencoder, examples: Captioned, batch: int) -> Any:
    """A loss for :func:`~services.training.generative.fitting.fit`: absolute and squared error, and a little KL."""

    def loss(generator: torch.Generator) -> torch.Tensor:
        rows = examples.balanced_rows(batch, generator)
        pictures = examples.pixels[rows].float().contiguous(memory_format=torch.channels_last)
        posterior = network.vae.encode(pictures).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        again = network.vae.decode(posterior.mean + posterior.std * noise).sample
        error = again - pictures
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        total: torch.Tensor = error.abs().mean() + 2.0 * error.square().mean() + KL_WEIGHT * kl
        return total

    return loss


@torch.inference_mode()
def encoded(vae: Any, pixels: torch.Tensor, batch: int = 64) -> torch.Tensor:
    """(N, 2, 4, h, w) float32 mean and spread of the latents of pictures (N, 3, H, W), unscaled."""
    parts = []
    for some in torch.split(pixels, batch):
        posterior = vae.encode(some.float().contiguous(memory_format=torch.channels_last)).latent_dist
        parts.append(torch.stack([posterior.mean, posterior.std], 1))
    return torch.cat(parts).clone()
