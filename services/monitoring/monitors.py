"""Creating, planning, reading and deleting monitors: request bytes in, message bytes out. No Ray in here."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from evenhand.monitoring.v1 import monitor_pb2, monitoring_service_pb2
from google.protobuf.empty_pb2 import Empty

from services.adapters.arrivals import ArrivalLog
from services.adapters.ledger import Ledger
from services.adapters.object_store import ObjectStore
from services.errors import Conflict, NotFound, Unavailable
from services.hosting.calls import ModelCalls
from services.hosting.requests import page_size, parsed, resource_name
from services.maths.canonical import canonical_json, digest
from services.maths.fairness.drift.windows import WindowCells
from services.monitoring import wire
from services.monitoring.planning import Expected, plan_message
from services.monitoring.references import audit_rows
from services.monitoring.resolution import Offer, resolve, served_model
from services.monitoring.resources import KIND, files_name, monitor_message, plain, stamp
from services.monitoring.settings import Settings
from services.monitoring.watched import Watched


class Monitors:
    def __init__(self, ledger: Ledger, store: ObjectStore, calls: ModelCalls, settings: Settings) -> None:
        self._ledger = ledger
        self._store = store
        self._calls = calls
        self._settings = settings
        self._log = ArrivalLog(ledger, store)

    async def create(self, data: bytes) -> bytes:
        """CreateMonitorRequest → Monitor. A repeat meets the first while that stands; every new one has a new name."""
        asked = wire.monitor_request(parsed(monitoring_service_pb2.CreateMonitorRequest, data))
        if asked.request_id:
            standing = await asyncio.to_thread(self._ledger.monitor_of_request, asked.request_id)
            if standing is not None:
                return await self._repeated(standing, asked)
        spec, offer = await self._resolved(asked.spec)
        body = await asyncio.to_thread(self._body, f"monitors/{uuid.uuid4()}", asked, spec, offer)
        made = await asyncio.to_thread(self._ledger.create_monitor, KIND, body)
        if made is None:
            raise Unavailable(
                "the monitor of this request_id is being deleted; send the request again",
                field="request_id",
                reason="MONITOR_BEING_DELETED",
                retry_after_s=1,
            )
        return await self._repeated(made, asked)

    async def _repeated(self, body: dict[str, Any], asked: wire.MonitorRequest) -> bytes:
        if body["body_digest"] != asked.body_digest:
            raise Conflict(
                "request_id was used before for another monitor; use a new one for a new monitor",
                field="request_id",
                reason="REQUEST_ID_REUSED",
            )
        return (await asyncio.to_thread(self._message, body)).SerializeToString()

    async def plan(self, data: bytes) -> bytes:
        """PlanMonitorRequest → MonitorPlan. The same checks as :meth:`create`; stores nothing."""
        asked, records = wire.plan_request(parsed(monitoring_service_pb2.PlanMonitorRequest, data))
        spec, offer = await self._resolved(asked)
        watched = Watched.of(plain(spec))
        return (await asyncio.to_thread(_plan, spec, offer, watched, records)).SerializeToString()

    async def _resolved(self, asked: monitor_pb2.MonitorSpec) -> tuple[monitor_pb2.MonitorSpec, Offer]:
        catalogue = await self._calls.catalogue() if asked.model else []
        audit = None
        if asked.reference.WhichOneof("kind") == "audit":
            named = asked.reference
            audit = await asyncio.to_thread(audit_rows, self._ledger, self._store, named.audit, named.pipeline)
        offer = Offer(served_model(asked.model, catalogue), audit)
        spec = await asyncio.to_thread(
            resolve, asked, offer, import_roots=self._settings.import_roots, now=datetime.now(UTC)
        )
        return spec, offer

    def _body(
        self, name: str, asked: wire.MonitorRequest, spec: monitor_pb2.MonitorSpec, offer: Offer
    ) -> dict[str, Any]:
        """What the ledger keeps of a new monitor; the reference's sums are an object of the store."""
        document = plain(spec)
        watched = Watched.of(document)
        reference = _reference(offer, watched)
        sums = None if reference is None else reference.to_dict()
        now = stamp(datetime.now(UTC))
        return {
            "name": name,
            "display_name": asked.display_name,
            "spec": document,
            "digest": digest({"spec": document, "reference": sums}),
            "plan": plain(_plan(spec, offer, watched, 0.0)),
            "state": "STATE_WAITING",
            "closed_windows": 0,
            "alarms": 0,
            "trouble": "",
            "create_time": now,
            "update_time": now,
            "request_id": asked.request_id,
            "body_digest": asked.body_digest,
            "reference": None if sums is None else asdict(self._store.put(canonical_json(sums))),
        }

    async def get(self, data: bytes) -> bytes:
        """GetMonitorRequest → Monitor."""
        name = resource_name(parsed(monitoring_service_pb2.GetMonitorRequest, data).name, "monitors", "name")

        def read() -> monitor_pb2.Monitor:
            return self._message(find_monitor(self._ledger, name, "name"))

        return (await asyncio.to_thread(read)).SerializeToString()

    async def list(self, data: bytes) -> bytes:
        """ListMonitorsRequest → ListMonitorsResponse, newest first, without plans: each has a row per series."""
        request = parsed(monitoring_service_pb2.ListMonitorsRequest, data)

        def read() -> monitoring_service_pb2.ListMonitorsResponse:
            bodies, token = self._ledger.list_resources(
                KIND,
                page_size=page_size(request.page_size),
                page_token=request.page_token,
                leave_out=("plan",),
            )
            return monitoring_service_pb2.ListMonitorsResponse(
                monitors=map(self._message, bodies), next_page_token=token
            )

        return (await asyncio.to_thread(read)).SerializeToString()

    def _message(self, body: dict[str, Any]) -> monitor_pb2.Monitor:
        return monitor_message(body, self._ledger.arrivals(body["name"]))

    async def delete(self, data: bytes) -> bytes:
        """DeleteMonitorRequest → Empty. What it recorded is deleted too, the objects in the store last."""
        name = resource_name(parsed(monitoring_service_pb2.DeleteMonitorRequest, data).name, "monitors", "name")
        await asyncio.to_thread(self._delete, name)
        return Empty().SerializeToString()

    def _delete(self, name: str) -> None:
        find_monitor(self._ledger, name, "name")
        self._log.forget(name)
        if self._ledger.get_resource(files_name(name)) is not None:
            self._ledger.delete_resource(files_name(name))


def find_monitor(ledger: Ledger, name: str, at: str) -> dict[str, Any]:
    """The body of a monitor, or NotFound MONITOR_NOT_FOUND."""
    body = ledger.get_resource(name)
    if body is None:
        raise NotFound(f"there is no {name}", field=at, reason="MONITOR_NOT_FOUND")
    return body


def _reference(offer: Offer, watched: Watched) -> WindowCells | None:
    return None if offer.audit is None else offer.audit.cells(watched)


def _plan(spec: monitor_pb2.MonitorSpec, offer: Offer, watched: Watched, records: float) -> monitor_pb2.MonitorPlan:
    """``records`` are expected in a window; 0 where unknown, unless windows are of so many records."""
    reference = _reference(offer, watched)
    if reference is None or offer.audit is None:
        return plan_message(watched, None)
    per_window = records or float(spec.window.records)
    return plan_message(watched, Expected(reference, offer.audit.scores.shape[1], per_window))
