"""Image quality by group: means with their intervals, and the gaps in them."""

from __future__ import annotations

from collections.abc import Iterator

from services.audit.report.groups import numbers_table
from services.audit.report.markup import Content, Markup, element
from services.audit.report.reading import QUALITY, Reading
from services.audit.report.spelling import NOTHING, interval, number, p_value, unit
from services.audit.report.tables import folded, quiet, section, table
from services.audit.report.wording import QUALITY_GAPS, VERDICT, verdict_mark


def quality_section(reading: Reading) -> Markup:
    """Gaps of every quality metric, then the means behind them; nothing when no image was reconstructed."""
    metrics = [metric for metric in reading.metrics if metric in QUALITY]
    if not metrics:
        return Markup("")
    words = "Means over images, each against its original. Percent: of the best group's mean. " + QUALITY_GAPS
    return section("Image quality", "quality", quiet(words), *(part for m in metrics for part in _metric(reading, m)))


def _metric(reading: Reading, metric: str) -> Iterator[Markup]:
    attributes = [a for a in reading.single if reading.gap_targets("max_min", metric, a)]
    columns: list[Content] = [
        "Attribute",
        "Pipeline",
        "Gap",
        "Noise floor",
        "Corrected",
        "Interval",
        "In percent",
        "Interval",
        "Adj. p",
        VERDICT,
    ]
    rows = [row for attribute in attributes for row in _gap_rows(reading, metric, attribute)]
    title = reading.metric_title(metric)
    yield element("h3", title)
    if rows:
        in_unit = f", in {unit(metric)}" if unit(metric) else ""
        yield table(f"{title}: best minus worst group{in_unit}", columns, rows, text_columns=2)
    else:
        yield quiet("No two groups have enough images to be compared.")
    means = [numbers_table(reading, metric, attribute) for attribute in reading.single]
    yield folded(f"{title} of each group", *means)


def _gap_rows(reading: Reading, metric: str, attribute: str) -> Iterator[list[Content]]:
    of = unit(metric)
    for target in reading.gap_targets("max_min", metric, attribute):
        for name in reading.pipelines:
            gap = reading.gap(name, target, metric, attribute, "max_min")
            if gap is None:
                continue
            percent = reading.gap(name, target, metric, attribute, "percent_max_min")
            yield [
                attribute,
                name,
                *(number(gap[key], of) for key in ("estimate", "noise_floor", "corrected")),
                interval(gap["ci_low"], gap["ci_high"], of),
                number(percent["estimate"], "%") if percent else NOTHING,
                interval(percent["ci_low"], percent["ci_high"], "%") if percent else NOTHING,
                p_value(gap["p_adjusted"]),
                verdict_mark(gap["verdict"]),
            ]
