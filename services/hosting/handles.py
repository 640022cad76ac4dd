"""Calls to other applications over Serve handles. Knows no torch, for which its callers at the edge have no use."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from services.errors import Internal, Overloaded, ServiceError, Unavailable
from services.hosting.envelope import Reply

MODEL_APPS = ("classifiers", "generator", "reconstruction", "upscaler")
NOT_DEPLOYED = "APP_NOT_DEPLOYED"


async def models_of_apps(ask: Callable[[str], Awaitable[list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """The models of every application, each entry with its ``app``; ``ask`` gives one application's catalogue.

    An application that this platform does without has none. One that is away for the moment is an error, and so is a
    platform without any.
    """
    found = await asyncio.gather(*(_models_of_app(app, ask) for app in MODEL_APPS))
    if all(models is None for models in found):
        raise Unavailable("no application with models is deployed", reason=NOT_DEPLOYED, retry_after_s=2.0)
    return [model for models in found for model in models or ()]


async def _models_of_app(
    app: str, ask: Callable[[str], Awaitable[list[dict[str, Any]]]]
) -> list[dict[str, Any]] | None:
    try:
        return [{**model, "app": app} for model in await ask(app)]
    except Unavailable as error:
        if error.reason == NOT_DEPLOYED:
            return None
        raise


class Handles:
    """Serve handles by (application, method). Looking one up asks the controller, so it is done once, off the loop."""

    def __init__(self) -> None:
        self._handles: dict[tuple[str, str], Any] = {}

    async def call(self, app: str, method: str, *arguments: Any) -> Reply:
        """The sealed reply of one call over gRPC, arrays by value. A caller who is cancelled cancels the call.

        Raises Unavailable where nobody answered (REPLICA_LOST, APP_UNAVAILABLE, APP_NOT_DEPLOYED), Overloaded where the
        application's queue is full, Internal for a fault outside the seal.
        """
        try:
            handle = self._handles.get((app, method)) or await self._open(app, method, stream=False)
            reply: Reply = await handle.remote(*arguments)
        except Exception as error:  # besides Ray's own, grpc's errors come through as they are
            self._handles.pop((app, method), None)
            raise _translated(error, app) from None
        return reply

    async def stream(self, app: str, method: str, *arguments: Any) -> AsyncGenerator[Reply, None]:
        """The sealed replies of a method that is an asynchronous generator, as they come; errors as :meth:`call`'s.

        Close it (``aclose``), or be cancelled in it, and the replica's generator is cancelled too.
        """
        replies = None
        try:
            handle = self._handles.get((app, method)) or await self._open(app, method, stream=True)
            replies = handle.remote(*arguments)
            async for reply in replies:
                yield reply
            replies = None
        except Exception as error:
            self._handles.pop((app, method), None)
            raise _translated(error, app) from None
        finally:
            if replies is not None:
                with contextlib.suppress(Exception):  # whoever is gone already need not be told
                    replies.cancel()

    async def _open(self, app: str, method: str, *, stream: bool) -> Any:
        handle = await asyncio.to_thread(_app_handle, app)
        self._handles[app, method] = handle.options(method_name=method, stream=stream, _by_reference=False)
        return self._handles[app, method]


def _app_handle(app: str) -> Any:
    """Unavailable APP_NOT_DEPLOYED where the controller has never heard of the application."""
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        return serve.get_app_handle(app)
    except RayServeException as error:
        if app in str(error):  # "Application 'x' does not exist."; without Serve there is another text
            raise Unavailable(f"{app} is not part of this platform", reason=NOT_DEPLOYED, retry_after_s=2.0) from None
        raise


def _translated(error: Exception, app: str) -> ServiceError:
    """Ray's exceptions carry tracebacks, addresses and the caller's data in their texts; none of that goes on."""
    from ray.exceptions import RayActorError, RayTaskError
    from ray.serve.exceptions import BackPressureError

    if isinstance(error, ServiceError):
        return error
    if isinstance(error, BackPressureError):
        return Overloaded(f"the queue of {app} is full")
    if isinstance(error, RayActorError):
        return Unavailable(f"a replica of {app} went away while it answered", reason="REPLICA_LOST", retry_after_s=1.0)
    if isinstance(error, RayTaskError):
        return Internal("an unexpected fault; the platform's log has the details")
    return Unavailable(f"{app} is not served at the moment", reason="APP_UNAVAILABLE", retry_after_s=2.0)
