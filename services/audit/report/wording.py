"""Verdicts and findings in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from services.audit.report.markup import Markup, element, isolated, join
from services.audit.report.reading import FOUND, RATIOS, Reading, Row
from services.audit.report.spelling import (
    NOTHING,
    interval,
    number,
    p_words,
    signed,
    unit,
    with_unit,
)

VERDICTS = {
    "gap": "gap",
    "change": "change",
    "no_gap_shown": "no gap shown",
    "no_change_shown": "no change shown",
    "insufficient_evidence": "insufficient evidence",
    None: "not tested",
}
_COLOURS: dict[str | None, str] = {"gap": "yes", "change": "yes", "no_gap_shown": "no", "no_change_shown": "no"}
_FAMILIES = {
    "primary": "Groups and gaps, single attributes (primary)",
    "exploratory": "Groups and gaps, intersections (exploratory)",
    "cohort": "Prevalence (who was imaged, not how a model reads)",
    "changes": "Changes from the baseline",
    "changes_exploratory": "Changes of gaps between groups, intersections (exploratory)",
}


def family_title(family: str) -> str:
    """A family of tests in words."""
    return _FAMILIES.get(family, family)


def verdict_mark(verdict: str | None, *, short: bool = False) -> Markup:
    """A verdict in a table: in words, and marked by weight and colour. ``short`` is for narrow columns."""
    words = VERDICTS[verdict].removesuffix(" evidence") if short else VERDICTS[verdict]
    if short and verdict not in _COLOURS:
        return join(words)
    return element("span", words, class_=f"v {_COLOURS.get(verdict, '')}".strip())


BOTH_DIRECTIONS = (
    "Where groups are nearly equal before the change it is unknown which pair leads afterwards, and the interval of a "
    "gap's change holds both directions: it can reach across zero although the test, which swaps the pipelines within "
    "patients, finds a change."
)
NOT_ADJUSTED = "not adjusted for view, body size or scanner"
QUALITY_GAPS = (
    f"Gaps in image quality are {NOT_ADJUSTED}: they may follow what is in the images (age, build, device) rather than "
    "how well they were reconstructed."
)
VERDICT = element("span", "Verdict", class_="v-head")
"""The heading of a column of verdicts: aligned as they are."""


def counted_verdicts(rows: Iterable[Row]) -> Markup:
    """ "36: 1 gap, 35 insufficient evidence", findings marked."""
    counts = Counter(row["verdict"] for row in rows)
    told = {verdict: _counted(counts[verdict], words) for verdict, words in VERDICTS.items() if counts[verdict]}
    parts = [element("span", text, class_="v yes") if verdict in FOUND else text for verdict, text in told.items()]
    return join(
        f"{sum(counts.values()):,}: ",
        *(piece for i, part in enumerate(parts) for piece in ([", "] if i else []) + [part]),
    )


def _counted(number_of: int, words: str) -> str:
    plural = "s" if words in FOUND and number_of != 1 else ""
    return f"{number_of:,} {words}{plural}"


def cell_in_words(reading: Reading, cell: Row) -> Markup:
    """ "Female, true positive rate 0.586: −0.153 against everyone (95% interval [..]; adjusted p < 0.001)"."""
    of = unit(cell["metric"])
    value = with_unit(number(cell["estimate"], of), of)
    apart = element("b", with_unit(signed(cell["difference"], of), of))
    ends = interval(cell["difference_ci_low"], cell["difference_ci_high"], of, plus=True)
    what = f"{reading.metric_title(cell['metric'])} {value}, "
    return join(isolated(cell["group"]), f": {what}", apart, " against everyone", _evidence(reading, cell, ends))


def gap_in_words(reading: Reading, gap: Row) -> Markup:
    """ "EOP 0.117 between groups (…; 0.110 without what chance adds)"."""
    of = unit(gap["metric"], gap["definition"])
    title = reading.gap_title(gap["definition"], gap["metric"])
    value = element("b", with_unit(number(gap["estimate"], of), of))
    ends = interval(gap["ci_low"], gap["ci_high"], of)
    corrected = "" if gap["corrected"] is None else f"; {number(gap['corrected'], of)} without what chance adds"
    return join(f"{title}: ", value, " between groups", _evidence(reading, gap, ends, corrected))


def change_in_words(reading: Reading, change: Row) -> Markup:
    """ "EOP rose by 0.117 (…)"; over everyone the metric itself."""
    of = unit(change["metric"], change["definition"])
    value = change["estimate"]
    moved = "rose by" if value is not None and value > 0 else "fell by"
    amount = element("b", with_unit(number(None if value is None else abs(value), of), of))
    ends = interval(change["ci_low"], change["ci_high"], of, plus=True)
    title = reading.gap_title(change["definition"], change["metric"])
    return join(f"{title} {moved} ", amount, _evidence(reading, change, ends))


def equal_value(definition: str) -> float:
    """What a gap is where the groups are equal."""
    return 1.0 if definition in RATIOS else 0.0


def _evidence(reading: Reading, row: Row, ends: str, more: str = "") -> Markup:
    share = f"{100 * float(reading.methods.get('confidence', 0.95)):g}%"
    told = [f"{share} interval {ends}"] if ends != NOTHING else []
    told += [f"adjusted {p_words(row['p_adjusted'])}"] if row["p_adjusted"] is not None else []
    return join(f" ({'; '.join(told)}{more})")
