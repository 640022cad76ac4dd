"""How classes differ in the features of the original model's images, prompt for prompt.

An image that is to change its class cannot keep its features, and told to keep most of them it stops between the
classes, where no real image is. What it should become is what it was, moved by what sets the one class apart from the
other among images that the original model drew itself of the same prompts: features_of_class.

The differences are the effects of classes in a least-squares fit of features on prompt and class. Its normal equations
add up over batches, so what must be kept is one small array, whatever the number of images.
"""

from __future__ import annotations

import torch


def class_sums(features: torch.Tensor, classes: torch.Tensor, prompts: torch.Tensor, levels: int) -> torch.Tensor:
    """(K, K + F) float64 normal equations of a batch, which add up over batches: see :func:`class_effects`.

    ``features`` (B, F), ``classes`` (B,) int64 in 0..K-1 and ``prompts`` (B,) int64 say which images share a prompt.
    A prompt whose images are all of one class adds nothing.
    """
    total = torch.zeros(levels, levels + features.shape[1], dtype=torch.float64)
    belongs = torch.nn.functional.one_hot(classes.cpu(), levels).double()
    for prompt in sorted(set(prompts.tolist())):
        rows = (prompts == prompt).cpu()
        some, within = features[rows.to(features.device)].double().cpu(), belongs[rows]
        away = within - within.mean(0)
        total += away.T @ torch.cat([within, some - some.mean(0)], dim=1)
    return total


def class_effects(sums: torch.Tensor) -> torch.Tensor:
    """(K, F) float32 effects of the classes, which add up to 0; 0 for classes that no prompt had beside another."""
    levels = len(sums)
    effects: torch.Tensor = torch.linalg.pinv(sums[:, :levels], hermitian=True) @ sums[:, levels:]
    return effects.float()


def features_of_class(
    original: torch.Tensor, original_class: torch.Tensor, target_class: torch.Tensor, effects: torch.Tensor
) -> torch.Tensor:
    """(B, F) features of the original's images, had they been of another class; the same bits where it is the same."""
    moved = original + (effects[target_class] - effects[original_class])
    return torch.where((original_class == target_class)[:, None], original, moved)
