"""Gaps between groups: every number of a gap in tables, and the change from baseline to candidate in figures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from services.audit.report.figures.dumbbells import dumbbells
from services.audit.report.findings import threshold_notice
from services.audit.report.groups import AT_A_THRESHOLD
from services.audit.report.legend import DUMBBELL_WORDS, pipeline_legend
from services.audit.report.markup import Content, Markup, element, isolated, join
from services.audit.report.reading import QUALITY, Reading, Row, relative_size, target_of
from services.audit.report.spelling import interval, number, p_value, signed, unit, with_unit
from services.audit.report.tables import figure, folded, on_screen, quiet, section, table
from services.audit.report.wording import BOTH_DIRECTIONS, QUALITY_GAPS, VERDICT, counted_verdicts, verdict_mark

_LEADING = ("eodd_half", "eop", "ser")
_TO_REFERENCE = ("difference_to_reference", "ratio_to_reference")
GAP_WORDS = (
    "Raw gap: largest minus smallest group, above zero even where there is none. Noise floor: its average if there "
    "were none. Corrected: what is left without chance. The interval holds for all pairs of groups at once and reaches "
    "the value of equality when nothing is shown. The adjusted p carries the verdict."
)


def gaps_section(reading: Reading) -> Markup:
    """Tables of all gaps of the single attributes."""
    content = list(gap_tables(reading, reading.single))
    if not content:
        return section(
            "Gaps", "gaps", quiet("The report holds no gap: no attribute was audited, or no metric was measured.")
        )
    return section("Gaps", "gaps", quiet(GAP_WORDS), _found_table(reading), *content)


def changes_section(reading: Reading) -> Markup:
    """Dumbbells of the single attributes and all changes; without candidates the gaps with their intervals."""
    alone = len(reading.pipelines) == 1
    words = (
        "No candidate was audited: gaps of the baseline with their intervals."
        if alone
        else (
            "Each row goes from the baseline's gap to a candidate's. Both read the same patients, so the interval of "
            "the change is paired."
        )
    )
    legend = pipeline_legend(reading, "changes", *(DUMBBELL_WORDS[1:2] if alone else DUMBBELL_WORDS))
    title = "Gaps of the baseline" if alone else "From baseline to candidate"
    more = "" if alone else f" {BOTH_DIRECTIONS}"
    return section(title, "changes", quiet(words, more), legend, *change_figures(reading, reading.single))


def gap_tables(reading: Reading, attributes: Sequence[str]) -> Iterator[Markup]:
    """By attribute, a folded table for each kind of gap, with its verdicts counted on the line that opens it."""
    for attribute in attributes:
        tables = [*_kind_tables(reading, attribute), *_reference_tables(reading, attribute)]
        if tables:
            yield element("h3", f"Gaps by {attribute}")
            yield element("div", *tables, class_="folds")


def _kind_tables(reading: Reading, attribute: str) -> Iterator[Markup]:
    for definition, metric in reading.gap_kinds(attribute):
        rows = _gaps_of(reading, definition, metric, attribute)
        table_ = _gap_table(reading, definition, metric, attribute, rows)
        title = reading.gap_title(definition, metric)
        yield folded(title, *_notice(reading, metric), table_, note=counted_verdicts(rows))


def change_figures(reading: Reading, attributes: Sequence[str]) -> Iterator[Markup]:
    """Leading gaps and those that changed open, the others folded; on paper only attributes in which a gap changed."""
    alone = len(reading.pipelines) == 1
    for attribute in attributes:
        kinds = [(d, m) for d, m in reading.gap_kinds(attribute) if m != "prevalence"]
        if not kinds:
            continue
        rows = [row for row in reading.report["changes"] if row["attribute"] == attribute]
        changed = {(row["definition"], row["metric"]) for row in rows if row["verdict"] == "change"}
        block = join(*_drawn_changes(reading, attribute, kinds, changed))
        words = f"By {attribute}: no gap was found to change; drawn in report.html."
        yield element("h3", f"By {attribute}")
        yield block if changed or alone else on_screen(words, block)
        if rows:
            yield folded(
                f"Changes by {attribute} in numbers", _change_table(reading, rows), note=counted_verdicts(rows)
            )


def _drawn_changes(
    reading: Reading, attribute: str, kinds: Sequence[tuple[str, str]], changed: Collection[tuple[str, str]]
) -> Iterator[Markup]:
    leading = [kind for kind in kinds if kind[0] in _LEADING or kind == ("max_min", "auroc") or kind in changed]
    others = [kind for kind in kinds if kind not in leading]
    yield element("div", *(_dumbbell(reading, d, m, attribute) for d, m in leading), class_="pairs")
    if others:
        drawn = element("div", *(_dumbbell(reading, d, m, attribute) for d, m in others), class_="pairs")
        yield folded(f"Other gaps by {attribute}", drawn, class_="figures")


def _dumbbell(reading: Reading, definition: str, metric: str, attribute: str) -> Markup:
    return figure(
        reading.gap_title(definition, metric), dumbbells(reading, definition, metric, attribute), class_="wide"
    )


def _notice(reading: Reading, metric: str) -> list[Markup]:
    if metric in QUALITY:
        return [quiet(QUALITY_GAPS)]
    at_a_threshold = any(part in AT_A_THRESHOLD for part in metric.split(","))
    return [threshold_notice(reading, short=True)] if at_a_threshold else []


def _gaps_of(reading: Reading, definition: str, metric: str, attribute: str) -> list[Row]:
    targets = reading.gap_targets(definition, metric, attribute)
    found = (
        reading.gap(name, target, metric, attribute, definition) for target in targets for name in reading.pipelines
    )
    return [gap for gap in found if gap is not None]


def _gap_table(reading: Reading, definition: str, metric: str, attribute: str, rows: Sequence[Row]) -> Markup:
    of = unit(metric, definition)
    columns: list[Content] = [
        "Label",
        "Pipeline",
        "Raw gap",
        "Noise floor",
        "Corrected",
        "Interval",
        "p",
        "Adj. p",
        "Detectable",
        VERDICT,
        "Left out",
    ]
    lines: list[list[Content]] = [
        [
            reading.target_title(target_of(gap)),
            gap["pipeline"],
            *(number(gap[key], of) for key in ("estimate", "noise_floor", "corrected")),
            interval(gap["ci_low"], gap["ci_high"], of),
            p_value(gap["p_value"]),
            p_value(gap["p_adjusted"]),
            number(gap["minimum_detectable_gap"], of),
            verdict_mark(gap["verdict"]),
            isolated("; ".join(gap["excluded_groups"]) or "none"),
        ]
        for gap in rows
    ]
    caption = f"{reading.gap_title(definition, metric)} by {attribute}" + (f", in {of}" if of else "")
    return table(caption, columns, lines, text_columns=2, class_="gaps")


def _found_table(reading: Reading) -> Markup:
    """The gaps that were found, together; the full tables below are folded."""
    rows = [gap for gap in reading.report["gaps"] if gap["verdict"] == "gap" and gap["attribute"] in reading.single]
    if not rows:
        return element("p", "No gap was found among the single attributes; all of them stand in the tables below.")
    rows.sort(key=lambda gap: (gap["family"] == "cohort", -relative_size(reading, gap)))
    columns: list[Content] = [
        "No.",
        "Gap",
        "Label",
        "Pipeline",
        "Raw gap",
        "Noise floor",
        "Corrected",
        "Interval",
        "Adj. p",
    ]
    lines = [[str(i), *_found_row(reading, gap)] for i, gap in enumerate(rows, start=1)]
    found = table(
        "Gaps found, largest first, those of prevalence last", columns, lines, text_columns=4, class_="ranked"
    )
    return join(found, quiet(QUALITY_GAPS)) if any(gap["metric"] in QUALITY for gap in rows) else found


def _found_row(reading: Reading, gap: Row) -> list[Content]:
    of = unit(gap["metric"], gap["definition"])
    return [
        f"{reading.gap_title(gap['definition'], gap['metric'])} by {gap['attribute']}",
        reading.target_title(target_of(gap)),
        gap["pipeline"],
        *(with_unit(number(gap[key], of), of) for key in ("estimate", "noise_floor", "corrected")),
        interval(gap["ci_low"], gap["ci_high"], of),
        p_value(gap["p_adjusted"]),
    ]


def _reference_tables(reading: Reading, attribute: str) -> Iterator[Markup]:
    """Differences and ratios to the reference group, a pair of columns for each pipeline."""
    rows = [g for g in reading.report["gaps"] if g["reference"] and g["attribute"] == attribute]
    for metric in dict.fromkeys(row["metric"] for row in rows):
        found: dict[tuple[tuple[str, str], str], dict[tuple[str, str], Row]] = {}
        for row in (row for row in rows if row["metric"] == metric):
            found.setdefault((target_of(row), row["group"]), {})[row["pipeline"], row["definition"]] = row
        reference = next(row["reference"] for row in rows if row["metric"] == metric)
        columns: list[Content] = ["Label", "Group"]
        for name in reading.pipelines:
            columns += [f"{name}: difference", "Interval", "Ratio", "Interval"]
        lines = [_reference_row(reading, place, kinds) for place, kinds in found.items()]
        title = f"{reading.metric_title(metric)} against {reference}"
        yield folded(
            title, *_notice(reading, metric), table(f"{title}, by {attribute}", columns, lines, text_columns=2)
        )


def _reference_row(
    reading: Reading, place: tuple[tuple[str, str], str], kinds: dict[tuple[str, str], Row]
) -> list[Content]:
    target, group = place
    line: list[Content] = [reading.target_title(target), group]
    for name in reading.pipelines:
        for definition in _TO_REFERENCE:
            row = kinds.get((name, definition))
            of = unit(row["metric"], definition) if row else ""
            plus = definition == "difference_to_reference"
            line.append((signed if plus else number)(row["estimate"] if row else None, of))
            line.append(interval(row["ci_low"], row["ci_high"], of, plus=plus) if row else "–")
    return line


def _change_table(reading: Reading, rows: Sequence[Row]) -> Markup:
    columns: list[Content] = [
        "Label",
        "What",
        "Candidate",
        "Change",
        "SE",
        "Interval",
        "p",
        "Adj. p",
        "Bootstrap mean (SE)",
        VERDICT,
    ]
    lines = [_change_row(reading, row) for row in rows]
    return table(f"Changes against {reading.pipelines[0]}, candidate minus baseline", columns, lines, text_columns=3)


def _change_row(reading: Reading, change: Row) -> list[Content]:
    of = unit(change["metric"], change["definition"])
    bootstrap = f"{signed(change['bootstrap_mean'], of)} ({number(change['bootstrap_se'], of)})"
    return [
        reading.target_title(target_of(change)),
        reading.gap_title(change["definition"], change["metric"]),
        change["candidate"],
        signed(change["estimate"], of),
        number(change["standard_error"], of),
        interval(change["ci_low"], change["ci_high"], of, plus=True),
        p_value(change["p_value"]),
        p_value(change["p_adjusted"]),
        bootstrap if change["bootstrap_mean"] is not None else "–",
        verdict_mark(change["verdict"]),
    ]
