"""The ``methods`` block of a report: its settings, its rules, and the cards of the metrics and gaps in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

from services.maths.fairness.cells import Minimums


@cache
def metric_cards() -> Mapping[str, Any]:
    """metric_cards.yaml: mappings ``metrics``, ``gaps`` and ``rules``."""
    cards: dict[str, Any] = yaml.safe_load(
        resources.files("services.audit.results").joinpath("metric_cards.yaml").read_text(encoding="utf-8")
    )
    return cards


def methods_block(
    *,
    metrics: Collection[str],
    definitions: Collection[str],
    baseline: str,
    candidates: list[str],
    groups: dict[str, list[str]],
    minimums: Minimums,
) -> dict[str, Any]:
    """``groups`` holds every audited attribute (or intersection) with its groups in the order of the cohort schema."""
    cards = metric_cards()
    return {
        "baseline": baseline,
        "candidates": candidates,
        "groups": groups,
        "min_patients": minimums.patients,
        "min_cases": minimums.cases,
        **cards["rules"],
        "metrics": {name: card for name, card in cards["metrics"].items() if name in metrics},
        "gaps": {name: card for name, card in cards["gaps"].items() if name in definitions},
    }
