"""From rows to report.json: tests adjusted over the whole report, findings, what everything was computed with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from services.maths.canonical import canonical_json, digest
from services.maths.fairness.generator_quality import distinct_images, holm
from services.platform.evaluation.collecting import Order
from services.platform.evaluation.evaluating import Evaluated
from services.platform.evaluation.measures import Rows
from services.platform.evaluation.wording import finding, unfound

SCHEMA = "1.0"
ALPHA = 0.05
FAMILIES = {
    "distances": "is the distribution the same?",
    "fidelity": "do the images show what was asked for?",
    "shifts": "are measured features where they should be?",
    "spreads": "do the images differ among themselves as real ones do?",
    "closeness": "are they copies of training images?",
}


def report_of(order: Order, evaluated: Evaluated) -> dict[str, Any]:
    """The report as plain data, with its digest; NaN is null.

    Each family of tests has a fifth of the report's 5 % chance of any false finding, and Holm's procedure within it.
    """
    tables = {name: [dict(row) for row in rows] for name, rows in evaluated.tables.items()}
    families = [_adjust(name, tables[name]) for name in FAMILIES]
    generator, encoder = evaluated.generator, evaluated.encoder
    findings = [
        {"family": name, "place": place, "sentence": finding(name, row)}
        for name in FAMILIES
        for place, row in enumerate(tables[name])
        if row["found"]
    ]
    samples = [
        {**stated, "distinct_images": distinct_images(shown)}
        for stated, shown in zip(evaluated.samples, evaluated.pixels, strict=True)
    ]
    report = {
        "schema_version": SCHEMA,
        "kind": "generator-quality",
        "generator": {
            "name": generator.name,
            "version": generator.version,
            "digest": generator.digest,
            "task": generator.task,
            "training": dict(generator.training),
        },
        "encoder": {
            "name": encoder.name,
            "version": encoder.version,
            "digest": encoder.digest,
            "layer": encoder.layer,
            "pixels": list(encoder.spec.shape),
        },
        "settings": {
            "images": order.images,
            "seed": order.seed,
            "sampling": dict(order.sampling),
            "alpha": ALPHA,
            "adjusted": f"Holm within each of {len(FAMILIES)} families, each with a share of alpha",
        },
        "samples": samples,
        "families": families,
        "findings": findings,
        "not_found": unfound(families, tables),
        **tables,
        "platform_version": version("evenhand-platform"),
    }
    plain: dict[str, Any] = json.loads(canonical_json(report))
    return {**plain, "digest": digest(plain)}


def report_bytes(report: Mapping[str, Any]) -> bytes:
    """report.json as it is written."""
    return (json.dumps(report, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n").encode()


def _adjust(name: str, rows: Rows) -> dict[str, Any]:
    """Writes ``p_adjusted`` and ``found`` into the rows of one family; the family's line of the report."""
    values = [float("nan") if row["p_value"] is None else float(row["p_value"]) for row in rows]
    adjusted = holm(values, families=len(FAMILIES))
    for row, value in zip(rows, adjusted.tolist(), strict=True):
        row["p_adjusted"] = value
        row["found"] = bool(value <= ALPHA)
    tests = sum(not math.isnan(value) for value in values)
    return {"name": name, "question": FAMILIES[name], "tests": tests, "findings": sum(row["found"] for row in rows)}
