"""The tables of the study's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.audit.report.markup import Content, Markup, element, join
from services.audit.report.spelling import NOTHING, interval, number, signed
from services.audit.report.tables import table

Row = Mapping[str, Any]

METRIC_WORDS = {
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "tpr": "true positive rate",
    "fpr": "false positive rate",
}


def arms_table(report: Mapping[str, Any]) -> Markup:
    """What each arm learned from: the number of synthetic images is never hidden in a name."""
    columns = ["Arm", "Labels", "Real images", "Synthetic images", "their source patients", "Positives", "Thresholds"]
    rows = [
        [
            row["arm"],
            "shuffled" if row["shuffled_labels"] else "as they are",
            row["real_images"],
            row["synthetic_images"],
            row["synthetic_source_patients"] or NOTHING,
            row["positives"],
            f"{number(min(row['thresholds']))} to {number(max(row['thresholds']))}",
        ]
        for row in report["arms"]
    ]
    return table(
        "Thresholds: the range over repeats, each chosen on validation patients", columns, rows, text_columns=2
    )


def metric_table(report: Mapping[str, Any], metric: str, threshold: str) -> Markup:
    """A line a group, a pair of columns an arm: mean over repeats ± SD over repeats, interval over patients."""
    arms = [row["arm"] for row in report["arms"]]
    wanted = [row for row in report["groups"] if row["metric"] == metric and row["threshold"] == threshold]
    by_place: dict[tuple[str, str], dict[str, Row]] = {}
    for row in wanted:
        by_place.setdefault((row["attribute"], row["group"]), {})[row["arm"]] = row
    columns: list[Content] = ["Attribute", "Group", "Patients", "Positives"]
    for arm in arms:
        columns += [f"{arm}: mean ± SD over repeats", "95 % over patients"]
    lines = [[*_place(place, of[arms[0]]), *_values(arms, of)] for place, of in by_place.items()]
    return table(_caption(metric, threshold), columns, lines, text_columns=2)


def change_table(report: Mapping[str, Any], metric: str, threshold: str) -> Markup:
    """What every other arm changes in each group, paired over the same patients."""
    arms = [row["arm"] for row in report["arms"] if row["arm"] != report["baseline"]]
    by_place: dict[tuple[str, str], dict[str, Row]] = {}
    for row in report["groups"]:
        if row["metric"] == metric and row["threshold"] == threshold and row["arm"] != report["baseline"]:
            by_place.setdefault((row["attribute"], row["group"]), {})[row["arm"]] = row
    columns: list[Content] = ["Attribute", "Group"]
    for arm in arms:
        columns += [f"{arm} less {report['baseline']}", "95 % over patients"]
    lines = []
    for (attribute, group), of in by_place.items():
        cells: list[Content] = [attribute or "everyone", group if attribute else ""]
        for arm in arms:
            row = of[arm]
            if row.get("change") is None:
                cells += ["insufficient" if row["state"] == "insufficient" else NOTHING, NOTHING]
            else:
                cells += [
                    _plus_minus(signed(row["change"]), row["change_sd_repeats"]),
                    interval(row["change_low"], row["change_high"], plus=True),
                ]
        lines.append(cells)
    return table(f"Change of {_caption(metric, threshold)}", columns, lines, text_columns=2)


def gap_table(report: Mapping[str, Any]) -> Markup:
    """Gaps that the study named before the data were seen."""
    columns = [
        "Gap",
        "Threshold",
        "Arm",
        "Gap ± SD over repeats",
        "95 % over patients",
        "Change",
        "95 %",
        "Gone",
        "95 %",
    ]
    rows = [
        [
            f"{METRIC_WORDS[row['metric']]}, {row['attribute']}: {row['better']} less {row['worse']}",
            row["threshold"] or "none",
            row["arm"],
            *_gap_cells(row),
        ]
        for row in report["gaps"]
    ]
    return table(
        "Gone: the share of the baseline's gap that is gone; a dash where that gap is not shown to be there",
        columns,
        rows,
        text_columns=3,
    )


def widest_table(report: Mapping[str, Any]) -> Markup:
    """Largest less smallest over all comparable groups of an attribute."""
    columns = [
        "Attribute",
        "Metric",
        "Threshold",
        "Arm",
        "Largest gap ± SD over repeats",
        "95 % over patients",
        "Left out",
    ]
    rows = [
        [
            row["attribute"],
            METRIC_WORDS[row["metric"]],
            row["threshold"] or "none",
            row["arm"],
            NOTHING if row["gap"] is None else _plus_minus(number(row["gap"]), row["sd_repeats"]),
            interval(row.get("ci_low"), row.get("ci_high")),
            ", ".join(row["left_out"]) or NOTHING,
        ]
        for row in report["widest"]
    ]
    return table("Groups that say too little are left out of the gap and named", columns, rows, text_columns=4)


def distance_table(entry: Mapping[str, Any], which: str) -> Markup:
    """Group × group distances; the diagonal of the Fréchet matrix is the floor of the same group, patients apart."""
    states = entry["frechet_states" if which == "frechet" else "kernel_states"]
    rows = []
    for place, name in enumerate(entry["groups"]):
        cells: list[Content] = [name, entry["records"][place], entry["patients"][place]]
        for other in range(len(entry["groups"])):
            value = entry[which][place][other]
            if "insufficient" in (states[place], states[other]):
                cells.append("insufficient" if place == other else NOTHING)
            elif place == other and which == "frechet":
                cells.append(element("strong", number(value)))
            else:
                cells.append(number(value))
        rows.append(cells)
    words = (
        f"Fréchet distance, {entry['n']} images a side, mean of {entry['draws']} draws; bold: one group, patients apart"
        if which == "frechet"
        else "Kernel distance (KID): unbiased, 0 means the same distribution"
    )
    return table(words, ["Group", "Images", "Patients", *entry["groups"]], rows)


def fidelity_table(found: Mapping[str, Any]) -> Markup:
    """What the readers see in each group of a synthetic cohort beside real images."""
    rows = [
        [
            row["level"],
            "heart failure" if row["label"] else "healthy",
            row["images"],
            number(row["ratio"]),
            number(row["real_ratio"]),
            row["real_images"],
        ]
        for row in found["groups"]
        if row["images"]
    ]
    columns = [found["attribute"], "Label", "Images", "Ratio of radii, ES over ED", "Real images'", "Real images"]
    return table(
        "A group that real images hardly have is set beside all real images of its class", columns, rows, text_columns=2
    )


def _place(place: tuple[str, str], row: Row) -> list[Content]:
    attribute, group = place
    positives = NOTHING if row["positives"] is None else row["positives"]
    return [attribute or "everyone", group if attribute else "", row["patients"], positives]


def _values(arms: Sequence[str], of: Mapping[str, Row]) -> list[Content]:
    cells: list[Content] = []
    for arm in arms:
        row = of[arm]
        if row["state"] in ("insufficient", "undefined"):
            cells += [row["state"], NOTHING]
        else:
            cells += [_plus_minus(number(row["mean"]), row["sd_repeats"]), interval(row["ci_low"], row["ci_high"])]
    return cells


def _gap_cells(row: Row) -> list[Content]:
    if row["gap"] is None:
        return ["insufficient", *[NOTHING] * 5]
    gone = NOTHING if row.get("share_gone") is None else f"{row['share_gone']:.0%}"
    limits = (row.get("share_low"), row.get("share_high"))
    return [
        _plus_minus(number(row["gap"]), row["sd_repeats"]),
        interval(row["ci_low"], row["ci_high"], plus=True),
        NOTHING if row.get("change") is None else _plus_minus(signed(row["change"]), row["change_sd_repeats"]),
        interval(row.get("change_low"), row.get("change_high"), plus=True),
        gone.replace("-", "−"),
        NOTHING if None in limits else f"[{limits[0]:.0%}, {limits[1]:.0%}]".replace("-", "−"),
    ]


def _plus_minus(text: str, spread: float | None) -> Content:
    return text if spread is None else join(text, " ± ", number(spread))


def _caption(metric: str, threshold: str) -> str:
    words = METRIC_WORDS[metric]
    if not threshold:
        return words
    how = "threshold chosen on validation patients" if threshold == "validation" else "threshold 0.5"
    return f"{words}, {how}"
