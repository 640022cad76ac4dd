"""Group shares when a classifier assigned the groups: its errors taken out again (Rogan and Gladen 1978, any K).

With rates R[k, j] = P(predicted j | truly k) and observed shares q = Rᵀ π, the true shares are π = (Rᵀ)⁻¹ q. The rates
were measured on a finite sample, and that error does not shrink with the number of images: to first order it adds
Σ_k π_k² T V_k Tᵀ to the covariance of π, with T = (Rᵀ)⁻¹ and V_k the multinomial covariance of row k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.arguments import numbers

Floats = NDArray[np.float64]

# A classifier whose rates are nearer to singular than this turns every observed share into any true one.
_LEAST_SEPARATION = 0.05


@dataclass(frozen=True)
class Correction:
    """``transform`` (K, K) takes observed to true shares; ``row_covariances`` (K, K, K) are those of the rates' rows.

    ``degrees`` of freedom behind the rates, infinite for a perfect classifier.
    """

    transform: Floats
    rates: Floats
    row_covariances: Floats
    degrees: float

    def shares(self, observed: Floats) -> Floats:
        """(..., K) true shares; they add up to 1, but may lie outside [0, 1]."""
        return np.asarray(observed @ self.transform.T)

    def covariance(self, shares: Floats) -> Floats:
        """(..., K, K) covariance of the (..., K) true shares that comes from the measured rates."""
        rows = np.einsum("...k,kij->...ij", np.square(shares), self.row_covariances)
        return np.asarray(self.transform @ rows @ self.transform.T)


def no_correction(groups: int) -> Correction:
    """The groups are known, as for phantoms, or the classifier is taken at its word."""
    identity = np.eye(groups)
    return Correction(identity, identity, np.zeros((groups, groups, groups)), np.inf)


def rogan_gladen(confusion: NDArray[np.integer]) -> Correction:
    """The correction by a (K, K) table of counts, rows true and columns predicted groups.

    Covariances of the rates take half a count more in each cell: a cell without errors in 50 images is not one without
    errors. Raises ValueError for another shape, negative or fractional counts, a group without any image, or a
    classifier that does not tell the groups apart.
    """
    counts = numbers("confusion", confusion)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or len(counts) < 2:
        raise ValueError(f"confusion must be counts (groups, groups), true by predicted, got shape {counts.shape}")
    if not (np.isfinite(counts).all() and (counts >= 0).all() and (counts == np.floor(counts)).all()):
        raise ValueError("confusion must hold counts of images, not rates: its size decides the standard errors")
    images = counts.sum(axis=1)
    if (images == 0).any():
        raise ValueError(f"confusion has no image whose true group is number {int(np.argmin(images))}")
    rates = counts / images[:, None]
    if np.linalg.svd(rates, compute_uv=False)[-1] < _LEAST_SEPARATION:
        raise ValueError("the classifier does not tell the groups apart well enough for its errors to be taken out")
    groups = len(counts)
    smoothed = (counts + 0.5) / (images + 0.5 * groups)[:, None]
    rows = np.stack([np.diag(row) - np.outer(row, row) for row in smoothed]) / images[:, None, None]
    return Correction(np.linalg.inv(rates.T), rates, rows, float(images.sum() - groups))


def onto_simplex(shares: Floats) -> Floats:
    """The nearest (K,) shares that are not negative and add up to 1 (Euclidean projection; Held et al. 1974)."""
    ordered = np.sort(shares)[::-1]
    excess = (np.cumsum(ordered) - 1.0) / np.arange(1, len(shares) + 1)
    last = int(np.flatnonzero(ordered > excess)[-1])
    return np.asarray(np.maximum(shares - excess[last], 0.0))
