"""Creating, reading and deleting audits: request bytes in, message bytes out. No Ray in here."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from evenhand.audit.v1 import audit_pb2, audit_service_pb2, plan_pb2
from google.protobuf.empty_pb2 import Empty

from services.adapters.ledger import ChunkSpec, Ledger, Operation
from services.adapters.object_store import ObjectStore
from services.audit import wire
from services.audit.chunks import REDUCE, ROWS
from services.audit.overlap import Overlaps
from services.audit.perceptual import Perceptual
from services.audit.pipeline import AuditSpec, ResolvedAudit
from services.audit.planning import Forecast, Planner
from services.audit.resolution import resolve
from services.audit.resources import audit_body, audit_message
from services.audit.settings import Settings
from services.errors import NotFound
from services.hosting.calls import ModelCalls
from services.hosting.operations import operation_proto
from services.hosting.requests import page_size, parsed, resource_name

KIND = "audit"


class Audits:
    def __init__(self, ledger: Ledger, store: ObjectStore, calls: ModelCalls, settings: Settings) -> None:
        self._ledger = ledger
        self._store = store
        self._calls = calls
        self._settings = settings
        self._planner = Planner(store)
        self._perceptual = Perceptual(settings.lpips_weights, settings.models)
        self._overlaps = Overlaps(store, calls)

    async def create(self, data: bytes) -> bytes:
        """CreateAuditRequest → Operation. Operation and chunks are written in one transaction."""
        asked = wire.audit_request(parsed(audit_service_pb2.CreateAuditRequest, data))
        repeated = await asyncio.to_thread(self._ledger.repeated_operation, KIND, asked.request_id, asked.body_digest)
        if repeated is not None:
            return await asyncio.to_thread(self._answer, repeated)
        manifest = await asyncio.to_thread(self._manifest, asked.spec.cohort)
        plan, _ = await self._foresee(asked.spec, manifest)
        return await asyncio.to_thread(self._create, asked, plan, manifest)

    async def plan(self, data: bytes) -> bytes:
        """PlanAuditRequest → AuditPlan. The same checks and warnings as :meth:`create`; stores nothing."""
        spec = wire.plan_request(parsed(audit_service_pb2.PlanAuditRequest, data))
        manifest = await asyncio.to_thread(self._manifest, spec.cohort)
        return plan_message(*await self._foresee(spec, manifest)).SerializeToString()

    async def _foresee(self, spec: AuditSpec, manifest: Mapping[str, Any]) -> tuple[ResolvedAudit, Forecast]:
        """The plan with all its warnings, and what the cohort's counts say of each cell."""
        catalogue = await self._calls.catalogue()
        perceptual = await asyncio.to_thread(self._perceptual.digests, spec.quality_metrics)
        plan = resolve(spec, manifest, catalogue, batch_size=self._settings.batch_size, perceptual=perceptual)
        await asyncio.to_thread(self._perceptual.check, plan, catalogue)
        await self._overlaps.check(plan, manifest, catalogue)
        forecast = await self._planner.forecast(plan, manifest)
        return replace(plan, warnings=(*plan.warnings, *forecast.warnings)), forecast

    def _manifest(self, cohort: str) -> dict[str, Any]:
        body = self._ledger.get_resource(cohort)
        if body is None:
            raise NotFound(f"there is no {cohort}", field="spec.cohort", reason="COHORT_NOT_FOUND")
        manifest: dict[str, Any] = json.loads(self._store.get(body["manifest_key"]))
        return manifest

    def _create(self, asked: wire.AuditRequest, plan: ResolvedAudit, manifest: Mapping[str, Any]) -> bytes:
        request = {
            "display_name": asked.display_name,
            "spec": asked.document,
            "plan": plan.to_dict(),
            "people": people(manifest),
        }
        operation, _ = self._ledger.create_operation(
            KIND,
            f"audits/{uuid.uuid4()}",
            request,
            plan_chunks(plan, manifest),
            request_id=asked.request_id,
            body_digest=asked.body_digest,
        )
        return self._answer(operation)

    def _answer(self, operation: Operation) -> bytes:
        # Also on a repeat: the first attempt may have died between the two writes.
        if self._ledger.get_resource(operation.resource) is None:
            self._ledger.put_resource(operation.resource, KIND, audit_body(operation.resource, operation))
        return bytes(operation_proto(operation, self._ledger).SerializeToString())

    async def get(self, data: bytes) -> bytes:
        """GetAuditRequest → Audit."""
        request = parsed(audit_service_pb2.GetAuditRequest, data)
        name = resource_name(request.name, "audits", "name")
        return (await asyncio.to_thread(self._read, name)).SerializeToString()

    def _read(self, name: str) -> audit_pb2.Audit:
        body = self._ledger.get_resource(name)
        if body is None:
            raise _no_audit(name)
        return audit_message(body, self._operation(body))

    def _operation(self, body: Mapping[str, Any]) -> Operation | None:
        try:
            return self._ledger.get_operation(body["operation"])
        except NotFound:
            return None

    async def list(self, data: bytes) -> bytes:
        """ListAuditsRequest → ListAuditsResponse, newest first."""
        request = parsed(audit_service_pb2.ListAuditsRequest, data)
        return (await asyncio.to_thread(self._list, request)).SerializeToString()

    def _list(self, request: audit_service_pb2.ListAuditsRequest) -> audit_service_pb2.ListAuditsResponse:
        bodies, token = self._ledger.list_resources(
            KIND,
            page_size=page_size(request.page_size),
            page_token=request.page_token,
            leave_out=("gauges",),
            **({"cohort": resource_name(request.cohort, "cohorts", "cohort")} if request.cohort else {}),
        )
        audits = [audit_message(body, self._operation(body)) for body in bodies]
        return audit_service_pb2.ListAuditsResponse(audits=audits, next_page_token=token)

    async def delete(self, data: bytes) -> bytes:
        """DeleteAuditRequest → Empty. FailedPrecondition while it runs. The artifacts stay until collected."""
        request = parsed(audit_service_pb2.DeleteAuditRequest, data)
        name = resource_name(request.name, "audits", "name")
        await asyncio.to_thread(self._delete, name)
        return Empty().SerializeToString()

    def _delete(self, name: str) -> None:
        body = self._ledger.get_resource(name)
        if body is None:
            raise _no_audit(name)
        # The operation first: it refuses while unfinished, and what is left after a crash here can be deleted again.
        if self._operation(body) is not None:
            self._ledger.delete_operation(body["operation"])
        self._ledger.delete_resource(name)


def _no_audit(name: str) -> NotFound:
    return NotFound(f"there is no {name}", field="name", reason="AUDIT_NOT_FOUND")


def plan_message(plan: ResolvedAudit, forecast: Forecast) -> plan_pb2.AuditPlan:
    return plan_pb2.AuditPlan(
        digest=plan.digest,
        warnings=plan.warnings,
        cells=(_planned_cell(asdict(cell)) for cell in forecast.cells),
        tests=forecast.tests,
        alpha=forecast.alpha,
        target_power=forecast.target_power,
        assumptions=forecast.assumptions,
        acquisitions=plan.acquisitions,
    )


def _planned_cell(plain: dict[str, Any]) -> plan_pb2.PlannedCell:
    return plan_pb2.PlannedCell(**{**plain, "state": f"STATE_{plain['state'].upper()}"})


def people(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Who is in the cohort, for the report: attributes, labels, and refused rows by reason, without any file name.

    Of a synthetic cohort also who drew its images, and from which cohort.
    """
    refused = Counter(row["reason"] for row in manifest["refused"])
    return {
        "attributes": manifest["attributes"],
        "labels": manifest["labels"],
        "refused": dict(sorted(refused.items())),
        **({"synthetic": _origin(manifest["synthetic"])} if "synthetic" in manifest else {}),
    }


def _origin(synthetic: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model": f"{synthetic['spec']['model']}@{synthetic['model_version']}",
        **{key: synthetic[key] for key in ("model_digest", "source_digest", "images")},
    }


def plan_chunks(plan: ResolvedAudit, manifest: Mapping[str, Any]) -> list[ChunkSpec]:
    """One chunk per shard and pipeline, shard by shard so that a shard is read once, then the reduction."""
    shards = manifest["shards"]
    following = [*shards[1:], None]
    rows = [
        ChunkSpec(ROWS, {"shard": shard, "next_shard": following[index], "pipeline": position}, rows=shard["rows"])
        for index, shard in enumerate(shards)
        for position in range(len(plan.pipelines))
    ]
    return [*rows, ChunkSpec(REDUCE, {}, last=True)]
