"""What all HTTP handlers share: bounded bodies, the caller's credentials and time, problems instead of tracebacks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from services.adapters.status import problem_from_error, problem_headers
from services.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    ServiceError,
    TooLarge,
    UnsupportedFormat,
)
from services.gateway.calls import Call, Guard, timeout_from_header

T = TypeVar("T")

SHORT_JSON_BYTES = 2**16  # longer bodies are parsed in a thread

Handler = Callable[[Request, Call], Awaitable[Response]]


class Exchange:
    """Turns handlers of (request, call) into Starlette endpoints behind the guard."""

    def __init__(self, guard: Guard, *, max_body_bytes: int, receive_timeout_s: float) -> None:
        self._guard = guard
        self._max_body_bytes = max_body_bytes
        self._receive_timeout_s = receive_timeout_s

    def endpoint(
        self, method: str, handler: Handler, *, lasting: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        """``method`` is the metric's label, hence from the API's list. A ``lasting`` one may take any time."""

        async def endpoint(request: Request) -> Response:
            return await self.answer(method, request, handler, lasting=lasting)

        return endpoint

    async def answer(self, method: str, request: Request, handler: Handler, *, lasting: bool = False) -> Response:
        try:
            async with self.watch(method, request, lasting=lasting) as call:
                return await handler(request, call)
        except ServiceError as error:
            return problem(error, request)

    def watch(self, method: str, request: Request, *, lasting: bool = False) -> AbstractAsyncContextManager[Call]:
        """The guard's watch over one call in its caller's name and time."""
        asked = timeout_from_header(request.headers.get("x-request-timeout"))
        return self._guard.watch(
            "rest",
            method,
            peer=request.client.host if request.client else "",
            authorization=request.headers.get("authorization", ""),
            timeout_s=float("inf") if lasting and asked is None else asked,
        )

    async def body(self, request: Request) -> bytes:
        """The whole body, refused by its declared length before it is read, and by its true one while it is."""
        pieces = [piece async for piece in self.pieces(request, self._max_body_bytes)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def pieces(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """The body as it comes in. A client that falls silent is not waited for."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedFormat(
                "send the body without Content-Encoding", field="Content-Encoding", reason="ENCODING_UNSUPPORTED"
            )
        declared = request.headers.get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or int(declared[:20]) > limit:
            raise TooLarge(f"a body may have {limit} bytes", field="Content-Length")
        received = 0
        stream = request.stream()
        while True:
            piece = await self._next(stream)
            if piece is None:
                return
            received += len(piece)
            if received > limit:
                raise TooLarge(f"a body may have {limit} bytes", field="body")
            if piece:
                yield piece

    async def _next(self, stream: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(self._receive_timeout_s):
                return await anext(stream, None)
        except TimeoutError:
            raise DeadlineExceeded(
                f"nothing was received for {self._receive_timeout_s:g} s", reason="RECEIVE_TIMEOUT"
            ) from None
        except ClientDisconnect:
            raise Cancelled("the client went away") from None


async def parsed_json(body: bytes | memoryview, limit: int) -> dict[str, Any]:
    """A JSON object; InvalidInput JSON_MALFORMED for anything else, TooLarge beyond ``limit`` bytes.

    Numbers cost many times their length in memory, so JSON has a smaller limit than bytes have.
    """
    if len(body) > limit:
        raise TooLarge(f"JSON may have {limit} bytes; send tensors in binary and tables as files", field="body")
    if len(body) < SHORT_JSON_BYTES:
        return _json_object(bytes(body))
    return await asyncio.to_thread(_json_object, bytes(body))


def _json_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        value = json.loads(body, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidInput("the body is no JSON in UTF-8", reason="JSON_MALFORMED") from None
    if not isinstance(value, dict):
        raise InvalidInput("the body must be a JSON object", reason="JSON_MALFORMED")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidInput(f"the member {key[:64]!r} appears twice", field=key[:64], reason="JSON_MALFORMED")
        found[key] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise InvalidInput(f"{name} is no JSON number", reason="JSON_MALFORMED")


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Await ``work``, and cancel it when the client goes away. To be called after the body was read."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and watcher.result()["type"] == "http.disconnect":
            raise Cancelled("the client went away")
        return await task
    finally:
        watcher.cancel()
        task.cancel()


def json_reply(content: Any, *, status: int = 200) -> Response:
    return Response(json.dumps(content, allow_nan=False), status_code=status, media_type="application/json")


def problem(error: ServiceError, request: Request, *, status: int | None = None) -> Response:
    """RFC 9457. Under /v2 with the member ``error`` besides, which the inference protocol's clients read."""
    content = problem_from_error(error, instance=request.url.path)
    if status is not None:
        content["status"] = status
    if request.url.path.startswith("/v2"):
        content["error"] = content["detail"]
    return Response(
        json.dumps(content),
        status_code=content["status"],
        headers=problem_headers(error),
        media_type="application/problem+json",
    )


async def framework_problem(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: unknown paths and verbs."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return problem(NotFound("there is nothing at this path", reason="PATH_NOT_FOUND"), request)
    if status == 405:
        refused = InvalidInput(f"this path does not take {request.method[:16]}", reason="METHOD_NOT_ALLOWED")
        response = problem(refused, request, status=405)
        if isinstance(error, HTTPException) and error.headers:
            response.headers.update(error.headers)
        return response
    return problem(InvalidInput("the request cannot be read", reason="REQUEST_MALFORMED"), request, status=status)
