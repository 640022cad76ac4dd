"""HTML tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.audit.report.markup import Content, Markup, element, join, number, signed
from services.audit.report.reading import Reading, Row, target_title


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Content]], *, text_columns: int = 1) -> Markup:
    """A table whose first ``text_columns`` are text and whose others are right-aligned numbers."""

    def line(tag: str, row: Sequence[Content]) -> Markup:
        classes = ["text" if i < text_columns else "number" for i in range(len(row))]
        return element("tr", *(element(tag, value, class_=class_) for value, class_ in zip(row, classes, strict=True)))

    head = element("thead", line("th", columns))
    body = element("tbody", join(*(line("td", row) for row in rows)))
    return element("div", element("table", element("caption", caption), head, body), class_="scroll")


def folded(summary: str, *content: Content, class_: str = "") -> Markup:
    """Content behind a line that opens it."""
    return element("details", element("summary", summary), *content, class_=class_)


def side_by_side(*figures: Markup) -> Markup:
    """Figures in a grid that folds to the width of the page."""
    return element("div", *figures, class_="panels")


def cell_table(reading: Reading, metric: str) -> Markup:
    """Every cell of a metric."""
    columns = [
        "Pipeline",
        "Label",
        "Attribute",
        "Group",
        "State",
        "Records",
        "Excluded",
        "Patients",
        "Positives",
        "Value",
    ]
    return table(
        reading.metric_title(metric),
        columns,
        (
            (
                cell["pipeline"],
                target_title((cell["task"], cell["label"])),
                cell["attribute"] or "(everyone)",
                cell["group"],
                cell["state"],
                f"{cell['records']:,}",
                f"{cell['excluded_records']:,}",
                f"{cell['patients']:,}",
                _count(cell["positives"]),
                number(cell["estimate"], metric),
            )
            for cell in reading.report["cells"]
            if cell["metric"] == metric
        ),
        text_columns=5,
    )


def gap_table(reading: Reading) -> Markup:
    """Every gap, with the groups that it leaves out."""
    return table(
        "Gaps",
        ["Pipeline", "Label", "Attribute", "Gap", "Left out", "Value"],
        (
            (
                gap["pipeline"],
                target_title((gap["task"], gap["label"])),
                gap["attribute"],
                reading.gap_title(gap["definition"], gap["metric"]),
                "; ".join(gap["excluded_groups"]),
                number(gap["estimate"], gap["metric"]),
            )
            for gap in reading.report["gaps"]
        ),
        text_columns=5,
    )


def change_table(reading: Reading) -> Markup:
    """Every change, candidate minus baseline."""
    return table(
        f"Changes against {reading.pipelines[0]}",
        ["Candidate", "Label", "Attribute", "What", "Change"],
        (
            (
                change["candidate"],
                target_title((change["task"], change["label"])),
                change["attribute"] or "(everyone)",
                _what(reading, change),
                signed(change["estimate"], change["metric"]),
            )
            for change in reading.report["changes"]
        ),
        text_columns=4,
    )


def _what(reading: Reading, change: Row) -> str:
    if change["definition"] == "overall":
        return reading.metric_title(change["metric"])
    return reading.gap_title(change["definition"], change["metric"])


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
