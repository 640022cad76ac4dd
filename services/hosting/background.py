"""What deployments with work of their own share: a name in the ledger, and a loop that runs beside their calls."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Coroutine
from typing import Any


def worker_name() -> str:
    """Tells this worker apart from all others, on this machine and elsewhere."""
    return f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


class Background:
    """Works from ``begin`` to its last moment; Serve calls the other two."""

    _running: asyncio.Task[None]

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._running = asyncio.get_running_loop().create_task(work)

    async def check_health(self) -> None:
        """A worker whose loop ended is no worker; Serve then starts another."""
        if self._running.done():
            self._running.result()
            raise RuntimeError("the worker's loop ended")

    async def __del__(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
