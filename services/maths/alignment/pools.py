"""Which images are aligned with one another, and on what: each prompt's own, each attribute, or their crossing.

Images of several prompts that are aligned as one pool can look fair while every prompt makes one group only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.maths.alignment.targets import DRAWS, Doubles, aligned_targets, checked_probabilities


def by_prompt(
    p: npt.ArrayLike,
    prompts: Sequence[object] | npt.NDArray[np.generic],
    target: npt.ArrayLike | None,
    *,
    rng: np.random.Generator,
    draws: int = DRAWS,
    fixed: npt.ArrayLike | None = None,
    valid: npt.ArrayLike | None = None,
) -> Doubles:
    """(N, K) soft targets as of aligned_targets, each prompt's images among themselves.

    ``prompts`` (N,) are strings or numbers. Confidence needs images: at a target of one half and tau = 0.8 the only
    image of a prompt never gets a label, and of four images two do. A prompt in which no subject was found at all has
    rows of NaN. Raises ValueError as aligned_targets does, and for no valid image in any prompt.
    """
    p, present = checked_probabilities(p, valid)
    if len(prompts) != len(p):
        raise ValueError(f"{len(prompts)} prompts for {len(p)} images: one each is needed")
    q = np.full_like(p, np.nan)
    _, prompt = np.unique(np.asarray(prompts), return_inverse=True)
    for number in np.unique(prompt[present]):
        rows = present & (prompt == number)
        q[rows] = aligned_targets(p[rows], target, rng=rng, draws=draws, fixed=fixed)
    return q


def by_attribute(
    probabilities: Sequence[npt.ArrayLike],
    prompts: Sequence[object] | npt.NDArray[np.generic],
    targets: Sequence[npt.ArrayLike | None],
    *,
    rng: np.random.Generator,
    draws: int = DRAWS,
    fixed: Sequence[npt.ArrayLike | None] | None = None,
    valid: npt.ArrayLike | None = None,
) -> list[Doubles]:
    """Soft targets of each attribute, (N, K_a) probabilities and (K_a,) target each, all of the same N images.

    Each attribute gets its own distribution, and their crossing whatever it has; see :func:`crossed` for a target over
    that. An attribute with a set in ``fixed`` has the target None. ValueError unless there is one target an attribute,
    and as by_prompt does.
    """
    if len(probabilities) != len(targets) or not targets:
        raise ValueError(f"{len(targets)} targets for {len(probabilities)} attributes: one each is needed")
    return [
        by_prompt(p, prompts, target, rng=rng, draws=draws, fixed=given, valid=valid)
        for p, target, given in zip(probabilities, targets, fixed or [None] * len(targets), strict=True)
    ]


def crossed(probabilities: Sequence[npt.ArrayLike]) -> Doubles:
    """(N, K_1 K_2 …) float64 probabilities of all combinations of levels, the last attribute's changing fastest.

    They are the products of the attributes' own, as if the classifiers' errors were independent given the image. Rows
    of NaN in any attribute are NaN. A target over the crossing has its shares in the same order; that of independent
    attributes is ``crossed([[first], [second], …])[0]``. ValueError for no attribute or different numbers of images.
    """
    arrays = [np.asarray(p, dtype=np.float64) for p in probabilities]
    if not arrays or len({len(p) for p in arrays}) != 1:
        raise ValueError("one or more attributes are needed, with probabilities of the same images")
    product = arrays[0]
    for p in arrays[1:]:
        product = (product[:, :, None] * p[:, None, :]).reshape(len(p), -1)
    return product
