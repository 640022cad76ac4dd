"""The API as pages ask it: the methods, admission and errors that every caller meets."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import ParseDict

from services.errors import NotFound, ServiceError, Unavailable
from services.gateway.calls import Call
from services.gateway.edge import Edge
from services.gateway.wire import METHODS

PAGE_SIZE = 25


class Ask:
    """One page's questions, in its caller's name and time."""

    def __init__(self, edge: Edge, call: Call) -> None:
        self.edge = edge
        self._call = call

    async def __call__(self, method: str, **fields: Any) -> Any:
        """The reply of the API's ``method`` ("evenhand.audit.v1.AuditService/GetAudit"). Raises ServiceErrors only."""
        known = METHODS.get(method)
        if known is None:
            raise NotFound("this platform has no such part", reason="PATH_NOT_FOUND")
        return await self.edge.api.answer(known, ParseDict(fields, known.request()), self._call)

    async def part(self, method: str, **fields: Any) -> tuple[Any, ServiceError | None]:
        """The same for a part of a page that can do without: (reply, None), or (None, why there is none)."""
        try:
            return await self(method, **fields), None
        except (NotFound, Unavailable) as error:
            return None, error
