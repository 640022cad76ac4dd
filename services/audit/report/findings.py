"""The verdict strip: what was found, largest first, or what could have been found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from services.audit.report.markup import Content, Markup, element, isolated, join
from services.audit.report.reading import Reading, Row, relative_size, target_of
from services.audit.report.spelling import NOTHING, count, number, unit, with_unit
from services.audit.report.tables import folded, quiet, table
from services.audit.report.wording import (
    BOTH_DIRECTIONS,
    FOUND,
    cell_in_words,
    change_in_words,
    family_title,
    gap_in_words,
)

_SHOWN = 6
_FAMILIES = ("primary", "changes", "cohort", "exploratory", "changes_exploratory")


def verdict_strip(reading: Reading) -> Markup:
    """Notices, the headline, counts by family, the findings, and the smallest gap that could have been found."""
    return element(
        "section",
        element("h2", "What was found"),
        threshold_notice(reading),
        element("p", _headline(reading), class_="headline"),
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


def _headline(reading: Reading) -> Markup:
    """The primary answer in one or two sentences."""
    rows = [row for row in _rows(reading) if row["family"] == "primary"]
    tested = [row for row in rows if row["verdict"] is not None]
    found = [row for row in tested if row["verdict"] in FOUND]
    if not tested:
        return join("Nothing was tested: no group has enough patients and cases to be compared.")
    counts = Counter(row["verdict"] for row in tested)
    few = counts["insufficient_evidence"]
    enough = f"{counts['no_gap_shown']:,} show no gap of consequence, {few:,} have too little data."
    if found:
        places = {(row["pipeline"], target_of(row), row["attribute"]) for row in found}
        where = f"{len(places)} place{'s' if len(places) > 1 else ''}"
        lead = element("b", f"Gaps between groups were found in {where}.")
        return join(lead, f" Of {len(tested):,} primary comparisons {len(found):,} are told from chance, ", enough)
    lead = element("b", "No gap between groups was told from chance.")
    meaning = " That is not evidence of equality: below stands how large a gap had to be to be found."
    return join(lead, f" Of {len(tested):,} primary comparisons ", enough, meaning)


def _rows(reading: Reading) -> Iterator[Row]:
    for kind in ("cells", "gaps", "changes"):
        yield from reading.report[kind]


def _counts(reading: Reading) -> Markup:
    """Verdicts by family and kind of comparison."""
    kinds = (("cells", "groups against everyone"), ("gaps", "gaps over all groups"), ("changes", "changes"))
    lines: list[list[Content]] = []
    for family in _FAMILIES:
        for kind, words in kinds:
            rows = [row for row in reading.report[kind] if row["family"] == family]
            if not rows:
                continue
            verdicts = Counter(row["verdict"] for row in rows)
            found = verdicts["gap"] + verdicts["change"]
            none = verdicts["no_gap_shown"] + verdicts["no_change_shown"]
            numbers = (found, none, verdicts["insufficient_evidence"], verdicts[None])
            first = element("b", f"{found:,}") if found else "0"
            lines.append([family_title(family), words, first, *(f"{n:,}" for n in numbers[1:])])
    columns = ["Family of tests", "Compared", "Found", "None shown", "Insufficient evidence", "Not tested"]
    return table("Verdicts", columns, lines, text_columns=2) if lines else Markup("")


def _findings(reading: Reading) -> Iterator[Markup]:
    for family in _FAMILIES:
        found = [row for row in _rows(reading) if row["family"] == family and row["verdict"] in FOUND]
        places: dict[tuple[object, ...], list[Row]] = {}
        for row in found:
            pipeline = row.get("pipeline") or row["candidate"]
            places.setdefault((pipeline, target_of(row), row["attribute"]), []).append(row)
        ordered = sorted(places.values(), key=lambda rows: -max(relative_size(reading, row) for row in rows))
        if ordered:
            items = [_place(reading, rows) for rows in ordered]
            yield element(
                "h3", f"{family_title(family)}: {len(found):,} findings in {len(items):,} places, largest first"
            )
            yield element("ul", *items[:_SHOWN], class_="findings")
            if items[_SHOWN:]:
                more = element("ul", *items[_SHOWN:], class_="findings")
                yield folded(f"{len(items) - _SHOWN} more places", more)
    if any(_reaches_across_zero(row) for row in reading.report["changes"]):
        yield quiet(BOTH_DIRECTIONS)
    if any(row["verdict"] in FOUND for row in _rows(reading)):
        yield quiet(
            "Sizes of different metrics are ordered by the tolerance of each metric, the gap that would matter."
        )


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
    return element("li", head, element("ul", *(element("li", _in_words(reading, row)) for row in ordered)))


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
    yield folded("What could have been found", table(caption, columns, rows), open_=not found)


def _range(sizes: Sequence[float] | None, of: str) -> Content:
    if not sizes:
        return NOTHING
    middle = element("b", number(median(sizes), of))
    return join(middle, f" ({number(min(sizes), of)} to {number(max(sizes), of)}; {count(len(sizes))})")
