"""Learning a diagnosis from arrays: ResNet-18 with two outputs, cross-entropy on its logits, a group-balanced sampler.

As in Skorupko et al. 2024 (arXiv 2403.19508), section 3, but for two faults of the released code: the loss is taken on
logits, once (a softmax before it leaves a confidently wrong network almost without gradient), and everything random
follows from the seed that is passed. Every fit takes the same number of steps, whatever it learns from, so that arms
differ in their data alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from services.maths.networks.resnet import ResNet18

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises; it then falls by a half cosine to 0."""
AUGMENTED = 0.5
"""Share of the images that are flipped, noised or changed in gamma, one of the three."""
_EVALUATED_AT_ONCE = 256
_SETTLING = 8  # batches


@dataclass(frozen=True)
class Fit:
    """How to learn. ``width`` 16 is a quarter of the published ResNet-18's; ``learning_rate`` is Adam's highest."""

    width: int = 16
    steps: int = 150
    batch: int = 64
    learning_rate: float = 1e-3


def group_weights(groups: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """(N,) chances of being drawn, 1 / records of the own group over the number of groups: each group is as likely."""
    _, place, count = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / (count[place] * len(count)), np.float64)


def fit_classifier(
    images: Images,
    labels: Labels,
    weights: npt.NDArray[np.float64],
    fit: Fit,
    *,
    seed: int,
    check: Callable[[], None] = lambda: None,
) -> ResNet18:
    """The network after all its steps, in evaluation mode.

    ``images`` (N, C, S, S) float32 in [0, 1], ``labels`` (N,) 0 or 1, ``weights`` (N,) the chance that a row is drawn
    into a place of a batch, with replacement. ``check`` is called before each step and may raise to stop. Initial
    weights, batches and augmentations follow from ``seed`` alone. ValueError without rows, or where lengths differ.
    """
    if not len(images) == len(labels) == len(weights) or not len(images):
        raise ValueError(
            f"needs as many images as labels and weights, got {len(images)}, {len(labels)}, {len(weights)}"
        )
    network = _untrained(images.shape[1], fit.width, seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=fit.learning_rate)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, 1))))
    noise = torch.Generator().manual_seed(seed)
    for step in range(fit.steps):
        check()
        for group in optimizer.param_groups:
            group["lr"] = fit.learning_rate * _pace(step / fit.steps)
        rows = rng.choice(len(images), fit.batch, p=weights)
        batch = _augment(torch.from_numpy(np.ascontiguousarray(images[rows])), noise)
        loss = diagnosis_loss(network(_laid_out(batch)), torch.from_numpy(labels[rows]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    _settle(network, images, weights, fit, rng)
    return network.eval()


def diagnosis_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of (N, 2) logits and (N,) int64 labels. Its gradient at a confidently wrong logit is about 1."""
    return functional.cross_entropy(logits, labels)


@torch.no_grad()
def probabilities(network: ResNet18, images: Images) -> npt.NDArray[np.float64]:
    """(N,) probability of the diagnosis, that is of the second output, for (N, C, S, S) images in [0, 1]."""
    parts = []
    for at in range(0, len(images), _EVALUATED_AT_ONCE):
        batch = torch.from_numpy(np.ascontiguousarray(images[at : at + _EVALUATED_AT_ONCE]))
        parts.append(network(_laid_out(batch)).double().softmax(dim=1)[:, 1].numpy())
    return np.concatenate(parts) if parts else np.zeros(0)


def youden_threshold(labels: Labels, scores: npt.NDArray[np.float64]) -> float:
    """The threshold in [0, 1] with the highest balanced accuracy, that is Youden's J; of several, the middle one.

    A record at or above it is called positive. Candidates lie between the distinct scores. 0.5 where a class is absent.
    """
    positive, negative = labels == 1, labels == 0
    if not positive.any() or not negative.any():
        return 0.5
    distinct = np.unique(scores)
    candidates = np.concatenate([[0.0], (distinct[1:] + distinct[:-1]) / 2, [1.0]])
    called = scores[None, :] >= candidates[:, None]
    accuracy = called[:, positive].mean(axis=1) - called[:, negative].mean(axis=1)
    best = np.flatnonzero(accuracy >= accuracy.max() - 1e-12)
    return float(candidates[best[len(best) // 2]])


def _untrained(channels: int, width: int, seed: int) -> ResNet18:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ResNet18(channels, 2, width)
    return network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload,no-any-return]


@torch.no_grad()
def _settle(
    network: ResNet18, images: Images, weights: npt.NDArray[np.float64], fit: Fit, rng: np.random.Generator
) -> None:
    """Measure the statistics of batch normalisation again, under the last weights: a moving mean of few steps lags."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches that follow
    for _ in range(_SETTLING):
        rows = rng.choice(len(images), fit.batch, p=weights)
        network(_laid_out(torch.from_numpy(np.ascontiguousarray(images[rows]))))


def _laid_out(images: torch.Tensor) -> torch.Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _pace(done: float) -> float:
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1.0 + math.cos(math.pi * (done - WARM_UP) / (1.0 - WARM_UP)))


def _augment(images: torch.Tensor, noise: torch.Generator) -> torch.Tensor:
    """Half of the images stay as they are; each other one is flipped, or noised, or has its gamma changed."""
    count = len(images)
    shape = (count, 1, 1, 1)
    kind = torch.rand(shape, generator=noise) / AUGMENTED
    grain = 0.03 * torch.randn(images.shape, generator=noise)
    gamma = torch.exp(0.3 * (2 * torch.rand(shape, generator=noise) - 1))
    flipped = torch.where(kind < 1 / 3, images.flip(3), images)
    noised = torch.where((kind >= 1 / 3) & (kind < 2 / 3), (flipped + grain).clamp(0, 1), flipped)
    return torch.where((kind >= 2 / 3) & (kind < 1), noised.clamp_min(0) ** gamma, noised)
