"""AUROC, TPR and FPR by replicate and group, and what may be made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.arguments import numbers
from services.maths.fairness.bootstrap.plans import Membership, plan_for
from services.maths.fairness.bootstrap.resamples import Resamples
from services.maths.fairness.bootstrap.walk import FLAGGED, POSITIVE, TIED, Rows, count_block
from services.maths.fairness.sums import Floats

UNLABELLED = -1
# Twice the pairs of so many weighted rows, half of them positive, is the largest whole number that float64 holds.
_MOST_WEIGHTED_ROWS = 2**27


@dataclass(frozen=True)
class Replicates:
    """One label in one pipeline under B replicates, in G groups; NaN where a replicate has no case to go by.

    Attributes:
        auroc, tpr, fpr: (B, G) float64 in [0, 1].
        positives, negatives: (B, G) uint32 records, counted as often as they were drawn.
        groups: (attribute, group) of the G columns.
        drawn: (patients, seed) of the resamples; replicates of equal ``drawn`` are paired.
    """

    auroc: Floats
    tpr: Floats
    fpr: Floats
    positives: NDArray[np.uint32]
    negatives: NDArray[np.uint32]
    groups: tuple[tuple[str, str], ...]
    drawn: tuple[int, int]

    @property
    def balanced_accuracy(self) -> Floats:
        """(B, G) mean of TPR and 1 - FPR."""
        return (self.tpr + 1.0 - self.fpr) / 2.0

    @property
    def prevalence(self) -> Floats:
        """(B, G) positives among the labelled records."""
        return _ratio(self.positives, self.positives.astype(np.float64) + self.negatives)

    def metric(self, name: str) -> Floats:
        """(B, G) values of "auroc", "tpr", "fpr", "balanced_accuracy" or "prevalence"."""
        if name not in ("auroc", "tpr", "fpr", "balanced_accuracy", "prevalence"):
            raise ValueError(f"no replicates of {name!r}; there are auroc, tpr, fpr, balanced_accuracy and prevalence")
        return np.asarray(getattr(self, name))

    def columns(self, attribute: str, groups: Sequence[str]) -> list[int]:
        """Places of an attribute's groups among the G columns. Raises ValueError for one that is not there."""
        unknown = [group for group in groups if (attribute, group) not in self.groups]
        if unknown:
            raise ValueError(f"there are no replicates of the group {unknown[0]!r} of {attribute!r}")
        return [self.groups.index((attribute, group)) for group in groups]

    def standard_error(self, name: str) -> Floats:
        """(G,) standard deviation of a metric over the replicates that define it; NaN with fewer than two."""
        values = self.metric(name)
        defined = np.isfinite(values)
        count = defined.sum(axis=0)
        mean = _ratio(np.where(defined, values, 0.0).sum(axis=0), count)
        squares = np.where(defined, np.square(values - mean), 0.0).sum(axis=0)
        return np.sqrt(_ratio(squares, np.maximum(count - 1, 0)))


@dataclass(frozen=True)
class PairedChange:
    """Candidate's gap minus baseline's over replicates with the same patients in both, as it is published.

    ``mean`` and ``standard_deviation`` are over the ``replicates`` in which both gaps are defined; NaN for fewer than
    two. Zero means the same gap. The mean keeps the upward bias that largest differences have in either pipeline, and
    the test of a change is the swap permutation, so both numbers are for comparison with published ones.
    """

    mean: float
    standard_deviation: float
    replicates: int


def bootstrap_classification(
    y_true: NDArray[np.integer],
    y_score: NDArray[np.floating],
    threshold: float | NDArray[np.floating],
    *,
    patient: NDArray[np.integer],
    member: Membership,
    resamples: Resamples,
) -> Replicates:
    """Replicates of one label in one pipeline, exact to the last division, ties and all.

    ``y_true`` is (N,) in {0, 1}, -1 where the label is missing (such rows are left out); ``y_score`` is (N,);
    ``threshold`` is one number or (N,), rows at or above it are predicted positive, a NaN leaves TPR and FPR of the
    row's groups undefined. ``patient`` is (N,) numbers of the sorted patients, 0..K-1, K = ``resamples.patients``.

    AUROC = sum w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) / (sum w_i sum w_j) over a group's positives i and negatives
    j, w the number of times that the replicate drew the row's patient; TPR and FPR are ratios of sums of w.

    Raises ValueError for arrays of different lengths, other labels, scores that are not finite, or patients that the
    resamples do not have.
    """
    truth, score, patient = np.asarray(y_true), numbers("y_score", y_score), np.asarray(patient)
    limit = numbers("threshold", threshold)
    if limit.shape not in ((), truth.shape) or np.isinf(limit).any():
        raise ValueError(f"threshold must be one finite number or one a record, got shape {limit.shape}")
    limit = np.broadcast_to(limit, truth.shape)
    _check(truth, score, patient, member, resamples)
    labelled = np.flatnonzero(truth != UNLABELLED)
    order = labelled[np.argsort(score[labelled])]
    rows = _rows(score[order], limit[order], truth[order] == 1, patient[order], member.cell[order])
    plan = plan_for(member, float((rows.kind & POSITIVE).mean()) if len(order) else 0.0)
    blocks = [count_block(rows, member, plan, resamples, block) for block in range(len(resamples.weights))]
    twice_won = np.concatenate([won for won, _ in blocks], axis=1).T[: resamples.replicates]
    counts = np.concatenate([count for _, count in blocks], axis=2).transpose(0, 2, 1)[:, : resamples.replicates]
    positives, found, negatives, alarmed = counts
    undecided = np.unique(member.groups_of_cell[member.cell[labelled[np.isnan(limit[labelled])]]])
    tpr, fpr = _ratio(found, positives), _ratio(alarmed, negatives)
    tpr[:, undecided] = fpr[:, undecided] = np.nan
    return Replicates(
        auroc=_ratio(twice_won, 2.0 * positives * negatives),
        tpr=tpr,
        fpr=fpr,
        positives=positives.astype(np.uint32),
        negatives=negatives.astype(np.uint32),
        groups=member.groups,
        drawn=(resamples.patients, resamples.seed),
    )


def gap_replicates(replicates: Replicates, definition: str, metrics: Sequence[str], columns: Sequence[int]) -> Floats:
    """(B,) raw gap among the groups in ``columns`` under each replicate; NaN where a group of them has no value.

    ``definition`` is "max_min" of any metric, "eop" of ("tpr",), "eodd_half" or "eodd_worst" of ("tpr", "fpr").
    """
    if definition not in _GAPS:
        raise ValueError(f"no gap {definition!r} of replicates; there are {', '.join(_GAPS)}")
    if len(metrics) != (2 if definition.startswith("eodd") else 1):
        raise ValueError(f"{definition!r} is no gap of {len(metrics)} metrics")
    if len(columns) < 2:
        return np.full(len(replicates.auroc), np.nan)
    chosen = [replicates.metric(name)[:, list(columns)] for name in metrics]
    return _GAPS[definition](*[np.ptp(values, axis=1) for values in chosen])


def paired_change(
    baseline: Replicates, candidate: Replicates, definition: str, metrics: Sequence[str], columns: Sequence[int]
) -> PairedChange:
    """Change of a gap from baseline to candidate; ValueError unless both are of the same resamples and groups."""
    if baseline.drawn != candidate.drawn or baseline.groups != candidate.groups:
        raise ValueError("replicates are paired only if they are of the same resamples and groups")
    gaps = [gap_replicates(replicates, definition, metrics, columns) for replicates in (baseline, candidate)]
    change = gaps[1] - gaps[0]
    change = change[np.isfinite(change)]
    if len(change) < 2:
        return PairedChange(float("nan"), float("nan"), len(change))
    return PairedChange(float(change.mean()), float(change.std(ddof=1)), len(change))


def _half(tpr: Floats, fpr: Floats) -> Floats:
    return (tpr + fpr) / 2.0


_GAPS: dict[str, Callable[..., Floats]] = {
    "max_min": np.asarray,
    "eop": np.asarray,
    "eodd_half": _half,
    "eodd_worst": np.maximum,
}


def _rows(
    score: Floats,
    limit: Floats,
    positive: NDArray[np.bool_],
    patient: NDArray[np.integer],
    cell: NDArray[np.uint32],
) -> Rows:
    kind = np.where(positive, POSITIVE, 0).astype(np.uint8)
    kind |= np.where(score >= limit, FLAGGED, 0).astype(np.uint8)
    kind[:-1] |= np.where(score[1:] == score[:-1], TIED, 0).astype(np.uint8)
    return Rows(kind, patient.astype(np.uint32), cell)


def _ratio(above: NDArray[np.number], below: NDArray[np.number]) -> Floats:
    """Quotients as float64, NaN where the denominator is 0."""
    quotients: Floats = np.full(np.shape(below), np.nan)
    np.divide(above, below, out=quotients, where=np.asarray(below) > 0)
    return quotients


def _check(
    truth: NDArray[np.integer],
    score: Floats,
    patient: NDArray[np.integer],
    member: Membership,
    resamples: Resamples,
) -> None:
    if not truth.shape == score.shape == patient.shape == member.cell.shape:
        raise ValueError(
            "labels, scores, patients and groups must be of the same records, got "
            f"{truth.shape}, {score.shape}, {patient.shape} and {member.cell.shape}"
        )
    if not np.isin(truth, (0, 1, UNLABELLED)).all():
        raise ValueError("labels must be 0, 1 or -1 for missing")
    if not np.isfinite(score).all():
        raise ValueError("scores must be finite; leave rows without a score out")
    if patient.dtype.kind not in "iu":
        raise ValueError(f"patients must be integers, got {patient.dtype}")
    if len(patient) and not 0 <= int(patient.min()) <= int(patient.max()) < resamples.patients:
        raise ValueError(f"patients must be numbers in 0..{resamples.patients - 1}, as many as the resamples have")
    most = min(_MOST_WEIGHTED_ROWS, 2**31 // resamples.largest)
    if len(truth) * resamples.largest >= most:
        raise ValueError(
            f"{len(truth)} rows are too many to be counted exactly; bootstrap at most {most // resamples.largest}"
        )
