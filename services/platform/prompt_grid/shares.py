"""Shares over prompts and their changes, where the prompt is the unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from services.maths.fairness.estimates import Estimates
from services.maths.fairness.limits import limits

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Share:
    """``value`` of ``n`` images, with 95 % limits over prompts (None for a single prompt)."""

    value: float
    low: float | None
    high: float | None
    n: int
    prompts: int


@dataclass(frozen=True)
class Change:
    """After less before, with 95 % limits over prompts, as if others had been asked for.

    ``p_value`` is of no change at these very prompts: McNemar's exact test over the pairs of images.
    """

    value: float
    low: float
    high: float
    p_value: float


def share(shown: Bools, prompt: npt.NDArray[np.integer]) -> Share | None:
    """The share of (N,) images that show something; None of no images. Wilson limits with the prompts' own spread."""
    if not len(shown):
        return None
    influence, value = _influence(shown, prompt)
    prompts = len(influence)
    if prompts < 2:
        return Share(value, None, None, len(shown), prompts)
    one = Estimates(
        value=np.array([value]),
        influence=sparse.csr_array(influence[:, None]),
        share=sparse.csr_array((prompts, 1)),
        patients=np.array([prompts], np.int64),
        patient_ids=np.arange(prompts),
        scale="wilson",
    )
    low, high = limits(one)
    return Share(value, float(low[0]), float(high[0]), len(shown), prompts)


def change(before: Bools, after: Bools, prompt: npt.NDArray[np.integer]) -> Change | None:
    """The change of a share over the same (N,) images; None for fewer than two prompts.

    Its variance is at least that of independent images of which one more had changed.
    """
    if not len(before) or len(np.unique(prompt)) < 2:
        return None
    (first, start), (last, end) = _influence(before, prompt), _influence(after, prompt)
    prompts = len(first)
    spread = float(np.square(last - first).sum()) * prompts / (prompts - 1)
    least = (float((before != after).sum()) + 1) / len(before) ** 2
    error = float(np.sqrt(max(spread, least)))
    reach = float(stats.t.ppf(0.975, prompts - 1)) * error
    value = end - start
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    p_value = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Change(value, max(value - reach, -1.0), min(value + reach, 1.0), p_value)


def _influence(shown: Bools, prompt: npt.NDArray[np.integer]) -> tuple[Floats, float]:
    """(P,) of each prompt on the share, and the share."""
    _, place = np.unique(prompt, return_inverse=True)
    images = np.bincount(place).astype(np.float64)
    value = float(shown.mean())
    influence = (np.bincount(place, weights=shown) - images * value) / len(shown)
    return np.where(np.abs(influence) < 1e-15, 0.0, influence), value
