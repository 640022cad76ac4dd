"""A report in a terminal: what was found, how much was looked for, pipelines side by side, mean TPR by group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
from rich.table import Table

from evenhand.reports import AuditReport

READABLE = ("ok", "wide")


def findings(report: AuditReport) -> pd.DataFrame:
    """What stood out from chance: one row per gap, cohort difference or change, the surest first.

    Differences from everyone, which tell who is behind a gap, are in the column ``groups``. Definitions that rest on
    the same test (both forms of EODD, a difference and its ratio) are one row, the first of the report's.
    """
    gaps, changes = report.gaps.to_pandas(), report.changes.to_pandas()
    gaps = gaps[gaps["verdict"] == "gap"].drop_duplicates(["pipeline", "task", "label", "metric", "attribute", "group"])
    changes = changes[changes["verdict"] == "change"]
    frames = [
        pd.DataFrame(
            {
                "verdict": gaps["metric"].map({"prevalence": "cohort differs"}).fillna("gap"),
                "pipeline": gaps["pipeline"],
                **_where(gaps),
                "groups": [_standing_out(report, gap) for gap in gaps.to_dict("records")],
            }
        ),
        pd.DataFrame(
            {
                "verdict": "change",
                "pipeline": changes["baseline"] + " → " + changes["candidate"],
                **_where(changes),
                "groups": "",
            }
        ),
    ]
    found = pd.concat(frames, ignore_index=True)
    order = pd.concat([gaps["p_adjusted"], changes["p_adjusted"]], ignore_index=True).argsort(kind="stable")
    return found.iloc[order].reset_index(drop=True)


def _where(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """The columns that gaps and changes share; a number never without its interval."""
    limits = zip(rows["ci_low"], rows["ci_high"], strict=True)
    return {
        "label": rows["label"],
        "attribute": rows["attribute"],
        "measure": rows["metric"] + " " + rows["definition"],
        "estimate": rows["estimate"],
        "95 % interval": pd.Series([_interval(low, high) for low, high in limits], index=rows.index, dtype="str"),
        "adjusted p": rows["p_adjusted"],
    }


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) or pd.isna(high) else f"{low:.3g} to {high:.3g}"


def _standing_out(report: AuditReport, gap: Mapping[Any, Any]) -> str:
    """The groups that differ from everyone in the metrics of one gap: "Female -0.12, 80+ +0.09"."""
    same = ("pipeline", "task", "label", "attribute")
    cells = [
        cell
        for cell in report.plain["cells"]
        if cell["verdict"] == "gap"
        and cell["metric"] in gap["metric"].split(",")
        and all(cell[key] == gap[key] for key in same)
    ]
    return ", ".join(dict.fromkeys(f"{cell['group']} {cell['difference']:+.2g}" for cell in cells))


def judged(report: AuditReport) -> pd.DataFrame:
    """One row per kind of question: how many had an answer, and how many the data were too thin for."""
    gaps, changes = report.gaps.to_pandas(), report.changes.to_pandas()
    cohort = gaps["metric"] == "prevalence"
    kinds = (
        ("gaps between groups", gaps[~cohort], "gap", "no_gap_shown"),
        ("prevalence by group", gaps[cohort], "gap", "no_gap_shown"),
        ("changes by a candidate", changes, "change", "no_change_shown"),
    )
    return pd.DataFrame(
        {
            "question": name,
            "found": int((rows["verdict"] == found).sum()),
            "none shown": int((rows["verdict"] == none).sum()),
            "insufficient evidence": int((rows["verdict"] == "insufficient_evidence").sum()),
        }
        for name, rows, found, none in kinds
        if rows["verdict"].notna().any()
    )


def pipeline_summary(report: AuditReport) -> pd.DataFrame:
    """One row per pipeline: mean over labels of overall AUROC and Dice, overall PSNR, and per attribute what was found.

    "2 of 24": of 24 gaps that were judged, 2 are findings. Columns that no pipeline has a value for are left out.
    """
    cells, gaps = report.cells.to_pandas(), report.gaps.to_pandas()
    readable = cells[cells["state"].isin(READABLE) & (cells["group"] == "overall")]
    means = readable.pivot_table(index="pipeline", columns="metric", values="estimate", aggfunc="mean")
    order = list(dict.fromkeys(cells["pipeline"]))
    summary = pd.DataFrame(index=pd.Index(order, name="pipeline"))
    for metric, title in (("auroc", "mean AUROC"), ("dice", "mean Dice"), ("psnr", "PSNR dB")):
        if metric in means:
            summary[title] = means[metric]
    of_models = gaps[gaps["verdict"].notna() & (gaps["metric"] != "prevalence")]
    for attribute, rows in of_models.groupby("attribute", sort=False):
        by_pipeline = rows.groupby("pipeline")["verdict"]
        counts = by_pipeline.agg(lambda verdicts: f"{(verdicts == 'gap').sum()} of {len(verdicts)}")
        summary[f"gaps by {attribute}"] = counts
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
