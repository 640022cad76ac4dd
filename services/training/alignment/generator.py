"""The model that learns beside the frozen one that it came from, both sampled from the same noise by the same plan."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from services.adapters.diffusion_folder import LatentDiffusion
from services.maths.alignment import Run, record_run
from services.maths.diffusion.guidance import guided
from services.maths.diffusion.parameterisation import Parameterisation
from services.maths.diffusion.plans import Plan, make_plan
from services.maths.diffusion.schedules import Spacing, sampling_levels


@dataclass(frozen=True)
class States:
    """Hidden states of a batch's prompts and of the empty one, each (B, L, D)."""

    prompt: torch.Tensor
    null: torch.Tensor

    def of(self, rows: torch.Tensor) -> States:
        return States(self.prompt[rows], self.null[rows])


class Generator:
    """A text-to-image model whose U-Net is there twice. ``guidance`` is the scale at which both are sampled."""

    def __init__(
        self,
        model: LatentDiffusion,
        scalings: Parameterisation,
        *,
        guidance: float,
        sampler: str,
        spacing: Spacing = "trailing",
    ) -> None:
        self.model = model
        self.scalings = scalings
        self.guidance = guidance
        self._sampler = sampler
        self._spacing: Spacing = spacing
        self.original = model.unet.requires_grad_(False).eval()
        self.unet = copy.deepcopy(model.unet)
        self._encoded: dict[str, torch.Tensor] = {}

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.unet.parameters()).device
        return device

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a latent, (C, H, W)."""
        config = self.unet.config
        return config.in_channels, config.sample_size, config.sample_size

    def plan(self, steps: int) -> Plan:
        return make_plan(self._sampler, sampling_levels(self.scalings.schedule, steps, spacing=self._spacing))

    def states(self, prompts: Sequence[str]) -> States:
        """Of a batch's prompts; each distinct one is encoded once and kept, since the encoder is frozen."""
        for prompt in {"", *prompts} - self._encoded.keys():
            with torch.no_grad():
                self._encoded[prompt] = self.model.text.encode(self.model.text.tokens([prompt]))[0].float()
        wanted = torch.stack([self._encoded[prompt] for prompt in prompts]).to(self.device)
        return States(wanted, self._encoded[""].to(self.device).expand_as(wanted))

    def output(self, unet: Any, x: torch.Tensor, t: torch.Tensor, states: States) -> torch.Tensor:
        """The raw, guided output of either U-Net for (B, C, H, W) noisy latents; the empty prompt shares its call."""
        raw = self.raw(unet, x, t, states)
        if self.guidance == 1.0:
            return raw
        conditional, null = raw.chunk(2)
        return guided(conditional, null, self.guidance)

    def raw(self, unet: Any, x: torch.Tensor, t: torch.Tensor, states: States) -> torch.Tensor:
        """(2 B, C, H, W): the output given the prompts, then given the empty one; (B, C, H, W) without guidance."""
        if self.guidance == 1.0:
            alone: torch.Tensor = unet(x, t, states.prompt, return_dict=False)[0]
            return alone
        both = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
        raw: torch.Tensor = unet(both, torch.cat([t, t]), torch.cat([states.prompt, states.null]), return_dict=False)[0]
        return raw

    def sample(self, unet: Any, x: torch.Tensor, states: States, plan: Plan) -> Run:
        """One sampling from unit noise ``x`` (B, C, H, W) without gradients, with what the U-Net saw."""

        def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return self.scalings.denoised(self.output(unet, x, t, states), x, t)

        return record_run(plan, denoise, x)

    def pictures(self, latents: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) in the model's own range, about [-1, 1]; with a gradient if the latents have one."""
        return self.model.decode(latents.contiguous(memory_format=torch.channels_last))
