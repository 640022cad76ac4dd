"""Optimal transport with no cleverness: every permutation, every outcome, one loop each."""

from __future__ import annotations

from itertools import permutations, product
from math import comb

import numpy as np
from scipy.stats import binom


def cheapest(p, u) -> np.ndarray:
    """(N,) which row of ``u`` each row of ``p`` gets, over all N! ways, by the sum of squared distances."""
    cost = ((p[:, None] - u[None]) ** 2).sum(axis=2)
    orders = np.array(list(permutations(range(len(p)))))
    return orders[cost[np.arange(len(p)), orders].sum(axis=1).argmin()]


def expectation(p, shares) -> np.ndarray:
    """(N, K) of all K^N outcomes of the targets, each weighted by its probability."""
    count, classes = p.shape
    q = np.zeros_like(p)
    for outcome in product(range(classes), repeat=count):
        given = np.array(outcome)[cheapest(p, np.eye(classes)[list(outcome)])]
        q[np.arange(count), given] += np.prod(np.asarray(shares)[list(outcome)])
    return q


def two_classes(ones) -> np.ndarray:
    return np.stack([1 - np.asarray(ones), np.asarray(ones)], axis=1)


def public_rule(p, share, threshold=0.8):
    """Labels and confidence for two classes with the two faults of the public code (Shen et al. 2024).

    ``share``, documented as that of class 1, is taken for a rank: class 1 begins at rank n * share. And how sure class
    0 is follows from Bin(n, share) where it should be Bin(n, 1 - share).
    """
    n = len(p)
    rank = np.argsort(np.argsort(p[:, 1], kind="stable"))
    labels = (rank >= n * share).astype(np.int64)
    doubt = np.where(labels == 1, 1 - binom.cdf(rank, n, 1 - share), binom.cdf(rank, n, share))
    return labels, doubt <= 1 - threshold


def binomial_cdf(r, n, share) -> float:
    return sum(comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(r + 1))
