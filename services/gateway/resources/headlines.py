"""What a report says in a few numbers: of each candidate the gaps and metrics before and after, over all labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from evenhand.resources.v1 import model_pb2

# Our word, the metric and the definition of its gap; and the metrics that are shown over everyone.
_GAPS = (("eodd", "tpr,fpr", "eodd_half"), ("eop", "tpr", "eop"))
_METRICS = ("auroc", "dice", "psnr")
_OVERALL = "overall"
_READABLE = ("ok", "wide")

Row = Mapping[str, Any]


def pipelines_with(report: Row, digest: str) -> list[str]:
    """Names of the report's pipelines that have a stage with the model of ``digest``, in the order of the audit."""
    return [
        pipeline["name"]
        for pipeline in report["provenance"]["pipelines"]
        if any(stage.get("digest") == digest for stage in pipeline["stages"])
    ]


def changes_of(report: Row, pipelines: Sequence[str]) -> list[model_pb2.AuditedChange]:
    """From the baseline to each candidate, where one of the two is among ``pipelines``: gaps by attribute, then
    metrics over everyone. What no label has in both is left out."""
    pairs = dict.fromkeys((row["baseline"], row["candidate"]) for row in report["changes"])
    return [change for pair in pairs if set(pair) & set(pipelines) for change in _changes(report, *pair)]


def _changes(report: Row, baseline: str, candidate: str) -> Iterator[model_pb2.AuditedChange]:
    rows = [row for row in report["changes"] if (row["baseline"], row["candidate"]) == (baseline, candidate)]
    gaps = {
        (gap["pipeline"], gap["task"], gap["label"], gap["attribute"], gap["definition"], gap["metric"]): gap[
            "estimate"
        ]
        for gap in report["gaps"]
        if not gap["group"]
    }
    cells = {
        (cell["pipeline"], cell["task"], cell["label"], "", _OVERALL, cell["metric"]): cell["estimate"]
        for cell in report["cells"]
        if not cell["attribute"] and cell["group"] == _OVERALL and cell["state"] in _READABLE
    }
    values = gaps | cells
    attributes = dict.fromkeys(row["attribute"] for row in rows if row["attribute"])
    asked = [(name, metric, gap, attribute) for attribute in attributes for name, metric, gap in _GAPS]
    asked += [(metric, metric, _OVERALL, "") for metric in _METRICS]
    for name, metric, definition, attribute in asked:
        kind = (attribute, definition, metric)
        of = [row for row in rows if (row["attribute"], row["definition"], row["metric"]) == kind]
        ends = [[values.get((end, row["task"], row["label"], *kind)) for end in (baseline, candidate)] for row in of]
        known = [place for place, row in enumerate(of) if None not in (row["estimate"], *ends[place])]
        if known:
            yield _mean([of[place] for place in known], [ends[place] for place in known], name)


def _mean(rows: Sequence[Row], ends: Sequence[Sequence[Any]], metric: str) -> model_pb2.AuditedChange:
    """One row of a change over its labels."""
    limits = {end: [row[end] for row in rows] for end in ("ci_low", "ci_high")}
    return model_pb2.AuditedChange(
        baseline=rows[0]["baseline"],
        candidate=rows[0]["candidate"],
        metric=metric,
        attribute=rows[0]["attribute"],
        labels=len(rows),
        before=fmean(before for before, _ in ends),
        after=fmean(after for _, after in ends),
        change=fmean(row["estimate"] for row in rows),
        found=sum(row["verdict"] == "change" for row in rows),
        **{end: fmean(values) for end, values in limits.items() if None not in values},
    )
