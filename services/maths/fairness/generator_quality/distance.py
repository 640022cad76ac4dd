"""KID and Fréchet distance of synthetic images to real ones, beside the real-real floor at the same n."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.arguments import stream_key
from services.maths.fairness.distributions import frechet_distance, kid
from services.maths.fairness.limits import normal_critical

Features = NDArray[np.floating]
Limits = tuple[float, float]

MINIMUM = 20  # of images on a side: below it neither distance says anything
PERMUTATIONS = 9999
DRAWS = 20


@dataclass(frozen=True)
class Distance:
    """Both distances of ``n`` synthetic images to ``n`` real ones.

    Attributes:
        n: images on each side, in every number here.
        kid: unbiased, so 0 means equal distributions and chance makes it negative half the time.
        kid_limits: 95 %, by the delete-one-patient jackknife; too wide where there is no difference.
        kid_floor, kid_floor_limits: the same of the control images to the same real ones.
        kid_p: one-sided, by exchanging image i with patient i's own.
        frechet: depends on n more than on anything else, so it means something beside its floor only.
        frechet_floor, frechet_floor_limits: mean and 2.5 to 97.5 % range over ``draws`` random halves of all real.
    """

    n: int
    kid: float
    kid_limits: Limits
    kid_floor: float
    kid_floor_limits: Limits
    kid_p: float
    frechet: float
    frechet_floor: float
    frechet_floor_limits: Limits
    permutations: int
    draws: int


def distance(
    synthetic: Features,
    real: Features,
    control: Features,
    *,
    permutations: int = PERMUTATIONS,
    draws: int = DRAWS,
    seed: int,
) -> Distance | None:
    """Distances of (N, d) ``synthetic`` features to the (N, d) ``real`` ones of the same conditions, row by row.

    ``control`` is (M, d) of other patients. All numbers are of n = min(N, M) random rows. None below 20 of them.
    Raises ValueError for samples that do not go together row by row, or features that are not finite.
    """
    if len(synthetic) != len(real):
        raise ValueError(f"each synthetic image goes with a real one, got {len(synthetic)} and {len(real)}")
    n = min(len(real), len(control))
    if n < MINIMUM:
        return None
    rng = np.random.Generator(np.random.Philox(key=stream_key(seed)))
    paired, other = _some(rng, len(real), n), _some(rng, len(control), n)
    made, true, held = synthetic[paired], real[paired], control[other]
    ids = np.arange(n)
    found = kid(made, true, first_cluster=ids, second_cluster=ids, permutations=permutations, seed=seed)
    floor = kid(held, true, first_cluster=ids + n, second_cluster=ids, permutations=1, seed=seed)
    splits = [_halves(rng, np.concatenate([true, held])) for _ in range(draws)]
    low, high = np.quantile(splits, [0.025, 0.975])
    return Distance(
        n=n,
        kid=found.value,
        kid_limits=_limits(found.value, found.standard_error),
        kid_floor=floor.value,
        kid_floor_limits=_limits(floor.value, floor.standard_error),
        kid_p=found.p_value,
        frechet=frechet_distance(made, true),
        frechet_floor=float(np.mean(splits)),
        frechet_floor_limits=(float(low), float(high)),
        permutations=permutations,
        draws=draws,
    )


def _some(rng: np.random.Generator, count: int, n: int) -> NDArray[np.intp]:
    return np.sort(rng.permutation(count)[:n])


def _halves(rng: np.random.Generator, features: Features) -> float:
    order = rng.permutation(len(features))
    half = len(features) // 2
    return frechet_distance(features[order[:half]], features[order[half : 2 * half]])


def _limits(value: float, error: float) -> Limits:
    reach = normal_critical() * error
    return value - reach, value + reach
