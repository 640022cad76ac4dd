"""Latent diffusion on captions (Rombach et al. 2022), and the ControlNet on top of it (Zhang et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from services.maths.diffusion.parameterisation import Parameterisation
from services.training.generative.captioned import Captioned

EMPTY_CHANCE = 0.1  # of a row to be trained with the empty prompt, for guidance
Encode = Callable[[list[str]], torch.Tensor]


class Prompts:
    """Hidden states of prompts, each encoded once: captions are few, and their encoder is frozen."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._known: dict[str, torch.Tensor] = {}

    def __call__(self, prompts: list[str]) -> torch.Tensor:
        """(N, L, D) float32."""
        fresh = sorted({prompt for prompt in prompts if prompt not in self._known})
        if fresh:
            with torch.inference_mode():
                states = self._encode(fresh)
            self._known |= {prompt: state.clone() for prompt, state in zip(fresh, states, strict=True)}
        return torch.stack([self._known[prompt] for prompt in prompts])


def latent_loss(
    unet: Any,
    scalings: Parameterisation,
    latents: torch.Tensor,
    scale: float,
    *,
    examples: Captioned,
    prompts: Prompts,
    batch: int,
    controlnet: Any = None,
    rows_from: torch.Tensor | None = None,
    skew: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    unsaid: Mapping[str, float] = MappingProxyType({}),
) -> Any:
    """A loss for :func:`~services.training.generative.fitting.fit`.

    ``latents`` (N, 2, 4, h, w) are means and spreads. With ``controlnet`` it alone learns, from the rows ``rows_from``,
    which have masks; its hint is (N, 3, H, W) in [0, 1]: the masks at ED, ES and ED over the highest label. ``skew``
    and ``unsaid`` are the recipe's. All is drawn on the CPU and computed where the U-Net is.
    """
    device = next(unet.parameters()).device

    def loss(generator: torch.Generator) -> torch.Tensor:
        if rows_from is None:
            rows = examples.balanced_rows(batch, generator, skew)
        else:
            rows = rows_from[torch.randint(len(rows_from), (batch,), generator=generator)]
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        captions = examples.captions(rows, rng, unsaid)
        empty = torch.rand(batch, generator=generator) < EMPTY_CHANCE
        states = prompts(["" if none else caption for none, caption in zip(empty.tolist(), captions, strict=True)])
        mean, spread = latents[rows].unbind(1)
        x0 = scale * (mean + spread * torch.randn(mean.shape, generator=generator))
        x0 = x0.contiguous(memory_format=torch.channels_last)
        t = torch.randint(scalings.schedule.steps, (batch,), generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        x0, eps, t, states = (tensor.to(device) for tensor in (x0, eps, t, states))
        noisy = scalings.noisy(x0, eps, t)
        extra: dict[str, Any] = {}
        if controlnet is not None:
            shown = hint(examples.masks[rows]).to(device)
            down, middle = controlnet(noisy, t, states, controlnet_cond=shown, return_dict=False)
            extra = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        return scalings.loss(unet(noisy, t, states, **extra).sample, x0, eps, t).mean()

    return loss


HIGHEST_LABEL = 3


def hint(masks: torch.Tensor) -> torch.Tensor:
    """(N, 2, H, W) labels at ED and ES → (N, 3, H, W) float32 in [0, 1], phases as in the picture: ED, ES, ED."""
    return masks[:, [0, 1, 0]].float() / HIGHEST_LABEL
