"""Distances between groups, real and synthetic, in the style of Table 1 of Skorupko et al. 2024.

Real images are those of all splits. Every draw deals patients into two sides, and a synthetic record belongs to the
patient whose mask it was made from: real and synthetic images that are compared never have a patient in common. The
diagonal is the same group twice, patients apart: the distance that this many images give when there is nothing to find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from services.maths.fairness.distributions import frechet_matrix, kid_matrix
from services.maths.fairness.groups import Grouping
from services.platform.augmentation.orders import Distances
from services.platform.augmentation.records import Records, grouping, joined

Encode = Callable[[Any], Any]  # (N, C, H, W) in [0, 1] → (N, d) features


def distance_matrices(
    real: Records,
    synthetic: Mapping[str, Records],
    asked: Distances,
    *,
    names: dict[str, list[str]],
    label: str,
    encode: Encode,
    seed: int,
) -> list[dict[str, Any]]:
    """One entry an attribute, and one for the label: Fréchet and kernel distances of all pairs of groups."""
    everyone = real
    for source in synthetic.values():
        everyone = joined(everyone, source)
    features = np.asarray(encode(everyone.pixels))
    found = []
    for attribute in (*asked.attributes, label):
        groups = _groups(real, synthetic, attribute, names, label)
        frechet = frechet_matrix(
            features, groups, cluster=everyone.patient, n=asked.records, draws=asked.draws, seed=seed
        )
        kernel = kid_matrix(features, groups, cluster=everyone.patient, permutations=asked.permutations, seed=seed)
        found.append(
            {
                "attribute": attribute,
                "groups": list(frechet.groups),
                "records": frechet.records.tolist(),
                "patients": frechet.patients.tolist(),
                "frechet_states": list(frechet.states),
                "n": frechet.n,
                "draws": frechet.draws,
                "frechet": _rounded(frechet.distance),
                "frechet_spread": _rounded(frechet.spread),
                "frechet_floor": _rounded(frechet.floor),
                "kernel_states": list(kernel.states),
                "kid": _rounded(kernel.value),
                "kid_error": _rounded(kernel.standard_error),
                "kid_p_adjusted": _rounded(kernel.p_adjusted),
                "permutations": kernel.permutations,
            }
        )
    return found


def _groups(
    real: Records, synthetic: Mapping[str, Records], attribute: str, names: dict[str, list[str]], label: str
) -> Grouping:
    """Groups of the real records, then of each synthetic source."""
    parts = [("real", real), *synthetic.items()]
    titles: list[str] = []
    codes = []
    for title, records in parts:
        own = (
            Grouping(label, (f"no {label}", label), records.label)
            if attribute == label
            else grouping(records.levels, attribute, names)
        )
        codes.append(np.where(own.codes < 0, -1, own.codes + len(titles)))
        titles += [f"{title}: {group}" for group in own.groups]
    return Grouping(attribute, tuple(titles), np.concatenate(codes))


def _rounded(matrix: Any) -> list[list[float | None]]:
    return [[None if not np.isfinite(value) else round(float(value), 8) for value in row] for row in np.asarray(matrix)]
