"""The page's tables: one row of the report, one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.audit.report.markup import Content, Markup, element, join
from services.audit.report.spelling import NOTHING, interval, number, p_value, signed
from services.audit.report.tables import folded, table
from services.platform.evaluation.wording import percent, spoken, verdict

Row = Mapping[str, Any]
Cells = Callable[[Row], Sequence[Content]]

_VERDICT = element("span", "Verdict", class_="v-head")


def distance_table(rows: Sequence[Row]) -> Markup:
    """All organs and groups; those too small keep their line."""
    columns: list[Content] = [
        "Of",
        "Group",
        "KID",
        "95 %",
        "Real to real",
        "95 %",
        "FD",
        "FD floor",
        "95 % of halves",
        "p adj.",
        _VERDICT,
    ]
    return table("The n of both distances is in the verdict", columns, map(_distance_cells, rows), text_columns=2)


def _distance_cells(row: Row) -> list[Content]:
    if row["state"] != "ok":
        return [*_place(row), *[NOTHING] * 8, _said(row, verdict(row))]
    return [
        *_place(row),
        number(row["kid"]),
        interval(*row["kid_limits"]),
        number(row["kid_floor"]),
        interval(*row["kid_floor_limits"]),
        number(row["frechet"]),
        number(row["frechet_floor"]),
        interval(*row["frechet_floor_limits"]),
        p_value(row["p_adjusted"]),
        _said(row, verdict(row)),
    ]


def fidelity_table(rows: Sequence[Row]) -> Markup:
    """Overall first; the groups of each attribute fold."""
    columns = ["Of", "Group", "Read", "n", "As asked", "95 %", "Real images", "95 %", "p adj.", ""]
    return _with_groups("Shares read back as asked for", columns, rows, _fidelity_cells, text_columns=3)


def _fidelity_cells(row: Row) -> list[Content]:
    return [
        *_place(row),
        spoken(row["read"]),
        str(row["n"]),
        percent(row["share"]),
        _percents(row["limits"]),
        percent(row["real_share"]),
        _percents(row["real_limits"]),
        p_value(row["p_adjusted"]),
        _said(row, "less than real" if row["found"] else ""),
    ]


def confusion_tables(confusions: Sequence[Row]) -> Markup:
    """Asked by read, folded, one an attribute."""
    parts = [
        folded(
            f"{one['organ']} {spoken(one['read'])}: asked by read",
            table(
                "Rows: asked for. Columns: read.",
                ["", *one["levels"], "not readable"],
                ([level, *map(str, counts)] for level, counts in zip(one["levels"], one["counts"], strict=True)),
            ),
        )
        for one in confusions
        if len(one["levels"]) > 1
    ]
    return element("div", *parts, class_="folds")


def shift_table(rows: Sequence[Row]) -> Markup:
    """Overall first; the groups fold."""
    columns = ["Of", "Group", "Feature", "n", "Synthetic", "Real", "Difference", "95 %", "in SD", "p adj.", ""]
    return _with_groups("Means of measured features", columns, rows, _shift_cells, text_columns=3)


def _shift_cells(row: Row) -> list[Content]:
    return [
        *_place(row),
        spoken(row["feature"]),
        f"{row['n']}" + (f" ({row['unread']} unread)" if row["unread"] else ""),
        number(row["synthetic"]),
        number(row["real"]),
        signed(row["difference"]),
        interval(*row["limits"], plus=True),
        signed(row["in_sd"]),
        p_value(row["p_adjusted"]),
        _said(row, "elsewhere" if row["found"] else ""),
    ]


def spread_table(rows: Sequence[Row]) -> Markup:
    """Within the same condition first, then by group."""
    columns = ["Of", "Group", "Pairs", "Synthetic", "Real", "Ratio", "95 %", "p adj.", ""]
    return table("Mean distance of two images in feature space", columns, map(_spread_cells, rows), text_columns=2)


def _spread_cells(row: Row) -> list[Content]:
    return [
        *_place(row),
        f"{row['pairs']:,}",
        number(row["synthetic"]),
        number(row["real"]),
        number(row["ratio"]),
        interval(*row["limits"]),
        p_value(row["p_adjusted"]),
        _said(row, ("less diverse" if row["ratio"] < 1 else "more diverse") if row["found"] else ""),
    ]


def manifold_table(rows: Sequence[Row]) -> Markup:
    """Precision and recall beside those of two real samples."""
    columns = ["Of", "n", "Precision", "real to real", "Recall", "real to real"]
    cells = (
        [
            row["organ"] or "all",
            str(row["n"]),
            *(number(row[name]) for name in ("precision", "real_precision", "recall", "real_recall")),
        ]
        for row in rows
    )
    return (
        table("Precision and recall (3 nearest neighbours); they depend on n", columns, cells) if rows else Markup("")
    )


def closeness_table(rows: Sequence[Row]) -> Markup:
    """Every space and measure."""
    columns = ["Of", "In", "Measure", "n", "Closer", "95 %", "New patients", "Median", "of new patients", "p adj.", ""]
    caption = "Share of images closer than the closest 1 % of new patients' images"
    return table(caption, columns, map(_closeness_cells, rows), text_columns=3)


def _closeness_cells(row: Row) -> list[Content]:
    found = "copies" if row["measure"] == "ratio" else "nearer than new patients"
    return [
        row["organ"] or "all",
        row["space"],
        row["measure"],
        str(row["n"]),
        percent(row["share"]),
        _percents(row["limits"]),
        percent(row["expected"]),
        number(row["median"]),
        number(row["held_out_median"]),
        p_value(row["p_adjusted"]),
        _said(row, found if row["found"] else ""),
    ]


def _with_groups(
    caption: str, columns: Sequence[str], rows: Sequence[Row], cells: Cells, *, text_columns: int
) -> Markup:
    whole = [row for row in rows if not row["attribute"]]
    groups = [row for row in rows if row["attribute"]]
    found = [row for row in groups if row["found"]]
    parts = [table(caption, columns, map(cells, [*whole, *found]), text_columns=text_columns)]
    if groups:
        grouped = table(f"{caption}, by group", columns, map(cells, groups), text_columns=text_columns)
        parts.append(folded(f"All {len(groups)} groups", grouped))
    return join(*parts)


def _place(row: Row) -> list[Content]:
    group = f"{spoken(row['attribute'])} {row['level']}" if row["attribute"] else row["level"] or "all images"
    return [row["organ"] or "all", group]


def _percents(limits: Sequence[float]) -> str:
    return f"[{percent(limits[0])}, {percent(limits[1])}]".replace(" %,", ",")


def _said(row: Row, words: str) -> Content:
    return element("span", words, class_="v yes" if row["found"] else "v") if words else ""
