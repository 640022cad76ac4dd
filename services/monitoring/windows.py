"""Reading windows and alarms, and asking for a window to be derived again: request bytes in, message bytes out."""

from __future__ import annotations

import asyncio
from typing import Any

from evenhand.monitoring.v1 import drift_pb2, monitoring_service_pb2

from services.adapters.ledger import Ledger
from services.adapters.object_store import ObjectStore
from services.errors import NotFound
from services.hosting.operations import operation_proto
from services.hosting.requests import page_size, parsed, resource_name
from services.monitoring import wire
from services.monitoring.cells import read_sums
from services.monitoring.closing import ask_again
from services.monitoring.few_labels import read_rates
from services.monitoring.monitors import find_monitor
from services.monitoring.resources import alarm_message, window_message

ALL = "monitors/-"


class Windows:
    def __init__(self, ledger: Ledger, store: ObjectStore) -> None:
        self._ledger = ledger
        self._store = store

    async def get(self, data: bytes) -> bytes:
        """GetWindowRequest → MonitorWindow with points and cells."""
        name = parsed(monitoring_service_pb2.GetWindowRequest, data).name
        monitor, index = wire.window_name(name, "name")
        return (await asyncio.to_thread(self._read, monitor, index)).SerializeToString()

    def _read(self, monitor: str, index: int) -> drift_pb2.MonitorWindow:
        summary = self._find(monitor, index)
        return window_message(
            summary,
            self._ledger.points(monitor, windows=range(index, index + 1)),
            read_sums(self._store, summary),
            rates=read_rates(self._store, summary),
            late_rows=self._ledger.late_rows(monitor).get(index, 0),
        )

    def _find(self, monitor: str, index: int) -> dict[str, Any]:
        find_monitor(self._ledger, monitor, "name")
        summary = self._ledger.get_window(monitor, index)
        if summary is None:
            raise NotFound(
                f"window {index} of {monitor} is not closed; {self._ledger.closed_windows(monitor)} windows are",
                field="name",
                reason="WINDOW_NOT_FOUND",
            )
        return summary

    async def list(self, data: bytes) -> bytes:
        """ListWindowsRequest → ListWindowsResponse, oldest first, points but no cells."""
        request = parsed(monitoring_service_pb2.ListWindowsRequest, data)
        monitor = resource_name(request.parent, "monitors", "parent")
        return (await asyncio.to_thread(self._page, monitor, request)).SerializeToString()

    def _page(
        self, monitor: str, request: monitoring_service_pb2.ListWindowsRequest
    ) -> monitoring_service_pb2.ListWindowsResponse:
        find_monitor(self._ledger, monitor, "parent")
        summaries, token = self._ledger.list_windows(
            monitor, page_size=page_size(request.page_size), page_token=request.page_token
        )
        points: dict[int, list[dict[str, Any]]] = {summary["index"]: [] for summary in summaries}
        if points:
            wanted = range(min(points), max(points) + 1)
            for point in self._ledger.points(monitor, windows=wanted, label=request.label, attribute=request.attribute):
                points[point["window_index"]].append(point)
        late = self._ledger.late_rows(monitor)
        return monitoring_service_pb2.ListWindowsResponse(
            windows=[
                window_message(summary, points[summary["index"]], late_rows=late.get(summary["index"], 0))
                for summary in summaries
            ],
            next_page_token=token,
        )

    async def rederive(self, data: bytes) -> bytes:
        """RederiveWindowRequest → Operation, whose response will be the window."""
        name = parsed(monitoring_service_pb2.RederiveWindowRequest, data).name
        monitor, index = wire.window_name(name, "name")

        def begin() -> bytes:
            self._find(monitor, index)
            operation = ask_again(self._ledger, monitor, index)
            return bytes(operation_proto(operation, self._ledger).SerializeToString())

        return await asyncio.to_thread(begin)

    async def alarms(self, data: bytes) -> bytes:
        """ListAlarmsRequest → ListAlarmsResponse, newest first."""
        request = parsed(monitoring_service_pb2.ListAlarmsRequest, data)
        monitor = resource_name(request.parent, "monitors", "parent")

        def read() -> monitoring_service_pb2.ListAlarmsResponse:
            if monitor != ALL:
                find_monitor(self._ledger, monitor, "parent")
            bodies, token = self._ledger.list_alarms(
                "-" if monitor == ALL else monitor,
                page_size=page_size(request.page_size),
                page_token=request.page_token,
            )
            return monitoring_service_pb2.ListAlarmsResponse(alarms=map(alarm_message, bodies), next_page_token=token)

        return (await asyncio.to_thread(read)).SerializeToString()
