"""Every unary method of the API, and GenerateImages, for both transports: admitted, then forwarded or answered here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from google.protobuf.message import Message

from services.gateway.admission import Admission, Limits
from services.gateway.backends import Backends
from services.gateway.calls import Call
from services.gateway.resources.models import Models
from services.gateway.resources.operations import Operations
from services.gateway.wire import METHODS, Method

Handler = Callable[[Any, Call], Awaitable[Message]]

OWN_QUEUE = "gateway"
WAIT_QUEUE = "waiting"  # waits cost next to nothing, and must not keep others from looking
STREAMS = "-streams"  # a queue beside the application's own, since a stream holds its place for as long as it lasts
SPECIAL_QUEUES = {WAIT_QUEUE: Limits(running=1000, waiting=0)}


class Api:
    """``answer`` any unary method of :data:`services.gateway.wire.METHODS`."""

    def __init__(self, backends: Backends, admission: Admission, models: Models, operations: Operations) -> None:
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
        }

    async def answer(self, method: Method, request: Message, call: Call) -> Message:
        """The reply to an already parsed request. Raises ServiceErrors only."""
        async with self._admission.admit(_queue(method), call.caller):
            own = self._own.get(method.name)
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


def _queue(method: Method) -> str:
    if method.short == "WaitOperation":
        return WAIT_QUEUE
    return method.app or OWN_QUEUE
