"""A report in a terminal: pipelines side by side, and each group's mean TPR.

Single cells are left to the report: without an interval, a list of the worst of hundreds is a list of noise.
"""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd
from rich.table import Table

from evenhand.reports import AuditReport

READABLE = ("ok", "wide")


def pipeline_summary(report: AuditReport) -> pd.DataFrame:
    """One row per pipeline: mean over labels of overall AUROC and Dice, overall PSNR, the worst TPR gap per attribute.

    The gap is EOP, the largest difference in TPR between groups, in the label where it is largest. Columns that no
    pipeline has a value for are left out.
    """
    cells, gaps = report.cells.to_pandas(), report.gaps.to_pandas()
    readable = cells[cells["state"].isin(READABLE) & (cells["group"] == "overall")]
    means = readable.pivot_table(index="pipeline", columns="metric", values="estimate", aggfunc="mean")
    order = list(dict.fromkeys(cells["pipeline"]))
    summary = pd.DataFrame(index=pd.Index(order, name="pipeline"))
    for metric, title in (("auroc", "mean AUROC"), ("dice", "mean Dice"), ("psnr", "PSNR dB")):
        if metric in means:
            summary[title] = means[metric]
    eop = gaps[gaps["definition"] == "eop"]
    for attribute in dict.fromkeys(eop["attribute"]):
        of_attribute = eop[eop["attribute"] == attribute].dropna(subset=["estimate"])
        worst = of_attribute.loc[of_attribute.groupby("pipeline")["estimate"].idxmax()].set_index("pipeline")
        shown = worst["estimate"].map("{:.2f}".format) + " " + worst["label"].astype("str")
        summary[f"worst TPR gap, {attribute}"] = shown
    return summary.reset_index()


def group_rates(report: AuditReport) -> pd.DataFrame:
    """Mean TPR of each group, one column per pipeline, the attribute with the widest spread first.

    So that the means of an attribute can be compared, they are over the same labels: those that can be read in every
    group shown and in every pipeline. ``labels`` says how many these are. A group that can be read in less than half
    as many labels as the best one is left out; the report itself has its cells and their states.
    """
    cells = report.cells.to_pandas()
    tpr = cells[(cells["metric"] == "tpr") & (cells["group"] != "overall") & cells["state"].isin(READABLE)]
    tpr = tpr[~tpr["attribute"].str.contains(",") & (tpr["group"] != "(missing)")]
    pipelines = list(dict.fromkeys(tpr["pipeline"]))
    rows: list[pd.DataFrame] = []
    for attribute, of_attribute in tpr.groupby("attribute", sort=False):
        by_label = of_attribute.pivot_table(index=["group", "label"], columns="pipeline", values="estimate")
        readable = by_label.reindex(columns=pipelines).dropna()
        counts = readable.groupby(level="group").size()
        readable = readable.loc[list(counts.index[counts >= counts.max() / 2])]
        everywhere = readable.groupby(level="label").size() == readable.index.get_level_values("group").nunique()
        shared = everywhere.index[everywhere]
        means = readable[readable.index.get_level_values("label").isin(shared)].groupby(level="group").mean()
        means = means.reindex([group for group in dict.fromkeys(of_attribute["group"]) if group in means.index])
        means = means.reset_index()  # in the order of the cohort's schema, as the report has it
        means.insert(0, "attribute", attribute)
        means.insert(2, "labels", len(shared))
        rows.append(means)
    rows = sorted((means for means in rows if not means.empty), key=_spread, reverse=True)
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=["attribute", "group", "labels"])


def _spread(rates: pd.DataFrame) -> float:
    values = rates.drop(columns=["attribute", "group", "labels"])
    return float((values.max() - values.min()).max())


def rich_table(frame: pd.DataFrame, title: str = "") -> Table:
    """A frame as a terminal table; numbers to three figures, missing values blank."""
    table = Table(title=title or None, title_justify="left")
    for number, (column, kind) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
        justify: Literal["right", "left"] = "right" if pd.api.types.is_numeric_dtype(kind) else "left"
        table.add_column(str(column), justify=justify, no_wrap=number == 0)
    for row in frame.itertuples(index=False):
        table.add_row(*(_shown(value) for value in row))
    return table


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.3g}"
    if isinstance(value, list | dict):
        return str(len(value))
    return "" if value is None or value is pd.NA else str(value)
