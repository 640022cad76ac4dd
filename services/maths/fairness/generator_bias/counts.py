"""Images by prompt and group, the covariance that prompts give them, and critical values for contrasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from services.maths.fairness.generator_bias.misclassification import Correction
from services.maths.fairness.limits import CONFIDENCE, normal_critical

Floats = NDArray[np.float64]

_ROUNDING = 1e-15  # of shares; equal prompts must have no spread, not a spread of rounding errors


@dataclass(frozen=True)
class Counts:
    """(P, K) images by prompt and group, and what follows from them and the correction."""

    table: Floats
    correction: Correction

    @property
    def images(self) -> Floats:
        return np.asarray(self.table.sum(axis=1))

    @property
    def observed(self) -> Floats:
        return np.asarray(self.table.sum(axis=0) / self.table.sum())

    @property
    def influence(self) -> Floats:
        """(P, K) of each prompt on the observed frequencies."""
        influence = (self.table - self.images[:, None] * self.observed) / self.table.sum()
        return np.asarray(np.where(np.abs(influence) < _ROUNDING, 0.0, influence))

    @property
    def observed_covariance(self) -> Floats:
        prompts = len(self.table)
        products: Floats = self.influence.T @ self.influence
        return np.asarray(products * prompts / (prompts - 1))

    @property
    def covariance(self) -> Floats:
        """(K, K) of the corrected frequencies, from prompts and from the classifier's measured rates."""
        transform = self.correction.transform
        from_prompts = transform @ self.observed_covariance @ transform.T
        return np.asarray(from_prompts + self.correction.covariance(self.correction.shares(self.observed)))

    def errors(self, contrasts: Floats) -> Floats:
        """(M,) standard errors of contrasts of the corrected frequencies.

        Where prompts show no spread at all, that of as many independent images as there are prompts, since no spread
        seen is not no spread.
        """
        error = np.sqrt(np.einsum("mi,ij,mj->m", contrasts, self.covariance, contrasts).clip(0.0))
        across = contrasts @ self.correction.transform
        smoothed = (self.table.sum(axis=0) + 0.5) / (self.table.sum() + 0.5 * self.table.shape[1])
        spread = np.square(across) @ smoothed - (across @ smoothed) ** 2
        return np.asarray(np.where(error > 0, error, np.sqrt(spread / len(self.table))))


def degrees_of(counts: Counts, contrasts: Floats) -> Floats:
    """(M,) degrees of freedom of contrasts of the frequencies (Satterthwaite over prompts and measured rates)."""
    across = contrasts @ counts.correction.transform
    from_prompts = np.einsum("mi,ij,mj->m", across, counts.observed_covariance, across)
    total = np.einsum("mi,ij,mj->m", contrasts, counts.covariance, contrasts)
    prompts = len(counts.table) - 1
    pieces = from_prompts**2 / prompts + (total - from_prompts) ** 2 / counts.correction.degrees
    return np.asarray(np.divide(total**2, pieces, out=np.full_like(total, prompts), where=pieces > 0))


def critical_value(covariance: Floats, normals: Floats) -> float:
    """The 95 % quantile of max |Z| of the standardised contrasts, from (draws, ≥ rank) standard normals.

    At least that of one contrast, which is what contrasts without any spread are left with.
    """
    error = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(np.where(error > 0, error, 1.0), np.where(error > 0, error, 1.0))
    values, vectors = np.linalg.eigh(correlation)
    kept = values.argsort()[::-1][: normals.shape[1]]  # contrasts of K frequencies have rank below K
    root = vectors[:, kept] * np.sqrt(values[kept].clip(0.0))
    largest = np.abs(normals[:, : len(kept)] @ root.T).max(axis=1)
    return max(float(np.quantile(largest, CONFIDENCE)), normal_critical())


def t_reach(critical: float, degrees: Floats) -> Floats:
    """t quantiles with the tail area of a normal ``critical``."""
    return np.asarray(stats.t.isf(stats.norm.sf(critical), degrees))
