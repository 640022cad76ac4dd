"""The HTTP application: which path is answered by what."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable
from functools import partial

from google.protobuf.message import Message
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from services.errors import InvalidInput, NotFound
from services.gateway.calls import Call
from services.gateway.console import Console, console_routes
from services.gateway.edge import Edge
from services.gateway.rest.exchange import (
    Exchange,
    framework_problem,
    json_reply,
    parsed_json,
    problem,
    while_connected,
)
from services.gateway.rest.files import file_routes
from services.gateway.rest.inference import inference_routes
from services.gateway.rest.openapi import document
from services.gateway.rest.streaming import stream_lines
from services.gateway.rest.transcoding import reply_json, request_message, routes

VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def create_http_app(edge: Edge) -> Starlette:
    """A Starlette application over an edge; needs no Ray."""
    settings = edge.settings
    exchange = Exchange(
        edge.guard, max_body_bytes=settings.max_message_bytes, receive_timeout_s=settings.receive_timeout_s
    )
    description = document()
    console = Console(edge)

    async def openapi(request: Request) -> Response:
        return json_reply(description)

    async def metrics(request: Request, call: Call) -> Response:
        text = await asyncio.to_thread(edge.telemetry.exposition, [edge.ledger_metrics])
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    paths = [
        Path("/openapi.json", openapi),
        Path("/metrics", exchange.endpoint("metrics", metrics)),
        *inference_routes(edge, exchange),
        *file_routes(edge, exchange),
        Path("/v1/{rest:path}", _api(edge, exchange), methods=VERBS),
        *console_routes(console),
    ]
    app = Starlette(routes=paths, exception_handlers={HTTPException: console.explained(framework_problem)})
    app.router.redirect_slashes = False
    return app


def _api(edge: Edge, exchange: Exchange) -> Callable[..., object]:
    """All transcoded methods behind one path, because the protos' path rules are not Starlette's."""
    table = routes()

    async def endpoint(request: Request) -> Response:
        path = request.url.path
        matching = [(route, match) for route in table if (match := route.pattern.fullmatch(path))]
        if not matching:
            return problem(NotFound("there is nothing at this path", reason="PATH_NOT_FOUND"), request)
        chosen = next(((r, m) for r, m in matching if r.verb == request.method), None)
        if chosen is None:
            verbs = sorted({route.verb for route, _ in matching})
            refused = InvalidInput(f"this path takes {', '.join(verbs)}", reason="METHOD_NOT_ALLOWED")
            response = problem(refused, request, status=405)
            response.headers["Allow"] = ", ".join(verbs)
            return response
        route, match = chosen

        async def asked(request: Request) -> Message:
            body = await parsed_json(await exchange.body(request), edge.settings.max_json_bytes)
            return request_message(route, match.groupdict(), request.query_params.multi_items(), body)

        async def handle(request: Request, call: Call) -> Response:
            message = await asked(request)
            _adopt_idempotency_key(message, request)
            reply = await while_connected(request, edge.api.answer(route.method, message, call))
            if route.status == 204:
                return Response(status_code=204)
            return json_reply(reply_json(reply), status=route.status)

        if route.method.streaming:
            replies = partial(edge.api.stream, route.method)
            return await stream_lines(exchange, route.method.name, request, partial(asked, request), replies)
        return await exchange.answer(route.method.name, request, handle)

    return endpoint


def _adopt_idempotency_key(message: Message, request: Request) -> None:
    """The Idempotency-Key header stands in for an empty ``request_id``; a key that is no UUID is made into one."""
    key = request.headers.get("idempotency-key")
    if key and "request_id" in message.DESCRIPTOR.fields_by_name and not getattr(message, "request_id"):  # noqa: B009
        try:
            identity = uuid.UUID(key)
        except ValueError:
            identity = uuid.UUID(bytes=hashlib.sha256(key.encode()).digest()[:16], version=4)
        setattr(message, "request_id", str(identity))  # noqa: B010
