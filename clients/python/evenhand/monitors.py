"""Monitors: standing audits over arriving windows.

monitor = client.monitors.create("monitor.yaml")
monitor.record_predictions(frame)  # record_id, patient_id, attributes, a score per label
monitor.record_labels(truth)       # weeks later: record_id, 1 or 0 per label
monitor.alarms().to_pandas()
monitor.drift_plot("Pneumonia", "sex").savefig("drift.png")
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd
from google.protobuf import any_pb2

from evenhand.errors import FailedPrecondition
from evenhand.listing import Listing
from evenhand.monitor_calls import ALL, MonitorCalls, Recorded, unpacked_window
from evenhand.monitor_frames import BATCH_ROWS, Rows
from evenhand.monitor_spec import MonitorSpecLike
from evenhand.monitor_state import MonitorState
from evenhand.monitor_watch import Lookout, MonitorEvent
from evenhand.monitor_windows import Alarm, MonitorPlan, MonitorWindow, MonitorWindows
from evenhand.monitoring.v1 import monitor_pb2
from evenhand.operations import AsyncOperation, Operation
from evenhand.progress import count_bar

if TYPE_CHECKING:
    from evenhand.client import AsyncClient, Client
    from evenhand.drift_plot import DriftFigure

EVERY_S = 10.0
LONG_BATCHES = 10  # a table of more batches is sent under a bar
Series: TypeAlias = tuple[str, str, str]  # label, attribute, metric


class Monitor(MonitorState):
    """One monitor: sending it rows, and reading what it found."""

    def __init__(self, client: Client, proto: monitor_pb2.Monitor) -> None:
        super().__init__(proto)
        self._client, self._calls = client, client.monitors.calls

    def refresh(self) -> Monitor:
        """Ask the server how it stands."""
        self.proto = self._client.run(self._calls.get(self.name))
        return self

    def record_predictions(self, rows: Rows, *, model_version: str = "", progress: bool | None = None) -> Recorded:
        """Send predictions: a frame, or arrays by column name.

        Columns are record_id, patient_id, each label's scores and each attribute's levels, and may be time (datetimes
        or ISO 8601; without it, now) and model_version. All rows are checked before one is sent; they go in batches of
        5,000, each repeated after a failure. Sending rows again is harmless: one that is there is counted and ignored.

        Raises:
            InvalidInput: BATCH_INVALID, LEVEL_UNKNOWN, SCORE_INVALID, TIME_IN_FUTURE, TIME_BEFORE_ORIGIN.
            Conflict: CONFLICTING_RECORD, a record came before with other values.
        """
        with ExitStack() as stack:
            show = _shown(stack, rows, progress)
            return self._client.run(self._calls.predictions(self.proto, rows, model_version, show))

    def record_labels(self, rows: Rows, *, progress: bool | None = None) -> Recorded:
        """Send labels, in any order, before or after their predictions: record_id, and 1, 0 or missing for each label.

        Raises:
            InvalidInput: BATCH_INVALID, LABEL_INVALID.
            Conflict: CONFLICTING_LABEL, a record's label came before with another value.
        """
        with ExitStack() as stack:
            show = _shown(stack, rows, progress)
            return self._client.run(self._calls.labels(self.proto, rows, show))

    def windows(self, *, label: str = "", attribute: str = "", limit: int | None = None) -> MonitorWindows:
        """Closed windows, oldest first; ``to_pandas()`` has one row per window and series."""
        found = self._client.run(self._calls.windows(self.name, label, attribute, limit))
        return MonitorWindows(MonitorWindow(proto) for proto in found)

    def window(self, index: int) -> MonitorWindow:
        """One closed window with its cells. NotFound if it is not closed."""
        return MonitorWindow(self._client.run(self._calls.window(self.name, index)))

    def rederive(self, index: int) -> Operation[MonitorWindow]:
        """Derive a closed window again from everything that is recorded, late rows too. Alarms stay."""
        proto = self._client.run(self._calls.rederive(self.name, index))
        return Operation(self._client, proto, decoded_window)

    def alarms(self, limit: int | None = None) -> Listing[Alarm]:
        """Its alarms, newest first."""
        return Listing(Alarm(proto) for proto in self._client.run(self._calls.alarms(self.name, limit)))

    def watch(self, *, every: float = EVERY_S, past: bool = False) -> Iterator[MonitorEvent]:
        """Events as they happen: windows that close, alarms, changes of state. Ends with the planned windows.

        ``every`` is the pause between looks, seconds; ``past`` tells what had happened before, too. An absent server is
        waited for, up to two minutes.
        """
        lookout = Lookout(self._calls, self.name, past=past)
        while True:
            yield from self._client.run(lookout.look())
            if lookout.ended:
                return
            time.sleep(every)

    def drift_plot(self, label: str, attribute: str, metric: str = "tpr") -> DriftFigure:
        """A matplotlib figure: for each group its gap window by window, the change with its interval, and n.

        Raises:
            FailedPrecondition: matplotlib is not installed.
            InvalidInput: the monitor has no such series, or no window is closed.
        """
        windows = self.windows(label=label, attribute=attribute)
        return _drawn(self, windows, self.alarms(), (label, attribute, metric))


class AsyncMonitor(MonitorState):
    """The asyncio twin of :class:`Monitor`."""

    def __init__(self, client: AsyncClient, proto: monitor_pb2.Monitor) -> None:
        super().__init__(proto)
        self._client, self._calls = client, client.monitors.calls

    async def refresh(self) -> AsyncMonitor:
        """Ask the server how it stands."""
        self.proto = await self._client.run(self._calls.get(self.name))
        return self

    async def record_predictions(self, rows: Rows, *, model_version: str = "") -> Recorded:
        """Send predictions; see :meth:`Monitor.record_predictions`."""
        return await self._client.run(self._calls.predictions(self.proto, rows, model_version, lambda sent: None))

    async def record_labels(self, rows: Rows) -> Recorded:
        """Send labels; see :meth:`Monitor.record_labels`."""
        return await self._client.run(self._calls.labels(self.proto, rows, lambda sent: None))

    async def windows(self, *, label: str = "", attribute: str = "", limit: int | None = None) -> MonitorWindows:
        """Closed windows, oldest first."""
        found = await self._client.run(self._calls.windows(self.name, label, attribute, limit))
        return MonitorWindows(MonitorWindow(proto) for proto in found)

    async def window(self, index: int) -> MonitorWindow:
        """One closed window with its cells. NotFound if it is not closed."""
        return MonitorWindow(await self._client.run(self._calls.window(self.name, index)))

    async def rederive(self, index: int) -> AsyncOperation[MonitorWindow]:
        """Derive a closed window again; see :meth:`Monitor.rederive`."""
        proto = await self._client.run(self._calls.rederive(self.name, index))
        return AsyncOperation(self._client, proto, decoded_window)

    async def alarms(self, limit: int | None = None) -> Listing[Alarm]:
        """Its alarms, newest first."""
        return Listing(Alarm(proto) for proto in await self._client.run(self._calls.alarms(self.name, limit)))

    async def watch(self, *, every: float = EVERY_S, past: bool = False) -> AsyncIterator[MonitorEvent]:
        """Events as they happen; see :meth:`Monitor.watch`."""
        lookout = Lookout(self._calls, self.name, past=past)
        while True:
            for event in await self._client.run(lookout.look()):
                yield event
            if lookout.ended:
                return
            await asyncio.sleep(every)

    async def drift_plot(self, label: str, attribute: str, metric: str = "tpr") -> DriftFigure:
        """A matplotlib figure; see :meth:`Monitor.drift_plot`."""
        windows = await self.windows(label=label, attribute=attribute)
        return _drawn(self, windows, await self.alarms(), (label, attribute, metric))


class Monitors:
    """``client.monitors``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls = MonitorCalls(client.caller)

    def create(self, spec: MonitorSpecLike, *, display_name: str = "", request_id: str | None = None) -> Monitor:
        """Start to watch, from a MonitorSpec, a dict or a YAML file.

        Repeating it with the same ``request_id`` gives the same monitor; without one the client makes a UUID4.
        """
        return Monitor(self._client, self._client.run(self.calls.create(spec, display_name, request_id)))

    def plan(self, spec: MonitorSpecLike, *, records_per_window: float = 0.0) -> MonitorPlan:
        """What a monitor could find, without creating it; 0 records per window means that they are not known."""
        return MonitorPlan(self._client.run(self.calls.plan(spec, records_per_window)))

    def get(self, name: str) -> Monitor:
        """One monitor. NotFound if there is none of that name."""
        return Monitor(self._client, self._client.run(self.calls.get(name)))

    def list(self, limit: int | None = None) -> Listing[Monitor]:
        """Monitors, newest first, without their plans: :meth:`get` has them."""
        return Listing(Monitor(self._client, proto) for proto in self._client.run(self.calls.listing(limit)))

    def alarms(self, limit: int | None = None) -> Listing[Alarm]:
        """Alarms of all monitors, newest first."""
        return Listing(Alarm(proto) for proto in self._client.run(self.calls.alarms(ALL, limit)))

    def delete(self, name: str) -> None:
        """Forget a monitor, what it recorded, its windows and its alarms."""
        self._client.run(self.calls.delete(name))


class AsyncMonitors:
    """``async_client.monitors``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.calls = MonitorCalls(client.caller)

    async def create(
        self, spec: MonitorSpecLike, *, display_name: str = "", request_id: str | None = None
    ) -> AsyncMonitor:
        """Start to watch; see :meth:`Monitors.create`."""
        return AsyncMonitor(self._client, await self._client.run(self.calls.create(spec, display_name, request_id)))

    async def plan(self, spec: MonitorSpecLike, *, records_per_window: float = 0.0) -> MonitorPlan:
        """What a monitor could find; see :meth:`Monitors.plan`."""
        return MonitorPlan(await self._client.run(self.calls.plan(spec, records_per_window)))

    async def get(self, name: str) -> AsyncMonitor:
        """One monitor. NotFound if there is none of that name."""
        return AsyncMonitor(self._client, await self._client.run(self.calls.get(name)))

    async def list(self, limit: int | None = None) -> Listing[AsyncMonitor]:
        """Monitors, newest first, without their plans: :meth:`get` has them."""
        found = await self._client.run(self.calls.listing(limit))
        return Listing(AsyncMonitor(self._client, proto) for proto in found)

    async def alarms(self, limit: int | None = None) -> Listing[Alarm]:
        """Alarms of all monitors, newest first."""
        return Listing(Alarm(proto) for proto in await self._client.run(self.calls.alarms(ALL, limit)))

    async def delete(self, name: str) -> None:
        """Forget a monitor, what it recorded, its windows and its alarms."""
        await self._client.run(self.calls.delete(name))


def decoded_window(packed: any_pb2.Any) -> MonitorWindow:
    """The window in the response of a re-derivation."""
    return MonitorWindow(unpacked_window(packed))


def _shown(stack: ExitStack, rows: Rows, progress: bool | None) -> Callable[[int], None]:
    """Shows how many rows are sent; on its own accord only where they are many."""
    total = len(rows) if isinstance(rows, pd.DataFrame) else len(next(iter(rows.values()), ()))
    if progress is False or (progress is None and total <= LONG_BATCHES * BATCH_ROWS):
        return lambda sent: None
    return stack.enter_context(count_bar("rows", total))


def _drawn(monitor: MonitorState, windows: MonitorWindows, alarms: Sequence[Alarm], which: Series) -> DriftFigure:
    try:
        from evenhand.drift_plot import drift_figure
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        hint = 'pip install "evenhand[plot]"'
        raise FailedPrecondition("drawing needs matplotlib", reason="PLUGIN_MISSING", hint=hint) from None
    return drift_figure(monitor, windows, alarms, which)
