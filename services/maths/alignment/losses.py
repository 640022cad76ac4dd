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
_TINY = 1e-12


def alignment_loss(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, *, batch: int | None = None
) -> torch.Tensor:
    """(1 / B) sum of the images' weighted cross-entropies, a scalar; 0 where no image counts.

    ``logits`` (B, K) are the classifier's, before any softmax: softmax is in the cross-entropy, and a second one takes
    the gradient from images that are surely wrong. ``labels`` (B,) int64; ``weights`` (B,) at least 0, as of
    :func:`balanced_weights`, or bool for which count. Both are constants.
    """
    counts = weights > 0
    each = functional.cross_entropy(logits[counts], labels[counts], reduction="none")
    return (weights[counts] * each).sum() / (len(logits) if batch is None else batch)


def balanced_weights(
    logits: torch.Tensor, labels: torch.Tensor, confident: torch.Tensor, prompts: torch.Tensor
) -> torch.Tensor:
    """(B,) float32 weights of cross-entropies, with which images that are right already move no shares.

    Such an image still pulls further into its class, by 1 - p of its label, at weights that all images share. Where
    most are of one class, or one class is less clear to the classifier, these pulls carry the others along: shares come
    to rest beside the target, and images of the smaller class become less of what they are. So within a prompt
    the right images of each class get the sum that is smallest; where they are all of one class they get 0. An image
    that is wrong counts 1, one that is not ``confident`` (B,) 0. ``prompts`` (B,) are numbers.
    """
    levels = logits.shape[1]
    pulls = 1.0 - logits.detach().softmax(1).gather(1, labels[:, None])[:, 0]
    right = confident & (logits.argmax(1) == labels)
    weights = confident.float()
    for prompt in sorted(set(prompts.tolist())):
        classes = [right & (prompts == prompt) & (labels == level) for level in range(levels)]
        present = [rows for rows in classes if rows.any()]
        sums = [pulls[rows].sum() for rows in present]
        least = min(sums) if len(sums) > 1 else 0.0
        for rows, total in zip(present, sums, strict=True):
            weights[rows] = least / total.clamp_min(_TINY)
    return weights


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


def equal_weights(classes: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
    """(B,) float32 weights, whose mean is 1, with which all classes of a prompt's images weigh the same together.

    ``classes`` (B, A) and ``prompts`` (B,) are numbers. Of a target far from even shares the few images of a class are
    else held less than the many that leave it pull at the weights that they share.
    """
    of_prompt = prompts[:, None] == prompts
    of_class = of_prompt & (classes[:, None] == classes).all(dim=2)
    count = of_class.sum(dim=1)
    present = (of_prompt / count).sum(dim=1)
    return of_prompt.sum(dim=1) / (present * count)
