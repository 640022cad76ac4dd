"""A report in a terminal: what was found, how much was looked for, pipelines side by side, mean TPR by group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
from rich.markup import escape
from rich.table import Table

from evenhand.reports import AuditReport

READABLE = ("ok", "wide")

GAP, GAP_CHANGE, COHORT, CHANGE = "gap", "gap changed", "cohort differs", "changed for all"
KINDS = (GAP, GAP_CHANGE, COHORT, CHANGE)
_SHARED = ("label", "attribute", "measure", "estimate", "95 % interval", "adjusted p")
_QUESTION = ["pipeline", "task", "label", "metric", "attribute"]
_DIFFERENCE = {"difference": "estimate", "difference_ci_low": "ci_low", "difference_ci_high": "ci_high"}


def findings(report: AuditReport) -> pd.DataFrame:
    """What stood out from chance: gaps and changes of gaps first, then cohort differences, then changes over everyone.

    Within each kind the surest stand first. ``groups`` names the groups that differ from everyone. Definitions that
    rest on the same test (both forms of EODD, a difference and its ratio) are one row, the first of the report's. A
    group that stands out where its attribute's gap could not be tested, because the other groups are too small, is a
    row of its own.
    """
    gaps, changes = report.gaps.to_pandas(), report.changes.to_pandas()
    gaps = gaps[gaps["verdict"] == "gap"].drop_duplicates([*_QUESTION, "group"])
    alone = _alone(report.cells.to_pandas(), gaps)
    changes = changes[changes["verdict"] == "change"]
    parts = [
        _where(gaps, gaps["metric"] + " " + gaps["definition"]).assign(
            verdict=gaps["metric"].map({"prevalence": COHORT}).fillna(GAP),
            pipeline=gaps["pipeline"],
            groups=[_standing_out(report, gap) for gap in gaps.to_dict("records")],
        ),
        _where(alone, alone["metric"] + " against everyone").assign(
            verdict=alone["metric"].map({"prevalence": COHORT}).fillna(GAP),
            pipeline=alone["pipeline"],
            groups=alone["group"],
        ),
        _where(changes, changes["metric"] + " " + changes["definition"]).assign(
            verdict=(changes["attribute"] == "").map({True: CHANGE, False: GAP_CHANGE}),
            pipeline=changes["baseline"] + " → " + changes["candidate"],
            groups="",
        ),
    ]
    found = pd.concat(parts, ignore_index=True)
    found = found.assign(kind=found["verdict"].map({name: place for place, name in enumerate(KINDS)}))
    found = found.sort_values(["kind", "adjusted p"], kind="stable").reset_index(drop=True)
    return found[["verdict", "pipeline", *_SHARED, "groups"]]


def _alone(cells: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """Cells that stand out and have no gap of their question to stand in, with their difference as the estimate."""
    standing = cells[cells["verdict"] == "gap"]
    known = gaps[_QUESTION].assign(metric=gaps["metric"].str.split(",")).explode("metric").drop_duplicates()
    matched = standing.merge(known, on=_QUESTION, how="left", indicator=True)
    alone = standing[(matched["_merge"] == "left_only").to_numpy()]
    return alone.drop(columns=["estimate", "ci_low", "ci_high"]).rename(columns=_DIFFERENCE)


def _where(rows: pd.DataFrame, measure: pd.Series) -> pd.DataFrame:
    """The columns that all findings share; a number never without its interval."""
    limits = zip(rows["ci_low"], rows["ci_high"], strict=True)
    columns = {
        "label": rows["label"],
        "attribute": rows["attribute"],
        "measure": measure,
        "estimate": rows["estimate"],
        "95 % interval": pd.Series([_interval(low, high) for low, high in limits], index=rows.index, dtype="str"),
        "adjusted p": rows["p_adjusted"],
    }
    return pd.DataFrame(columns, columns=list(_SHARED))


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
    cohort, overall = gaps["metric"] == "prevalence", changes["attribute"] == ""
    kinds = (
        ("gaps between groups", gaps[~cohort], "gap", "no_gap_shown"),
        ("gaps changed by a candidate", changes[~overall], "change", "no_change_shown"),
        ("prevalence by group", gaps[cohort], "gap", "no_gap_shown"),
        ("metrics changed for all", changes[overall], "change", "no_change_shown"),
    )
    rows = [
        {
            "question": name,
            "found": int((asked["verdict"] == found).sum()),
            "none shown": int((asked["verdict"] == none).sum()),
            "insufficient evidence": int((asked["verdict"] == "insufficient_evidence").sum()),
        }
        for name, asked, found, none in kinds
        if asked["verdict"].notna().any()
    ]
    return pd.DataFrame(rows, columns=["question", "found", "none shown", "insufficient evidence"])


def pipeline_summary(report: AuditReport) -> pd.DataFrame:
    """One row per pipeline: mean over labels of overall AUROC and Dice, image quality, and findings per attribute.

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
    for encoder, distances in readable[readable["metric"] == "perceptual"].groupby("label"):
        summary[f"distance in {encoder}"] = distances.set_index("pipeline")["estimate"]
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


def findings_table(found: pd.DataFrame) -> Table:
    """Findings for a terminal of eighty columns: "gap: tpr eop by sex, Edema" over the pipeline and the groups."""
    table = Table()
    table.add_column("finding")
    for column in ("estimate", "95 % interval", "adj. p"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in found.to_dict("records"):
        what = f"{row['verdict']}: {row['measure']} by {row['attribute']}"
        what += f", {row['label']}" if row["label"] else ""
        where = ": ".join(part for part in (row["pipeline"], row["groups"]) if part)
        numbers = (_shown(row["estimate"]), row["95 % interval"], _shown(row["adjusted p"]))
        table.add_row(f"{escape(what)}\n[dim]{escape(where)}[/dim]", *numbers)
    return table


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
