"""From committed rows to report.json: a pure function, whatever the order of rows, workers or crashes before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pandas as pd

from services.audit.results.attributes import varying_patients
from services.audit.results.change_findings import ChangeFindings
from services.audit.results.formats import prediction_rows, quality_rows, require_agreement, rows_digest
from services.audit.results.group_findings import GroupFindings, judge_cells, judge_gaps, patient_vectors, place
from services.audit.results.measurements import (
    ByMetric,
    Measurement,
    Patients,
    Reading,
    common_patients,
    measure_predictions,
    measure_quality,
)
from services.audit.results.methods import methods_block
from services.audit.results.narrative import paragraphs
from services.audit.results.published import PublishedFindings
from services.audit.results.reading import SCHEMA_VERSION
from services.audit.results.rounding import rounded
from services.audit.results.rows import Row, cell_rows, gap_row, reference_rows
from services.audit.results.settings import MIN_CASES, MIN_PATIENTS, PERMUTATIONS, REPLICATES, Settings, settings
from services.audit.results.thresholds import threshold_rows
from services.errors import InvalidInput
from services.maths.canonical import canonical_json, digest
from services.maths.fairness.gaps.definitions import DEFINITIONS, gaps_of
from services.maths.fairness.gaps.simultaneous import standard_normals
from services.maths.fairness.gaps.xauc import xauc_gap
from services.maths.fairness.sums import Floats

_IN_PERCENT = [definition.metric for definition in DEFINITIONS if definition.name == "percent_max_min"]


def reduce(
    predictions: pd.DataFrame,
    quality: pd.DataFrame,
    *,
    attributes: Sequence[str],
    baseline: str,
    levels: Mapping[str, Sequence[str]],
    min_patients: int = MIN_PATIENTS,
    min_cases: int = MIN_CASES,
    reference_groups: Mapping[str, str] | None = None,
    thresholds: Sequence[Mapping[str, Any]] = (),
    allow_fitted_thresholds: bool = False,
    permutations: int = PERMUTATIONS,
    replicates: int = REPLICATES,
    seed: int | None = None,
    software: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """The report without its envelope (FORMATS.md), as plain JSON values.

    Args:
        predictions, quality: rows as ``formats`` describes them, in any order; either may have no rows.
        attributes: names, or names joined by commas for intersections.
        levels: every attribute's levels in the order of the cohort schema.
        reference_groups: attribute → group; adds gaps of every other group to that one.
        thresholds: where thresholds came from (``thresholds.threshold_rows``); what is not stated came with the rows.
        allow_fitted_thresholds: take thresholds that were fitted on these very records, and say so in the report.
        permutations, replicates: of the tests, and of the bootstrap columns of changes (0: none).
        seed: of every random stream, each by its purpose; default ``provenance["seed"]``, else 0.
        software: package → version for the methods text; default what is installed.
        provenance: kept as it is, with the digests of the rows added; ``provenance["cohort"]`` gives the cohort's
            digest, patients and records (else they are counted from the rows), and ``synthetic`` of a synthetic one.

    Raises UnknownAttribute, InvalidInput and its other kinds, and what ``formats`` raises.
    """
    chosen = settings(
        attributes=attributes,
        baseline=baseline,
        levels=levels,
        min_patients=min_patients,
        min_cases=min_cases,
        reference_groups=reference_groups,
        permutations=permutations,
        replicates=replicates,
        seed=provenance.get("seed", 0) if seed is None else seed,
        software=software,
    )
    scored, measured = prediction_rows(predictions), quality_rows(quality)
    require_agreement(scored, measured)
    origins = threshold_rows(scored, thresholds, allow_fitted=allow_fitted_thresholds)
    patients = common_patients(scored, measured)
    pipelines = _pipelines(scored, measured, baseline)

    body = _Body(chosen, patients, [len(table["record_id"].cat.categories) for table in (scored, measured)])
    for measurement in _measurements(scored, measured, pipelines, patients, chosen):
        body.add(measurement)
    body.judge(scored, measured)

    tables = [(scored, patients.numbers(scored, "predictions")), (measured, patients.numbers(measured, "quality"))]
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "cohort": _cohort(provenance, scored, measured),
        "cells": body.cells,
        "gaps": body.gaps,
        "changes": body.changes.rows,
        "families": body.families,
        "published": body.published.block(body.changes),
        "methods": methods_block(
            metrics={row["metric"] for row in body.cells},
            definitions={row["definition"] for row in chain(body.gaps, body.changes.rows)},
            settings=chosen,
            candidates=pipelines[1:],
            thresholds=origins,
            varying=varying_patients(chosen.specs, tables),
        ),
    }
    report = rounded(report)
    report["methods"]["text"] = paragraphs(report, synthetic=provenance.get("cohort", {}).get("synthetic"))
    report["provenance"] = {
        **provenance,
        "rows": {
            "predictions": {"rows": len(scored), "sha256": rows_digest(scored)},
            "quality": {"rows": len(measured), "sha256": rows_digest(measured)},
        },
    }
    return {**report, "digest": report_digest(report)}


def report_digest(report: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of a report without ``digest`` and ``envelope``."""
    return digest(report, without=("digest", "envelope"))


def report_json(report: Mapping[str, Any], envelope: Mapping[str, Any]) -> bytes:
    """report.json: the report with its envelope, which alone may hold times and hosts and is outside the digest."""
    return canonical_json({**report, "envelope": dict(envelope)})


class _Body:
    """The rows as they come, one label after another, and what the tests over all of them say in the end."""

    def __init__(self, chosen: Settings, patients: Patients, records: Sequence[int]) -> None:
        self._settings = chosen
        self._patients = patients
        self._normals = standard_normals(chosen.stream("simultaneous limits"))
        self._tests = GroupFindings()
        self._best_means: dict[tuple[str, ...], float] = {}
        self.cells: list[Row] = []
        self.gaps: list[Row] = []
        self.changes = ChangeFindings(chosen, patients, self._normals)
        self.published = PublishedFindings(chosen, *records)
        self.families: list[Row] = []

    def add(self, measurement: Measurement) -> None:
        """Rows of one label in all pipelines."""
        of = {"task": measurement.task, "label": measurement.label}
        for pipeline, reading in measurement.readings.items():
            at = {"pipeline": pipeline, **of}
            for part in reading.by.values():
                self.cells += cell_rows(at, part)
            self.gaps += _gap_rows(at, reading, self._settings, self._normals)
            self._tests.add(at, reading)
            self._note_best_means(at, reading.by)
        self.changes.add(measurement)
        self.published.add(measurement)

    def judge(self, scored: pd.DataFrame, measured: pd.DataFrame) -> None:
        """All tests, now that all labels are known."""
        chosen = self._settings
        vectors = patient_vectors(scored, measured, chosen.specs, self._patients)
        tests = self._tests.test(
            vectors, permutations=chosen.permutations, seed=chosen.stream("attribute permutations")
        )
        judge_cells(self.cells, tests)
        judge_gaps(self.gaps, tests, self._best_means)
        self.families = [
            {
                "name": family.name,
                "procedure": family.procedure,
                "tests": family.tests,
                "alpha": family.alpha,
                "permutations": family.permutations,
                "findings": family.findings,
            }
            for family in tests.families.values()
            if family.tests
        ]
        self.families += self.changes.judge()

    def _note_best_means(self, at: Mapping[str, str], by: ByMetric) -> None:
        for (metric, attribute), part in by.items():
            if metric in _IN_PERCENT and attribute and part.comparable_groups:
                row = {**at, "metric": metric, "attribute": attribute}
                self._best_means[place(row)] = float(part.by_group[list(part.comparable_groups)].max())


def _measurements(
    scored: pd.DataFrame, measured: pd.DataFrame, pipelines: list[str], patients: Patients, chosen: Settings
) -> Iterator[Measurement]:
    for rows, measure in ((scored, measure_predictions), (measured, measure_quality)):
        yield from measure(rows, pipelines, chosen.specs, patients, chosen.minimums)


def _gap_rows(at: Mapping[str, str], reading: Reading, chosen: Settings, normals: Floats) -> Iterator[Row]:
    for spec in chosen.specs:
        of_attribute = {metric: part for (metric, name), part in reading.by.items() if name == spec.name}
        yield from (gap_row(at, gap) for gap in gaps_of(of_attribute, normals))
        if areas := reading.between.get(spec.name):
            yield gap_row(at, xauc_gap(areas, of_attribute["auroc"], normals))
        if reference := chosen.reference_groups.get(spec.name):
            for part in of_attribute.values():
                yield from reference_rows(at, part, reference, normals)


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
