"""The one object that owns the scalings of a diffusion network's loss and of its inference.

Training asks it for the noisy image, the target and the loss; serving asks it for the clean image that an output stands
for. Both come from the same tables, so they cannot drift apart.
"""

from __future__ import annotations

from typing import Literal

import torch

from services.maths.diffusion.schedules import NoiseSchedule

Prediction = Literal["epsilon", "v", "x0"]
PREDICTIONS: tuple[Prediction, ...] = ("epsilon", "v", "x0")


class Parameterisation:
    """What a network predicts: the noise, v = alpha eps - sigma x0 (Salimans & Ho 2022), or the clean image.

    Images are (B, C, H, W) float32, ``t`` (B,) int64 in 0..T-1, and each row may have its own. With
    ``largest_weight`` the squared error of the clean image is weighted by min(SNR + 1, largest_weight): the weight of
    v-prediction (Salimans & Ho 2022, section 4) but for the cleanest steps, whose fine noise would drown what
    conditions decide. None weighs all steps alike in the prediction's own space.

    Raises ValueError for an unknown prediction, and for "epsilon" with a zero terminal SNR: at t = T - 1 the noise is
    all there is and says nothing about the image.
    """

    def __init__(self, prediction: Prediction, schedule: NoiseSchedule, *, largest_weight: float | None = None) -> None:
        if prediction not in PREDICTIONS:
            raise ValueError(f"prediction must be one of {', '.join(PREDICTIONS)}, not {prediction!r}")
        if prediction == "epsilon" and schedule.alphas_bar[-1] == 0.0:
            raise ValueError("a zero terminal SNR needs prediction v or x0: noise alone does not give the image")
        self.prediction = prediction
        self.schedule = schedule
        self._largest_weight = largest_weight
        self._alphas = torch.from_numpy(schedule.alphas)
        self._sigmas = torch.from_numpy(schedule.sigmas)

    def noisy(self, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x_t = alpha_t x0 + sigma_t eps."""
        alpha, sigma = self._at(t, x0)
        return alpha * x0 + sigma * eps

    def target(self, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """What the network should say."""
        if self.prediction == "epsilon":
            return eps
        if self.prediction == "x0":
            return x0
        alpha, sigma = self._at(t, x0)
        return alpha * eps - sigma * x0

    def loss(self, output: torch.Tensor, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """(B,) mean squared error of each row, weighted by its noise level."""
        error = (output - self.target(x0, eps, t)).square().flatten(1).mean(1)
        return error if self._largest_weight is None else error * self._weight(t, error)

    def denoised(self, output: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """The clean image (B, C, H, W) that the output stands for."""
        if self.prediction == "x0":
            return output
        alpha, sigma = self._at(t, x_t)
        if self.prediction == "epsilon":
            return (x_t - sigma * output) / alpha
        return alpha * x_t - sigma * output

    def _at(self, t: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = (-1, *([1] * (like.ndim - 1)))
        return tuple(table.to(like.device)[t].to(like.dtype).view(rows) for table in (self._alphas, self._sigmas))  # type: ignore[return-value]

    def _weight(self, t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """min(SNR + 1, largest) of the error of x0, expressed in the prediction's own space."""
        assert self._largest_weight is not None
        alpha, sigma = self._alphas.to(t.device)[t], self._sigmas.to(t.device)[t]
        snr = (alpha / sigma) ** 2
        wanted = (snr + 1).clamp(max=self._largest_weight)
        own = {"x0": torch.ones_like(snr), "epsilon": snr, "v": snr + 1}[self.prediction]
        return (wanted / own).to(like.dtype)
