"""Which group each image of a batch should belong to, so that the batch as a whole has the target distribution.

Optimal transport (Shen et al. 2024; Han et al. 2025, SDAT): N targets are drawn from the target distribution, each
image gets the one that the cheapest assignment gives it, and q is the expectation over the draws. It is the randomness
of the draws that makes confidence: an image near the cut gets one class in some draws and another in the others.

The cost is the squared Euclidean distance |p - u|². The papers print |p - u|; squared, the cheapest assignment for two
classes is the sorted one and no other, and with one-hot targets |p - e_k|² = |p|² + 1 - 2 p_k, so that the assignment
maximises the sum of the probabilities of the classes assigned, whatever else an image's probabilities are.

Probabilities are (N, K) float64 of a classifier, rows that add up to 1. A row of NaN is an image in which no subject
was found: it is in no ranking, its q is NaN, and pseudo_labels leaves it out of the loss.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.special import bdtr

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

DRAWS = 200
_ROUNDING = 1e-4
"""How far probabilities of single precision, or shares that a person typed, may be from adding up to 1."""


def aligned_targets(
    p: npt.ArrayLike,
    target: npt.ArrayLike | None,
    *,
    rng: np.random.Generator,
    draws: int = DRAWS,
    fixed: npt.ArrayLike | None = None,
    valid: npt.ArrayLike | None = None,
) -> Doubles:
    """(N, K) float64 soft targets of a pool of N images: the share of draws in which an image is given each class.

    ``target`` (K,) are shares; two classes have a closed form, and more take ``draws`` draws of ``rng``. Or, with
    ``target`` None, ``fixed`` (M, K) are classifier outputs of M >= N real images (see :func:`fixed_targets`).
    ``valid`` (N,) bool leaves images out beside those whose row is NaN; their q is NaN.

    Raises ValueError for a target that is negative, does not add up to 1 or has another number of classes than the
    classifier; for rows that are no probabilities; for no valid image at all; for fewer fixed targets than images.
    """
    p, present = checked_probabilities(p, valid)
    q = np.full_like(p, np.nan)
    if fixed is not None:
        if target is not None:
            raise ValueError("give a target distribution or a fixed set of targets, not both")
        q[present] = fixed_targets(p[present], fixed, rng=rng, draws=draws)
        return q
    if target is None:
        raise ValueError("a target distribution, or a fixed set of targets, is needed")
    shares = checked_target(target, p.shape[1])
    if p.shape[1] == 2:
        q[present] = binomial_targets(p[present], float(shares[1]))
    else:
        q[present] = expected_targets(p[present], shares, rng, draws)
    return q


def binomial_targets(p: npt.ArrayLike, share: float) -> Doubles:
    """(N, 2) expected targets when each image's target is class 1 with probability ``share``, in closed form.

    Sorted by the probability of class 1, the image of rank r = 0..N-1 is given class 0 where more than r of the N
    targets are 0, and their number is Bin(N, 1 - share): q(class 1) = P(Bin(N, 1 - share) <= r). Images that tie keep
    their order. ValueError for a share outside 0..1.
    """
    p, _ = checked_probabilities(p, None, complete=True)
    if p.shape[1] != 2:
        raise ValueError(f"the closed form is of two classes, got {p.shape[1]}; use expected_targets")
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"the share of class 1 must lie in 0..1, got {share}")
    of_rank = bdtr(np.arange(len(p), dtype=np.float64), len(p), 1.0 - share)
    q = np.empty_like(p)
    q[np.argsort(p[:, 1], kind="stable"), 1] = of_rank
    q[:, 0] = 1.0 - q[:, 1]
    return q


def expected_targets(p: npt.ArrayLike, target: npt.ArrayLike, rng: np.random.Generator, draws: int = DRAWS) -> Doubles:
    """(N, K) mean of the one-hot targets that each image is given over ``draws`` draws of N from ``target`` (K,).

    A draw matters through its counts alone, so each distinct vector of counts is assigned once, exactly, and weighs as
    often as it came.
    """
    p, _ = checked_probabilities(p, None, complete=True)
    shares = checked_target(target, p.shape[1])
    _require_draws(draws)
    multisets, times = np.unique(rng.multinomial(len(p), shares, size=draws), axis=0, return_counts=True)
    q = np.zeros_like(p)
    for counts, weight in zip(multisets, times, strict=True):
        classes = np.repeat(np.arange(p.shape[1]), counts)
        rows, columns = linear_sum_assignment(p[:, classes], maximize=True)
        q[rows, classes[columns]] += weight
    return np.asarray(q / draws)


def fixed_targets(
    p: npt.ArrayLike, u: npt.ArrayLike, *, rng: np.random.Generator | None = None, draws: int = DRAWS
) -> Doubles:
    """(N, K) targets out of a fixed set ``u`` (M, K) of classifier outputs of real images, M >= N.

    With M = N there is one set and one assignment: nothing is random, so with one-hot ``u`` every image is given one
    class with confidence 1, and a threshold tau then does nothing at all (with a sure classifier's outputs, next to
    nothing). With M > N the mean over ``draws`` draws of N of the M without replacement, which have confidence again.
    Two classes are assigned by sorting, more by linear assignment. ValueError for M < N, and M > N without an ``rng``.
    """
    p, _ = checked_probabilities(p, None, complete=True)
    u, _ = checked_probabilities(u, None, complete=True)
    if u.shape[1] != p.shape[1]:
        raise ValueError(f"the fixed targets have {u.shape[1]} classes, the classifier has {p.shape[1]}")
    if len(u) < len(p):
        raise ValueError(f"a fixed set needs a target for each image: {len(u)} targets for {len(p)} images")
    if len(u) == len(p):
        return _assigned(p, u)
    if rng is None:
        raise ValueError(f"{len(p)} of {len(u)} fixed targets are drawn at random: rng is needed")
    _require_draws(draws)
    total = np.zeros_like(p)
    for _ in range(draws):
        total += _assigned(p, u[rng.permutation(len(u))[: len(p)]])
    return np.asarray(total / draws)


def pseudo_labels(q: Doubles, threshold: float) -> tuple[npt.NDArray[np.int64], Flags]:
    """(N,) int64 class of the largest of each row of ``q`` (N, K), and (N,) bool whether it is at least ``threshold``.

    A row of NaN has class 0 and no confidence. ValueError for a threshold outside (0, 1).
    """
    checked_threshold(threshold)
    present: Flags = np.asarray(~np.isnan(q).any(axis=1))
    known = np.where(present[:, None], q, 0.0)
    return known.argmax(axis=1).astype(np.int64), present & (known.max(axis=1) >= threshold)


def checked_threshold(threshold: float) -> float:
    """The threshold tau. ValueError outside (0, 1)."""
    if not 0.0 < threshold < 1.0:
        raise ValueError(f"the confidence threshold tau must lie between 0 and 1, both excluded, got {threshold}")
    return threshold


def checked_target(target: npt.ArrayLike, classes: int) -> Doubles:
    """(K,) float64 shares that add up to 1 exactly, of a classifier of ``classes`` classes. ValueError as above."""
    shares = np.asarray(target, dtype=np.float64)
    if shares.ndim != 1 or len(shares) != classes:
        raise ValueError(f"the target must have one share for each of the classifier's {classes} classes, got {shares}")
    if not (np.isfinite(shares).all() and (shares >= 0).all()):
        raise ValueError(f"the target's shares must be numbers of at least 0, got {shares}")
    if abs(shares.sum() - 1.0) > _ROUNDING:
        raise ValueError(f"the target's shares must add up to 1, they add up to {shares.sum():g}")
    return np.asarray(shares / shares.sum())


def checked_probabilities(
    p: npt.ArrayLike, valid: npt.ArrayLike | None, *, complete: bool = False
) -> tuple[Doubles, Flags]:
    """Probabilities (N, K) float64, and (N,) bool which rows count: neither NaN nor left out by ``valid``.

    ValueError where none counts, for logits or other numbers that are no probabilities, and, if ``complete``, for NaN.
    """
    rows = np.asarray(p, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] < 2:
        raise ValueError(f"probabilities must be (N, K) with K of at least 2, got {rows.shape}")
    present: Flags = np.asarray(~np.isnan(rows).any(axis=1))
    if complete and not present.all():
        raise ValueError(f"{(~present).sum()} of {len(rows)} rows are NaN: images without a subject cannot be ranked")
    if valid is not None:
        mask = np.asarray(valid)
        if mask.shape != present.shape or mask.dtype != np.bool_:
            raise ValueError(f"valid must be ({len(rows)},) bool, got {mask.shape} {mask.dtype}")
        present &= mask
    if not present.any():
        raise ValueError(f"no subject was found in any of the {len(rows)} images: there is nothing to align")
    counted = rows[present]
    if (counted < 0).any() or np.abs(counted.sum(axis=1) - 1.0).max() > _ROUNDING:
        raise ValueError("rows must be probabilities that add up to 1, not logits")
    return rows, present


def _assigned(p: Doubles, u: Doubles) -> Doubles:
    """(N, K): the row of ``u`` (N, K) that the cheapest assignment gives each image."""
    given = np.empty_like(p)
    if p.shape[1] == 2:
        given[np.argsort(p[:, 1], kind="stable")] = u[np.argsort(u[:, 1], kind="stable")]
    else:
        # |p - u|² = |p|² + |u|² - 2 p·u, and the squares are in every assignment.
        rows, columns = linear_sum_assignment(p @ u.T, maximize=True)
        given[rows] = u[columns]
    return given


def _require_draws(draws: int) -> None:
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
