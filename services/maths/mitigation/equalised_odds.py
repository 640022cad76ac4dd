"""Equalised odds of a downstream predictor as a differentiable loss (Hardt, Price and Srebro 2016, made soft).

A score s passes its label's threshold τ to the degree sigmoid((s - τ) / T). Scores are best logits and τ the logit of
the operating threshold: on probabilities a T of .3 leaves values between .16 and .84 and shrinks every gap by a third.
At T = 0 the degree is 0 or 1 and the rates are those that an audit counts.

Both ends of a gap move: errors fall in the worse-off group and may rise in the other. Moving the worse-off group alone
was tried; it makes the predictor better for everybody and leaves the gap. So whoever trains with this also has to
watch how well the predictor does, and stop before it is worse.

Rates of one batch are noisy, and a largest difference grows with noise. So batches are counted into cells, and cells
of past batches, which carry no gradient, may be added before the rates are taken (:func:`remembered`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

NEGATIVE, POSITIVE = 0, 1


class Cells(NamedTuple):
    """Both are (G, K, 2): groups × labels × the label's value. Cells of several attributes are concatenated along G."""

    passed: torch.Tensor
    """Sum of the degrees to which rows passed."""
    rows: torch.Tensor
    """Number of rows."""


def pass_degree(scores: torch.Tensor, thresholds: torch.Tensor, temperature: float) -> torch.Tensor:
    """Degree in [0, 1] to which (N, K) scores pass (K,) thresholds; 0 or 1, without gradient, at temperature 0.

    Raises ValueError for a negative temperature, thresholds that are not finite, or another number of them.
    """
    if temperature < 0:
        raise ValueError(f"temperature must not be negative, got {temperature}")
    if thresholds.shape != scores.shape[1:] or not torch.isfinite(thresholds).all():
        raise ValueError(f"thresholds must be {scores.shape[1]} finite numbers, one a label")
    if temperature == 0:
        return (scores >= thresholds).to(scores.dtype)
    return torch.sigmoid((scores - thresholds) / temperature)


def count_cells(degrees: torch.Tensor, labels: torch.Tensor, groups: torch.Tensor, count: int) -> Cells:
    """Cells of (N, K) degrees, with (N, K) labels in {0, 1} (NaN: left out) and (N,) int64 groups in 0..count-1.

    Raises ValueError for other groups; they have one level a row, so that nothing is left out in silence.
    """
    if groups.shape != degrees.shape[:1] or (len(groups) and not 0 <= int(groups.min()) <= int(groups.max()) < count):
        raise ValueError(f"groups must be one of 0..{count - 1} for each of {len(degrees)} rows")
    member = torch.nn.functional.one_hot(groups, count).to(degrees.dtype)  # (N, G)
    of_value = torch.stack([labels == NEGATIVE, labels == POSITIVE], dim=2).to(degrees.dtype)  # (N, K, 2)
    rows = torch.einsum("ng,nkv->gkv", member, of_value)
    return Cells(torch.einsum("ng,nkv->gkv", member, of_value * degrees[:, :, None]), rows)


def remembered(memory: Cells | None, batch: Cells, decay: float) -> Cells:
    """``batch`` plus ``decay`` times the cells of earlier batches, which are constants; 0 remembers nothing."""
    if memory is None:
        return batch
    return Cells(batch.passed + decay * memory.passed.detach(), batch.rows + decay * memory.rows)


def rate_gaps(cells: Cells) -> torch.Tensor:
    """(K, 2) largest minus smallest rate of groups with rows, FPR then TPR; 0, without gradient, for fewer than two.

    Independent of the groups' order, gradient included: where groups tie for an extreme, they share its gradient.
    """
    known = cells.rows > 0
    comparable = known.sum(dim=0) >= 2
    rates = cells.passed / cells.rows.clamp(min=torch.finfo(cells.rows.dtype).tiny)
    highest = torch.where(comparable, torch.where(known, rates, -torch.inf).amax(dim=0), 0.0)
    lowest = torch.where(comparable, torch.where(known, rates, torch.inf).amin(dim=0), 0.0)
    return highest - lowest


def equal_opportunity(cells: Cells) -> torch.Tensor:
    """EOP of each label, (K,): the largest difference of TPR."""
    return rate_gaps(cells)[:, POSITIVE]


def equalised_odds(cells: Cells) -> torch.Tensor:
    """EODD of each label, (K,): half the sum of the largest differences of TPR and of FPR."""
    return rate_gaps(cells).mean(dim=1)


def equalised_odds_loss(cells: Sequence[Cells]) -> torch.Tensor:
    """Mean of EODD² over attributes and labels, a scalar: its gradient vanishes with the gaps, large gaps come first.

    ``cells`` has those of each attribute. Raises ValueError for none.
    """
    if not cells:
        raise ValueError("cells: at least one attribute is needed")
    return torch.stack([equalised_odds(some) for some in cells]).square().mean()
