"""The sections of report.html, in the order a reader asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from services.audit.report.figures import auroc_heat_map, gap_by_pipeline, heat_legend, legend, metric_by_group
from services.audit.report.markup import Content, Markup, element, join
from services.audit.report.reading import Reading
from services.audit.report.summary import STATES, cohort_flow, pipelines_side_by_side, verdict_strip
from services.audit.report.tables import cell_table, change_table, folded, gap_table, side_by_side, table

# Open on arrival; the others are one click away.
_LEADING_METRICS = ("auroc", "dice", "psnr")
_CARD_ORDER = ("formula", "equal", "range", "threshold", "window", "counting", "source")
_LEADING_GAPS = ("eodd_half", "eop", "ser")


def render_report(report: Mapping[str, Any]) -> str:
    """The page of a report.json (with or without its envelope): one HTML file that asks nothing of the network."""
    reading = Reading(report)
    style = resources.files("services.audit.report").joinpath("report.css").read_text(encoding="utf-8")
    head = join(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", _title(reading)),
        Markup(f"<style>{style}</style>"),
    )
    body = element("main", *_sections(reading))
    return "<!doctype html>\n" + element("html", element("head", head), element("body", body), lang="en") + "\n"


def _title(reading: Reading) -> str:
    return str(reading.report.get("envelope", {}).get("display_name") or "Fairness audit")


def _sections(reading: Reading) -> Iterator[Markup]:
    yield _header(reading)
    yield verdict_strip(reading)
    yield _section("Pipelines side by side", pipelines_side_by_side(reading))
    yield _section("Cohort", cohort_flow(reading))
    yield _section("Gaps between groups", _gap_intro(reading), *_gap_figures(reading))
    yield _section("Metrics by group", legend(reading), *_metric_figures(reading))
    if reading.targets("auroc"):
        yield _section("AUROC of each group against everyone", heat_legend(), *_heat_maps(reading))
    tables = [folded(f"Cells: {reading.metric_title(m)}", cell_table(reading, m)) for m in reading.metrics]
    yield _section("All numbers", *tables, folded("Gaps", gap_table(reading)), folded("Changes", change_table(reading)))
    yield _section("Methods", *_methods(reading))
    yield _section("Provenance", *_provenance(reading))


def _header(reading: Reading) -> Markup:
    baseline, *candidates = reading.pipelines
    against = f" against {', '.join(candidates)}" if candidates else ""
    made = reading.report.get("envelope", {}).get("create_time")
    line = f"Baseline {baseline}{against} · by {' · '.join(reading.groups) or 'nothing'}" + (
        f" · {made}" if made else ""
    )
    digest = element("code", f"sha256 {reading.report['digest']}")
    return element("header", element("h1", _title(reading)), element("p", line), element("p", digest))


def _gap_intro(reading: Reading) -> Markup:
    words = (
        "How far apart the groups are: from the baseline's gap (circle) to each candidate's. The number is the change, "
        "unless other groups took part in the two. 0 means equal (SER: 1)."
    )
    return join(element("p", words, class_="quiet"), legend(reading))


def _gap_figures(reading: Reading) -> Iterator[Markup]:
    for attribute in reading.groups:
        kinds = reading.gap_kinds()
        leading = [gap_by_pipeline(reading, d, m, attribute) for d, m in kinds if d in _LEADING_GAPS or m == "auroc"]
        others = [
            gap_by_pipeline(reading, d, m, attribute) for d, m in kinds if d not in _LEADING_GAPS and m != "auroc"
        ]
        yield element("h3", attribute)
        yield side_by_side(*leading)
        if others:
            yield folded(f"Other gaps by {attribute}", side_by_side(*others), class_="figures")


def _metric_figures(reading: Reading) -> Iterator[Markup]:
    for metric in reading.metrics:
        figures: list[Content] = []
        panels = {attribute: metric_by_group(reading, metric, attribute) for attribute in reading.groups}
        if len(reading.targets(metric)) == 1:
            figures = [side_by_side(*(panel for row in panels.values() for panel in row))]
        else:
            for attribute, row in panels.items():
                figures += [element("h4", f"by {attribute}"), side_by_side(*row)]
        title = reading.metric_title(metric)
        if metric in _LEADING_METRICS:
            yield element("h3", title)
            yield join(*figures)
        else:
            yield folded(title, *figures, class_="figures")


def _heat_maps(reading: Reading) -> Iterator[Markup]:
    single = [attribute for attribute in reading.groups if "," not in attribute]
    for attributes in [single, *([a] for a in reading.groups if a not in single)]:
        if attributes:
            maps = [auroc_heat_map(reading, pipeline, attributes) for pipeline in reading.pipelines]
            yield element("div", join(*maps), class_="maps")


def _methods(reading: Reading) -> Iterator[Markup]:
    methods = reading.methods
    minimums = (
        f"Minimum {methods['min_patients']} patients; {methods['min_cases']} positives and negatives where needed."
    )
    rules = [("Minimums", minimums), *((f"State: {state}", methods["states"][state]) for state in STATES)]
    rules += [
        (key.replace("_", " ").capitalize(), text)
        for key, text in methods.items()
        if isinstance(text, str) and key != "baseline"
    ]
    yield _card("Rules", dict(rules))
    named = [methods["metrics"][metric] for metric in reading.metrics] + list(methods["gaps"].values())
    yield element("div", *(_metric_card(card) for card in named), class_="cards")


def _metric_card(card: Mapping[str, str]) -> Markup:
    return _card(card["title"], {key.capitalize(): card[key] for key in _CARD_ORDER if key in card})


def _card(title: str, entries: Mapping[str, str]) -> Markup:
    lines = [join(element("dt", key), element("dd", text)) for key, text in entries.items()]
    return element("article", element("h3", title), element("dl", join(*lines)), class_="card")


def _provenance(reading: Reading) -> Iterator[Markup]:
    rows = [("report digest", reading.report["digest"]), ("schema version", reading.report["schema_version"])]
    shown_above = ("cohort.attributes", "cohort.labels", "cohort.refused")
    rows += [(path, text) for path, text in _flat(reading.report["provenance"]) if not path.startswith(shown_above)]
    yield table("What went in", ["What", "Value"], rows, text_columns=2)
    yield element(
        "p",
        "To verify: the digest is the sha256 of report.json as canonical JSON (sorted keys, no spaces) without its ",
        "keys ",
        element("code", "digest"),
        " and ",
        element("code", "envelope"),
        ". The numbers follow from predictions.parquet and quality.parquet alone; their rows have the digests above. ",
        "Times and hosts stand in the envelope only.",
    )


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _flat(value[key], f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _flat(item, f"{path}[{i}]")
    else:
        yield path, "" if value is None else str(value)


def _section(title: str, *content: Content) -> Markup:
    return element("section", element("h2", title), *content)
