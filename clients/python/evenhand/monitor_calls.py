"""What is asked of MonitoringService, once for both twins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2
from google.protobuf.message import Message

from evenhand.calls import Caller, Flow, new_request_id, resource_name
from evenhand.errors import EvenhandError
from evenhand.monitor_frames import Arriving, Rows, read_labels, read_predictions
from evenhand.monitor_spec import MonitorSpecLike, monitor_spec_proto
from evenhand.monitoring.v1 import drift_pb2, monitor_pb2, monitoring_service_pb2

SERVICE = "evenhand.monitoring.v1.MonitoringService"
ALL = "monitors/-"


@dataclass(frozen=True)
class Recorded:
    """What became of a table of rows.

    Attributes:
        rows: of the table.
        recorded: kept.
        duplicates: there already, with the same values.
        late: of those kept, whose window was closed before; its ``rederive`` takes them in.
        unknown: labels of those kept, whose record is unknown so far. They are joined when it comes.
        unused: columns that name nothing that the monitor watches.
        absent: labels and attributes of the monitor without a column; they count as missing.
    """

    rows: int
    recorded: int
    duplicates: int
    late: int
    unknown: int = 0
    unused: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The plain form that ``--json`` prints."""
        return asdict(self) | {"unused": list(self.unused), "absent": list(self.absent)}


class MonitorCalls:
    """The flows of MonitoringService."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def create(self, spec: MonitorSpecLike, display_name: str, request_id: str | None) -> Flow[monitor_pb2.Monitor]:
        request = monitoring_service_pb2.CreateMonitorRequest(
            spec=monitor_spec_proto(spec), display_name=display_name, request_id=request_id or new_request_id()
        )
        return self._caller.unary(f"{SERVICE}/CreateMonitor", request, monitor_pb2.Monitor)

    def plan(self, spec: MonitorSpecLike, records_per_window: float) -> Flow[monitor_pb2.MonitorPlan]:
        request = monitoring_service_pb2.PlanMonitorRequest(
            spec=monitor_spec_proto(spec), records_per_window=records_per_window
        )
        return self._caller.unary(f"{SERVICE}/PlanMonitor", request, monitor_pb2.MonitorPlan)

    def get(self, name: str) -> Flow[monitor_pb2.Monitor]:
        request = monitoring_service_pb2.GetMonitorRequest(name=resource_name("monitors", name))
        return self._caller.unary(f"{SERVICE}/GetMonitor", request, monitor_pb2.Monitor)

    def listing(self, limit: int | None) -> Flow[list[monitor_pb2.Monitor]]:
        request = monitoring_service_pb2.ListMonitorsRequest()
        reply = monitoring_service_pb2.ListMonitorsResponse
        return self._caller.pages(f"{SERVICE}/ListMonitors", request, reply, "monitors", limit)

    def delete(self, name: str) -> Flow[None]:
        request = monitoring_service_pb2.DeleteMonitorRequest(name=resource_name("monitors", name))
        return self._caller.delete(f"{SERVICE}/DeleteMonitor", request, empty_pb2.Empty)

    def predictions(
        self, monitor: monitor_pb2.Monitor, rows: Rows, model_version: str, watch: Callable[[int], None]
    ) -> Flow[Recorded]:
        """Batch after batch, each again after a failure: a row that is there already is counted and ignored."""
        reply = monitoring_service_pb2.RecordPredictionsResponse
        return self._record("RecordPredictions", reply, read_predictions(monitor, rows, model_version), watch)

    def labels(self, monitor: monitor_pb2.Monitor, rows: Rows, watch: Callable[[int], None]) -> Flow[Recorded]:
        """Likewise; labels may come before their predictions."""
        reply = monitoring_service_pb2.RecordLabelsResponse
        return self._record("RecordLabels", reply, read_labels(monitor, rows), watch)

    def _record(
        self, method: str, reply: type[Message], arriving: Arriving, watch: Callable[[int], None]
    ) -> Flow[Recorded]:
        counts = dict.fromkeys(("recorded", "duplicates", "late", "unknown"), 0)
        sent = 0
        for batch in arriving.batches:
            try:
                answer: Any = yield from self._caller.unary(f"{SERVICE}/{method}", batch.request, reply)
            except EvenhandError as error:
                place = f"a batch between rows {batch.first_row} and {batch.last_row}; {sent} rows before it were sent"
                error.hint = "; ".join(part for part in (error.hint, f"{place}, and may be sent again") if part)
                raise
            for name in counts:
                counts[name] += int(getattr(answer, name, 0))
            sent += batch.rows
            watch(sent)
        return Recorded(arriving.rows, **counts, unused=arriving.unused, absent=arriving.absent)

    def window(self, monitor: str, index: int) -> Flow[drift_pb2.MonitorWindow]:
        request = monitoring_service_pb2.GetWindowRequest(name=window_name(monitor, index))
        return self._caller.unary(f"{SERVICE}/GetWindow", request, drift_pb2.MonitorWindow)

    def windows(
        self, monitor: str, label: str = "", attribute: str = "", limit: int | None = None
    ) -> Flow[list[drift_pb2.MonitorWindow]]:
        request = monitoring_service_pb2.ListWindowsRequest(
            parent=resource_name("monitors", monitor), label=label, attribute=attribute
        )
        reply = monitoring_service_pb2.ListWindowsResponse
        return self._caller.pages(f"{SERVICE}/ListWindows", request, reply, "windows", limit)

    def rederive(self, monitor: str, index: int) -> Flow[operations_pb2.Operation]:
        """Repeatable: deriving again what has not changed changes nothing."""
        request = monitoring_service_pb2.RederiveWindowRequest(name=window_name(monitor, index))
        return self._caller.unary(f"{SERVICE}/RederiveWindow", request, operations_pb2.Operation)

    def alarms(self, monitor: str = ALL, limit: int | None = None) -> Flow[list[drift_pb2.Alarm]]:
        request = monitoring_service_pb2.ListAlarmsRequest(parent=resource_name("monitors", monitor))
        reply = monitoring_service_pb2.ListAlarmsResponse
        return self._caller.pages(f"{SERVICE}/ListAlarms", request, reply, "alarms", limit)


def window_name(monitor: str, index: int) -> str:
    """ "monitors/x/windows/3" of "x" or "monitors/x"."""
    return f"{resource_name('monitors', monitor)}/windows/{index}"


def unpacked_window(packed: any_pb2.Any) -> drift_pb2.MonitorWindow:
    """The window in the response of a re-derivation."""
    proto = drift_pb2.MonitorWindow()
    packed.Unpack(proto)
    return proto
