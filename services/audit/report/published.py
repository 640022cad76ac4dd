"""The published style: what a study of reconstruction bias would have printed of these rows, beside the findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.audit.report.markup import Content, Markup, element
from services.audit.report.reading import Reading, Row, target_of
from services.audit.report.spelling import NOTHING, count, interval, number, p_value, signed, unit
from services.audit.report.tables import folded, grouped_table, quiet, section, stacked
from services.audit.report.wording import VERDICT, verdict_mark

_IMAGES = ("reconstruction", "")  # what image quality is measured of, as FORMATS.md says
_WHY = (
    "These numbers overstate what is known, and no verdict rests on them: images are resampled although a patient's "
    "images resemble each other, each pipeline's threshold is chosen on the very images that are judged, and p counts "
    "one side only, the one that was seen, without adjustment."
)
_USE = "They are here to be laid beside a published table; what this report finds of the same rows stands to the right."
_BY_CHANCE = (
    "An average of sizes is above 0 even where nothing changed. By chance: what it is on average, and in 95 of 100 "
    "cases at most, when each patient's two results are exchanged at random."
)


def published_section(reading: Reading) -> Markup:
    """Folded tables under one sentence on why they overstate; nothing where nothing was resampled."""
    block: Mapping[str, Any] = reading.report.get("published", {})
    parts = [*_changes(reading, block), *_averages(reading, block), *_spreads(reading, block)]
    if not parts:
        return Markup("")
    return section("In the published style", "published", quiet(_WHY, " ", _USE), *parts)


def _changes(reading: Reading, block: Mapping[str, Any]) -> Iterator[Markup]:
    """One table for each definition: gaps and bootstrapped change, then the change that this report found."""
    by_definition: dict[tuple[str, str], list[Row]] = {}
    for row in block.get("changes", []):
        by_definition.setdefault((row["definition"], row["metric"]), []).append(row)
    groups: list[tuple[Content, int]] = [("", 3), ("Published style", 4), ("This report", 3)]
    columns: list[Content] = ["Task", "By", "Candidate", "Baseline's gap", "Candidate's", "Change (SE)", "p, one side"]
    columns += ["Change", "Adjusted p", VERDICT]
    for (definition, metric), rows in by_definition.items():
        title = reading.gap_title(definition, metric)
        caption = f"{title}: mean change over {count(block['replicates'])} resamples of images, its standard deviation"
        rows.sort(key=lambda row: (target_of(row), reading.single.index(row["attribute"])))
        lines = [_change_row(reading, row) for row in rows]
        yield folded(
            element("b", title),
            grouped_table(caption, groups, columns, lines, text_columns=3),
            note=f"{count(_below(rows))} of {count(len(rows))} with p < 0.05 in the published style, "
            f"{count(_found(reading, rows))} found by this report",
        )


def _change_row(reading: Reading, row: Row) -> list[Content]:
    target, of = target_of(row), unit(row["metric"], row["definition"])
    ours = _ours(reading, row)
    return [
        reading.target_title(target),
        row["attribute"],
        row["candidate"],
        number(row["baseline_gap"], of),
        number(row["candidate_gap"], of),
        _with_error(row, of),
        p_value(row["p_one_tailed"]),
        *_found_change(ours, of),
    ]


def _found_change(ours: Row | None, of: str) -> list[Content]:
    if ours is None:
        return [NOTHING] * 3
    ends = interval(ours["ci_low"], ours["ci_high"], of, plus=True)
    change = signed(ours["estimate"], of)
    return [
        stacked(change, ends) if ours["estimate"] is not None else NOTHING,
        p_value(ours["p_adjusted"]),
        verdict_mark(ours["verdict"]) if ours["verdict"] else NOTHING,
    ]


def _averages(reading: Reading, block: Mapping[str, Any]) -> Iterator[Markup]:
    rows = [row for row in block.get("averages", []) if row["tasks"] > 1]
    if not rows:
        return
    columns: list[Content] = [
        "Gap",
        "By",
        "Candidate",
        "Tasks",
        "Mean size of change",
        "By chance",
        "By chance, at most",
    ]
    kinds = list(dict.fromkeys(row["definition"] for row in rows))
    lines: list[list[Content]] = [
        [
            reading.gap_title(row["definition"], row["metric"]),
            row["attribute"],
            row["candidate"],
            count(row["tasks"]),
            number(row["absolute_mean"]),
            number(row["by_chance"]),
            number(row["by_chance_high"]),
        ]
        for row in sorted(
            rows, key=lambda row: (kinds.index(row["definition"]), reading.single.index(row["attribute"]))
        )
    ]
    groups: list[tuple[Content, int]] = [("", 3), ("Published style", 2), ("This report", 2)]
    table = grouped_table(
        "Size of the bootstrapped change, averaged over tasks", groups, columns, lines, text_columns=3
    )
    yield folded(element("b", "Averages over tasks"), quiet(_BY_CHANCE), table)


def _spreads(reading: Reading, block: Mapping[str, Any]) -> Iterator[Markup]:
    rows = block.get("spreads", [])
    if not rows:
        return
    columns: list[Content] = ["By", "Pipeline", "Best, worst group", "Percent (SE)", "p, one side"]
    columns += ["Percent", "Adjusted p", VERDICT]
    groups: list[tuple[Content, int]] = [("", 2), ("Published style", 3), ("This report", 3)]
    lines = [_spread_row(reading, row) for row in rows]
    caption = "PSNR: from the best to the worst group, in percent of the best"
    yield folded(element("b", "PSNR between groups"), grouped_table(caption, groups, columns, lines, text_columns=3))


def _spread_row(reading: Reading, row: Row) -> list[Content]:
    name, metric, attribute = row["pipeline"], row["metric"], row["attribute"]
    percent = reading.gap(name, _IMAGES, metric, attribute, "percent_max_min")
    ours: list[Content] = [NOTHING] * 3
    if percent is not None:
        ends = interval(percent["ci_low"], percent["ci_high"], "%")
        mark = verdict_mark(percent["verdict"]) if percent["verdict"] else NOTHING
        ours = [stacked(number(percent["estimate"], "%"), ends), p_value(percent["p_adjusted"]), mark]
    spread = f"{number(row['percent'], '%')} ({number(row['standard_error'], '%')})"
    return [attribute, name, f"{row['best']}, {row['worst']}", spread, p_value(row["p_one_tailed"]), *ours]


def _with_error(row: Row, of: str) -> str:
    return NOTHING if row["mean"] is None else f"{signed(row['mean'], of)} ({number(row['standard_error'], of)})"


def _ours(reading: Reading, row: Row) -> Row | None:
    return reading.change(row["candidate"], target_of(row), row["metric"], row["attribute"], row["definition"])


def _below(rows: Sequence[Row]) -> int:
    return sum(row["p_one_tailed"] is not None and row["p_one_tailed"] < 0.05 for row in rows)


def _found(reading: Reading, rows: Sequence[Row]) -> int:
    found = (_ours(reading, row) for row in rows)
    return sum(ours is not None and ours["verdict"] == "change" for ours in found)
