"""What the gateway calls: the applications and their models. The real one is in deployment.py; here is its twin."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Protocol

import numpy as np

from services.errors import NotFound, Unavailable
from services.hosting.envelope import unseal


class Backends(Protocol):
    """The applications behind the gateway. Every method raises only ServiceErrors."""

    async def call(
        self, app: str, method: str, payload: bytes, context: Mapping[str, Any], *, read_only: bool
    ) -> bytes:
        """An RPC-named method of an application: serialized request in, serialized reply out.

        Only a ``read_only`` one is asked again when the replica that worked on it goes away.
        """
        ...

    def stream(self, app: str, method: str, payload: bytes, context: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        """A method with many replies: serialized replies as they come. Closing it ends the application's work."""
        ...

    async def catalogue(self) -> list[dict[str, Any]]:
        """Every served model version: ``model.yaml`` as plain data, with ``digest``, ``output_name`` and ``app``."""
        ...

    async def infer(
        self, app: str, model: str, version: str, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Named arrays in, named float32 arrays out. Inputs are float32, or texts as an array of objects."""
        ...


class Host(Protocol):
    """A model host in this process; services.hosting.host.ModelHost is one."""

    def catalogue(self) -> list[dict[str, Any]]: ...

    async def infer(
        self, model: str, version: str, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any]
    ) -> dict[str, np.ndarray]: ...


class LocalBackends:
    """Applications in this process: ``hosts`` answer inference, ``apps`` have the RPC-named methods."""

    def __init__(self, hosts: Mapping[str, Host], apps: Mapping[str, Any] | None = None) -> None:
        self._hosts = dict(hosts)
        self._apps = dict(apps or {})

    async def call(
        self, app: str, method: str, payload: bytes, context: Mapping[str, Any], *, read_only: bool
    ) -> bytes:
        reply: bytes = unseal(await self._handler(app, method)(payload, dict(context)))
        return reply

    async def stream(
        self, app: str, method: str, payload: bytes, context: Mapping[str, Any]
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._handler(app, method)(payload, dict(context))) as replies:
            async for reply in replies:
                yield unseal(reply)

    def _handler(self, app: str, method: str) -> Any:
        handler = getattr(self._apps.get(app), method, None)
        if handler is None:
            raise Unavailable(f"{app} is not served at the moment", reason="APP_UNAVAILABLE", retry_after_s=2.0)
        return handler

    async def catalogue(self) -> list[dict[str, Any]]:
        return [{**entry, "app": app} for app, host in self._hosts.items() for entry in host.catalogue()]

    async def infer(
        self, app: str, model: str, version: str, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        if app not in self._hosts:
            raise NotFound(f"no model {model!r} is served", field="model", reason="MODEL_NOT_FOUND")
        return await self._hosts[app].infer(model, version, inputs, parameters)
