"""The ``methods`` block of a report: its settings, its rules, and the cards of the metrics and gaps in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

from services.audit.results.settings import Settings
from services.maths.fairness.limits import CONFIDENCE
from services.maths.fairness.testing.verdicts import ALPHA, tolerance


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
    settings: Settings,
    candidates: list[str],
    thresholds: list[dict[str, Any]],
    varying: dict[str, int],
) -> dict[str, Any]:
    """All of ``methods`` but its ``text``; ``groups`` are in the order of the cohort schema."""
    cards = metric_cards()
    return {
        "baseline": settings.baseline,
        "candidates": candidates,
        "attributes": [spec.name for spec in settings.specs],
        "levels": settings.levels,
        "groups": {spec.name: list(spec.groups) for spec in settings.specs},
        "reference_groups": settings.reference_groups,
        "min_patients": settings.minimums.patients,
        "min_cases": settings.minimums.cases,
        "alpha": ALPHA,
        "confidence": CONFIDENCE,
        "permutations": settings.permutations,
        "replicates": settings.replicates,
        "seed": settings.seed,
        "tolerances": {name: size for name in sorted(metrics) if (size := tolerance(name)) is not None},
        "thresholds": thresholds,
        "varying_attributes": varying,
        "software": settings.software,
        **cards["rules"],
        "metrics": {name: card for name, card in cards["metrics"].items() if name in metrics},
        "gaps": {name: card for name, card in cards["gaps"].items() if name in definitions},
    }
