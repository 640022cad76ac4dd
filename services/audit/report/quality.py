"""Image quality by group: means with their intervals, and the gaps in them."""

from __future__ import annotations

from collections.abc import Iterator

from services.audit.report.groups import numbers_table
from services.audit.report.markup import Content, Markup, element
from services.audit.report.reading import QUALITY, Reading, Target
from services.audit.report.spelling import NOTHING, interval, number, p_value, unit
from services.audit.report.tables import folded, quiet, section, table
from services.audit.report.wording import QUALITY_GAPS, VERDICT, verdict_mark


def quality_section(reading: Reading) -> Markup:
    """Gaps of every quality metric, then the means behind them; nothing when no image was reconstructed."""
    metrics = [metric for metric in reading.metrics if metric in QUALITY]
    if not metrics:
        return Markup("")
    words = "Means over images, each against its original. Percent: of the best group's mean. " + QUALITY_GAPS
    measured = [(metric, target) for metric in metrics for target in reading.targets(metric)]
    parts = (part for metric, target in measured for part in _metric(reading, metric, target))
    return section("Image quality", "quality", quiet(words), *parts)


def _metric(reading: Reading, metric: str, target: Target) -> Iterator[Markup]:
    """A perceptual distance has a target for each encoder, every other metric one."""
    attributes = [a for a in reading.single if target in reading.gap_targets("max_min", metric, a)]
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
    rows = [row for attribute in attributes for row in _gap_rows(reading, metric, target, attribute)]
    title = reading.measured_title(metric, target)
    yield element("h3", title)
    if "range" in (card := reading.methods["metrics"].get(metric, {})):
        yield quiet(card["range"])  # which end is better
    if rows:
        in_unit = f", in {unit(metric)}" if unit(metric) else ""
        yield table(f"{title}: largest minus smallest group{in_unit}", columns, rows, text_columns=2)
    else:
        yield quiet("No two groups have enough images to be compared.")
    means = [numbers_table(reading, metric, attribute, [target]) for attribute in reading.single]
    yield folded(f"{title} of each group", *means)


def _gap_rows(reading: Reading, metric: str, target: Target, attribute: str) -> Iterator[list[Content]]:
    of = unit(metric)
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
