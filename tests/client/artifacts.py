"""What a small audit leaves: a report in the documented shape, with a planted drop, and rows."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import numpy as np
import pandas as pd

UNTESTED = ["noise_floor", "corrected", "ci_low", "ci_high", "p_value", "p_adjusted", "verdict"]


def demo_report() -> dict[str, Any]:
    """A small report in the documented shape: two pipelines, one label, a planted TPR drop for women."""
    cells, gaps = [], []
    for pipeline, women, auroc, psnr in (("original", 0.81, 0.9, None), ("degraded", 0.4, 0.7, 22.5)):
        reading = {"pipeline": pipeline, "task": "classification", "label": "Edema"}
        size = {"records": 40, "patients": 20, "positives": 8, "state": "ok", "ci_low": None, "ci_high": None}
        cells.append({**reading, "metric": "auroc", "attribute": "", "group": "overall", **size, "estimate": auroc})
        for group, tpr in (("Female", women), ("Male", 0.8)):
            cells.append({**reading, "metric": "tpr", "attribute": "sex", "group": group, **size, "estimate": tpr})
        if psnr is not None:
            quality = {"pipeline": pipeline, "task": "image-quality", "label": None, "metric": "psnr"}
            cells.append({**quality, "attribute": "", "group": "overall", **size, "positives": None, "estimate": psnr})
        measured = {"metric": "tpr", "attribute": "sex", "definition": "eop", "estimate": abs(0.8 - women)}
        untested = dict.fromkeys(UNTESTED)
        gaps.append({**reading, **measured, **untested, "excluded_groups": []})
    report = {
        "schema_version": "1",
        "cohort": {"digest": "d" * 64, "patients": 20, "records": 40},
        "cells": cells,
        "gaps": gaps,
        "changes": [
            {
                **{"baseline": "original", "candidate": "degraded", "task": "classification", "label": "Edema"},
                **{"metric": "tpr", "attribute": "sex", "definition": "eop", "estimate": 0.39},
                **dict.fromkeys(UNTESTED[2:]),
            }
        ],
        "methods": {"naïve": "π ≈ 3.0"},
        "provenance": {"seed": 7},
    }
    text = json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**report, "digest": hashlib.sha256(text.encode()).hexdigest(), "envelope": {"create_time": "2026-01-01"}}


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
