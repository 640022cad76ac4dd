"""The readings of bias(T): distances of frequencies from fairness, per prompt and pooled, with noise and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from services.maths.fairness.generator_bias.counts import Counts, critical_value, degrees_of, t_reach
from services.maths.fairness.generator_bias.misclassification import Correction

Floats = NDArray[np.float64]
Reading = Literal[
    "bias_pairwise",
    "bias_to_target",
    "total_variation",
    "bias_pairwise_pooled",
    "bias_to_target_pooled",
    "total_variation_pooled",
]

_MEAN_ABSOLUTE_NORMAL = float(np.sqrt(2 / np.pi))


@dataclass(frozen=True)
class BiasReading:
    """One reading of bias(T), 0 for a fair generator.

    ``estimate`` is as defined, ``noise_floor`` what a fair generator would show by chance (pooled: with the spread over
    prompts that was seen), ``corrected`` the estimate less its noise, by one factor on all differences.

    The 95 % interval is for the true bias and can contain 0. Pooled: limits of all differences at once (max-t over the
    prompts' covariance). Per prompt: prompts are a sample and give a t interval, whose lower end then loses the most
    that noise can have added; it is conservative by up to that much.
    """

    name: Reading
    estimate: float
    noise_floor: float
    corrected: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Distance:
    """Σ_m weights_m |contrasts_m · (f - centre)|, a convex function of the frequencies."""

    name: str
    contrasts: Floats
    weights: Floats
    centre: Floats

    @property
    def greatest(self) -> float:
        """A convex function has its maximum at a corner: all images of one group."""
        corners: Floats = np.abs(self.apart(np.eye(len(self.centre)))) @ self.weights
        return float(corners.max())

    def apart(self, shares: Floats) -> Floats:
        return np.asarray((shares - self.centre) @ self.contrasts.T)


def distances(target: Floats) -> list[Distance]:
    size = len(target)
    first, second = np.triu_indices(size, 1)
    pairs = np.eye(size)[first] - np.eye(size)[second]
    equally = np.full(len(pairs), 1 / len(pairs))
    return [
        Distance("bias_pairwise", pairs, equally, np.full(size, 1 / size)),
        Distance("bias_to_target", pairs, equally, target),
        Distance("total_variation", np.eye(size), np.full(size, 0.5), target),
    ]


def pooled(distance: Distance, counts: Counts, normals: Floats) -> BiasReading:
    apart = distance.apart(counts.correction.shares(counts.observed))
    covariance = distance.contrasts @ counts.covariance @ distance.contrasts.T
    error = counts.errors(distance.contrasts)
    reach = t_reach(critical_value(covariance, normals), degrees_of(counts, distance.contrasts)) * error
    size = np.abs(apart)
    return BiasReading(
        name=f"{distance.name}_pooled",  # type: ignore[arg-type]
        estimate=min(float(size @ distance.weights), distance.greatest),
        noise_floor=float(_MEAN_ABSOLUTE_NORMAL * error @ distance.weights),
        corrected=_less_noise(apart[None], error[None], distance.weights),
        ci_low=min(float(np.maximum(size - reach, 0.0) @ distance.weights), distance.greatest),
        ci_high=min(float((size + reach) @ distance.weights), distance.greatest),
    )


def per_prompt(distance: Distance, counts: Counts) -> BiasReading:
    prompts, groups = counts.table.shape
    correction, images = counts.correction, counts.images
    shares = correction.shares(counts.table / images[:, None])
    apart = distance.apart(shares)
    values = np.abs(apart) @ distance.weights
    # Half a count more in each group, since a prompt with one group only is not a prompt without chance.
    smoothed = (counts.table + 0.5) / (images + 0.5 * groups)[:, None]
    noise = prompt_noise(distance, correction, smoothed, images)
    fair = np.broadcast_to(distance.centre @ correction.rates, (prompts, groups))
    most = float((_MEAN_ABSOLUTE_NORMAL * noise @ distance.weights).mean())

    estimate = float(values.mean())
    variance = float(values.var(ddof=1)) / prompts + _from_rates(distance, correction, shares, apart)
    reach = float(stats.t.ppf(0.975, prompts - 1)) * float(np.sqrt(variance))
    return BiasReading(
        name=distance.name,  # type: ignore[arg-type]
        estimate=min(estimate, distance.greatest),
        noise_floor=float(
            (_MEAN_ABSOLUTE_NORMAL * prompt_noise(distance, correction, fair, images) @ distance.weights).mean()
        ),
        corrected=_less_noise(apart, noise, distance.weights),
        ci_low=float(np.clip(estimate - reach - most, 0.0, distance.greatest)),
        ci_high=min(estimate + reach, distance.greatest),
    )


def prompt_noise(distance: Distance, correction: Correction, observed: Floats, images: Floats) -> Floats:
    """(P, M) standard deviations of each prompt's contrasts: its finite number of images, and the measured rates."""
    across = distance.contrasts @ correction.transform
    mean = observed @ across.T
    sampling = (observed @ np.square(across).T - mean**2) / images[:, None]
    rates = correction.covariance(correction.shares(observed))
    measured = np.einsum("mi,pij,mj->pm", distance.contrasts, rates, distance.contrasts)
    return np.asarray(np.sqrt(np.maximum(sampling + measured, 0.0)))


def _from_rates(distance: Distance, correction: Correction, shares: Floats, apart: Floats) -> float:
    """Variance of the mean over prompts that comes from the measured rates, which all prompts share."""
    return rates_variance(correction, rates_gradient(distance, correction, shares, apart))


def rates_gradient(distance: Distance, correction: Correction, shares: Floats, apart: Floats) -> Floats:
    """(K, K) derivative of the mean over prompts by the measured rates."""
    slope = (distance.weights * np.sign(apart)) @ distance.contrasts @ correction.transform  # (P, K)
    return np.asarray(np.einsum("pk,pj->kj", shares, slope) / len(shares))


def rates_variance(correction: Correction, gradient: Floats) -> float:
    """Variance that a quantity with this ``rates_gradient`` has from the measured rates."""
    return float(np.einsum("ki,kij,kj->", gradient, correction.row_covariances, gradient))


def _less_noise(apart: Floats, noise: Floats, weights: Floats) -> float:
    """Shrink (P, M) observed contrasts by one factor until what they would show with this noise is what was shown.

    0 where noise alone shows as much. E |N(m, s)| = s sqrt(2/π) exp(-m²/2s²) + m erf(m / (s sqrt 2)).
    """
    size = np.abs(apart)
    shown = float((size @ weights).mean())

    def surplus(factor: float) -> float:
        mean = factor * size
        ratio = np.divide(mean, noise, out=np.full_like(mean, np.inf), where=noise > 0)
        expected = noise * _MEAN_ABSOLUTE_NORMAL * np.exp(-(ratio**2) / 2) + mean * special.erf(ratio / np.sqrt(2))
        return float((expected @ weights).mean()) - shown

    if surplus(0.0) >= 0.0:
        return 0.0
    return float(optimize.brentq(surplus, 0.0, 1.0)) * shown if surplus(1.0) > 0.0 else shown
