"""What is minimised: cross-entropy with the targets, and how far the images' features leave the original model's.

Both divide by the number of images in the whole batch, not by the sum of weights or of those that count, so that a
batch taken in parts has the same gradient (``batch`` is its size then), and one in which few images are sure moves
little.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

FLIPPED_WEIGHT = 0.2
"""Shen et al. 2024: an image that must change its group cannot keep all of its features."""


def alignment_loss(
    logits: torch.Tensor, labels: torch.Tensor, confident: torch.Tensor, *, batch: int | None = None
) -> torch.Tensor:
    """(1 / B) sum of the cross-entropies of the confident images, a scalar; 0 where none is confident.

    ``logits`` (B, K) are the classifier's, before any softmax: softmax is in the cross-entropy, and a second one takes
    the gradient from images that are surely wrong. ``labels`` (B,) int64, ``confident`` (B,) bool, both constants.
    """
    wrong = functional.cross_entropy(logits[confident], labels[confident], reduction="sum")
    return wrong / (len(logits) if batch is None else batch)


def crossed_logits(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    """(B, K_1 K_2 …) logits of all combinations of levels, in the order of pools.crossed.

    Their softmax is the product of the attributes' own (B, K_a) softmaxes.
    """
    total = logits[0]
    for each in logits[1:]:
        total = (total[:, :, None] + each[:, None, :]).flatten(1)
    return total


def preservation_loss(
    features: torch.Tensor, original_features: torch.Tensor, weights: torch.Tensor, *, batch: int | None = None
) -> torch.Tensor:
    """(1 / B) sum of w (1 - cos) between features (B, F) and the original model's, a scalar.

    The original's image has the same noise, prompt and steps, so before the first update the loss is 0, exactly, but
    for images that are to change, whose features were moved (differences.features_of_class). 1 - cos is computed as
    half the squared distance of the two directions, which has no rounding where the features are the same bits and
    loses no digits where they are almost. ``weights`` (B,). The originals get no gradient.
    """
    directions = [functional.normalize(each.contiguous(), dim=1) for each in (features, original_features.detach())]
    apart = (directions[0] - directions[1]).square().sum(dim=1) / 2.0
    return (weights * apart).sum() / (len(features) if batch is None else batch)


def preservation_weights(
    original_class: torch.Tensor, target_class: torch.Tensor, *, flipped_weight: float = FLIPPED_WEIGHT
) -> torch.Tensor:
    """(B,) float32: ``flipped_weight`` where the target's class is not that of the original model's image, else 1.

    Classes are (B,) int64, or (B, A) of A attributes, of which one that differs is enough. (Shen et al.'s code gives
    the smaller weight to every image of unsure target, too.) ValueError for a weight outside 0..1.
    """
    if not 0.0 <= flipped_weight <= 1.0:
        raise ValueError(f"flipped_weight must lie in 0..1, got {flipped_weight}")
    flipped = (original_class != target_class).reshape(len(original_class), -1).any(dim=1)
    return torch.where(flipped, flipped_weight, 1.0)
