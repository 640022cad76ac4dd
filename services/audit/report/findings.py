"""The verdict strip: what was found, largest first, or what could have been found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from services.audit.report.markup import Content, Markup, element, isolated, join
from services.audit.report.reading import FOUND, QUALITY, Reading, Row, is_overall, relative_size, target_of
from services.audit.report.spelling import NOTHING, count, number, unit, with_unit
from services.audit.report.tables import folded, quiet, table
from services.audit.report.wording import (
    BOTH_DIRECTIONS,
    NOT_ADJUSTED,
    QUALITY_GAPS,
    cell_in_words,
    change_in_words,
    family_title,
    gap_in_words,
)

_SHOWN = 6
_NO_GAP = " That is not evidence of equality: below stands how large a gap had to be to be found."
_NO_CHANGE = " That is not evidence that none does."
_FAMILIES = ("primary", "changes", "cohort", "exploratory", "changes_exploratory")


def verdict_strip(reading: Reading) -> Markup:
    """Notices, the headline, counts by family, the findings, and the smallest gap that could have been found."""
    return element(
        "section",
        element("h2", "What was found"),
        threshold_notice(reading),
        *_headline(reading),
        _counts(reading),
        *_findings(reading),
        *_detectable(reading),
        id="found",
        class_="verdict",
    )


def threshold_notice(reading: Reading, *, short: bool = False) -> Markup:
    """A loud warning where thresholds were fitted on the cohort that is judged; nothing otherwise."""
    fitted = reading.fitted_thresholds()
    if not fitted:
        return Markup("")
    names = sorted({f"{row['pipeline']}: {row['label']}" for row in fitted})
    where = element("b", "Thresholds were fitted on the audited cohort. ")
    if short:
        return element(
            "p", where, f"{len(names)} of them; see Methods. Rates below are too favourable.", class_="notice"
        )
    words = (
        "True and false positive rates, balanced accuracy, EODD and EOP at these thresholds are too favourable, and "
        "gaps in them may not hold for other patients: "
    )
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return element("p", where, words, isolated(shown), ".", class_="notice", role="alert")


def _headline(reading: Reading) -> Iterator[Markup]:
    """The two answers in plain words: do groups differ, and does a candidate change that."""
    rows = [row for row in _rows(reading) if row["family"] == "primary" and row["verdict"] is not None]
    if not rows:
        yield _answer("Nothing was tested: no group has enough patients and cases to be compared.")
        return
    places = {_place_of(row) for row in rows if row["verdict"] in FOUND}
    lead = (
        f"Gaps between groups were found in {_places(len(places))}." if places else "No gap between groups was found."
    )
    yield _answer(element("b", lead), " ", _plainly(rows, "primary comparison", "gap"), "" if places else _NO_GAP)
    changes = [row for row in reading.report["changes"] if row["family"] == "changes" and not is_overall(row)]
    changes = [row for row in changes if row["verdict"] is not None]
    if changes:
        places = {_place_of(row) for row in changes if row["verdict"] in FOUND}
        lead = "No candidate was found to change a gap."
        if places:
            lead = f"Candidates changed gaps between groups in {_places(len(places))}."
        yield _answer(
            element("b", lead), " ", _plainly(changes, "change of a gap", "change"), "" if places else _NO_CHANGE
        )


def _answer(*words: Content) -> Markup:
    return element("p", *words, class_="headline")


def _plainly(rows: Sequence[Row], one: str, what: str) -> str:
    """Verdicts in a sentence; ``one`` is what is counted, ``what`` is a gap or a change."""
    counts = Counter(row["verdict"] for row in rows)
    found, few = counts["gap"] + counts["change"], counts["insufficient_evidence"]
    none = len(rows) - found - few
    many = {"primary comparison": "primary comparisons", "change of a gap": "changes of gaps"}[one]
    return (
        f"{found:,} of {len(rows):,} {one if len(rows) == 1 else many} {'differs' if found == 1 else 'differ'} by more "
        f"than chance; {none:,} {'shows' if none == 1 else 'show'} no {what} that would matter; "
        f"{few:,} {'has' if few == 1 else 'have'} too little data to tell."
    )


def _places(number_of: int) -> str:
    return f"{number_of:,} place{'' if number_of == 1 else 's'}"


def _rows(reading: Reading) -> Iterator[Row]:
    for kind in ("cells", "gaps", "changes"):
        yield from reading.report[kind]


def _counts(reading: Reading) -> Markup:
    """Verdicts by family and kind of comparison."""
    lines: list[list[Content]] = []
    for family in _FAMILIES:
        for words, rows in _kinds(reading, family):
            verdicts = Counter(row["verdict"] for row in rows)
            found = verdicts["gap"] + verdicts["change"]
            none = verdicts["no_gap_shown"] + verdicts["no_change_shown"]
            numbers = (none, verdicts["insufficient_evidence"], verdicts[None])
            first = element("b", f"{found:,}") if found else "0"
            lines.append([family_title(family), words, first, *(f"{n:,}" for n in numbers)])
    columns = ["Family of tests", "Compared", "Found", "None shown", "Insufficient evidence", "Not tested"]
    return table("Verdicts", columns, lines, text_columns=2) if lines else Markup("")


def _kinds(reading: Reading, family: str) -> Iterator[tuple[str, list[Row]]]:
    """What a family compares, in words, and the rows; kinds without rows are left out."""
    cells, gaps, changes = (
        [row for row in reading.report[kind] if row["family"] == family] for kind in ("cells", "gaps", "changes")
    )
    kinds = (
        ("groups against everyone", cells),
        ("gaps over all groups", gaps),
        ("gaps between groups", [row for row in changes if not is_overall(row)]),
        ("values for everyone", [row for row in changes if is_overall(row)]),
    )
    yield from ((words, rows) for words, rows in kinds if rows)


def _findings(reading: Reading) -> Iterator[Markup]:
    for family in _FAMILIES:
        found = [row for row in _rows(reading) if row["family"] == family and row["verdict"] in FOUND]
        if family == "changes":
            yield from _list(reading, "Changes of gaps between groups", [row for row in found if not is_overall(row)])
            yield from _list(reading, "Changes for everyone", [row for row in found if is_overall(row)], fold=True)
        else:
            yield from _list(reading, family_title(family), found)
    if any(_reaches_across_zero(row) for row in reading.report["changes"]):
        yield quiet(BOTH_DIRECTIONS)
    if any(row["verdict"] in FOUND for row in _rows(reading)):
        yield quiet(
            "Sizes of different metrics are ordered by the tolerance of each metric, the gap that would matter."
        )
    if any(row["verdict"] in FOUND and row["metric"] in QUALITY for row in _rows(reading)):
        yield quiet(QUALITY_GAPS)


def _list(reading: Reading, title: str, found: Sequence[Row], *, fold: bool = False) -> Iterator[Markup]:
    """Findings by place, largest first; the places after the first few behind a line, or all of a long list."""
    places: dict[tuple[object, ...], list[Row]] = {}
    for row in found:
        places.setdefault(_place_of(row), []).append(row)
    if not places:
        return
    ordered = sorted(places.values(), key=lambda rows: -max(relative_size(reading, row) for row in rows))
    items = [_place(reading, rows) for rows in ordered]
    numbers = f"{len(found):,} finding{'' if len(found) == 1 else 's'} in {_places(len(items))}"
    shown, more = (items[:0], items) if fold and len(items) > _SHOWN else (items[:_SHOWN], items[_SHOWN:])
    if shown:
        yield element("h3", f"{title}: {numbers}, largest first")
        yield element("ul", *shown, class_="findings")
    if more:
        line = f"{len(more)} more places" if shown else element("b", f"{title}: {numbers}, largest first")
        yield folded(line, element("ul", *more, class_="findings"), printed=True)


def _place_of(row: Row) -> tuple[object, ...]:
    return row.get("pipeline") or row["candidate"], target_of(row), row["attribute"]


def _reaches_across_zero(change: Row) -> bool:
    low, high = change["ci_low"], change["ci_high"]
    return change["verdict"] == "change" and low is not None and high is not None and low < 0 < high


def _place(reading: Reading, rows: Sequence[Row]) -> Markup:
    """All findings of one pipeline, label and attribute: they are often one finding seen in several ways."""
    first = rows[0]
    pipeline = first.get("pipeline") or f"{first['candidate']} against {first['baseline']}"
    names = [
        reading.target_title(target_of(first)),
        *([f"by {first['attribute']}"] if first["attribute"] else []),
        pipeline,
    ]
    head = element(
        "b", join(*(part for i, name in enumerate(names) for part in ([" · "] if i else []) + [isolated(name)]))
    )
    ordered = sorted(rows, key=lambda row: -relative_size(reading, row))
    caution = [" ", element("small", NOT_ADJUSTED)] if all(row["metric"] in QUALITY for row in rows) else []
    return element("li", head, *caution, element("ul", *(element("li", _in_words(reading, row)) for row in ordered)))


def _in_words(reading: Reading, row: Row) -> Markup:
    if "candidate" in row:
        return change_in_words(reading, row)
    return cell_in_words(reading, row) if "difference" in row else gap_in_words(reading, row)


def _detectable(reading: Reading) -> Iterator[Markup]:
    """The smallest gaps that tests of this cohort find four times out of five, by metric and attribute."""
    sizes: dict[tuple[str, str], list[float]] = {}
    for cell in reading.report["cells"]:
        if cell["minimum_detectable_gap"] is not None and cell["attribute"]:
            sizes.setdefault((cell["metric"], cell["attribute"]), []).append(cell["minimum_detectable_gap"])
    if not sizes:
        return
    attributes = [name for name in reading.groups if any(name == of for _, of in sizes)]
    rows = []
    for metric in (name for name in reading.metrics if any(name == of for of, _ in sizes)):
        of = unit(metric)
        tolerance = with_unit(number(reading.tolerance(metric), of), of)
        rows.append(
            [reading.metric_title(metric), tolerance, *(_range(sizes.get((metric, a)), of) for a in attributes)]
        )
    columns = ["Metric", "Gap that would matter", *attributes]
    caption = (
        "Distance of one group to everyone that is found four times out of five: median (smallest to largest; tests)"
    )
    found = any(row["verdict"] in FOUND and row["family"] == "primary" for row in _rows(reading))
    yield folded("What could have been found", table(caption, columns, rows), open_=not found, printed=True)


def _range(sizes: Sequence[float] | None, of: str) -> Content:
    if not sizes:
        return NOTHING
    middle = element("b", number(median(sizes), of))
    return join(middle, f" ({number(min(sizes), of)} to {number(max(sizes), of)}; {count(len(sizes))})")
