"""HTML tables and what folds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

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


def folded(summary: Content, *content: Content, note: Content = "", class_: str = "", open_: bool = False) -> Markup:
    """Content behind a line that opens it; on paper it is always open."""
    line = element("summary", summary, *([" ", element("small", note)] if note else []))
    opened = {"open": "open"} if open_ else {}
    return element("details", line, *content, class_=class_, **opened)


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
    """Rows; one that begins as the row above it is marked, so that a repeated name can step back."""
    above: Content | None = None
    for first, *others in rows:
        repeated = {"class_": "again"} if first == above else {}
        yield element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in others), **repeated)
        above = first
