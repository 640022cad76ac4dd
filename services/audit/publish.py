"""From committed rows to artifacts, in a process of its own.

The rows of a whole audit are in memory only here, and this process ends when the report is written: the worker's own
memory therefore does not grow with the cohort. ``python -m services.audit.publish STORE_URL`` reads a
:class:`PublishTask` as JSON from its input and writes what it published, or the error, to its output.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import pandas as pd

from services.adapters.object_store import ObjectStore, open_object_store
from services.audit.pipeline import ResolvedAudit, plan_from_dict
from services.audit.report import render_report
from services.audit.results.formats import (
    prediction_rows,
    predictions_table,
    quality_rows,
    quality_table,
    read_predictions,
    read_quality,
)
from services.audit.results.reduce import reduce, report_json
from services.hosting.children import answer_parent, ask_child
from services.maths.fairness.testing.verdicts import TOLERANCES

MOST_GAUGES = 2000


@dataclass(frozen=True)
class PublishTask:
    """``request`` is the operation's, plan included; ``chunks`` are the row chunks' results in chunk order."""

    audit: str
    operation: str
    create_time: str
    request: dict[str, Any]
    chunks: list[dict[str, Any]]


def publish(store: ObjectStore, task: PublishTask) -> dict[str, Any]:
    """Write report.json, report.html, predictions.parquet and quality.parquet; say where they are.

    Returns ``report_digest``, ``artifacts`` (name, key, sha256, length, media type) and ``gauges`` for ``/metrics``.
    Publishing twice gives the same digest; only the report's envelope, which holds the time, differs.
    """
    plan = plan_from_dict(task.request["plan"])
    predictions = _rows(store, task, "predictions", read_predictions, prediction_rows)
    quality = _rows(store, task, "quality", read_quality, quality_rows)
    report = reduce(
        predictions,
        quality,
        attributes=plan.attributes,
        baseline=plan.baseline,
        levels=plan.levels,
        min_patients=plan.min_patients,
        min_cases=plan.min_cases,
        reference_groups=plan.reference_groups,
        thresholds=[asdict(entry) for entry in plan.thresholds],
        allow_fitted_thresholds=plan.allow_test_thresholds,
        seed=plan.seed,
        provenance=_provenance(plan, task.request["people"]),
    )
    envelope = {
        "audit": task.audit,
        "operation": task.operation,
        "display_name": task.request["display_name"],
        "create_time": task.create_time,
        "publish_time": datetime.now(UTC).isoformat(),
        "host": platform.node(),
    }
    document = report_json(report, envelope)
    files = {
        "report.json": (document, "application/json"),
        "report.html": (render_report(json.loads(document)).encode(), "text/html; charset=utf-8"),
        "predictions.parquet": (predictions_table(predictions), "application/vnd.apache.parquet"),
        "quality.parquet": (quality_table(quality), "application/vnd.apache.parquet"),
    }
    artifacts = [
        {"filename": name, **asdict(store.put(data, media_type=media_type)), "media_type": media_type}
        for name, (data, media_type) in files.items()
    ]
    return {"report_digest": report["digest"], "artifacts": artifacts, "gauges": gauges(report)}


def _rows(
    store: ObjectStore,
    task: PublishTask,
    kind: str,
    read: Callable[..., pd.DataFrame],
    canonical: Callable[[pd.DataFrame], pd.DataFrame],
) -> pd.DataFrame:
    """All chunks' rows of one kind; an audit may have none, as when it only segments."""
    refs = [chunk[kind] for chunk in task.chunks if chunk[kind]]
    parts = (store.get(ref["key"], sha256=ref["sha256"]) for ref in refs)
    return read(*parts) if refs else canonical(pd.DataFrame())


_GIVEN = ("pipelines", "acquisitions", "quality_metrics", "perceptual", "seed", "batch_size", "warnings")


def _provenance(plan: ResolvedAudit, people: Mapping[str, Any]) -> dict[str, Any]:
    """All that decided the numbers, and nothing that names this run."""
    plain = plan.to_dict()
    return {
        "audit_digest": plan.digest,
        "cohort": {"digest": plan.cohort_digest, "patients": plan.patients, "records": plan.records, **people},
        **{key: plain[key] for key in _GIVEN},
        "software": {"evenhand-platform": metadata.version("evenhand-platform")},
    }


_CELL_GAUGE = (
    *("pipeline", "task", "label", "metric", "attribute", "group", "records", "patients", "state"),
    *("estimate", "ci_low", "ci_high", "p_adjusted"),
)
_GAP_GAUGE = (
    *("pipeline", "task", "label", "metric", "attribute", "definition"),
    *("estimate", "ci_low", "ci_high", "p_adjusted"),
)


def gauges(report: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the report that ``/metrics`` shows: overall and single-attribute values of tested metrics.

    Their number is bounded, because each becomes a time series; ``left_out`` counts what did not fit. Gaps to a
    reference group are left to the report: they would be as many as the groups.
    """
    cells = [_only(_CELL_GAUGE, cell) for cell in report["cells"] if _shown(cell)]
    gaps = [_only(_GAP_GAUGE, gap) for gap in report["gaps"] if _shown(gap) and not gap["reference"]]
    left_out = max(0, len(cells) - MOST_GAUGES) + max(0, len(gaps) - MOST_GAUGES)
    return {"cells": cells[:MOST_GAUGES], "gaps": gaps[:MOST_GAUGES], "left_out": left_out}


def _shown(row: Mapping[str, Any]) -> bool:
    tested = all(metric in TOLERANCES for metric in row["metric"].split(","))
    return tested and row["estimate"] is not None and "," not in row["attribute"]


def _only(keys: Sequence[str], row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in keys}


class SubprocessPublisher:
    """``publish`` in a child process that opens the store by itself. Cancelling the call ends the child."""

    def __init__(self, store_url: str) -> None:
        self._store_url = store_url

    async def __call__(self, task: PublishTask) -> dict[str, Any]:
        return await ask_child(
            __name__,
            asdict(task),
            self._store_url,
            about="report",
            field=task.audit,
            lost="REPORT_PROCESS_LOST",
        )


if __name__ == "__main__":
    answer_parent(lambda given: publish(open_object_store(sys.argv[1]), PublishTask(**given)))
