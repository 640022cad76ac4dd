"""What a small audit leaves: a report in the documented shape, with a planted drop, and rows."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import numpy as np
import pandas as pd
from evenhand.audit.v1 import plan_pb2
from evenhand.reports import CELL_COLUMNS, CHANGE_COLUMNS, GAP_COLUMNS

CLASSIFICATION = {"task": "classification", "label": "Edema"}


def _row(columns: dict[str, str], **values: Any) -> dict[str, Any]:
    """One row with every column that the format knows: null unless given."""
    assert set(values) <= set(columns)
    return {**dict.fromkeys(columns), **values}


def _cell(pipeline: str, metric: str, group: str, estimate: float, **values: Any) -> dict[str, Any]:
    counts = {"records": 40, "patients": 20, "deciding_patients": 8, "positives": 8, "excluded_records": 0}
    chosen = {
        "pipeline": pipeline,
        **CLASSIFICATION,
        "metric": metric,
        "attribute": "" if group == "overall" else "sex",
        "group": group,
        **counts,
        "state": "ok",
        "estimate": estimate,
        "ci_low": round(estimate - 0.1, 6),
        "ci_high": round(estimate + 0.1, 6),
        **values,
    }
    return _row(CELL_COLUMNS, **chosen)


def _judged(p_adjusted: float, verdict: str) -> dict[str, Any]:
    return {"p_value": p_adjusted / 4, "p_adjusted": p_adjusted, "family": "primary", "verdict": verdict}


def _pipeline_rows(
    pipeline: str, women: float, auroc: float, psnr: float | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    cells = [_cell(pipeline, "auroc", "overall", auroc)]
    drop = _judged(0.004, "gap") if women < 0.5 else _judged(0.7, "no_gap_shown")
    cells.append(_cell(pipeline, "tpr", "Female", women, difference=round((women - 0.8) / 2, 6), **drop))
    cells.append(
        _cell(pipeline, "tpr", "Male", 0.8, difference=round((0.8 - women) / 2, 6), **_judged(0.9, "no_gap_shown"))
    )
    if psnr is not None:
        quality = {"task": "reconstruction", "label": "", "positives": None}
        cells.append(_cell(pipeline, "psnr", "overall", psnr, **quality))
    gap = {
        "pipeline": pipeline,
        **CLASSIFICATION,
        "metric": "tpr",
        "attribute": "sex",
        "group": "",
        "reference": "",
        "estimate": round(abs(0.8 - women), 6),
        "noise_floor": 0.05,
        "corrected": round(max(0.0, abs(0.8 - women) - 0.05), 6),
        "ci_low": 0.0 if women > 0.5 else 0.2,
        "ci_high": round(abs(0.8 - women) + 0.15, 6),
        "minimum_detectable_gap": 0.09,
        "groups": ["Female", "Male"],
        "excluded_groups": [],
    }
    gaps = [_row(GAP_COLUMNS, **gap, definition=definition, **drop) for definition in ("eop", "max_min")]
    thin = _judged(0.4, "insufficient_evidence")
    gaps.append(_row(GAP_COLUMNS, **{**gap, "metric": "auroc"}, definition="max_min", **thin))
    return cells, gaps


def demo_report() -> dict[str, Any]:
    """A small report in the documented shape: two pipelines, one label, a planted TPR drop for women."""
    original = _pipeline_rows("original", 0.81, 0.9, None)
    degraded = _pipeline_rows("degraded", 0.4, 0.7, 22.5)
    change = _row(
        CHANGE_COLUMNS,
        **{"baseline": "original", "candidate": "degraded", **CLASSIFICATION},
        **{"metric": "tpr", "attribute": "sex", "definition": "eop", "estimate": 0.39, "standard_error": 0.05},
        **{"ci_low": 0.29, "ci_high": 0.49, "p_value": 0.001, "p_adjusted": 0.002, "family": "changes"},
        **{"verdict": "change", "bootstrap_mean": 0.38, "bootstrap_se": 0.05},
    )
    family = {"name": "primary", "procedure": "step-down", "tests": 8, "alpha": 0.05, "permutations": 1999}
    report = {
        "schema_version": "2.0",
        "cohort": {"digest": "d" * 64, "patients": 20, "records": 40},
        "cells": original[0] + degraded[0],
        "gaps": original[1] + degraded[1],
        "changes": [change],
        "families": [{**family, "findings": 1}],
        "methods": {"naïve": "π ≈ 3.0"},
        "provenance": {"seed": 7},
    }
    text = json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**report, "digest": hashlib.sha256(text.encode()).hexdigest(), "envelope": {"create_time": "2026-01-01"}}


def demo_plan() -> plan_pb2.AuditPlan:
    """Two groups and everyone; men are too few for a test of the TPR, and nobody is tested in the AUROC."""
    cells = [plan_pb2.PlannedCell(**CLASSIFICATION, metric="tpr", group="overall", state="STATE_OK", tolerance=0.1)]
    for metric, group, state, gap in (
        ("tpr", "Female", "STATE_OK", 0.125),
        ("tpr", "Male", "STATE_INSUFFICIENT", None),
        ("auroc", "Female", "STATE_WIDE", None),
        ("auroc", "Male", "STATE_INSUFFICIENT", None),
        ("prevalence", "Female", "STATE_OK", 0.0625),
        ("prevalence", "Male", "STATE_OK", 0.25),
    ):
        counts = {"records": 40, "patients": 20, "positives": 8, "negatives": 32}
        reading = {**CLASSIFICATION, "metric": metric, "attribute": "sex", "group": group, "state": state}
        power = None if gap is None else 0.5
        cells.append(plan_pb2.PlannedCell(**reading, **counts, minimum_detectable_gap=gap, power=power, tolerance=0.1))
    return plan_pb2.AuditPlan(
        digest="a" * 64,
        warnings=["group sex=Male: 2 of its 3 cells are [too] small"],
        cells=cells,
        tests=3,
        alpha=0.05,
        target_power=0.8,
        assumptions=["true positive rates of 0.75"],
        acquisitions=["degraded: radial k-space, 10.73 % of the frequencies"],
    )


def demo_artifacts() -> dict[str, bytes]:
    rows = pd.DataFrame({"record_id": [f"r{i}" for i in range(400)], "y_score": np.linspace(0, 1, 400)})
    buffer = io.BytesIO()
    rows.to_parquet(buffer)
    return {
        "report.json": json.dumps(demo_report(), ensure_ascii=False).encode(),
        "report.html": b"<html>report</html>",
        "predictions.parquet": buffer.getvalue(),
        "quality.parquet": buffer.getvalue(),
    }
