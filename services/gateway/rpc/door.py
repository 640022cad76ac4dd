"""gRPC handlers behind the guard: bytes in, a message out, and every ServiceError as a rich status."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, TypeAlias
from urllib.parse import unquote

import grpc
from google.protobuf.message import Message

from services.adapters.status import grpc_code, status_from_error, trailing_metadata
from services.errors import ServiceError
from services.gateway.calls import Call, Guard

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

Unary = Callable[[bytes, Call], Awaitable[Message | bytes]]
ServerStream = Callable[[bytes, Call], AsyncGenerator[Message, None]]
ClientStream = Callable[[AsyncIterator[bytes], Call], Awaitable[Message]]
Bidirectional = Callable[[AsyncIterator[bytes], Call], AsyncIterator[Message]]


class Door:
    """Turns plain coroutines and generators into grpc.aio handlers. Requests stay bytes, so that malformed ones are
    answered by us and not by the library."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def unary(self, method: str, work: Unary) -> Handler:
        async def handle(payload: bytes, context: Context) -> Any:
            try:
                async with self._watch(method, context) as call:
                    return await work(payload, call)
            except ServiceError as error:
                await _abort(context, error)

        return grpc.unary_unary_rpc_method_handler(handle, response_serializer=_serialize)

    def client_stream(self, method: str, work: ClientStream) -> Handler:
        async def handle(payloads: AsyncIterator[bytes], context: Context) -> Any:
            try:
                async with self._watch(method, context, lasting=True) as call:
                    return await work(payloads, call)
            except ServiceError as error:
                await _abort(context, error)

        return grpc.stream_unary_rpc_method_handler(handle, response_serializer=_serialize)

    def server_stream(self, method: str, work: ServerStream) -> Handler:
        async def handle(payload: bytes, context: Context) -> AsyncIterator[Any]:
            try:
                async with self._watch(method, context, lasting=True) as call, aclosing(work(payload, call)) as replies:
                    async for message in replies:
                        yield message
            except ServiceError as error:
                await _abort(context, error)

        return grpc.unary_stream_rpc_method_handler(handle, response_serializer=_serialize)

    def bidirectional(self, method: str, work: Bidirectional) -> Handler:
        async def handle(payloads: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            try:
                async with self._watch(method, context, lasting=True) as call:
                    async for message in work(payloads, call):
                        yield message
            except ServiceError as error:
                await _abort(context, error)

        return grpc.stream_stream_rpc_method_handler(handle, response_serializer=_serialize)

    def _watch(self, method: str, context: Context, *, lasting: bool = False) -> AbstractAsyncContextManager[Call]:
        """A stream lasts as long as its caller wants; a unary call without a deadline gets ours."""
        remaining = context.time_remaining()
        return self._guard.watch(
            "grpc",
            method,
            peer=_address(context.peer()),
            authorization=_authorization(context),
            timeout_s=float("inf") if remaining is None and lasting else remaining,
        )


async def _abort(context: Context, error: ServiceError) -> None:
    await context.abort(grpc_code(error), status_from_error(error).message, trailing_metadata(error))


def _serialize(reply: Message | bytes) -> bytes:
    return reply if isinstance(reply, bytes) else reply.SerializeToString()


def _authorization(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value if isinstance(value, str) else value.decode("latin-1")
    return ""


def _address(peer: str) -> str:
    """ "ipv4:10.0.0.7:51234" → "10.0.0.7"; callers are told apart by address, not by connection."""
    return unquote(peer).partition(":")[2].rpartition(":")[0] or peer
