"""Calls to other applications over Serve handles. Knows no torch, for which its callers at the edge have no use."""

from __future__ import annotations

import asyncio
from typing import Any

from services.errors import Internal, Overloaded, ServiceError, Unavailable
from services.hosting.envelope import Reply

MODEL_APPS = ("classifiers", "reconstruction")


class Handles:
    """Serve handles by (application, method). Looking one up asks the controller, so it is done once, off the loop."""

    def __init__(self) -> None:
        self._handles: dict[tuple[str, str], Any] = {}

    async def call(self, app: str, method: str, *arguments: Any) -> Reply:
        """The sealed reply of one call over gRPC, arrays by value.

        Raises Unavailable where nobody answered (REPLICA_LOST, APP_UNAVAILABLE), Overloaded where the application's
        queue is full, Internal for a fault outside the seal.
        """
        try:
            handle = self._handles.get((app, method)) or await self._open(app, method)
            reply: Reply = await handle.remote(*arguments)
        except Exception as error:  # besides Ray's own, grpc's errors come through as they are
            self._handles.pop((app, method), None)
            raise _translated(error, app) from None
        return reply

    async def _open(self, app: str, method: str) -> Any:
        from ray import serve

        handle = (await asyncio.to_thread(serve.get_app_handle, app)).options(method_name=method, _by_reference=False)
        self._handles[app, method] = handle
        return handle


def _translated(error: Exception, app: str) -> ServiceError:
    """Ray's exceptions carry tracebacks, addresses and the caller's data in their texts; none of that goes on."""
    from ray.exceptions import RayActorError, RayTaskError
    from ray.serve.exceptions import BackPressureError

    if isinstance(error, BackPressureError):
        return Overloaded(f"the queue of {app} is full")
    if isinstance(error, RayActorError):
        return Unavailable(f"a replica of {app} went away while it answered", reason="REPLICA_LOST", retry_after_s=1.0)
    if isinstance(error, RayTaskError):
        return Internal("an unexpected fault; the platform's log has the details")
    return Unavailable(f"{app} is not served at the moment", reason="APP_UNAVAILABLE", retry_after_s=2.0)
