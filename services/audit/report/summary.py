"""The opening of the page: what can be said, who was audited, and the pipelines side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from services.audit.report.markup import Markup, element, join, number
from services.audit.report.reading import EVERYONE, Reading
from services.audit.report.tables import folded, table

STATES = ("ok", "wide", "insufficient", "undefined")

POINT_ESTIMATES_ONLY = (
    "Point estimates only. Intervals and tests are not computed yet: no difference here has been told from "
    "chance, and a gap between small groups is above zero even when there is none."
)


def verdict_strip(reading: Reading) -> Markup:
    """What the report concludes, and how many of its cells can carry a conclusion."""
    rows = [*reading.report["gaps"], *reading.report["changes"]]
    verdicts = Counter(row["verdict"] for row in rows if row["verdict"] is not None)
    said = "; ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())) or POINT_ESTIMATES_ONLY
    states = Counter(cell["state"] for cell in reading.report["cells"] if cell["attribute"])
    tiles = [element("span", element("b", f"{states[state]:,}"), f" {state}", class_="tile") for state in STATES]
    caption = element("span", "Cells (one metric in one group):", class_="quiet")
    return element("section", element("p", said), element("p", caption, *tiles), class_="verdict")


def cohort_flow(reading: Reading) -> Markup:
    """Source rows, refused rows, records, patients; then who they are."""
    cohort, given = reading.report["cohort"], reading.report["provenance"].get("cohort", {})
    refused = given.get("refused")
    boxes = [_box(cohort["records"], "records in the cohort"), _box(cohort["patients"], "patients")]
    if refused is not None:
        reasons = Counter(refused) if isinstance(refused, Mapping) else Counter(row["reason"] for row in refused)
        count = sum(reasons.values())
        words = "rows refused" + "".join(f" · {reason} {n}" for reason, n in sorted(reasons.items()))
        boxes = [_box(cohort["records"] + count, "rows in the source"), _box(count, words), *boxes]
    flow = element("div", join(*boxes), class_="flow")
    return join(flow, *(_who(given) if "attributes" in given else _who_was_read(reading)))


def pipelines_side_by_side(reading: Reading) -> Markup:
    """Means over labels: each metric over everyone, and each attribute's EODD (half-sum)."""
    attributes = [a for a in reading.groups if any(g["definition"] == "eodd_half" for g in reading.report["gaps"])]
    columns = ["Pipeline", *map(reading.metric_title, reading.metrics), *(f"EODD {a}" for a in attributes)]
    rows = []
    for pipeline in reading.pipelines:
        row: list[str] = [pipeline]
        for metric in reading.metrics:
            cells = [reading.cell(pipeline, target, metric, EVERYONE) for target in reading.targets(metric)]
            row.append(_mean(cells, metric))
        for attribute in attributes:
            targets = reading.gap_targets("eodd_half", "tpr,fpr")
            row.append(_mean([reading.gap(pipeline, t, "tpr,fpr", attribute, "eodd_half") for t in targets], ""))
        rows.append(row)
    return table("Means over labels; EODD is the half-sum, over the labels where it has a value", columns, rows)


def _mean(rows: list[Any], metric: str) -> str:
    values = [row["estimate"] for row in rows if row is not None and row["estimate"] is not None]
    return number(fmean(values) if values else None, metric)


def _who(given: Mapping[str, Any]) -> list[Markup]:
    tables = []
    for attribute in given.get("attributes", []):
        rows = [(lv["level"], f"{lv['patients']:,}", f"{lv['records']:,}") for lv in attribute["levels"]]
        rows.append(("(missing)", "", f"{attribute['missing']:,}"))
        assigned = attribute.get("assigned_by")
        caption = attribute["name"] + (f", assigned by: {assigned}" if assigned else "")
        tables.append(table(caption, ["Level", "Patients", "Records"], rows))
    if labels := given.get("labels"):
        counts = [(x["name"], f"{x['positives']:,}", f"{x['negatives']:,}", f"{x['missing']:,}") for x in labels]
        labels_table = table("In records", ["Label", "Positive", "Negative", "Missing"], counts)
        return [element("div", *tables, class_="side"), folded("Labels", labels_table)]
    return [element("div", *tables, class_="side")]


def _who_was_read(reading: Reading) -> list[Markup]:
    """Records by group, as the baseline's first metric counted them: for reports without the cohort's own tables."""
    tables = []
    for attribute in (name for name in reading.groups if "," not in name):
        counts: dict[str, int] = {}
        for cell in reading.report["cells"]:
            if (cell["pipeline"], cell["attribute"]) == (reading.pipelines[0], attribute):
                counts.setdefault(cell["group"], cell["records"] + cell["excluded_records"])
        tables.append(table(attribute, ["Group", "Records"], [(group, f"{n:,}") for group, n in counts.items()]))
    return [element("div", *tables, class_="side")]


def _box(count: int, words: str) -> Markup:
    return element("div", element("b", f"{count:,}"), element("span", words))
