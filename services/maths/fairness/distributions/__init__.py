"""Distances between distributions of image features, per group.

The kernel distance (KID) is the estimator of record: unbiased at any size, with a permutation p over patients. The
Fréchet distance (FID) depends on the number of records more than on anything else (two samples of 500 from one
2048-dimensional distribution are about 46 apart), so it exists here only between samples of equal size and beside
its floor, the distance between two samples of the same group.
"""

from services.maths.fairness.distributions.frechet import frechet_distance
from services.maths.fairness.distributions.frechet_matrix import FrechetMatrix, frechet_matrix
from services.maths.fairness.distributions.kernel import KernelDistance, KernelMatrix, kid, kid_matrix

__all__ = [
    "FrechetMatrix",
    "KernelDistance",
    "KernelMatrix",
    "frechet_distance",
    "frechet_matrix",
    "kid",
    "kid_matrix",
]
