"""Operations: the queue, one of them, and what its cancel page says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.gateway.console.asking import PAGE_SIZE, Ask
from services.gateway.console.views.progress import progress_of
from services.gateway.resources.operations import KINDS

LIST = "google.longrunning.Operations/ListOperations"
GET = "google.longrunning.Operations/GetOperation"
CANCEL = "google.longrunning.Operations/CancelOperation"


async def operations(ask: Ask, query: Mapping[str, str]) -> dict[str, Any]:
    """A page of the queue, newest first; ``kind`` narrows it."""
    kind = query.get("kind", "")
    asked = {"filter": f'kind = "{kind}"'} if kind else {}
    reply = await ask(LIST, page_size=PAGE_SIZE, page_token=query.get("page_token", ""), **asked)
    shown = [progress_of(operation) for operation in reply.operations]
    return {"operations": shown, "kinds": KINDS, "kind": kind, "next_page": reply.next_page_token}


async def operation(ask: Ask, name: str) -> dict[str, Any]:
    return {"progress": progress_of(await ask(GET, name=name))}
