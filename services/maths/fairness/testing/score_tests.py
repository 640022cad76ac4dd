"""Score statistics of AUROC, TPR, FPR and prevalence: a group minus everyone, over its standard error under the null.

A group's own standard error is a poor yardstick for a test: with few positives it is itself noise, and hundreds of
such quotients give false findings in almost every audit. Under the null all groups share one distribution, so that the
variance is estimated from everyone and only the group's sizes are its own:

    difference   Σ_g e / n_g over the patients of the group, with residuals e = true positives - TPR × positives of a
                 patient (TPR), and likewise for FPR and prevalence. For AUROC the sum of two such parts: placements of
                 the positives among all negatives, and of the negatives among all positives, each minus AUROC, which is
                 the group's AUROC minus everyone's to first order (Hájek projection; DeLong et al. 1988).
    variance     a patient with n records varies by a n + b n² around 0: record noise, and what the records of one
                 patient share (an exchangeable correlation, i.e. a design effect that follows the group's own numbers
                 of images; Rao and Scott 1992). a and b come from everyone. With u = 1/n_g - 1/n and w = 1/n:
                 u² (a n_g + b Σ_g n²) + w² (a n_rest + b Σ_rest n²).

Permuting attribute vectors tests that groups do not differ in anything, prevalence and images per patient included.
What makes it a test of the metric alone is that the statistic hardly depends on the rest: each permutation's own group
sizes enter the standard error. Measured family-wise error at .05, 12 labels × 53 groups × 3 metrics in state ok (1,440
to 1,900 tests), 20,000 or 40,000 images, correlation .4 within patients, 150 to 200 data sets each (standard error
.015):

    no difference at all                                                   .045
    prevalence differs twofold by race and by age                          .03
    prevalence differs fourfold by race and by age                         .035
    twofold, and 5 images a patient in one group, 1.8 in the other         .035
    such images alone, correlation .7: .035, but .06 with one design effect for everyone

With AUROCs within groups in the observed numerator (see ``group_tests``) the variance grows by .3 % and both first
worlds stay at .08 or below over 100 data sets (tests, slow).

Straightening the statistic by Wilson and Hilferty's cube root with a pooled third moment was tried and dropped: .09
when prevalence differs, .35 with cells below ok, for patients with many images own the third moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.maths.fairness.sums import Floats
from services.maths.fairness.testing.permutation import Features

SCORE_METRICS = ("auroc", "tpr", "fpr", "prevalence")

# Difference and its variance under the null; (B, G, L) each.
Contrast = tuple[Floats, Floats]

# Columns of a label's features, and of the sums of them.
AUROC_POSITIVES, AUROC_NEGATIVES, TPR, FPR, POSITIVES, NEGATIVES, POSITIVES2, BOTH, NEGATIVES2 = range(9)
WIDTH = 9


@dataclass(frozen=True)
class LabelSums:
    """One label in one pipeline: sums over each of K patients' labelled records, (K,) float64 each.

    Placements are Σ over a patient's positive (negative) records of the share of all negatives scoring below (of all
    positives scoring above), ties half.
    """

    positives: Floats
    negatives: Floats
    positive_placements: Floats
    negative_placements: Floats
    true_positives: Floats
    false_positives: Floats


@dataclass(frozen=True)
class ScoreNull:
    """What everyone says about the null: features of the patients and the pooled variances, for L labels at once.

    Attributes:
        features: (K, 9 L) float32, column type by column type.
        totals: (9, L) their sums.
        noise: (5, 2) × (L,): a and b of the residuals of AUROC's positives, its negatives, TPR, FPR and prevalence.
        cross: (L,) covariance of AUROC's two residuals per positive × negative record of one patient.
        prevalence: (L,) of everyone.
    """

    features: Features
    totals: Floats
    noise: Floats
    cross: Floats
    prevalence: Floats


def score_null(labels: Sequence[LabelSums]) -> ScoreNull:
    """Features and pooled variances of L labels over the same K patients (zeros for a patient without records)."""
    patients = len(labels[0].positives)
    features = np.zeros((patients, WIDTH, len(labels)), dtype=np.float32)
    noise = np.zeros((5, 2, len(labels)))
    cross, prevalence = np.zeros(len(labels)), np.zeros(len(labels))
    for i, label in enumerate(labels):
        positives, negatives = label.positives, label.negatives
        counts = (positives, negatives, positives, negatives, positives + negatives)
        sums = (
            label.positive_placements,
            label.negative_placements,
            label.true_positives,
            label.false_positives,
            positives,
        )
        residuals = [
            above - _ratio(above.sum(), below.sum()) * below for above, below in zip(sums, counts, strict=True)
        ]
        for m, (residual, count) in enumerate(zip(residuals, counts, strict=True)):
            noise[m, :, i] = _noise(residual, count)
        up, down = residuals[0], residuals[1]
        both = positives * negatives
        cross[i] = _ratio((up * down).sum(), both.sum())
        prevalence[i] = _ratio(positives.sum(), (positives + negatives).sum())
        features[:, :, i] = np.stack([*residuals[:4], positives, negatives, positives**2, both, negatives**2], axis=1)
    flat = features.reshape(patients, -1)
    totals = features.sum(axis=0, dtype=np.float64)
    return ScoreNull(flat, totals, noise, cross, prevalence)


def score_statistics(null: ScoreNull, metric: str, sums: Floats) -> tuple[Floats, Floats]:
    """(B, G, L) statistics and standard errors of one metric from (B, G, 9 L) sums of the null's features.

    The statistic is about standard normal under the null, and positive where the group is above everyone. Both are 0
    where a group has no case or is everyone.
    """
    table = sums.reshape(*sums.shape[:2], WIDTH, -1)
    part = {"auroc": _auroc, "tpr": _true_positive_rate, "fpr": _false_positive_rate, "prevalence": _prevalence}[metric]
    difference, variance = part(null, np.moveaxis(table, 2, 0))
    error = np.sqrt(np.maximum(variance, 0.0))
    statistic = np.zeros_like(error)
    np.divide(difference, error, out=statistic, where=error > 0)
    return statistic, error


def own_auroc_variance(null: ScoreNull, sums: Floats) -> Floats:
    """(B, G, L) null variance of each group's AUROC within itself, to first order; infinite without a class."""
    table = np.moveaxis(sums.reshape(*sums.shape[:2], WIDTH, -1), 2, 0)
    n1, n0 = table[POSITIVES], table[NEGATIVES]
    usable = (n1 > 0) & (n0 > 0)
    n1, n0 = np.where(usable, n1, 1.0), np.where(usable, n0, 1.0)
    (a1, b1), (a0, b0) = null.noise[0], null.noise[1]
    variance = (a1 * n1 + b1 * table[POSITIVES2]) / n1**2 + (a0 * n0 + b0 * table[NEGATIVES2]) / n0**2
    variance += 2 * null.cross * table[BOTH] / (n1 * n0)
    return np.where(usable, np.maximum(variance, 0.0), np.inf)


def from_average(values: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """(G,) differences of independent values from their average, weighted by precision, and their standard errors.

    The average holds the value itself: its variance is v - 1 / Σ (1 / v). Both are 0 for a value of infinite variance,
    which has no weight in the average, and everywhere where some variance is 0.
    """
    finite = np.isfinite(variance)
    if not finite.any() or not (variance > 0).all():
        return np.zeros_like(values), np.zeros_like(values)
    weights = 1.0 / variance
    average = weights @ values / weights.sum()
    error = np.sqrt(np.maximum(np.where(finite, variance, 0.0) - 1.0 / weights.sum(), 0.0))
    return np.where(finite, values - average, 0.0), error


def _true_positive_rate(null: ScoreNull, table: Floats) -> Contrast:
    return _rate(table[TPR], table[[POSITIVES, POSITIVES2]], null.totals[[POSITIVES, POSITIVES2]], null, 2)


def _false_positive_rate(null: ScoreNull, table: Floats) -> Contrast:
    return _rate(table[FPR], table[[NEGATIVES, NEGATIVES2]], null.totals[[NEGATIVES, NEGATIVES2]], null, 3)


def _prevalence(null: ScoreNull, table: Floats) -> Contrast:
    size, whole = (
        np.stack(
            [
                sums[POSITIVES] + sums[NEGATIVES],
                sums[POSITIVES2] + 2 * sums[BOTH] + sums[NEGATIVES2],
            ]
        )
        for sums in (table, null.totals)
    )
    return _rate(table[POSITIVES] - null.prevalence * size[0], size, whole, null, 4)


def _rate(residual: Floats, size: Floats, total: Floats, null: ScoreNull, moment: int) -> Contrast:
    """One rate: (B, G, L) residuals, (2, B, G, L) records and their squares, (2, L) the same of everyone."""
    (count, squares), (everyone, everyone2) = size, total
    noise = null.noise[moment]
    usable = (count > 0) & (count < everyone)
    n, w = np.where(usable, count, 1.0), 1.0 / np.maximum(everyone, 1.0)
    u = 1.0 / n - w
    own = noise[0] * count + noise[1] * squares
    rest = noise[0] * everyone + noise[1] * everyone2 - own
    return np.where(usable, residual / n, 0.0), np.where(usable, own * u**2 + rest * w**2, 0.0)


def _auroc(null: ScoreNull, table: Floats) -> Contrast:
    positives, negatives, total = table[POSITIVES], table[NEGATIVES], null.totals
    usable = (positives > 0) & (negatives > 0) & (positives < total[POSITIVES]) & (negatives < total[NEGATIVES])
    n1, n0 = np.where(usable, positives, 1.0), np.where(usable, negatives, 1.0)
    w1, w0 = 1.0 / np.maximum(total[POSITIVES], 1.0), 1.0 / np.maximum(total[NEGATIVES], 1.0)
    u1, u0 = 1.0 / n1 - w1, 1.0 / n0 - w0
    difference = table[AUROC_POSITIVES] / n1 + table[AUROC_NEGATIVES] / n0

    (a1, b1), (a0, b0), c = null.noise[0], null.noise[1], null.cross
    own = (a1 * positives + b1 * table[POSITIVES2], a0 * negatives + b0 * table[NEGATIVES2], c * table[BOTH])
    whole = (
        a1 * total[POSITIVES] + b1 * total[POSITIVES2],
        a0 * total[NEGATIVES] + b0 * total[NEGATIVES2],
        c * total[BOTH],
    )
    variance = own[0] * u1**2 + own[1] * u0**2 + 2 * own[2] * u1 * u0
    variance += (whole[0] - own[0]) * w1**2 + (whole[1] - own[1]) * w0**2 + 2 * (whole[2] - own[2]) * w1 * w0
    return np.where(usable, difference, 0.0), np.where(usable, variance, 0.0)


def _noise(residual: Floats, count: Floats) -> tuple[float, float]:
    """a, b ≥ 0 of the variance a n + b n² of a patient's residual, such that the pooled variance is Σ e².

    Two moments, Σ e² = a Σ n + b Σ n² and Σ e²/n = a K + b Σ n; where one coefficient would be negative, it is 0.
    """
    some = count > 0
    n, square = count[some], residual[some] ** 2
    if not len(n):
        return 0.0, 0.0
    sizes = np.array([[n.sum(), (n**2).sum()], [float(len(n)), n.sum()]])
    moments = np.array([square.sum(), (square / n).sum()])
    determinant = sizes[0, 0] * sizes[1, 1] - sizes[0, 1] * sizes[1, 0]
    if abs(determinant) <= 1e-9 * sizes[0, 1] * sizes[1, 0]:
        return float(moments[0] / sizes[0, 0]), 0.0
    record, shared = np.linalg.solve(sizes, moments)
    if shared < 0:
        return float(moments[0] / sizes[0, 0]), 0.0
    if record < 0:
        return 0.0, float(moments[0] / sizes[0, 1])
    return float(record), float(shared)


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below > 0 else 0.0
