"""Operating thresholds, chosen on validation patients, and scores, measured on held-out patients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from services.adapters.restoration import Restoration, SampledRestoration
from services.maths.fairness.metrics.auroc import auroc
from services.maths.imaging.quality import dice, psnr
from services.maths.restoration.keyed import keyed_noise
from services.maths.restoration.plans import sample
from services.training.examples import Examples
from services.training.recipes import Recipe

_DICE_GRID = np.linspace(0.1, 0.9, 17)


def predict(
    network: torch.nn.Module,
    inputs: torch.Tensor,
    task: str,
    batch: int = 64,
    *,
    restoration: Restoration | None = None,
) -> np.ndarray:
    """What serving would answer: probabilities (N, K), mask probabilities (N, S, H, W) or images clipped to [0, 1].

    A reconstruction model whose record has a ``restoration`` that samples is sampled as that says.
    """
    network.eval()
    ask = _sampled(network, restoration) if isinstance(restoration, SampledRestoration) else network
    with torch.inference_mode():
        starts = range(0, len(inputs), batch)
        rows = (inputs[start : start + batch].contiguous(memory_format=torch.channels_last) for start in starts)
        raw = torch.cat([ask(some).cpu().contiguous() for some in rows])
    if task == "reconstruction":
        return raw.clamp(0, 1).numpy()
    return (raw.softmax(1) if task == "attribute-classification" else raw.sigmoid()).numpy()


def _sampled(network: torch.nn.Module, how: SampledRestoration) -> Callable[[torch.Tensor], torch.Tensor]:
    plan = how.process().plan(how.sampler, how.steps)
    return lambda degraded: sample(network, degraded, plan, keyed_noise(degraded, how.seed))


def choose_thresholds(recipe: Recipe, predicted: np.ndarray, examples: Examples) -> dict[str, float]:
    """A threshold a label: for labels where sensitivity and specificity are closest, for masks where Dice is best."""
    targets = examples.targets.numpy()
    if recipe.task == "reconstruction":
        return {}
    if recipe.task == "segmentation":
        means = [np.nanmean(_dice(predicted, targets, threshold)) for threshold in _DICE_GRID]
        return {recipe.labels[0]: round(float(_DICE_GRID[int(np.argmax(means))]), 6)}
    return {
        label: round(balanced_threshold(targets[:, column], predicted[:, column]), 6)
        for column, label in enumerate(recipe.labels)
    }


def balanced_threshold(truth: np.ndarray, scores: np.ndarray) -> float:
    """The score at which |sensitivity - specificity| is least, for ``score >= threshold`` meaning positive.

    0.5 where a class is absent and nothing can be chosen.
    """
    known = ~np.isnan(truth)
    truth, scores = truth[known] > 0, scores[known]
    if truth.all() or not truth.any():
        return 0.5
    candidates = np.unique(scores)
    positives, negatives = np.sort(scores[truth]), np.sort(scores[~truth])
    sensitivity = 1 - np.searchsorted(positives, candidates) / len(positives)
    specificity = np.searchsorted(negatives, candidates) / len(negatives)
    return float(candidates[np.argmin(np.abs(sensitivity - specificity))])


def score_rows(recipe: Recipe, predicted: np.ndarray, examples: Examples, thresholds: dict[str, float]) -> np.ndarray:
    """Per-image scores (N,) of a segmentation (Dice) or reconstruction (PSNR gain in dB over the degraded input)."""
    targets = examples.targets.numpy()
    if recipe.task == "segmentation":
        return _dice(predicted, targets, thresholds[recipe.labels[0]])
    return np.asarray(psnr(predicted, targets)) - np.asarray(psnr(examples.inputs.numpy(), targets))


def score(recipe: Recipe, predicted: np.ndarray, examples: Examples, thresholds: dict[str, float]) -> dict[str, float]:
    """Held-out scores by name; always holds ``recipe.score``."""
    targets = examples.targets.numpy()
    if recipe.task == "segmentation":
        return {"mean_dice": float(np.nanmean(score_rows(recipe, predicted, examples, thresholds)))}
    if recipe.task == "reconstruction":
        before, after = psnr(examples.inputs.numpy(), targets), psnr(predicted, targets)
        return {
            "psnr_degraded": float(np.mean(before)),
            "psnr": float(np.mean(after)),
            "psnr_gain": float(np.mean(after - before)),
        }
    each = {f"auroc {name}": known_auroc(targets[:, k], predicted[:, k]) for k, name in enumerate(recipe.labels)}
    return {"mean_auroc": float(np.mean(list(each.values())))} | each


def known_auroc(truth: np.ndarray, scores: np.ndarray) -> float:
    """AUROC over the rows whose truth is not missing (NaN)."""
    known = ~np.isnan(truth)
    return auroc(truth[known].astype(np.int8), scores[known].astype(np.float64))


def _dice(predicted: np.ndarray, targets: np.ndarray, threshold: float) -> np.ndarray:
    return np.asarray(dice((predicted[:, 0] >= threshold).astype(np.uint8), targets[:, 0].astype(np.uint8)))
