"""Mean of a per-record value (Dice, PSNR, SSIM) by every attribute at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from services.maths.fairness.cells import Cell, Minimums, cell_state, reported
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.groups import Codes, Grouping, everyone, patients_per_group


def disaggregate_mean(
    metric: str,
    values: NDArray[np.float64],
    *,
    sensitive_features: Sequence[Grouping],
    cluster: NDArray[np.generic],
    minimums: Minimums,
) -> dict[tuple[str, str], Disaggregation]:
    """Disaggregations by (metric, attribute); attribute "" holds everyone.

    ``values`` is (N,). The mean is over the finite ones; NaN (Dice of an image where neither mask has the structure)
    and infinity (PSNR of identical images) are counted as excluded. ``cluster`` is (N,) patient ids.
    """
    patients = pd.factorize(cluster)[0].astype(np.int64)
    finite = np.isfinite(values)
    results: dict[tuple[str, str], Disaggregation] = {}
    overall: Cell | None = None
    for grouping in (everyone(len(values)), *sensitive_features):
        slots, names = grouping.slots, grouping.slot_names
        used = slots[finite]
        means = _means(values[finite], used, len(names))
        counts = np.bincount(used, minlength=len(names))
        distinct = patients_per_group(used, len(names), patients[finite])
        excluded = np.bincount(slots[~finite], minlength=len(names))
        cells = []
        for g, (name, mean) in enumerate(zip(names, means, strict=True)):
            state = cell_state(mean, int(distinct[g]), (), minimums)
            estimate = None if state == "undefined" else mean
            cells.append(Cell(name, int(counts[g]), int(distinct[g]), None, int(excluded[g]), state, estimate))
        kept = reported(cells)
        overall = overall or kept[0]
        results[metric, grouping.attribute] = Disaggregation(metric, kept, overall, grouping, patients)
    return results


def _means(values: NDArray[np.float64], slots: Codes, count: int) -> list[float]:
    """Mean of each slot, NaN where empty. fsum rounds once, so a mean does not depend on the order of the rows."""
    by_slot = values[np.argsort(slots, kind="stable")]
    ends = np.cumsum(np.bincount(slots, minlength=count))
    return [math.fsum(part.tolist()) / len(part) if len(part) else math.nan for part in np.split(by_slot, ends[:-1])]
