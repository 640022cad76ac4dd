"""Audits: the list, and one with its progress, its verdicts in a few numbers and its report."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

from evenhand.audit.v1 import audit_pb2

from services.errors import FailedPrecondition, NotFound, ServiceError
from services.gateway.console.asking import PAGE_SIZE, Ask
from services.gateway.console.views.files import listed_files
from services.gateway.console.views.progress import progress_of
from services.gateway.console.words import moment, state_of, title

LIST = "evenhand.audit.v1.AuditService/ListAudits"
GET = "evenhand.audit.v1.AuditService/GetAudit"
OPERATION = "google.longrunning.Operations/GetOperation"

_FOUND = ("gap", "change")
_FAMILIES = {
    "primary": "Groups, against everyone and each other",
    "changes": "What candidates change",
    "cohort": "What the cohort itself differs in",
    "exploratory": "Exploratory: intersections and the rest",
    "changes_exploratory": "Exploratory changes",
}
_KEPT = 128


class Verdicts:
    """Reports in a few numbers, kept by the report's digest: a report never changes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, dict[str, Any]] = OrderedDict()

    async def of(self, ask: Ask, name: str) -> dict[str, Any] | None:
        """None while there is no report."""
        try:
            found = await ask.edge.artifacts.find(name, "report.json")
        except (FailedPrecondition, NotFound):
            return None
        if found.sha256 not in self._kept:
            data = await ask.edge.artifacts.read(found)
            self._kept[found.sha256] = await asyncio.to_thread(_counted, data)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[found.sha256]


def _counted(report: bytes) -> dict[str, Any]:
    return verdicts_of(json.loads(report))


def verdicts_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Patients, records, and for each family of tests how many comparisons found something, nothing, or were too small.

    ``primary`` and ``changes`` are the families that an audit is made for, None where nothing of them was tested.
    """
    families = []
    for family, words in _FAMILIES.items():
        rows = [row for kind in ("cells", "gaps", "changes") for row in report[kind] if row["family"] == family]
        verdicts = Counter(row["verdict"] for row in rows)
        untested = verdicts.pop(None, 0)
        found, few = sum(verdicts[word] for word in _FOUND), verdicts["insufficient_evidence"]
        told = {"found": found, "none": verdicts.total() - found - few, "few": few, "untested": untested}
        if rows:
            families.append({"family": family, "words": words, "tested": verdicts.total(), **told})
    tested = {row["family"]: row for row in families if row["tested"]}
    cohort = report["cohort"]
    counted = {"patients": cohort["patients"], "records": cohort["records"]}
    return {**counted, "families": families, "primary": tested.get("primary"), "changes": tested.get("changes")}


def audit_row(audit: audit_pb2.Audit) -> dict[str, Any]:
    """An audit in a list."""
    pipelines = [pipeline.name for pipeline in audit.spec.pipelines]
    return {
        "name": audit.name,
        "title": title(audit.display_name, audit.name),
        "state": state_of(audit_pb2.Audit.State.Name(audit.state)),
        "cohort": audit.spec.cohort,
        "pipelines": pipelines,
        "attributes": list(audit.spec.attributes),
        "created": moment(audit.create_time),
        "changed": moment(audit.update_time),
        "operation": audit.operation,
    }


async def audits(ask: Ask, query: Mapping[str, str]) -> dict[str, Any]:
    """A page of the list; ``cohort`` narrows it."""
    cohort = query.get("cohort", "")
    reply = await ask(LIST, page_size=PAGE_SIZE, page_token=query.get("page_token", ""), cohort=cohort)
    following = reply.next_page_token
    return {"audits": [audit_row(audit) for audit in reply.audits], "cohort": cohort, "next_page": following}


async def audit(ask: Ask, name: str, verdicts: Verdicts) -> dict[str, Any]:
    """One audit."""
    found = await ask(GET, name=name)
    row = audit_row(found)
    baseline = found.spec.baseline or row["pipelines"][0] if row["pipelines"] else ""
    finished = row["state"] == "succeeded"
    return {
        **row,
        "digest": found.digest,
        "report_digest": found.report_digest,
        "baseline": baseline,
        "candidates": [name for name in row["pipelines"] if name != baseline],
        "pipelines": [_pipeline(pipeline) for pipeline in found.spec.pipelines],
        "labels": list(found.spec.labels),
        "seed": found.spec.seed,
        "progress": await progress(ask, found.operation),
        "verdicts": await verdicts.of(ask, name) if finished else None,
        "report": any(artifact.filename == "report.html" for artifact in found.artifacts),
        "files": listed_files(found.name, found.artifacts),
        "allow": {"frame_src": "'self'"},
    }


async def progress(ask: Ask, operation: str) -> dict[str, Any] | None:
    """None where the operation was forgotten."""
    if not operation:
        return None
    try:
        return progress_of(await ask(OPERATION, name=operation))
    except ServiceError as error:
        if isinstance(error, NotFound):
            return None
        raise


def _pipeline(pipeline: audit_pb2.Pipeline) -> dict[str, Any]:
    return {"name": pipeline.name, "stages": [_stage(stage) for stage in pipeline.stages]}


def _spelt(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _stage(stage: audit_pb2.Stage) -> dict[str, str]:
    kind = stage.WhichOneof("kind") or ""
    if kind == "degrade":
        given = [
            f"{field.name} {_spelt(value)}" for field, value in stage.degrade.ListFields() if field.name != "operator"
        ]
        return {"kind": kind, "words": ", ".join([stage.degrade.operator or "preset", *given]), "model": ""}
    model = str(getattr(stage, kind)) if kind else ""
    return {"kind": kind, "words": model.removeprefix("models/"), "model": f"models/{model.removeprefix('models/')}"}
