"""The adversarial game on small reconstructors, as it should be played and as it was published."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from services.maths.mitigation.correlation import squared_correlation

Correlation = Callable[[torch.Tensor, Sequence[torch.Tensor], torch.Tensor | None], torch.Tensor]


def play(
    predictor: nn.Module,
    shown: Callable[[], torch.Tensor],
    model: nn.Module,
    targets: Sequence[torch.Tensor],
    *,
    strata: torch.Tensor | None = None,
    own_loss: Callable[[], torch.Tensor],
    weight: float = 1.0,
    steps: int = 200,
    inverted: bool = False,
) -> None:
    """Alternate: the predictor maximises corr², the model minimises it beside its own loss. ``shown`` is what it sees.

    ``inverted`` is the published game (trap 2): the predictor minimises corr² and the model minimises -corr².
    """
    sign = -1.0 if inverted else 1.0
    theirs = torch.optim.Adam(predictor.parameters(), lr=0.02)
    ours = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        for _ in range(3):
            reached = squared_correlation(predictor(shown().detach()), targets, strata)
            theirs.zero_grad()
            (-sign * reached).backward()
            theirs.step()
        leaked = squared_correlation(predictor(shown()), targets, strata)
        ours.zero_grad()
        (own_loss() + weight * sign * leaked).backward()
        ours.step()
