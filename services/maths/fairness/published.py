"""Bias of a reconstruction in the published style, written out as it was, to be set beside this package's findings.

The procedure is that of Wohlrapp et al. (MIDL 2026, arXiv 2604.10904) and of the code published with it:

1. A threshold for each pipeline: the ROC point with the least |sensitivity - specificity| (``published_threshold``).
2. A bootstrap of rows, 1000 replicates (``rate_replicates``, ``mean_replicates``).
3. "Bootstrapped bias change": mean over the replicates of the candidate's gap minus the baseline's. Its "standard
   error" is the standard deviation, its p the share of replicates on the other side of 0 (``published_change``).
4. |change| averaged over tasks (``absolute_mean``).
5. PSNR: percent from the best to the worst group, with the same bootstrap (``published_spread``).

What is wrong in it, and why nothing of it decides a verdict:

- The threshold is chosen on the very rows that are judged, and anew for every pipeline, so that a change of a gap
  mixes what the pipeline did with where its threshold fell.
- Rows are resampled although a patient's images resemble each other, so the standard error is too small.
- p is one-tailed, on the side that was seen: p < .05 is reached twice as often as a test at .05 may. It is no test at
  all: a bootstrap is centred on what was measured, not on "no change". The sample itself is not counted among the
  replicates, so p is 0 as soon as none of them lies on the other side.
- A largest difference is biased upwards, the more the smaller the groups are, and resampling adds that bias once more.
- |change| has no zero: its average over tasks is positive where nothing changed at all.
- There were 84 tests and more, and p was adjusted for none of them.

Two faults are not repeated: a group without a case counted as a rate of 1, or of 0 (here such a replicate is left
out), and p values averaged over tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.maths.fairness.arguments import numbers
from services.maths.fairness.bootstrap import (
    LANES,
    Membership,
    Replicates,
    Resamples,
    bootstrap_classification,
)
from services.maths.fairness.bootstrap.resamples import aligned_zeros
from services.maths.fairness.sums import Floats


@dataclass(frozen=True)
class PublishedChange:
    """A "bootstrapped bias change" in the gap's unit; 0 means the same gap. NaN with fewer than two replicates.

    Attributes:
        mean, standard_error: mean and standard deviation (n - 1) over the replicates.
        p_one_tailed: share of replicates on the other side of 0 than the mean, a change of exactly 0 among them.
        replicates: those in which both gaps have a value.
    """

    mean: float
    standard_error: float
    p_one_tailed: float
    replicates: int


def published_threshold(y_true: NDArray[np.integer], y_score: NDArray[np.floating]) -> float:
    """The score at which sensitivity and specificity are closest on these rows; of several, the highest.

    ``y_true`` is (N,) in {0, 1}, -1 where the label is missing; ``y_score`` is (N,). A row is called positive at or
    above the threshold. NaN unless both classes are there. Raises ValueError for arrays of different lengths, other
    labels or scores that are not finite.
    """
    truth, score = np.asarray(y_true), numbers("y_score", y_score)
    if truth.shape != score.shape or truth.ndim != 1:
        raise ValueError(f"y_true and y_score must be (N,) of the same rows, got {truth.shape} and {score.shape}")
    if not np.isin(truth, (0, 1, -1)).all():
        raise ValueError("y_true must be 0, 1 or -1 for missing")
    if not np.isfinite(score).all():
        raise ValueError("y_score must be finite; leave rows without a score out")
    order = np.flatnonzero(truth >= 0)
    order = order[np.argsort(-score[order], kind="stable")]
    positive, falling = truth[order] == 1, score[order]
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    found, passed = np.cumsum(positive)[ends], negatives - np.cumsum(~positive)[ends]
    # |found / positives - passed / negatives| in whole numbers, so that equal distances are equal.
    return float(falling[ends[np.argmin(np.abs(found * negatives - passed * positives))]])


def rate_replicates(
    y_true: NDArray[np.integer],
    y_score: NDArray[np.floating],
    *,
    row: NDArray[np.integer],
    member: Membership,
    resamples: Resamples,
) -> Replicates:
    """TPR and FPR at the published threshold, by replicate and group, with rows resampled.

    As ``bootstrap_classification``, with ``row`` (N,), the numbers of the rows among the K that are drawn, in place of
    patients. The threshold is that of the whole sample in every replicate.
    """
    limit = published_threshold(y_true, y_score)
    return bootstrap_classification(y_true, y_score, limit, patient=row, member=member, resamples=resamples)


def mean_replicates(
    value: NDArray[np.floating], *, row: NDArray[np.integer], member: Membership, resamples: Resamples
) -> Floats:
    """(B, G) means of (N,) values (PSNR, Dice) by replicate and group, with rows resampled; NaN for a group undrawn.

    Values that are not finite are left out: an undefined Dice, the infinite PSNR of identical images. Raises ValueError
    where lengths differ or for a row that the resamples do not have.
    """
    values, row = numbers("value", value), np.asarray(row)
    if not values.shape == row.shape == member.cell.shape:
        raise ValueError(
            f"value, row and groups must be of the same rows, got {values.shape}, {row.shape} and {member.cell.shape}"
        )
    if len(row) and not 0 <= int(row.min()) <= int(row.max()) < resamples.patients:
        raise ValueError(f"row must be numbers in 0..{resamples.patients - 1}, as many as the resamples have")
    kept = np.flatnonzero(np.isfinite(values))
    place, drawn = (member.cell[kept], row[kept]), (len(member.groups_of_cell), resamples.patients)
    # One product makes the sums of all cells: values above, counts below.
    sums = sparse.vstack(
        [sparse.coo_array((of, place), shape=drawn) for of in (values[kept], np.ones(len(kept)))], format="csr"
    )
    blocks = [sums @ weights.astype(np.float64) for weights in resamples.weights]
    total, count = np.split(np.concatenate(blocks, axis=1)[:, : resamples.replicates], 2)
    held = member.incidence
    with np.errstate(invalid="ignore"):
        means: Floats = ((held @ total) / (held @ count)).T
    return means


def dice_gaps(means: Floats, definition: str) -> Floats:
    """(B,) gaps of (B, G) mean Dice: "ser" is (1 - min) / (1 - max), "delta_dice" is max - min; NaN where undefined."""
    low, high = means.min(axis=-1), means.max(axis=-1)
    if definition == "delta_dice":
        return np.asarray(high - low)
    if definition != "ser":
        raise ValueError(f"no Dice gap {definition!r}; there are ser and delta_dice")
    ratios: Floats = np.divide(1.0 - low, 1.0 - high, out=np.full_like(low, np.nan), where=high < 1.0)
    return ratios


def sample_once(rows: int) -> Resamples:
    """One "replicate" in which each of ``rows`` rows is drawn once: the sample itself."""
    weights = aligned_zeros((1, rows, LANES), np.uint8)
    weights[:] = 1
    return Resamples(weights, replicates=1, seed=0, largest=1)


def published_change(baseline: Floats, candidate: Floats) -> PublishedChange:
    """The change from (B,) gaps of the baseline to (B,) gaps of the candidate in the same replicates."""
    if baseline.shape != candidate.shape:
        raise ValueError(f"gaps must be of the same replicates, got {baseline.shape} and {candidate.shape}")
    change = candidate - baseline
    change = change[np.isfinite(change)]
    if len(change) < 2:
        return PublishedChange(float("nan"), float("nan"), float("nan"), len(change))
    mean = float(change.mean())
    other_side = change <= 0 if mean >= 0 else change >= 0
    return PublishedChange(mean, float(change.std(ddof=1)), float(other_side.mean()), len(change))


def published_spread(replicates: Floats, best: int, worst: int) -> PublishedChange:
    """Percent of the best group's mean by which the worst falls short: 100 (best - worst) / best over (B, G) means.

    ``best`` and ``worst`` are the columns that lead and trail in the whole sample, so that the difference has a sign
    and a replicate may lie on the other side. They were chosen after seeing them, which p does not know.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        percent = 100.0 * (replicates[:, best] - replicates[:, worst]) / replicates[:, best]
    return published_change(np.zeros(len(percent)), percent)


def absolute_mean(changes: Sequence[PublishedChange]) -> float:
    """Mean over tasks of |mean change|, of the changes that have a value; NaN for none. Positive without any effect."""
    sizes = [abs(change.mean) for change in changes if np.isfinite(change.mean)]
    return float(np.mean(sizes)) if sizes else float("nan")
