"""Mean of a per-record value (Dice, PSNR, SSIM, LPIPS) by every attribute at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.arguments import numbers
from services.maths.fairness.cells import Minimums
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.estimates import ratio_of_sums
from services.maths.fairness.groups import Grouping, everyone
from services.maths.fairness.metrics.auroc import deciding_patients
from services.maths.fairness.metrics.measured import Counts, Overall, disaggregation, reported_names
from services.maths.fairness.sums import PatientSums, units_of


@dataclass(frozen=True)
class Means:
    """Disaggregations by (metric, attribute), attribute "" for everyone, and the sums per patient behind them.

    Columns of ``sums``: value (sum of the finite values) and records (how many there are).
    """

    sums: PatientSums
    by: dict[tuple[str, str], Disaggregation]


def disaggregate_mean(
    metric: str,
    values: NDArray[np.float64],
    *,
    sensitive_features: Sequence[Grouping],
    cluster: NDArray[np.generic],
    minimums: Minimums,
) -> Means:
    """Measure the mean of ``values`` by every attribute, in the values' own unit.

    ``values`` is (N,). The mean is over the finite ones; NaN (Dice of an image where neither mask has the structure)
    and infinity (PSNR of identical images) are counted as excluded. ``cluster`` is (N,) patient ids. Raises ValueError
    where lengths differ.
    """
    values = numbers("values", values)
    if values.shape != (len(cluster),):
        raise ValueError(f"values have shape {values.shape}, cluster has {len(cluster)} records; pass one a record")
    units = units_of(cluster, sensitive_features)
    finite = np.isfinite(values)
    sums = units.sums({"value": np.where(finite, values, 0.0), "records": finite})

    of_units = (everyone(len(units.patient)), *units.sensitive_features)

    overall: Overall | None = None
    by: dict[tuple[str, str], Disaggregation] = {}
    for attribute, grouping in enumerate((everyone(len(values)), *sensitive_features)):
        slots, count = of_units[attribute].slots, len(reported_names(grouping))
        means = ratio_of_sums(sums, "value", "records", slots=slots, count=count, scale="identity")
        records = np.bincount(slots, weights=sums.column("records"), minlength=count).astype(np.int64)
        patients = deciding_patients(sums.column("records"), sums.patient, slots, count)
        excluded = np.bincount(slots[units.unit[~finite]], minlength=count)
        counts = Counts(records, patients, None, excluded, records)
        part = disaggregation(metric, grouping, means, counts, overall=overall, minimums=minimums)
        by[metric, grouping.attribute] = part
        overall = overall or Overall(part.overall_cell, means)
    return Means(sums, by)
