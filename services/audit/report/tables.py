"""HTML tables and what folds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from services.audit.report.markup import Content, Markup, element, join

Cells = Sequence[Content]


def table(
    caption: Content, columns: Cells, rows: Iterable[Cells], *, text_columns: int = 1, class_: str = ""
) -> Markup:
    """A table whose first ``text_columns`` hold text and whose others hold right-aligned numbers.

    The first cell of a row is its heading. The style sheet aligns by the table's class, so that cells stay short.
    """
    head = element("thead", element("tr", *(element("th", column, scope="col") for column in columns)))
    body = element("tbody", join(*_lines(rows)))
    classes = f"t{text_columns} {class_}".strip()
    return element("div", element("table", element("caption", caption), head, body, class_=classes), class_="scroll")


def grouped_table(
    caption: Content,
    groups: Sequence[tuple[Content, int]],
    columns: Cells,
    rows: Iterable[Cells],
    *,
    text_columns: int = 1,
) -> Markup:
    """A table with a line of headings above its headings: ``groups`` are (heading, number of columns)."""
    spans = [element("th", heading, scope="colgroup", colspan=span) for heading, span in groups]
    strips = join(*(element("colgroup", span=span) for _, span in groups))
    top = element("tr", *spans)
    head = element("thead", top, element("tr", *(element("th", column, scope="col") for column in columns)))
    body = element("tbody", join(*_lines(rows)))
    return element(
        "div",
        element("table", element("caption", caption), strips, head, body, class_=f"t{text_columns} grouped"),
        class_="scroll",
    )


def stacked(above: Content, below: Content) -> Markup:
    """A value over what qualifies it, in one cell."""
    return join(above, element("small", below))


def folded(
    summary: Content,
    *content: Content,
    note: Content = "",
    class_: str = "",
    open_: bool = False,
    printed: bool = False,
) -> Markup:
    """Content behind a line that opens it. ``open_`` is for the screen, ``printed`` for paper.

    On paper what is not printed keeps its line, which says where the content is; what a reader opened by hand is
    printed too.
    """
    line = element("summary", summary, *([" ", element("small", note)] if note else []))
    opened = {"open": "open"} if open_ else {}
    on_paper = "printed" if printed else "on-screen" if open_ else ""
    return element("details", line, *content, class_=f"{class_} {on_paper}".strip(), **opened)


def on_screen(words: Content, *content: Content) -> Markup:
    """Content that is not printed; paper has ``words`` in its place."""
    return join(element("div", *content, class_="on-screen"), element("p", words, class_="on-paper"))


def figure(caption: Content, *content: Content, class_: str = "") -> Markup:
    """A figure under its caption."""
    return element("figure", element("figcaption", caption), *content, class_=class_)


def panels(*figures: Markup) -> Markup:
    """Figures in a grid that folds to the width of the page."""
    return element("div", *figures, class_="panels")


def section(title: str, anchor: str, *content: Content) -> Markup:
    """A section of the page that the contents link to."""
    return element("section", element("h2", title), *content, id=anchor)


def quiet(*words: Content) -> Markup:
    """An explanation under a heading."""
    return element("p", *words, class_="quiet")


def _lines(rows: Iterable[Cells]) -> Iterator[Markup]:
    """Rows; those that begin alike share one heading, and all but the first of them are one cell shorter."""
    for first, run in groupby(rows, key=lambda row: row[0]):
        alike = list(run)
        spans: dict[str, str | float] = {"scope": "row"}
        if len(alike) > 1:
            spans = {"scope": "rowgroup", "rowspan": len(alike)}
        for i, row in enumerate(alike):
            heading = [] if i else [element("th", first, **spans)]
            cells = (element("td", cell) for cell in row[1:])
            yield element("tr", *heading, *cells, class_="more" if i else "")
