"""One replica's two servers and its readiness, started and stopped together."""

from __future__ import annotations

import asyncio
import contextlib

from services.gateway.edge import Edge
from services.gateway.rest.server import HttpServer
from services.gateway.rpc.server import RpcServer


class Replica:
    """Serves an edge on the ports of its settings; port 0 takes any free one."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._rpc = RpcServer(edge)
        self._http = HttpServer(edge)
        self._watching: asyncio.Task[None] | None = None

    @property
    def grpc_port(self) -> int:
        return self._rpc.port

    @property
    def http_port(self) -> int:
        return self._http.port

    async def start(self) -> None:
        """Open both ports; readiness follows once the models, the ledger and the store answer."""
        self._edge.readiness.listen(self._rpc.tell_health)
        await self._rpc.start()
        await self._http.start()
        self._watching = asyncio.create_task(self._edge.readiness.watch())

    def check(self) -> None:
        """Raise what ended the readiness watch, if anything did."""
        if self._watching is not None and self._watching.done():
            self._watching.result()

    async def stop(self) -> None:
        """Say that it is draining, refuse new work, let running work end, close."""
        await self._edge.readiness.drain()
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await asyncio.gather(self._rpc.stop(self._edge.settings.drain_s), self._http.stop())
        await asyncio.to_thread(self._edge.tap.close)
