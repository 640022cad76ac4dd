"""How a restored cohort is judged: fidelity, the predictor's AUROC, its error rates by group. And what is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from services.maths.imaging.quality import psnr
from services.maths.mitigation.equalised_odds import count_cells, equal_opportunity, equalised_odds, pass_degree
from services.training.mitigation.cases import Cases
from services.training.scoring import known_auroc

MOST_PSNR_LOST = 0.5
MOST_AUROC_LOST = 0.01
"""What a fine-tuning may cost on the validation data, in dB and in mean AUROC, before it counts as none."""


@dataclass(frozen=True)
class Judgement:
    """``eodd`` and ``eop`` by attribute are means over labels; ``soft_eodd`` is the mean at the term's temperature."""

    psnr: float
    mean_auroc: float
    eodd: dict[str, float]
    eop: dict[str, float]
    soft_eodd: float

    def scores(self, prefix: str = "") -> dict[str, float]:
        """By metric name, for a model's card."""
        by_attribute = {
            f"{name} {key}": value for name in ("eodd", "eop") for key, value in getattr(self, name).items()
        }
        named = {"psnr": self.psnr, "mean_auroc": self.mean_auroc} | by_attribute
        return {prefix + name: round(value, 6) for name, value in named.items()}


def judge(
    restored: np.ndarray,
    logits: torch.Tensor,
    cases: Cases,
    *,
    thresholds: torch.Tensor,
    attributes: Sequence[str],
    counts: Sequence[int],
    temperature: float,
) -> Judgement:
    """Judge (N, C, H, W) restored images and the predictor's (N, K) logits of them. ``thresholds`` (K,) are logits."""
    gaps = {}
    for name, codes, count in zip(attributes, cases.groups, counts, strict=True):
        hard, soft = (
            count_cells(pass_degree(logits, thresholds, softness), cases.labels, codes, count)
            for softness in (0.0, temperature)
        )
        gaps[name] = [
            float(part.mean()) for part in (equalised_odds(hard), equal_opportunity(hard), equalised_odds(soft))
        ]
    areas = [known_auroc(cases.labels[:, k].numpy(), logits[:, k].numpy()) for k in range(logits.shape[1])]
    return Judgement(
        float(np.mean(psnr(restored, cases.clean.numpy()))),
        float(np.nanmean(areas)),
        {name: found[0] for name, found in gaps.items()},
        {name: found[1] for name, found in gaps.items()},
        float(np.mean([found[2] for found in gaps.values()])) if gaps else 0.0,
    )


def preference(found: Judgement, base: Judgement, *, by_fairness: bool) -> float:
    """Larger is better; by which an epoch and a λ are chosen, on validation data.

    ``by_fairness``: the smaller soft EODD, as long as PSNR and AUROC stay within what may be lost; what loses more
    comes after everything that does not, and the further the more it loses. Otherwise the larger PSNR.
    """
    if not by_fairness:
        return found.psnr - base.psnr
    excess = max(0.0, (base.psnr - found.psnr) / MOST_PSNR_LOST - 1)
    excess += max(0.0, (base.mean_auroc - found.mean_auroc) / MOST_AUROC_LOST - 1)
    return -1 - excess if excess > 0 else -found.soft_eodd
