"""Replies that come one by one, as lines of JSON (application/x-ndjson)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from services.adapters.status import problem_from_error
from services.errors import ServiceError
from services.gateway.calls import Call
from services.gateway.rest.exchange import Exchange, problem, while_connected
from services.gateway.rest.transcoding import reply_json

NDJSON = "application/x-ndjson"

Read = Callable[[], Awaitable[Message]]
Replies = Callable[[Message, Call], AsyncGenerator[Message, None]]


class _Work:
    """One call in a task of its own under the guard, whose watch and deadline so last until the last reply."""

    def __init__(self, watch: AbstractAsyncContextManager[Call], read: Read, replies: Replies) -> None:
        self.has_read = asyncio.Event()
        self._arrived: asyncio.Queue[Message | ServiceError | None] = asyncio.Queue(maxsize=1)
        self._task = asyncio.create_task(self._run(watch, read, replies))

    async def _run(self, watch: AbstractAsyncContextManager[Call], read: Read, replies: Replies) -> None:
        try:
            async with watch as call:
                request = await read()
                self.has_read.set()
                async with aclosing(replies(request, call)) as messages:
                    async for message in messages:
                        await self._arrived.put(message)
        except ServiceError as error:
            self.has_read.set()
            await self._arrived.put(error)
        await self._arrived.put(None)

    async def next(self) -> Message | ServiceError | None:
        """The next reply, or what ended them, or None behind the last."""
        return await self._arrived.get()

    def stop(self) -> None:
        """Ends the work if it goes on."""
        self._task.cancel()


class _Lines(StreamingResponse):
    """Stops the work however sending ends: the caller may have left."""

    def __init__(self, content: AsyncIterator[bytes], work: _Work) -> None:
        super().__init__(content, media_type=NDJSON, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._work = work

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._work.stop()


async def stream_lines(exchange: Exchange, method: str, request: Request, read: Read, replies: Replies) -> Response:
    """The response to a streaming call; ``read`` gives its request. What fails before the first reply is a problem."""
    try:
        work = _Work(exchange.watch(method, request, lasting=True), read, replies)
    except ServiceError as error:
        return problem(error, request)
    try:
        await work.has_read.wait()  # until then the body's own reader notices a client who leaves
        first = await while_connected(request, work.next())
    except BaseException as error:
        work.stop()
        if isinstance(error, ServiceError):
            return problem(error, request)
        raise
    if isinstance(first, ServiceError):
        return problem(first, request)
    return _Lines(_lines(first, work, request.url.path), work)


async def _lines(first: Message | None, work: _Work, path: str) -> AsyncIterator[bytes]:
    item: Message | ServiceError | None = first
    while item is not None:
        if isinstance(item, ServiceError):
            content = {"error": problem_from_error(item, instance=path)}
        else:
            content = reply_json(item)
        yield json.dumps(content, allow_nan=False).encode() + b"\n"
        item = await work.next()
