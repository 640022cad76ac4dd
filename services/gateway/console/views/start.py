"""The start page: what runs, what was found last, what is where."""

from __future__ import annotations

import asyncio
from typing import Any

from services.gateway.console.asking import Ask
from services.gateway.console.views.audits import LIST as LIST_AUDITS
from services.gateway.console.views.audits import audit_row
from services.gateway.console.views.monitors import ALL, SERVICE, alarm_row
from services.gateway.console.views.operations import LIST as LIST_OPERATIONS
from services.gateway.console.views.progress import progress_of

_AUDITS, _OPERATIONS, _RUNNING, _ALARMS = 6, 50, 8, 5


async def start(ask: Ask) -> dict[str, Any]:
    """Each part says why it is missing, so that one part that is away does not take the page with it."""
    (audits, no_audits), (queue, no_queue), (alarms, _) = await asyncio.gather(
        ask.part(LIST_AUDITS, page_size=_AUDITS),
        ask.part(LIST_OPERATIONS, page_size=_OPERATIONS),
        ask.part(f"{SERVICE}/ListAlarms", parent=ALL, page_size=_ALARMS),
    )
    if no_queue is not None and no_audits is not None:
        raise no_queue
    shown = [progress_of(operation) for operation in queue.operations] if queue is not None else []
    return {
        "alarms": [alarm_row(alarm) for alarm in alarms.alarms] if alarms is not None else [],
        "audits": [audit_row(audit) for audit in audits.audits] if audits is not None else [],
        "no_audits": no_audits.message if no_audits else "",
        "running": [operation for operation in shown if not operation["done"]][:_RUNNING],
        "no_queue": no_queue.message if no_queue else "",
    }
