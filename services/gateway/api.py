"""Every unary method of the API, and GenerateImages, for both transports: admitted, then forwarded or answered here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from google.protobuf.message import Message

from services.gateway.admission import Admission, Limits
from services.gateway.arrivals import Arrivals
from services.gateway.backends import Backends
from services.gateway.calls import Call
from services.gateway.resources.models import Models
from services.gateway.resources.operations import Operations
from services.gateway.wire import METHODS, Method

Handler = Callable[[Any, Call], Awaitable[Message]]

OWN_QUEUE = "gateway"
WAIT_QUEUE = "waiting"  # waits cost next to nothing, and must not keep others from looking
ARRIVALS_QUEUE = "arrivals"  # short work in this process, which a busy monitoring application must not hold up
STREAMS = "-streams"  # a queue beside the application's own, since a stream holds its place for as long as it lasts
SPECIAL_QUEUES = {WAIT_QUEUE: Limits(running=1000, waiting=0), ARRIVALS_QUEUE: Limits(running=8, waiting=64)}
MONITORING = "evenhand.monitoring.v1.MonitoringService"  # an application's, but for what its monitors receive


class Api:
    """``answer`` any unary method of :data:`services.gateway.wire.METHODS`."""

    def __init__(
        self, backends: Backends, admission: Admission, models: Models, operations: Operations, arrivals: Arrivals
    ) -> None:
        self._backends = backends
        self._admission = admission
        self._own: Mapping[str, Handler] = {
            method.name: getattr(owner, method.short)
            for service, owner in (
                ("evenhand.resources.v1.ModelService", models),
                ("google.longrunning.Operations", operations),
            )
            for method in METHODS.values()
            if method.service == service
        } | {
            f"{MONITORING}/RecordPredictions": arrivals.RecordPredictions,
            f"{MONITORING}/RecordLabels": arrivals.RecordLabels,
        }

    async def answer(self, method: Method, request: Message, call: Call) -> Message:
        """The reply to an already parsed request. Raises ServiceErrors only."""
        own = self._own.get(method.name)
        async with self._admission.admit(_queue(method, own is not None), call.caller):
            if own is not None:
                return await own(request, call)
            payload = await self._backends.call(
                method.app, method.short, request.SerializeToString(), call.context(), read_only=method.read_only
            )
            return method.reply.FromString(payload)

    async def stream(self, method: Method, request: Message, call: Call) -> AsyncGenerator[Message, None]:
        """The replies of a streaming method as an application makes them. Close it, and the application stops."""
        async with self._admission.admit(method.app + STREAMS, call.caller):
            replies = self._backends.stream(method.app, method.short, request.SerializeToString(), call.context())
            async with aclosing(replies):
                async for payload in replies:
                    yield method.reply.FromString(payload)


def _queue(method: Method, own: bool) -> str:
    if method.short == "WaitOperation":
        return WAIT_QUEUE
    if own and method.app:
        return ARRIVALS_QUEUE
    return method.app or OWN_QUEUE
