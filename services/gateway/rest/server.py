"""uvicorn in the replica's own event loop, on a port that other replicas on the machine may share."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.errors import Unavailable
from services.gateway.edge import Edge
from services.gateway.rest.app import create_http_app

KEEP_ALIVE_S = 30


class HttpServer:
    """One HTTP server; ``start`` returns once the port is open."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        settings = self._edge.settings
        listener = shared_socket(settings.host, settings.http_port)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            create_http_app(self._edge),
            http=_protocol(settings.receive_timeout_s),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(settings.drain_s)),
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_private_key,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Close idle connections, let running requests end."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving


class _Server(uvicorn.Server):
    """Leaves the process's signals to whoever owns the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _protocol(timeout_s: float) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol, with an end to its patience before a connection's first request is complete."""

    class Protocol(HttpToolsProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._impatience = asyncio.get_running_loop().call_later(timeout_s, self._close_if_silent)

        def connection_lost(self, exc: Exception | None) -> None:
            self._impatience.cancel()
            super().connection_lost(exc)

        def _close_if_silent(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

    return Protocol


def shared_socket(host: str, port: int) -> socket.socket:
    """A bound TCP socket with SO_REUSEPORT. Raises Unavailable PORT_TAKEN when another program holds the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small packets at once only where it sees the protocol named; else a short reply waits 40 ms for the
    # acknowledgement of its own headers.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Unavailable(f"cannot listen on {host}:{port}", field="http_port", reason="PORT_TAKEN") from error
    listener.setblocking(False)
    return listener
