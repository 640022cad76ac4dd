"""Predictions → rows of the report: metrics by group, named gaps, and what each arm changes.

``mean`` and the interval are of the mean over the repeats, over test patients; ``sd_repeats`` is the spread over
repeats (population SD, as in the paper). They stand in different columns and are never added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from services.maths.fairness.cells import Cell, Minimums
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.estimates import Estimates
from services.maths.fairness.gaps.simultaneous import max_pair_interval, standard_normals
from services.maths.fairness.limits import limits
from services.maths.fairness.metrics.balanced_accuracy import balanced_accuracy
from services.maths.fairness.metrics.classification import disaggregate_classification
from services.maths.fairness.repeats import NamedChange, mean_over_repeats, named_change, named_gap, value_change
from services.platform.augmentation.orders import METRICS, Gap, Order
from services.platform.augmentation.records import TEST, grouping

THRESHOLDS = ("validation", "argmax")
ARGMAX = 0.5
_WITHOUT_THRESHOLD = ("auroc",)
_COMPARABLE = ("ok", "wide")

Rows = list[dict[str, Any]]
Key = tuple[str, str, str]  # metric, threshold, attribute


@dataclass(frozen=True)
class Features:
    """Attributes to group by, and the levels of each single one in order."""

    attributes: tuple[str, ...]
    names: dict[str, list[str]]


class Measured:
    """One arm: each metric by each attribute, in every repeat and on average."""

    def __init__(self, repeats: Sequence[Mapping[Key, Disaggregation]]) -> None:
        self.repeats = repeats
        self.mean: dict[Key, Estimates] = {}
        first = repeats[0]
        for key in first:
            if key[0] != "balanced_accuracy":
                self.mean[key] = mean_over_repeats([each[key].estimates for each in repeats])
        for metric, threshold, attribute in first:
            if metric == "balanced_accuracy":
                tpr, fpr = (self.mean[rate, threshold, attribute] for rate in ("tpr", "fpr"))
                self.mean[metric, threshold, attribute] = balanced_accuracy(tpr, fpr)

    def cells(self, key: Key) -> tuple[Cell, ...]:
        """Counts and states by group, then everyone's; the same in every repeat."""
        found = self.repeats[0][key]
        return found.cells if key[2] == "" else (*found.cells, found.overall_cell)

    def values(self, key: Key) -> np.ndarray:
        """(R, G) value of every repeat."""
        return np.stack([each[key].estimates.value for each in self.repeats])


def measure(
    predictions: pd.DataFrame,
    thresholds: Mapping[tuple[str, int], float],
    levels: pd.DataFrame,
    *,
    order: Order,
    names: dict[str, list[str]],
    minimums: Minimums,
) -> dict[str, Measured]:
    """Each arm on the test records. ``levels`` are those of the records by record id, ``names`` in their order."""
    test = predictions[predictions["split"] == TEST]
    features = Features(order.attributes, names)
    found: dict[str, Measured] = {}
    for arm in order.arms:
        own = test[test["arm"] == arm.name]
        found[arm.name] = Measured(
            [
                _by_group(own[own["repeat"] == repeat], thresholds[arm.name, repeat], levels, features, minimums)
                for repeat in range(order.repeats)
            ]
        )
    return found


def _by_group(
    part: pd.DataFrame, threshold: float, levels: pd.DataFrame, features: Features, minimums: Minimums
) -> dict[Key, Disaggregation]:
    of = levels.loc[part["record_id"]].reset_index(drop=True)
    groupings = [grouping(of, attribute, features.names) for attribute in features.attributes]
    found: dict[Key, Disaggregation] = {}
    for name, value in (("validation", threshold), ("argmax", ARGMAX)):
        measured = disaggregate_classification(
            part["label"].to_numpy(np.int8),
            part["score"].to_numpy(),
            np.full(len(part), value),
            sensitive_features=groupings,
            cluster=part["patient_id"].to_numpy(str),
            minimums=minimums,
        )
        for metric in METRICS:
            stated = "" if metric in _WITHOUT_THRESHOLD else name
            for attribute in ("", *features.attributes):
                found[metric, stated, attribute] = measured.by[metric, attribute]
    return found


def group_rows(measured: Mapping[str, Measured], order: Order) -> Rows:
    """A row for each arm, metric, threshold, attribute and group, with its paired change against the baseline arm."""
    baseline = measured[order.baseline.name]
    rows: Rows = []
    for name, arm in measured.items():
        for key, estimates in arm.mean.items():
            metric, threshold, attribute = key
            low, high = limits(estimates)
            spread = arm.values(key)
            for place, cell in enumerate(arm.cells(key)):
                if not cell.records or (attribute and cell.group == "overall"):
                    continue  # an empty group; everyone has rows of their own
                row = {
                    "arm": name,
                    "metric": metric,
                    "threshold": threshold,
                    "attribute": attribute,
                    "group": cell.group,
                    "records": cell.records,
                    "patients": cell.patients,
                    "deciding_patients": cell.deciding_patients,
                    "positives": cell.positives,
                    "state": cell.state,
                    "mean": _number(estimates.value[place]),
                    "ci_low": _number(low[place]),
                    "ci_high": _number(high[place]),
                    "sd_repeats": _number(spread[:, place].std()),
                }
                if arm is not baseline and cell.state in _COMPARABLE:
                    change = value_change(baseline.mean[key], estimates, place)
                    differences = spread[:, place] - baseline.values(key)[:, place]
                    row |= {
                        "change": _number(change.value),
                        "change_low": _number(change.low),
                        "change_high": _number(change.high),
                        "change_sd_repeats": _number(differences.std()),
                    }
                rows.append(row)
    return rows


def gap_rows(measured: Mapping[str, Measured], order: Order) -> Rows:
    """A row for each arm, named gap and threshold, with what is left of the baseline's gap."""
    baseline = measured[order.baseline.name]
    rows: Rows = []
    for name, arm in measured.items():
        for gap in order.gaps:
            for threshold in ("",) if gap.metric in _WITHOUT_THRESHOLD else THRESHOLDS:
                rows.append(_gap_row(name, arm, baseline, gap, threshold))
    return rows


def _gap_row(name: str, arm: Measured, baseline: Measured, gap: Gap, threshold: str) -> dict[str, Any]:
    key = (gap.metric, threshold, gap.attribute)
    disaggregation = arm.repeats[0][key]
    better, worse = disaggregation.columns([gap.better, gap.worse])
    states = [disaggregation.cells[place].state for place in (better, worse)]
    row: dict[str, Any] = {
        "arm": name,
        "metric": gap.metric,
        "threshold": threshold,
        "attribute": gap.attribute,
        "better": gap.better,
        "worse": gap.worse,
        "state": "ok" if all(state in _COMPARABLE for state in states) else "insufficient",
        "gap": None,
    }
    if row["state"] != "ok" or np.isnan(arm.mean[key].value[[better, worse]]).any():
        return row
    value, low, high = named_gap(arm.mean[key], better, worse)
    spread = arm.values(key)[:, better] - arm.values(key)[:, worse]
    row |= {
        "gap": _number(value),
        "ci_low": _number(low),
        "ci_high": _number(high),
        "sd_repeats": _number(spread.std()),
    }
    if arm is not baseline:
        change = named_change(baseline.mean[key], arm.mean[key], better, worse)
        row |= _of_ends(key, arm, baseline, (better, worse))
        row["verdict"] = _verdict(change, row, is_rate=gap.metric in ("tpr", "fpr"))
        before = baseline.values(key)[:, better] - baseline.values(key)[:, worse]
        row |= {
            "change": _number(change.value),
            "change_low": _number(change.low),
            "change_high": _number(change.high),
            "change_sd_repeats": _number((spread - before).std()),
            "share_gone": _number(change.share),
            "share_low": _number(change.share_low),
            "share_high": _number(change.share_high),
        }
    return row


def _of_ends(key: Key, arm: Measured, baseline: Measured, ends: tuple[int, int]) -> dict[str, float | None]:
    """What either group gains itself, with limits: a gap also narrows where the better group is made worse."""
    found: dict[str, float | None] = {}
    for name, column in zip(("better", "worse"), ends, strict=True):
        change = value_change(baseline.mean[key], arm.mean[key], column)
        found |= {
            f"{name}_change": _number(change.value),
            f"{name}_change_low": _number(change.low),
            f"{name}_change_high": _number(change.high),
        }
    return found


def _verdict(change: NamedChange, row: Mapping[str, Any], *, is_rate: bool) -> str:
    """What is shown of the gap's size, whichever way it points: "unchanged" (no change is shown), "wider" or narrower.

    Narrower is "levelled down" where the group that was ahead loses, and "worse group gains" where only the other
    moves. A single rate says neither: it rises for everybody whom more are called positive.
    """
    if change.low <= 0 <= change.high:
        return "unchanged"
    before = row["gap"] - change.value
    if abs(row["gap"]) >= abs(before):
        return "wider"
    ahead, behind = ("better", "worse") if before > 0 else ("worse", "better")
    if is_rate:
        return "narrower"
    if row[f"{ahead}_change_high"] < 0:
        return "levelled down"
    return "worse group gains" if row[f"{behind}_change_low"] > 0 else "narrower"


def widest_rows(measured: Mapping[str, Measured], order: Order) -> Rows:
    """Largest minus smallest over the comparable groups of each attribute, with an interval that can contain 0."""
    normals = standard_normals(order.seed)
    rows: Rows = []
    for name, arm in measured.items():
        for key, estimates in arm.mean.items():
            metric, threshold, attribute = key
            if not attribute or metric not in ("balanced_accuracy", "auroc"):
                continue
            found = arm.repeats[0][key]
            groups = found.comparable_groups
            columns = found.columns(groups)
            row: dict[str, Any] = {
                "arm": name,
                "metric": metric,
                "threshold": threshold,
                "attribute": attribute,
                "groups": list(groups),
                "left_out": [cell.group for cell in found.cells if cell.group not in groups and cell.records],
                "gap": None,
            }
            chosen = estimates.take(columns)
            if len(groups) >= 2 and not np.isnan(chosen.value).any():
                low, high = max_pair_interval(chosen, normals)
                spread = np.ptp(arm.values(key)[:, columns], axis=1)
                row |= {
                    "gap": _number(np.ptp(chosen.value)),
                    "ci_low": _number(low),
                    "ci_high": _number(high),
                    "sd_repeats": _number(spread.std()),
                }
            rows.append(row)
    return rows


def arm_rows(
    order: Order, counts: Mapping[str, Mapping[str, int]], thresholds: Mapping[tuple[str, int], float]
) -> Rows:
    """What each arm learned from, and the thresholds of its repeats."""
    return [
        {
            "arm": arm.name,
            **counts[arm.name],
            "shuffled_labels": arm.shuffled,
            "thresholds": [thresholds[arm.name, repeat] for repeat in range(order.repeats)],
        }
        for arm in order.arms
    ]


def _number(value: float) -> float | None:
    """Rounded to ten digits, since last bits depend on the machine; None for NaN."""
    return None if not math.isfinite(value) else round(float(value), 10)
