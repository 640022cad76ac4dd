"""The networks of a fine-tuning: the base to go on from, and the frozen predictor that fairness is measured through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import logit
from torch import nn

from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.training.networks import load_network
from services.training.scoring import balanced_threshold

_AT_ONCE = 64


class Predictor(nn.Module):
    """(N, C, H, W) restored images → (N, K) logits of some of a classifier's labels. Frozen, in evaluation mode."""

    def __init__(self, classifier: nn.Module, columns: Sequence[int]) -> None:
        super().__init__()
        self.classifier = classifier.requires_grad_(False).eval()
        self._columns = list(columns)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(images.contiguous(memory_format=torch.channels_last))[:, self._columns]
        return logits


def load_predictor(models: DirectoryRegistry, record: ModelRecord, labels: Sequence[str]) -> Predictor:
    return Predictor(load_network(models, record), [record.labels.index(label) for label in labels])


@torch.inference_mode()
def logits_of(predictor: nn.Module, images: np.ndarray) -> torch.Tensor:
    """(N, K) float32 on the CPU of (N, C, H, W) images in [0, 1], as many at once as serving takes."""
    device = next(predictor.parameters()).device
    parts = torch.from_numpy(images).split(_AT_ONCE)  # type: ignore[no-untyped-call]
    return torch.cat([predictor(part.to(device)).cpu() for part in parts])


def threshold_logits(record: ModelRecord, labels: Sequence[str], truth: np.ndarray, logits: np.ndarray) -> torch.Tensor:
    """(K,) float32: the logit of each label's operating threshold, from the predictor's record.

    Of a label without one, where sensitivity and specificity are closest on (N, K) validation truth and logits; finite
    whatever the classes there.
    """
    found = [
        logit(np.clip(record.thresholds[label], 1e-6, 1 - 1e-6))
        if label in record.thresholds
        else _balanced(truth[:, column], logits[:, column])
        for column, label in enumerate(labels)
    ]
    return torch.tensor(found, dtype=torch.float32)


def _balanced(truth: np.ndarray, logits: np.ndarray) -> float:
    """On logits; where a class is absent 0, the logit of one half."""
    known = truth[~np.isnan(truth)] > 0
    return balanced_threshold(truth, logits) if known.any() and not known.all() else 0.0
