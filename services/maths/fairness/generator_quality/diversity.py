"""How different a generator's images of one condition are, beside real images of the same condition."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from services.maths.fairness.arguments import stream_key
from services.maths.fairness.limits import normal_critical

Features = NDArray[np.floating]
Floats = NDArray[np.float64]
Limits = tuple[float, float]

PERMUTATIONS = 9999
MINIMUM_PAIRS = 20
NEAREST = 3  # of Kynkäänniemi et al. 2019


@dataclass(frozen=True)
class Spread:
    """Mean Euclidean distance of two images of one condition.

    ``ratio`` is synthetic over real with 95 % limits (jackknife over patients, on the log scale). ``p_value`` is
    two-sided, by exchanging image i with patient i's own. ``conditions`` is how many have two images or more.
    """

    images: int
    conditions: int
    pairs: int
    synthetic: float
    real: float
    ratio: float
    limits: Limits
    p_value: float


def spread(
    synthetic: Features,
    real: Features,
    condition: NDArray[np.integer],
    *,
    permutations: int = PERMUTATIONS,
    seed: int,
) -> Spread | None:
    """Spread within the (N,) numbered conditions of (N, d) features that go together row by row.

    The same pairs of rows are compared on both sides. None below 20 pairs, or where real images are all alike.
    """
    if not len(synthetic) == len(real) == len(condition):
        raise ValueError(f"rows differ in number: {len(synthetic)}, {len(real)} and {len(condition)}")
    same = condition[:, None] == condition[None, :]
    np.fill_diagonal(same, False)
    pairs = int(same.sum()) // 2
    if pairs < MINIMUM_PAIRS:
        return None
    made, true = (np.where(same, cdist(table, table), 0.0) for table in (synthetic, real))
    if true.sum() <= 0:
        return None
    across = np.where(same, cdist(synthetic, real), 0.0)
    # Exchanging row i changes the difference of the two sums by the sign of its own score only.
    scores = (made - true + across - across.T).sum(axis=1)
    rng = np.random.Generator(np.random.Philox(key=stream_key(seed, 1)))
    signs = 1.0 - 2.0 * rng.integers(0, 2, size=(permutations, len(scores)))
    observed = abs(scores.sum())
    extreme = int((np.abs(signs @ scores) >= observed - 1e-9 * np.abs(scores).sum()).sum())
    ratio = made.sum() / true.sum()
    return Spread(
        images=int(same.any(axis=1).sum()),
        conditions=len(np.unique(condition[same.any(axis=1)])),
        pairs=pairs,
        synthetic=float(made.sum() / (2 * pairs)),
        real=float(true.sum() / (2 * pairs)),
        ratio=float(ratio),
        limits=_ratio_limits(made, true),
        p_value=(1 + extreme) / (permutations + 1),
    )


def _ratio_limits(made: Floats, true: Floats) -> Limits:
    """Delete-one limits of sum(made) / sum(true); (0, 0) where the images are all alike."""
    above, below = made.sum() - 2 * made.sum(axis=1), true.sum() - 2 * true.sum(axis=1)
    if made.sum() <= 0:
        return 0.0, 0.0
    usable = (above > 0) & (below > 0)
    logs = np.log(above[usable] / below[usable])
    count = len(logs)
    error = float(np.sqrt((count - 1) / count * np.square(logs - logs.mean()).sum()))
    centre, reach = float(np.log(made.sum() / true.sum())), normal_critical() * error
    return float(np.exp(centre - reach)), float(np.exp(centre + reach))


@dataclass(frozen=True)
class Manifold:
    """Improved precision and recall (Kynkäänniemi et al. 2019): shares of one sample within the other's balls."""

    n: int
    precision: float
    recall: float


def manifold(synthetic: Features, real: Features, *, nearest: int = NEAREST) -> Manifold | None:
    """Precision (synthetic within the real manifold) and recall (real within the synthetic one) of equal n.

    A sample's manifold is the union of balls around its points, each as large as the distance to the point's k-th
    neighbour. Depends on n: compare with the same of two real samples. None for n of at most k + 1.
    """
    n = min(len(synthetic), len(real))
    if n <= nearest + 1:
        return None
    made, true = synthetic[:n], real[:n]
    across = cdist(made, true)
    return Manifold(
        n=n,
        precision=float((across <= _reach(true, nearest)[None, :]).any(axis=1).mean()),
        recall=float((across <= _reach(made, nearest)[:, None]).any(axis=0).mean()),
    )


def _reach(table: Features, nearest: int) -> Floats:
    return np.asarray(np.sort(cdist(table, table), axis=1)[:, nearest])


def distinct_images(images: NDArray[np.floating]) -> int:
    """How many of (N, C, H, W) images in [0, 1] differ in at least one pixel, at 8 bits."""
    eight = np.rint(np.clip(images, 0.0, 1.0) * 255).astype(np.uint8)
    return len({hashlib.sha256(image.tobytes()).digest() for image in eight})
