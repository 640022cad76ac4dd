"""Long-running operations: futures whose work is on the server and survives this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from google.longrunning import operations_pb2
from google.protobuf import any_pb2, duration_pb2, empty_pb2

from evenhand.audit.v1 import audit_service_pb2
from evenhand.calls import Caller, Flow, Sleep, resource_name
from evenhand.cohort.v1 import cohort_service_pb2
from evenhand.errors import Cancelled, DeadlineExceeded, OperationFailed, Unavailable, error_from_status
from evenhand.generation.v1 import generation_service_pb2
from evenhand.listing import Listing, api_json
from evenhand.monitoring.v1 import monitoring_service_pb2
from evenhand.progress import bar_for
from evenhand.training.v1 import training_service_pb2
from evenhand.upscaling.v1 import upscaling_service_pb2

if TYPE_CHECKING:
    from evenhand.client import AsyncClient, Client

T = TypeVar("T")
SERVICE = "google.longrunning.Operations"
OUTAGE_S = 120.0  # how long a wait puts up with an absent server: a restart takes some tens of seconds
# Every metadata message with what it counts and the field that names what is being made.
_METADATA: tuple[tuple[type[Any], str, str], ...] = (
    (audit_service_pb2.CreateAuditMetadata, "rows", "audit"),
    (cohort_service_pb2.CreateCohortMetadata, "rows", "cohort"),
    (cohort_service_pb2.CreateSyntheticCohortMetadata, "images", "cohort"),
    (generation_service_pb2.CreateCounterfactualMetadata, "frames", "counterfactual"),
    (generation_service_pb2.CreateGenerationMetadata, "images", "generation"),
    (monitoring_service_pb2.RederiveWindowMetadata, "windows", "window"),  # one window: it has no counts
    (training_service_pb2.CreateTrainingMetadata, "epochs", "training"),
    (upscaling_service_pb2.CreateUpscalingMetadata, "tiles", "upscaling"),
)


@dataclass(frozen=True)
class Progress:
    """How far an operation is. ``eta_s`` is None while unknown; ``unit`` is what ``done`` and ``total`` count."""

    stage: str = "queued"
    done: int = 0
    total: int = 0
    per_s: float = 0.0
    eta_s: float | None = None
    refused: int = 0
    retries: int = 0
    unit: str = "rows"
    resource: str = ""
    steps_done: int = 0
    steps_total: int = 0

    @classmethod
    def from_metadata(cls, packed: any_pb2.Any) -> Progress:
        """Read any of the platform's operation metadata messages."""
        for kind, unit, resource in _METADATA:
            if packed.Is(kind.DESCRIPTOR):
                metadata = kind()
                packed.Unpack(metadata)
                return cls._read(metadata, unit, resource)
        return cls()

    @classmethod
    def _read(cls, metadata: Any, unit: str, resource: str) -> Progress:
        eta_s = getattr(metadata, "eta_s", -1.0)
        return cls(
            stage=metadata.stage,
            done=getattr(metadata, f"{unit}_done", 0),
            total=getattr(metadata, f"{unit}_total", 0),
            per_s=getattr(metadata, f"{unit}_per_s", 0.0),
            eta_s=eta_s if eta_s >= 0 else None,
            refused=getattr(metadata, f"{unit}_refused", 0),
            retries=getattr(metadata, "retries", 0),
            unit=unit,
            resource=getattr(metadata, resource),
            steps_done=getattr(metadata, "steps_done", 0),
            steps_total=getattr(metadata, "steps_total", 0),
        )


class OperationCalls:
    """The flows of google.longrunning.Operations."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def get(self, name: str) -> Flow[operations_pb2.Operation]:
        request = operations_pb2.GetOperationRequest(name=resource_name("operations", name))
        return self._caller.unary(f"{SERVICE}/GetOperation", request, operations_pb2.Operation)

    def listing(self, limit: int | None) -> Flow[list[operations_pb2.Operation]]:
        request = operations_pb2.ListOperationsRequest(name="operations")
        reply = operations_pb2.ListOperationsResponse
        return self._caller.pages(f"{SERVICE}/ListOperations", request, reply, "operations", limit)

    def cancel(self, name: str) -> Flow[empty_pb2.Empty]:
        request = operations_pb2.CancelOperationRequest(name=resource_name("operations", name))
        return self._caller.unary(f"{SERVICE}/CancelOperation", request, empty_pb2.Empty)

    def delete(self, name: str) -> Flow[None]:
        request = operations_pb2.DeleteOperationRequest(name=resource_name("operations", name))
        return self._caller.delete(f"{SERVICE}/DeleteOperation", request, empty_pb2.Empty)

    def wait(
        self,
        name: str,
        timeout_s: float | None,
        every_s: float,
        watch: Callable[[operations_pb2.Operation], None],
    ) -> Flow[operations_pb2.Operation]:
        """Ask the server to hold each call until the operation is done or ``every_s`` is over, until it is done.

        An absent server is waited for: the operation lives in its ledger, and a restart goes on with it.

        Raises:
            DeadlineExceeded: ``timeout_s`` is over. The operation goes on.
            Unavailable: no answer for two minutes. The operation, if the server comes back, goes on.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        last_answer = time.monotonic()
        while True:
            left = every_s if end is None else min(every_s, end - time.monotonic())
            try:
                operation = yield from self.wait_once(name, max(0.0, left))
            except (Unavailable, DeadlineExceeded):
                if time.monotonic() - last_answer > OUTAGE_S:
                    raise
                yield Sleep(0.5)
            else:
                last_answer = time.monotonic()
                watch(operation)
                if operation.done:
                    return operation
            if end is not None and time.monotonic() >= end:
                hint = f"it goes on: evenhand operations wait {name}"
                raise DeadlineExceeded(f"{name} is not done after {timeout_s:g} s", field=name, hint=hint)

    def wait_once(self, name: str, seconds: float) -> Flow[operations_pb2.Operation]:
        """One call, which the server holds until the operation has ended, or for ``seconds``."""
        timeout = duration_pb2.Duration()
        timeout.FromMilliseconds(round(1000 * seconds))
        request = operations_pb2.WaitOperationRequest(name=resource_name("operations", name), timeout=timeout)
        method = f"{SERVICE}/WaitOperation"
        return self._caller.unary(method, request, operations_pb2.Operation, timeout_s=seconds + 15)


class OperationState:
    """What is known of an operation, without asking again."""

    def __init__(self, proto: operations_pb2.Operation) -> None:
        self._proto = proto

    @property
    def name(self) -> str:
        """ "operations/…": all that is needed to find it again."""
        name: str = self._proto.name
        return name

    @property
    def metadata(self) -> Progress:
        """Progress, as of the last answer."""
        return Progress.from_metadata(self._proto.metadata)

    @property
    def state(self) -> str:
        """ "running", "succeeded", "failed" or "cancelled", as of the last answer."""
        if not self._proto.done:
            return "running"
        if self._proto.HasField("error"):
            return "cancelled" if isinstance(error_from_status(self._proto.error), Cancelled) else "failed"
        return "succeeded"

    def to_json(self) -> dict[str, Any]:
        """As REST gives it."""
        return api_json(self._proto)

    def to_dict(self) -> dict[str, Any]:
        """A table's row."""
        plain = {"name": self.name, "state": self.state, **vars(self.metadata)}
        if self._proto.HasField("error"):
            plain["error"] = error_from_status(self._proto.error).to_dict()
        return plain

    def response(self) -> any_pb2.Any:
        """What it made.

        Raises:
            Cancelled: it was cancelled.
            OperationFailed: it failed; ``__cause__`` is the typed error.
        """
        if not self._proto.HasField("error"):
            packed: any_pb2.Any = self._proto.response
            return packed
        error = error_from_status(self._proto.error)
        if isinstance(error, Cancelled):
            raise error
        failed = OperationFailed(error.message, field=error.field, reason=error.reason, hint=error.hint)
        raise failed from error

    def __repr__(self) -> str:
        progress = self.metadata
        return f"<{self.name} {self.state} {progress.stage} {progress.done}/{progress.total} {progress.unit}>"


class Operation(OperationState, Generic[T]):
    """A future. Losing it loses nothing: ``client.operations.get(name)`` gives it back, in any process."""

    def __init__(self, client: Client, proto: operations_pb2.Operation, decode: Callable[[any_pb2.Any], T]) -> None:
        super().__init__(proto)
        self._client, self._decode = client, decode

    def refresh(self) -> Operation[T]:
        """Ask the server how it stands."""
        self._proto = self._client.run(self._client.operations.calls.get(self.name))
        return self

    def done(self) -> bool:
        """Whether it has ended, in whatever way; asks the server unless that is known."""
        return self.state != "running" or self.refresh().state != "running"

    def poll(self, seconds: float = 0.0) -> bool:
        """Whether it has ended; the server holds the call until it has, or for ``seconds``."""
        if self.state == "running":
            self._proto = self._client.run(self._client.operations.calls.wait_once(self.name, seconds))
        return self.state != "running"

    def wait(self, timeout: float | None = None, *, progress: bool = False) -> Operation[T]:
        """Wait until it has ended, however it ended. ``progress`` draws a bar on standard error."""
        with bar_for(self.name, shown=progress) as bar:
            calls = self._client.operations.calls
            watch = calls.wait(self.name, timeout, 0.5 if progress else 30.0, self._watcher(bar.show))
            self._proto = self._client.run(watch)
        return self

    def result(self, timeout: float | None = None, *, progress: bool = False) -> T:
        """Wait, then what it made; raises what ended it (see :meth:`OperationState.response`)."""
        if not self._proto.done:
            self.wait(timeout, progress=progress)
        return self._decode(self.response())

    def cancel(self) -> None:
        """Ask for it to stop; it does within a second or so. No error if it has ended."""
        self._client.run(self._client.operations.calls.cancel(self.name))

    def _watcher(self, show: Callable[[Progress], None]) -> Callable[[operations_pb2.Operation], None]:
        def watch(proto: operations_pb2.Operation) -> None:
            self._proto = proto
            show(self.metadata)

        return watch


class AsyncOperation(OperationState, Generic[T]):
    """The asyncio twin of :class:`Operation`."""

    def __init__(
        self, client: AsyncClient, proto: operations_pb2.Operation, decode: Callable[[any_pb2.Any], T]
    ) -> None:
        super().__init__(proto)
        self._client, self._decode = client, decode

    async def refresh(self) -> AsyncOperation[T]:
        """Ask the server how it stands."""
        self._proto = await self._client.run(self._client.operations.calls.get(self.name))
        return self

    async def done(self) -> bool:
        """Whether it has ended; asks the server unless that is known."""
        return self.state != "running" or (await self.refresh()).state != "running"

    async def wait(
        self, timeout: float | None = None, *, on_progress: Callable[[Progress], None] | None = None
    ) -> AsyncOperation[T]:
        """Wait until it has ended, however it ended; ``on_progress`` is told about twice a second."""

        def watch(proto: operations_pb2.Operation) -> None:
            self._proto = proto
            if on_progress is not None:
                on_progress(self.metadata)

        calls = self._client.operations.calls
        self._proto = await self._client.run(calls.wait(self.name, timeout, 0.5 if on_progress else 30.0, watch))
        return self

    async def result(self, timeout: float | None = None) -> T:
        """Wait, then what it made; raises what ended it."""
        if not self._proto.done:
            await self.wait(timeout)
        return self._decode(self.response())

    async def cancel(self) -> None:
        """Ask for it to stop."""
        await self._client.run(self._client.operations.calls.cancel(self.name))


class Operations:
    """``client.operations``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls = OperationCalls(client.caller)

    def get(self, name: str) -> Operation[Any]:
        """Find an operation again. NotFound if there is none of that name."""
        return Operation(self._client, self._client.run(self.calls.get(name)), self._client.decode)

    def list(self, limit: int | None = None) -> Listing[Operation[Any]]:
        """Operations, newest first."""
        found = self._client.run(self.calls.listing(limit))
        return Listing(Operation(self._client, proto, self._client.decode) for proto in found)

    def delete(self, name: str) -> None:
        """Forget a finished operation. FailedPrecondition while it runs."""
        self._client.run(self.calls.delete(name))


class AsyncOperations:
    """``async_client.operations``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.calls = OperationCalls(client.caller)

    async def get(self, name: str) -> AsyncOperation[Any]:
        """Find an operation again. NotFound if there is none of that name."""
        return AsyncOperation(self._client, await self._client.run(self.calls.get(name)), self._client.decode)

    async def list(self, limit: int | None = None) -> Listing[AsyncOperation[Any]]:
        """Operations, newest first."""
        found = await self._client.run(self.calls.listing(limit))
        return Listing(AsyncOperation(self._client, proto, self._client.decode) for proto in found)

    async def delete(self, name: str) -> None:
        """Forget a finished operation."""
        await self._client.run(self.calls.delete(name))
