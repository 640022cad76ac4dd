"""The Fréchet distance of two feature samples (Dowson and Landau 1982; FID in Heusel et al. 2017), exact and finite.

    |m1 - m2|² + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)          means m, covariances S (divisor n - 1)

The last term is a sum of singular values, so no matrix square root is taken. With X the centred features,
tr (S1 S2)^(1/2) is the nuclear norm of X1 X2ᵀ over sqrt((n1 - 1)(n2 - 1)), an n × n matrix: cheaper for n < d, and
exact where covariances are singular and a square root breaks down. For n ≥ d it is the sum of the square roots of the
eigenvalues of Lᵀ S2 L with S1 = L Lᵀ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from services.maths.fairness.arguments import numbers

Floats = NDArray[np.float64]

LARGEST = 1e40


def frechet_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two (n, d) samples of equal n, in squared feature units.

    0 only for equal means and covariances; never negative, always finite. Two samples of one distribution do not give
    0: the expected value rises with d and falls with n, so n must be equal wherever distances are compared.

    Raises ValueError for unequal n, unequal d, fewer than 2 rows, or features that are not finite.
    """
    left, right = checked(first, "first"), checked(second, "second")
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"samples must have the same features, got {left.shape[1]} and {right.shape[1]}")
    if len(left) != len(right):
        raise ValueError(
            f"the Fréchet distance depends on sample size, so both samples must have the same: got {len(left)} and "
            f"{len(right)} rows; draw equal numbers, or use the kernel distance, which is unbiased at any size"
        )
    return of_centred(Centred(left), Centred(right))


def of_centred(first: Centred, second: Centred) -> float:
    """:func:`frechet_distance` of samples that were centred once and are compared with many others."""
    samples, dimensions = first.rows.shape
    degrees = samples - 1
    if samples < dimensions:
        cross = first.rows @ second.rows.T
        root = nuclear_norm(cross) / degrees
    else:
        root = trace_of_root(first.rows.T @ first.rows / degrees, second.rows.T @ second.rows / degrees)
    apart = float(np.square(first.mean - second.mean).sum())
    return float(max(apart + first.trace + second.trace - 2.0 * root, 0.0))


def nuclear_norm(matrix: Floats) -> float:
    """Sum of the singular values, float64; from the eigenvalues of the Gram if the decomposition does not converge."""
    try:
        return float(linalg.svdvals(matrix, overwrite_a=False, check_finite=False).sum())
    except linalg.LinAlgError:
        return float(np.sqrt(linalg.eigvalsh(matrix @ matrix.T).clip(0.0)).sum())


def trace_of_root(first: Floats, second: Floats) -> float:
    """tr (S1 S2)^(1/2) of two (d, d) covariances, float64; a singular one takes the eigenvalue root, not Cholesky's."""
    try:
        root = linalg.cholesky(first, lower=True, check_finite=False)
    except linalg.LinAlgError:
        values, vectors = linalg.eigh(first)
        root = vectors * np.sqrt(values.clip(0.0))
    inner = root.T @ second @ root
    return float(np.sqrt(linalg.eigvalsh(0.5 * (inner + inner.T), check_finite=False).clip(0.0)).sum())


def checked(features: NDArray[np.floating], name: str) -> Floats:
    """(n, d) float64 features; ValueError unless there are two rows, a column, and only numbers up to ``LARGEST``."""
    table = numbers(name, features)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 1:
        raise ValueError(f"{name} must be features (n, d) of at least 2 records, got shape {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError(f"{name} holds NaN or infinite features; leave those records out and say how many they were")
    if np.abs(table).max() > LARGEST:
        raise ValueError(f"{name} holds features beyond {LARGEST:g}, of which no square or cube can be added up")
    return table


class Centred:
    """A sample less its mean, with what every distance to it needs: ``mean`` (d,), ``trace`` of its covariance."""

    def __init__(self, features: Floats) -> None:
        self.mean = features.mean(axis=0)
        self.rows = features - self.mean
        self.trace = float(np.vdot(self.rows, self.rows)) / (len(features) - 1)
