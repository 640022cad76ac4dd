"""An adversary that predicts attributes, and the squared correlation it reaches (after Adeli et al. 2021, BR-Net).

A small predictor sees what the downstream predictor makes of the restored image and *maximises* corr² with the
attribute; the reconstruction *minimises* it. (Played the other way round, predictor down and reconstruction up, the
leak grows.) A nominal attribute has one column a level, never its number. Conditional on the label, correlations are
taken inside strata of rows with the same label, so that what the disease explains is not removed; BR-Net's own choice
is one stratum, the controls.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

_FEWEST_ROWS = 3
"""Two points always correlate perfectly."""


def attribute_predictor(inputs: int, outputs: int, width: int = 16) -> nn.Sequential:
    """(N, inputs) → (N, outputs): two hidden layers. torch's generator seeds it."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.LeakyReLU(0.1),
        nn.Linear(width, width),
        nn.LeakyReLU(0.1),
        nn.Linear(width, outputs),
    )


def one_hot_columns(groups: Sequence[torch.Tensor], counts: Sequence[int]) -> list[torch.Tensor]:
    """(N, L) float32 of each attribute, one column a level; of two levels one column, the other is its mirror image.

    ``groups`` are (N,) int64 in 0..count-1. Raises ValueError for fewer than two levels.
    """
    if any(count < 2 for count in counts):
        raise ValueError(f"an attribute needs at least two levels, got {list(counts)}")
    columns = [torch.nn.functional.one_hot(codes, count).float() for codes, count in zip(groups, counts, strict=True)]
    return [each[:, 1:] if each.shape[1] == 2 else each for each in columns]


def control_stratum(labels: torch.Tensor) -> torch.Tensor:
    """(1, N) bool: rows whose (N, K) labels are all 0."""
    return (labels == 0).all(dim=1)[None]


def class_strata(labels: torch.Tensor) -> torch.Tensor:
    """(2K, N) bool: for each of (N, K) labels the rows without and the rows with it; NaN is in neither."""
    return torch.cat([(labels == 0).T, (labels == 1).T])


def squared_correlation(
    predicted: torch.Tensor, targets: Sequence[torch.Tensor], strata: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean corr² of (N, sum L) predictions with the columns of each attribute's (N, L) target, a scalar in [0, 1].

    Mean over an attribute's columns, then over attributes. With (S, N) bool ``strata`` it is taken in each and averaged
    by their rows. Columns that do not vary, and strata of fewer than three rows, do not count; where nothing counts
    the value is 0 and has no gradient. Raises ValueError unless each target column has a prediction.
    """
    widths = [target.shape[1] for target in targets]
    if predicted.shape[1] != sum(widths):
        raise ValueError(f"predicted must have {sum(widths)} columns, one for each target's, got {predicted.shape[1]}")
    everyone = torch.ones(1, len(predicted), dtype=torch.bool, device=predicted.device)
    member = (everyone if strata is None else strata).to(predicted.dtype)
    member = member * (member.sum(dim=1, keepdim=True) >= _FEWEST_ROWS)
    squares, counts = _in_strata(predicted, torch.cat(list(targets), dim=1), member)
    each = [
        square.sum() / count.sum().clamp(min=1)
        for square, count in zip(torch.split(squares, widths, 1), torch.split(counts, widths, 1), strict=True)
    ]
    return torch.stack(each).mean()


def _in_strata(
    predicted: torch.Tensor, target: torch.Tensor, member: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(S, C) corr² times the stratum's rows, and these rows, both 0 where a column does not vary."""
    rows = member.sum(dim=1, keepdim=True)
    share = member / rows.clamp(min=1)
    mean_p, mean_t = share @ predicted, share @ target
    p, t = predicted[None] - mean_p[:, None], target[None] - mean_t[:, None]  # (S, N, C)
    both, var_p, var_t = (torch.einsum("sn,snc->sc", share, product) for product in (p * t, p * p, t * t))
    smallest = 1e-8
    varies = (var_p > smallest) & (var_t > smallest)
    square = torch.where(varies, both.square() / torch.where(varies, var_p * var_t, 1.0), 0.0)
    return square * rows, varies * rows
