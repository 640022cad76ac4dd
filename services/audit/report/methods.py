"""How the numbers were made: the paragraphs that the report carries, its settings, thresholds and metric cards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.audit.report.findings import threshold_notice
from services.audit.report.markup import Content, Markup, element, join
from services.audit.report.reading import Reading
from services.audit.report.spelling import NOTHING, count, number, unit, with_unit
from services.audit.report.tables import folded, section, table
from services.audit.report.wording import family_title

_STATES = ("ok", "wide", "insufficient", "undefined")
_CARD_ORDER = ("formula", "equal", "range", "threshold", "window", "interval", "test", "counting", "source")
_SETTINGS = ("alpha", "confidence", "min_patients", "min_cases", "permutations", "replicates", "seed")


def methods_section(reading: Reading) -> Markup:
    """Paragraphs first; what repeats them in tables is folded."""
    return section(
        "Methods", "methods", *_paragraphs(reading), *_families(reading), *_thresholds(reading), *_rules(reading)
    )


def _paragraphs(reading: Reading) -> Iterator[Markup]:
    for text in reading.methods.get("text", []):
        yield element("p", text)


def _families(reading: Reading) -> Iterator[Markup]:
    families = reading.report["families"]
    if families:
        rows = [
            [
                family_title(family["name"]),
                family["procedure"],
                count(family["tests"]),
                f"{family['alpha']:g}",
                count(family["permutations"]),
                count(family["findings"]),
            ]
            for family in families
        ]
        columns = ["Family", "Procedure", "Tests", "Alpha", "Permutations", "Findings"]
        yield table("Families of tests", columns, rows, text_columns=2, class_="wordy")


def _thresholds(reading: Reading) -> Iterator[Markup]:
    thresholds = reading.methods.get("thresholds", [])
    if not thresholds:
        return
    rows: list[list[Content]] = [
        [
            row["label"] or NOTHING,
            row["pipeline"],
            row["source"],
            NOTHING if row["threshold"] is None else f"{row['threshold']:g}",
            element("b", "yes", class_="bad") if row["fitted_on_audited"] else "no",
        ]
        for row in thresholds
    ]
    columns = ["Label", "Pipeline", "Source", "Threshold", "Fitted on the audited cohort"]
    fitted = reading.fitted_thresholds()
    yield threshold_notice(reading)
    title = f"{len(rows)} operating thresholds and where they come from"
    yield folded(title, table("Thresholds", columns, rows, text_columns=3), open_=bool(fitted), printed=bool(fitted))


def _rules(reading: Reading) -> Iterator[Markup]:
    methods = reading.methods
    settings = [(name.replace("_", " ").capitalize(), f"{methods[name]:g}") for name in _SETTINGS if name in methods]
    settings += [(f"Reference group, {a}", group) for a, group in methods.get("reference_groups", {}).items()]
    settings.append(("Gaps that would matter", _tolerances(reading)))
    rules = [(f"State: {state}", methods["states"][state]) for state in _STATES if state in methods["states"]]
    rules += [
        (key.replace("_", " ").capitalize(), text)
        for key, text in methods.items()
        if isinstance(text, str) and key != "baseline"
    ]
    yield folded("Settings and rules", _list(dict(settings)), _list(dict(rules)), printed=True)
    cards = [methods["metrics"][metric] for metric in reading.metrics if metric in methods["metrics"]]
    cards += list(methods["gaps"].values())
    yield folded(
        "Metric cards",
        element("div", *map(_card, cards), class_="cards"),
        note=f"{len(cards)}: formula, equality, source",
        printed=True,
    )


def _tolerances(reading: Reading) -> str:
    sizes = reading.methods.get("tolerances", {}).items()
    told = (f"{reading.metric_title(m)} {with_unit(number(size, unit(m)), unit(m))}" for m, size in sizes)
    return ", ".join(told) or NOTHING


def _card(card: Mapping[str, Any]) -> Markup:
    order = [*_CARD_ORDER, *sorted(key for key in card if key not in (*_CARD_ORDER, "title"))]
    entries = {key.capitalize(): str(card[key]) for key in order if key in card}
    return element("article", element("h4", card.get("title", "")), _list(entries), class_="card")


def _list(entries: Mapping[str, str]) -> Markup:
    return element("dl", *(join(element("dt", key), element("dd", text)) for key, text in entries.items()))
