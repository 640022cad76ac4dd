"""From committed rows to report.json: a pure function, whatever the order of rows, workers or crashes before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import pandas as pd

from services.audit.results.attributes import GroupSpec, group_specs
from services.audit.results.formats import prediction_rows, quality_rows, rows_digest
from services.audit.results.measurements import ByMetric, measure_predictions, measure_quality
from services.audit.results.methods import methods_block
from services.errors import InvalidInput
from services.maths.canonical import canonical_json, digest
from services.maths.fairness.cells import Cell, Minimums
from services.maths.fairness.changes import gap_change, overall_change
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.gaps.definitions import Gap, gaps_of

SCHEMA_VERSION = "1.0"


def reduce(
    predictions: pd.DataFrame,
    quality: pd.DataFrame,
    *,
    attributes: Sequence[str],
    baseline: str,
    levels: Mapping[str, Sequence[str]],
    min_patients: int = 10,
    min_cases: int = 5,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """The report without its envelope (FORMATS.md), as plain JSON values.

    ``predictions`` and ``quality`` are rows as ``formats`` describes them, in any order; either may have no rows.
    ``attributes`` are names, or names joined by commas for intersections; ``levels`` holds every attribute's levels in
    the order of the cohort schema. ``provenance`` is kept as it is, with the digests of the rows added;
    ``provenance["cohort"]`` gives the cohort's digest, patients and records (else they are counted from the rows).
    Raises UnknownAttribute, InvalidInput and what ``formats`` raises.
    """
    scored, measured = prediction_rows(predictions), quality_rows(quality)
    specs = group_specs(attributes, levels)
    pipelines = _pipelines(scored, measured, baseline)
    minimums = Minimums(min_patients, min_cases)

    cells: list[dict[str, Any]] = []
    gaps: list[dict[str, Any]] = []
    changes: list[dict[str, Any]] = []
    for measurement in chain(
        measure_predictions(scored, pipelines, specs, minimums), measure_quality(measured, pipelines, specs, minimums)
    ):
        of = {"task": measurement.task, "label": measurement.label}
        before = measurement.by_pipeline.get(baseline)
        for pipeline, by_metric in measurement.by_pipeline.items():
            at = {"pipeline": pipeline, **of}
            cells += [_cell(at, part, cell) for part in by_metric.values() for cell in part.cells]
            gaps += [_gap(at, gap) for gap in _gaps(by_metric, specs)]
            if pipeline != baseline and before is not None:
                pair = {"baseline": baseline, "candidate": pipeline, **of}
                changes += _changes(pair, before, by_metric, specs)

    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "cohort": _cohort(provenance, scored, measured),
        "cells": cells,
        "gaps": gaps,
        "changes": changes,
        "methods": methods_block(
            metrics={cell["metric"] for cell in cells},
            definitions={row["definition"] for row in (*gaps, *changes)},
            baseline=baseline,
            candidates=pipelines[1:],
            groups={spec.name: list(spec.groups) for spec in specs},
            minimums=minimums,
        ),
        "provenance": {
            **provenance,
            "rows": {
                "predictions": {"rows": len(scored), "sha256": rows_digest(scored)},
                "quality": {"rows": len(measured), "sha256": rows_digest(measured)},
            },
        },
    }
    return {**report, "digest": report_digest(report)}


def report_digest(report: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of a report without ``digest`` and ``envelope``."""
    return digest(report, without=("digest", "envelope"))


def report_json(report: Mapping[str, Any], envelope: Mapping[str, Any]) -> bytes:
    """report.json: the report with its envelope, which alone may hold times and hosts and is outside the digest."""
    return canonical_json({**report, "envelope": dict(envelope)})


def _pipelines(scored: pd.DataFrame, measured: pd.DataFrame, baseline: str) -> list[str]:
    """Baseline first, candidates by name."""
    found = set(scored["pipeline"].cat.categories) | set(measured["pipeline"].cat.categories)
    if baseline not in found:
        raise InvalidInput(f"no rows of the baseline {baseline!r}; there are rows of {sorted(found)}", field="baseline")
    return [baseline, *sorted(found - {baseline})]


def _cohort(provenance: Mapping[str, Any], scored: pd.DataFrame, measured: pd.DataFrame) -> dict[str, Any]:
    given = provenance.get("cohort", {})

    def distinct(column: str) -> int:
        return len(set(scored[column].cat.categories) | set(measured[column].cat.categories))

    return {
        "digest": given.get("digest", ""),
        "patients": given.get("patients", distinct("patient_id")),
        "records": given.get("records", distinct("record_id")),
    }


def _gaps(by_metric: ByMetric, specs: list[GroupSpec]) -> list[Gap]:
    return [
        gap
        for spec in specs
        for gap in gaps_of({metric: part for (metric, name), part in by_metric.items() if name == spec.name})
    ]


def _cell(at: Mapping[str, str], part: Disaggregation, cell: Cell) -> dict[str, Any]:
    return {
        **at,
        "metric": part.metric,
        "attribute": part.attribute,
        "group": cell.group,
        "records": cell.records,
        "patients": cell.patients,
        "positives": cell.positives,
        "excluded_records": cell.excluded_records,
        "state": cell.state,
        "estimate": cell.estimate,
        "ci_low": None,
        "ci_high": None,
    }


_UNTESTED: dict[str, None] = dict.fromkeys(("ci_low", "ci_high", "p_value", "p_adjusted", "verdict"))


def _gap(at: Mapping[str, str], gap: Gap) -> dict[str, Any]:
    return {
        **at,
        "metric": gap.metric,
        "attribute": gap.attribute,
        "definition": gap.definition,
        "estimate": gap.estimate,
        "noise_floor": None,
        "corrected": None,
        **_UNTESTED,
        "excluded_groups": list(gap.excluded_groups),
    }


def _changes(
    pair: Mapping[str, str], before: ByMetric, after: ByMetric, specs: list[GroupSpec]
) -> list[dict[str, Any]]:
    overall = [
        (metric, "", "overall", overall_change(before[metric, ""], part))
        for (metric, attribute), part in after.items()
        if attribute == ""
    ]
    between = [
        (new.metric, new.attribute, new.definition, gap_change(old, new))
        for old, new in zip(_gaps(before, specs), _gaps(after, specs), strict=True)
    ]
    names = ("metric", "attribute", "definition", "estimate")
    return [{**pair, **dict(zip(names, row, strict=True)), **_UNTESTED} for row in (*overall, *between)]
