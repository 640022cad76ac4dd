"""Rates of a group where labels are few: the model's scores on everyone, corrected by what labels say of the scores.

Prediction-powered inference (Angelopoulos, Bates, Fannjiang, Jordan and Zrnic 2023), power-tuned (PPI++: Angelopoulos,
Duchi and Zrnic 2023). With c = 1 for a flagged record, Y the label and f the score, a rate solves

    mean_L[w (c − θ)] + λ (mean_U[ŵ (c − θ)] − mean_L[ŵ (c − θ)]) = 0

over labelled L and unlabelled U records, where w is Y for TPR, 1 − Y for FPR, and ŵ the same of f; prevalence is the
mean of Y with f in its place. λ makes the patient-clustered variance smallest; at λ = 0 it is the labels alone, so
scores that say nothing cost nothing. The labelled records must be a random sample of the group's.

Estimates without any label (CBPE) are ``Hint``: no interval, no e-value, and no way into an alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from services.maths.fairness.drift.sequences import critical_value
from services.maths.fairness.groups import Grouping, numbered_patients
from services.maths.fairness.sums import Floats

RATES = ("prevalence", "tpr", "fpr")
Rate = Literal["prevalence", "tpr", "fpr"]
CONFIDENCE = 0.95
_RUNNING_PRIOR = 0.4
"""τ² of the running estimate in variances of one window, as for gaps (sequences.py)."""


@dataclass(frozen=True)
class PredictionPowered:
    """One rate of one group with its interval (logit scale, t over patients with labels), and that of labels alone.

    NaN where the labelled sample says nothing of the rate. ``tuning`` is λ; counts are of records.
    """

    metric: str
    value: float
    variance: float
    lower: float
    upper: float
    labels_value: float
    labels_lower: float
    labels_upper: float
    tuning: float
    labelled: int
    unlabelled: int


@dataclass(frozen=True)
class Hint:
    """Expected rates if the scores were perfectly calibrated in every group, which is what drift breaks first.

    CBPE showed less than half of a true gap and invented one when only prevalence moved, so a hint has nothing that an
    alarm needs: no variance, no e-value; ``watch`` takes windows only and refuses it by its mark.
    """

    prevalence: float
    tpr: float
    fpr: float
    records: int
    hint: Literal[True] = True


@dataclass(frozen=True)
class PredictionPoweredSequence:
    """(T,) running estimates with limits that hold at all windows at once."""

    value: Floats
    lower: Floats
    upper: Floats


def ppi_rates(
    scores: NDArray[np.floating],
    labels: NDArray[np.int8],
    patients: NDArray[np.generic],
    threshold: float,
    *,
    confidence: float = CONFIDENCE,
) -> tuple[PredictionPowered, ...]:
    """RATES of one group. scores (N,) in [0, 1], labels (N,) 1, 0, or -1 where there is none, patients (N,) ids.

    Records without a score are left out. Raises ValueError where shapes differ.
    """
    if not scores.shape == labels.shape == patients.shape or scores.ndim != 1:
        raise ValueError(
            f"scores, labels and patients must be (N,), got {scores.shape} {labels.shape} {patients.shape}"
        )
    kept = ~np.isnan(scores)
    prediction, label = scores[kept].astype(np.float64), labels[kept]
    patient = numbered_patients(patients[kept])[1]
    flagged = (prediction >= threshold).astype(np.float64)
    truth, ones = np.where(label == 1, 1.0, 0.0), np.ones_like(prediction)
    weights: dict[str, tuple[Floats, Floats, Floats, Floats]] = {
        # numerator and denominator of labels, then of predictions
        "prevalence": (truth, ones, prediction, ones),
        "tpr": (truth * flagged, truth, prediction * flagged, prediction),
        "fpr": ((1 - truth) * flagged, 1 - truth, (1 - prediction) * flagged, 1 - prediction),
    }
    return tuple(_estimate(name, weights[name], label >= 0, patient, confidence) for name in RATES)


def ppi_by_group(
    scores: NDArray[np.floating],
    labels: NDArray[np.int8],
    patients: NDArray[np.generic],
    threshold: float,
    grouping: Grouping,
    *,
    confidence: float = CONFIDENCE,
) -> dict[str, tuple[PredictionPowered, ...]]:
    """``ppi_rates`` of every group of one attribute, each from its own labelled sample."""
    return {
        group: ppi_rates(scores[rows], labels[rows], patients[rows], threshold, confidence=confidence)
        for place, group in enumerate(grouping.groups)
        for rows in [np.flatnonzero(grouping.codes == place)]
    }


def ppi_sequence(
    values: Sequence[float] | Floats,
    variances: Sequence[float] | Floats,
    labelled: Sequence[float] | Floats,
    *,
    alpha: float = 0.05,
) -> PredictionPoweredSequence:
    """Confidence sequence of the running PPI estimate of a rate, or of a gap: differences and sums of variances.

    All three are (T,); windows count by their labelled records, not by their variances, which depend on what was seen.
    A window without an estimate (NaN) leaves the running one where it was.
    """
    value, variance = np.asarray(values, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    known = np.isfinite(value) & np.isfinite(variance) & (variance > 0)
    weight = np.where(known, np.asarray(labelled, dtype=np.float64), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = weight.cumsum()
        running = np.where(known, weight * value, 0.0).cumsum() / total
        spread = np.where(known, weight**2 * variance, 0.0).cumsum() / total**2
        unit = variance[known.argmax()] if known.any() else np.nan
        reach = np.sqrt(spread) * critical_value(_RUNNING_PRIOR * unit / spread, alpha)
    return PredictionPoweredSequence(running, running - reach, running + reach)


def cbpe(scores: NDArray[np.floating], threshold: float) -> Hint:
    """Rates that (N,) scores promise of themselves. Only a hint that scores moved."""
    known = scores[~np.isnan(scores)].astype(np.float64)
    flagged = known >= threshold
    positives, negatives = float(known.sum()), float((1 - known).sum())
    return Hint(
        prevalence=float(known.mean()) if len(known) else np.nan,
        tpr=float(known[flagged].sum()) / positives if positives else np.nan,
        fpr=float((1 - known[flagged]).sum()) / negatives if negatives else np.nan,
        records=len(known),
    )


def _estimate(
    metric: str,
    weights: tuple[Floats, Floats, Floats, Floats],
    labelled: NDArray[np.bool_],
    patient: NDArray[np.int64],
    confidence: float,
) -> PredictionPowered:
    n, d, predicted_n, predicted_d = weights
    counts = int(labelled.sum()), int((~labelled).sum())
    nothing = PredictionPowered(metric, *(np.nan,) * 7, 0.0, *counts)
    if not counts[0] or d[labelled].sum() <= 0:
        return nothing
    alone = float(n[labelled].sum() / d[labelled].sum())
    people = int(patient.max()) + 1
    deciding = len(np.unique(patient[labelled & (d > 0)]))
    if deciding < 2:
        return nothing
    truth = _shares(n - alone * d, labelled, patient, people) / d[labelled].mean()
    value, tuning, influence = alone, 0.0, truth
    if counts[1]:
        predicted = predicted_n - alone * predicted_d
        shift = _shares(predicted, labelled, patient, people) - _shares(predicted, ~labelled, patient, people)
        shift /= d[labelled].mean()
        squared = float((shift**2).sum())
        tuning = float(np.clip((truth * shift).sum() / squared, 0.0, 1.0)) if squared > 0 else 0.0
        numerator, denominator = (
            truth_part[labelled].mean() + tuning * (part[~labelled].mean() - part[labelled].mean())
            for truth_part, part in ((n, predicted_n), (d, predicted_d))
        )
        if denominator > 0:
            value, influence = float(np.clip(numerator / denominator, 0.0, 1.0)), truth - tuning * shift
    correction = deciding / (deciding - 1)
    variance, alone_variance = (correction * float((part**2).sum()) for part in (influence, truth))
    return PredictionPowered(
        metric,
        value,
        variance,
        *_limits(value, variance, deciding, confidence),
        alone,
        *_limits(alone, alone_variance, deciding, confidence),
        tuning,
        *counts,
    )


def _shares(values: Floats, rows: NDArray[np.bool_], patient: NDArray[np.int64], people: int) -> Floats:
    """(K,) what each patient adds to the deviation of the mean over ``rows``."""
    chosen = values[rows]
    shares: Floats = np.bincount(
        patient[rows], weights=(chosen - chosen.mean()) / len(chosen), minlength=people
    ).astype(np.float64)
    return shares


def _limits(value: float, variance: float, deciding: int, confidence: float) -> tuple[float, float]:
    """Limits on the logit scale; Wilson's, as if every patient were one record, where no variance was seen."""
    multiplier = float(special.stdtrit(deciding - 1, (1 + confidence) / 2))
    spread = value * (1 - value)
    if spread <= 0 or variance <= 0:
        weight = multiplier**2 / deciding
        centre = (value + weight / 2) / (1 + weight)
        reach = float(np.sqrt(weight * (spread + weight / 4))) / (1 + weight)
        return max(0.0, centre - reach), min(1.0, centre + reach)
    centre, reach = float(special.logit(value)), multiplier * float(np.sqrt(variance)) / spread
    return float(special.expit(centre - reach)), float(special.expit(centre + reach))
