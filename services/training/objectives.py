"""What each family of reconstruction networks learns from: one function of a batch a family.

An objective takes the network, degraded and clean images (N, 1, H, W) in [0, 1] on the network's device, and a
generator on the CPU from which alone it draws. It gives the loss, a mean over rows, and ``restored``: an estimate of
the clean images, not clipped, that is differentiable in the network's weights. A term that is to act on what a model
restores acts on ``restored``: for a sampled model it is the clean image that the output at a random time stands for,
never the optimum of that time, which depends on the data only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from services.adapters.restoration import Pix2PixRestoration, Restoration
from services.maths.networks.pix2pix import Pix2Pix, Play

Objective = Callable[
    [nn.Module, torch.Tensor, torch.Tensor, torch.Generator],
    tuple[torch.Tensor, torch.Tensor],
]


def objective_of(restoration: Restoration | None) -> Objective:
    """The objective of a reconstruction network whose record states ``restoration``."""
    if restoration is None:
        return regression
    if isinstance(restoration, Pix2PixRestoration):
        return adversarial(restoration.l1_weight)
    return restoration.process().loss


def served_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that decide what a user gets: all, but for those of a discriminator."""
    serving = network.generator if isinstance(network, Pix2Pix) else network
    return list(serving.parameters())


def regression(
    network: nn.Module, degraded: torch.Tensor, clean: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean squared error, and the output."""
    restored = network(degraded)
    return functional.mse_loss(restored, clean), restored


def adversarial(l1_weight: float) -> Objective:
    """Pix2Pix (Isola et al. 2017, equations 1 to 4) with the original, not least-squares, game.

    The loss is the generator's, log-loss + ``l1_weight`` · L1, plus half the discriminator's. No parameter has a
    gradient from both: one step on the sum, with Adam, is the published step of either player on its own loss, but for
    the order, as here both move at once.
    """

    def objective(
        network: nn.Module, degraded: torch.Tensor, clean: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        play: Play = network(degraded, clean)
        fooling = _judged(play.fooled, real=True)
        judging = 0.5 * (_judged(play.real, real=True) + _judged(play.fake, real=False))
        faithful = functional.l1_loss(play.restored, clean)
        return fooling + l1_weight * faithful + judging, play.restored

    return objective


def _judged(logits: torch.Tensor, *, real: bool) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))
