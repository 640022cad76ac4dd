"""Differences of per-image means (Dice, PSNR, SSIM, LPIPS) between groups, with patients as the units.

Groups may differ in spread as well as in mean (small lesions have scattered Dice), so each group keeps its own variance
here, and the permutation of studentised differences stays valid to first order when spreads differ (Janssen 1997; Chung
and Romano 2013). A group's variance is that of a ratio of patient sums, Σ (s - mean n)² K / (K - 1) / n², with s a
patient's sum over n images. It comes from sums of s², s n and n², so that no permutation looks at images again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.sums import Floats
from services.maths.fairness.testing.permutation import Features

VALUE, RECORDS, PATIENTS, VALUE2, VALUE_RECORDS, RECORDS2 = range(6)
WIDTH = 6


@dataclass(frozen=True)
class MeanNull:
    """Features of L metrics, (K, 6 L) float32, their sums (6, L), and the spread (L,) in the metric's units."""

    features: Features
    totals: Floats
    spread: Floats


def mean_null(values: Sequence[tuple[Floats, Floats]]) -> MeanNull:
    """Features of L metrics, each given as (K,) sums of values and (K,) numbers of values per patient.

    Values are centred at the overall mean and scaled by the patients' spread, so that float32 holds dB and LPIPS alike.
    """
    columns = np.zeros((len(values[0][0]), WIDTH, len(values)), dtype=np.float32)
    spread = np.zeros(len(values))
    for i, (total, records) in enumerate(values):
        centred = total - total.sum() / max(records.sum(), 1.0) * records
        spread[i] = np.sqrt((centred**2).sum() / max(records.sum(), 1.0))
        scaled = centred / spread[i] if spread[i] > 0 else np.zeros_like(centred)
        columns[:, :, i] = np.stack([scaled, records, records > 0, scaled**2, scaled * records, records**2], axis=1)
    return MeanNull(columns.reshape(len(columns), -1), columns.sum(axis=0, dtype=np.float64), spread)


def mean_statistics(null: MeanNull, sums: Floats) -> tuple[Floats, Floats]:
    """(B, G, L) statistics and standard errors of group minus everyone from (B, G, 6 L) sums; 0 where undefined.

    mean_g - mean = Σ_g e (1/n_g - 1/n) - Σ_rest e / n: the group and the rest, each with its own variance. t quotients
    with K_g - 1 degrees of freedom are brought to the normal scale, so that small groups do not own the family's tail.
    The standard error is in the metric's units.
    """
    table = np.moveaxis(sums.reshape(*sums.shape[:2], WIDTH, -1), 2, 0)
    total = null.totals[:, None, None]
    rest = total - table
    usable = (table[PATIENTS] > 1) & (rest[PATIENTS] > 1)
    n, everyone = np.where(usable, table[RECORDS], 1.0), np.maximum(total[RECORDS], 1.0)
    difference = table[VALUE] / n - total[VALUE] / everyone
    variance = _scatter(table) * (1.0 / n - 1.0 / everyone) ** 2 + _scatter(rest) / everyone**2
    return _studentised(difference, variance, table[PATIENTS] - 1.0, usable, null)


def pairwise_statistics(null: MeanNull, sums: Floats) -> Floats:
    """(B, P, L) studentised differences of the P pairs a < b of the G groups in (B, G, 6 L) sums; 0 where undefined.

    Welch's degrees of freedom. The maximum of their absolute values is the statistic of a max-min gap.
    """
    table = np.moveaxis(sums.reshape(*sums.shape[:2], WIDTH, -1), 2, 0)
    first, second = np.triu_indices(table.shape[2], 1)
    enough = table[PATIENTS] > 1
    n = np.where(enough, table[RECORDS], 1.0)
    mean, variance = table[VALUE] / n, _scatter(table) / n**2
    fourth = variance**2 / np.maximum(table[PATIENTS] - 1.0, 1.0)
    both = variance[:, first] + variance[:, second]
    tiny = np.finfo(float).tiny
    degrees = np.maximum(both**2 / np.maximum(fourth[:, first] + fourth[:, second], tiny), 1.0)
    usable = enough[:, first] & enough[:, second]
    return _studentised(mean[:, first] - mean[:, second], both, degrees, usable, null)[0]


def normal_equivalent(t: Floats, degrees: Floats) -> Floats:
    """Normal quantile with the tail area of a t quotient, odd and increasing in t (Wallace 1959).

    Within 0.025 for 5 degrees of freedom and |t| up to 6; closer for more.
    """
    df = np.maximum(degrees, 1.0)
    size: Floats = (8 * df + 1) / (8 * df + 3) * np.sqrt(df * np.log1p(t**2 / df))
    return np.copysign(size, t)


def _studentised(
    difference: Floats,
    variance: Floats,
    degrees: Floats,
    usable: NDArray[np.bool_],
    null: MeanNull,
) -> tuple[Floats, Floats]:
    # Features are scaled to a spread of 1: a variance below 1e-12 is float32 rounding of equal values.
    error = np.sqrt(np.maximum(variance, 1e-12))
    alive = usable & (null.spread > 0)
    statistic = np.where(alive, normal_equivalent(difference / error, degrees), 0.0)
    return statistic, np.where(alive, error * null.spread, 0.0)


def _scatter(table: Floats) -> Floats:
    """Σ (s - mean n)² K / (K - 1) of each group, from its six sums."""
    mean = table[VALUE] / np.maximum(table[RECORDS], 1.0)
    squares = table[VALUE2] - 2 * mean * table[VALUE_RECORDS] + mean**2 * table[RECORDS2]
    patients = np.maximum(table[PATIENTS], 2.0)
    scatter: Floats = np.maximum(squares, 0.0) * patients / (patients - 1.0)
    return scatter
