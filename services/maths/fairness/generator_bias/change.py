"""What tuning a generator changed: bias and shares before and after, image by image from the same noise.

Both generators draw the same prompts, so the prompts' own differences cancel: the prompt is the unit of all intervals
here, and each has its difference. A mean of absolute values is inflated by chance, near 0 more than far from it, so a
reduction is understated; the intervals of the readings are widened by the most that this can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from services.maths.fairness.generator_bias.bias import MINIMUM_PROMPTS, checked_codes, images_by_prompt
from services.maths.fairness.generator_bias.counts import Counts
from services.maths.fairness.generator_bias.misclassification import Correction, no_correction, rogan_gladen
from services.maths.fairness.generator_bias.readings import (
    Distance,
    Reading,
    distances,
    prompt_noise,
    rates_gradient,
    rates_variance,
)

Floats = NDArray[np.float64]

_FAR = 3.0  # standard deviations below what was seen that a true difference is allowed to lie


@dataclass(frozen=True)
class ReadingChange:
    """One per-prompt reading of bias(T) before and after; ``change`` is after less before, with its 95 % interval.

    ``reduction`` is the share of the bias that is gone, None where there was none.
    """

    name: Reading
    before: float
    after: float
    change: float
    ci_low: float
    ci_high: float
    reduction: float | None


@dataclass(frozen=True)
class ShareChange:
    """One group's share before and after, corrected for the classifier, with a 95 % interval of the change."""

    group: str
    before: float
    after: float
    change: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class BiasChange:
    """Over ``prompts`` prompts of which both generators have classified images."""

    readings: tuple[ReadingChange, ...]
    shares: tuple[ShareChange, ...]
    prompts: int

    def reading(self, name: Reading) -> ReadingChange:
        return next(reading for reading in self.readings if reading.name == name)


def bias_change(
    before: NDArray[np.integer],
    after: NDArray[np.integer],
    *,
    groups: Sequence[str],
    cluster: NDArray[np.generic],
    target: Sequence[float] | None = None,
    confusion: NDArray[np.integer] | None = None,
) -> BiasChange:
    """The change of every per-prompt reading and of every share, paired by prompt.

    Args:
        before, after: (N,) group of each image as a place in ``groups``, -1 where no subject was found; row by row from
            the same prompt and noise.
        groups, cluster, target, confusion: as for :func:`.generator_bias`.

    Raises ValueError as that function does, and for numbers of images that differ.
    """
    names = list(groups)
    if len(before) != len(after):
        raise ValueError(f"before and after must be the same images, got {len(before)} and {len(after)}")
    codes, wanted = checked_codes(before, names, cluster, target)
    others, _ = checked_codes(after, names, cluster, target)
    prompts = np.asarray(cluster)
    found = np.isin(prompts, prompts[codes >= 0]) & np.isin(prompts, prompts[others >= 0])
    tables = [images_by_prompt(side[found], prompts[found], len(names)) for side in (codes, others)]
    if len(tables[0]) < MINIMUM_PROMPTS:
        raise ValueError(f"a change over prompts needs at least {MINIMUM_PROMPTS} of them, got {len(tables[0])}")
    correction = no_correction(len(names)) if confusion is None else rogan_gladen(np.asarray(confusion))
    sides = [Counts(table, correction) for table in tables]
    readings = tuple(_reading_change(kind, *sides) for kind in distances(wanted))
    return BiasChange(readings, _share_changes(names, *sides), len(tables[0]))


def _reading_change(distance: Distance, before: Counts, after: Counts) -> ReadingChange:
    first, last = _Side(distance, before), _Side(distance, after)
    prompts = len(first.values)
    difference = last.values - first.values
    change = float(difference.mean())
    from_rates = rates_variance(before.correction, last.gradient - first.gradient)
    error = float(np.sqrt(difference.var(ddof=1) / prompts + from_rates))
    reach = float(stats.t.ppf(0.975, prompts - 1)) * error
    start, end = (min(float(side.values.mean()), distance.greatest) for side in (first, last))
    return ReadingChange(
        name=distance.name,  # type: ignore[arg-type]
        before=start,
        after=end,
        change=change,
        ci_low=max(change - reach - last.inflation, -distance.greatest),
        ci_high=min(change + reach + first.inflation, distance.greatest),
        reduction=1 - end / start if start > 0 else None,
    )


class _Side:
    """One generator's bias at each prompt (P,), and the most by which chance can have inflated their mean."""

    def __init__(self, distance: Distance, counts: Counts) -> None:
        correction, images = counts.correction, counts.images
        shares = correction.shares(counts.table / images[:, None])
        apart = distance.apart(shares)
        self.values: Floats = np.abs(apart) @ distance.weights
        self.gradient = rates_gradient(distance, correction, shares, apart)
        smoothed = (counts.table + 0.5) / (images + 0.5 * counts.table.shape[1])[:, None]
        noise = prompt_noise(distance, correction, smoothed, images)
        least = np.maximum(np.abs(apart) - _FAR * noise, 0.0)
        self.inflation = float((_inflation(least, noise) @ distance.weights).mean())


def _inflation(mean: Floats, noise: Floats) -> Floats:
    """E |N(m, s)| - m for m ≥ 0, which falls with m."""
    ratio = np.divide(mean, noise, out=np.full_like(mean, np.inf), where=noise > 0)
    density = np.exp(-(ratio**2) / 2) / np.sqrt(2 * np.pi)
    far = np.isinf(ratio)
    tail = np.where(far, 0.0, np.where(far, 0.0, ratio) * special.ndtr(-ratio))
    return np.asarray(2 * noise * (density - tail))


def _share_changes(names: Sequence[str], before: Counts, after: Counts) -> tuple[ShareChange, ...]:
    correction: Correction = before.correction
    prompts = len(before.table)
    shares = [correction.shares(side.observed) for side in (before, after)]
    change = shares[1] - shares[0]
    influence = (after.influence - before.influence) @ correction.transform.T
    covariance = influence.T @ influence * prompts / (prompts - 1) + correction.covariance(change)
    error = np.maximum(np.sqrt(np.diag(covariance)), 1 / before.table.sum())  # one image more might have changed
    reach = float(stats.t.ppf(0.975, prompts - 1)) * error
    return tuple(
        ShareChange(
            group=name,
            before=float(np.clip(shares[0][k], 0, 1)),
            after=float(np.clip(shares[1][k], 0, 1)),
            change=float(change[k]),
            ci_low=float(max(change[k] - reach[k], -1.0)),
            ci_high=float(min(change[k] + reach[k], 1.0)),
        )
        for k, name in enumerate(names)
    )
