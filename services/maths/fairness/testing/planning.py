"""Power before a run: what a cohort's counts alone let an audit find.

The formulas are those of two independent samples under the null, with a design effect for repeated images and a
critical value that pays for all tests of the family. What the models will do is not known yet and has to be assumed.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from services.maths.fairness.arguments import numbers
from services.maths.fairness.cells import Minimums, cell_state
from services.maths.fairness.sums import Floats
from services.maths.fairness.testing.families import family_of
from services.maths.fairness.testing.power import POWER, minimum_detectable_gap, power_of
from services.maths.fairness.testing.verdicts import ALPHA, tolerance

KNOWN_FROM_COUNTS = "prevalence"
MEASURES = (
    "metric",
    "attribute",
    "group",
    "records",
    "patients",
    "patients_with_positives",
    "patients_with_negatives",
    "positives",
    "negatives",
)


@dataclass(frozen=True)
class Assumptions:
    """What a plan takes for granted.

    ``rate`` is TPR, or 1 - FPR; ``design_effect`` how much larger a variance is because patients have several images;
    ``spread`` the standard deviation between images, in the metric's units.
    """

    rate: float = 0.75
    auroc: float = 0.85
    design_effect: float = 1.5
    spread: dict[str, float] = field(
        default_factory=lambda: {"dice": 0.15, "psnr": 3.0, "ssim_gaussian11": 0.05, "lpips": 0.05, "perceptual": 0.2}
    )

    def __post_init__(self) -> None:
        if not (0 < self.rate < 1 and 0 < self.auroc < 1):
            raise ValueError("the assumed rate and AUROC must lie between 0 and 1")
        if not (self.design_effect > 0 and all(size > 0 for size in self.spread.values())):
            raise ValueError("the assumed design effect and spreads must be above 0")


def critical_value(tests: int, alpha: float = ALPHA) -> float:
    """Two-sided normal quantile at alpha / tests (Bonferroni); step-down permutation needs a little less."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
    return float(stats.norm.isf(alpha / max(tests, 1) / 2))


def auroc_variance(auroc: float, positives: Floats | float, negatives: Floats | float) -> Floats:
    """Variance of an AUROC from independent records with exponential scores (Hanley and McNeil 1982), else NaN."""
    n1, n0 = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    two_positives = auroc / (2 - auroc) - auroc**2
    two_negatives = 2 * auroc**2 / (1 + auroc) - auroc**2
    total = auroc * (1 - auroc) + (n1 - 1) * two_positives + (n0 - 1) * two_negatives
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where((n1 > 0) & (n0 > 0), total / (n1 * n0), np.nan))


def required_positives(
    metric: str,
    gap: float,
    *,
    tests: int = 1,
    power: float = POWER,
    alpha: float = ALPHA,
    times_larger: float = 10.0,
    negatives_per_positive: float = 9.0,
    assumed: Assumptions | None = None,
) -> int:
    """Positives that a group needs for a gap to a reference group to be found (``metric`` tpr or auroc).

    (critical + z_power)² × design effect × V (1 + 1 / times_larger) / gap², with V the variance that one positive
    leaves: rate (1 - rate) for tpr, Hanley and McNeil's with that many negatives per positive for auroc. For fpr the
    same number is that of negatives.
    """
    if not (0 < gap < 1 and 0 < power < 1):
        raise ValueError("the gap and the power must lie between 0 and 1")
    if not (times_larger > 0 and negatives_per_positive > 0):
        raise ValueError("the reference group and the negatives must be more than none")
    assumed = assumed or Assumptions()
    effort = (critical_value(tests, alpha) + float(stats.norm.ppf(power))) ** 2
    factor = effort * assumed.design_effect * (1 + 1 / times_larger) / gap**2
    if metric in ("tpr", "fpr"):
        return math.ceil(factor * assumed.rate * (1 - assumed.rate))
    if metric != "auroc":
        raise ValueError(f"no such plan for {metric!r}; give tpr, fpr or auroc")
    positives = 1.0
    for _ in range(50):  # V falls with n towards its limit: the fixed point is reached within a few rounds
        positives = (
            factor * positives * float(auroc_variance(assumed.auroc, positives, positives * negatives_per_positive))
        )
    return math.ceil(positives)


def planned_cells(
    counts: pd.DataFrame,
    *,
    pipelines: int = 1,
    minimums: Minimums | None = None,
    power: float = POWER,
    alpha: float = ALPHA,
    assumed: Assumptions | None = None,
) -> pd.DataFrame:
    """What each cell of an audit will be able to say.

    Args:
        counts: one row per cell, with columns metric, attribute, group, records, patients, patients_with_positives,
            patients_with_negatives, positives, negatives. All further columns (task, label) say what a cell is of; for
            each of their values and each metric there must be one row with attribute "" for everyone.
        pipelines: how many will be audited; each adds its tests, but prevalence is tested once. A column ``pipelines``
            of the counts says it for each row instead.

    Returns the rows with further columns state, family, tests (of the family), standard_error (of the group minus
    everyone), minimum_detectable_gap, power (of finding a gap as large as the tolerance) and tolerance; NaN where no
    test will be made: for everyone, in cells that are not ok, for metrics without a tolerance or an assumption.

    Raises ValueError when a column or a row for everyone is missing.
    """
    _require_counts(counts)
    assumed, minimums = assumed or Assumptions(), minimums or Minimums()
    table = counts.reset_index(drop=True)
    everyone = _everyone(table)
    table["state"] = [_state(row, minimums) for row in table.to_dict("records")]
    table["family"] = [
        family_of(metric, attribute) for metric, attribute in zip(table["metric"], table["attribute"], strict=True)
    ]
    table["tolerance"] = [tolerance(metric) for metric in table["metric"]]
    table["tolerance"] = table["tolerance"].astype(float)
    error = np.sqrt(
        [
            _variance(row, whole, assumed)
            for row, whole in zip(table.to_dict("records"), everyone.to_dict("records"), strict=True)
        ]
    )
    tested = (table["state"] == "ok").to_numpy() & (table["attribute"] != "").to_numpy() & np.isfinite(error)
    repeats = table.get("pipelines", pipelines)
    each = np.where(table["metric"] == KNOWN_FROM_COUNTS, 1, repeats) * tested
    tests = pd.Series(each).groupby(table["family"]).transform("sum").to_numpy()
    critical = np.array([critical_value(int(count), alpha) for count in tests])
    table["tests"] = tests
    table["standard_error"] = np.where(tested, error, np.nan)
    shown = table["standard_error"].to_numpy(dtype=np.float64)
    table["minimum_detectable_gap"] = minimum_detectable_gap(shown, critical, power)
    table["power"] = power_of(table["tolerance"].to_numpy(dtype=np.float64), shown, critical)
    return table


def _require_counts(counts: pd.DataFrame) -> None:
    missing = [name for name in MEASURES if name not in counts]
    if missing:
        raise ValueError(f"counts lack the columns {missing}")
    for name in MEASURES[3:]:
        column = numbers(name, counts[name])
        if not ((column >= 0) & (column == np.floor(column))).all():
            raise ValueError(f"{name} must be whole numbers, none below 0")


def _everyone(table: pd.DataFrame) -> pd.DataFrame:
    """For each row the row of everyone with the same metric and the same further columns."""
    same = [name for name in table if name not in MEASURES or name == "metric"]
    whole = table.loc[table["attribute"] == "", [*same, "records", "positives", "negatives"]]
    merged = table[same].merge(whole, on=same, how="left")
    if len(merged) != len(table) or merged["records"].isna().any():
        raise ValueError('every metric of every label needs one row with attribute "" for everyone')
    return merged


def _state(row: dict[Hashable, Any], minimums: Minimums) -> str:
    """The state that the counts allow; the least of both classes where a metric needs both."""

    def least(*names: str) -> int:
        return min(int(row[name]) for name in names)

    cases, patients = {
        "tpr": (("positives",), ("patients_with_positives",)),
        "fpr": (("negatives",), ("patients_with_negatives",)),
        "auroc": (("positives", "negatives"), ("patients_with_positives", "patients_with_negatives")),
    }.get(str(row["metric"]), (("records",), ("patients",)))
    value = 0.0 if least(*cases) else math.nan
    return cell_state(value, least(*patients), least(*cases), minimums)


def _variance(row: dict[Hashable, Any], whole: dict[Hashable, Any], assumed: Assumptions) -> float:
    """Variance of the group minus everyone: that of the group with 1 / n_g - 1 / n in place of 1 / n_g."""
    metric = str(row["metric"])

    def less(name: str) -> float:
        own, everyone = float(row[name]), float(whole[name])
        return 1 / own - 1 / everyone if own > 0 else math.nan

    if metric == "auroc":
        own, total = (
            float(auroc_variance(assumed.auroc, float(of["positives"]), float(of["negatives"]))) for of in (row, whole)
        )
        return assumed.design_effect * max(own - total, 0.0)
    if metric in ("tpr", "fpr"):
        return (
            assumed.design_effect
            * assumed.rate
            * (1 - assumed.rate)
            * less("positives" if metric == "tpr" else "negatives")
        )
    if metric == KNOWN_FROM_COUNTS:
        share = float(whole["positives"]) / max(float(whole["records"]), 1.0)
        return assumed.design_effect * share * (1 - share) * less("records")
    spread = assumed.spread.get("lpips" if metric.startswith("lpips") else metric, math.nan)
    return assumed.design_effect * spread**2 * less("records")
