"""google.longrunning.Operations out of the ledger. Waiting polls the ledger, so any replica can wait for any work."""

from __future__ import annotations

import asyncio
import re

from google.longrunning import operations_pb2 as pb
from google.protobuf.empty_pb2 import Empty

from services.adapters.ledger import Ledger
from services.errors import InvalidInput
from services.gateway.calls import Call
from services.hosting.operations import operation_proto
from services.hosting.requests import page_size

FIRST_POLL_S, SLOWEST_POLL_S = 0.02, 0.15
REPLY_MARGIN_S = 0.05  # a wait ends this long before its caller's deadline, so that the caller hears of it
KINDS = ("audit", "cohort", "counterfactual", "generation", "monitor-window", "training", "upscaling")

_FILTER = re.compile(r'kind\s*=\s*"?([a-z-]+)"?')


class Operations:
    """The handlers, by method name."""

    def __init__(self, ledger: Ledger, *, longest_wait_s: float) -> None:
        self._ledger = ledger
        self._longest_wait_s = longest_wait_s

    async def GetOperation(self, request: pb.GetOperationRequest, call: Call) -> pb.Operation:
        return await asyncio.to_thread(self._read, request.name)

    async def ListOperations(self, request: pb.ListOperationsRequest, call: Call) -> pb.ListOperationsResponse:
        return await asyncio.to_thread(self._page, request)

    async def WaitOperation(self, request: pb.WaitOperationRequest, call: Call) -> pb.Operation:
        """Returns when the operation is done or the time is up, whichever comes first; the state then is no error."""
        clock = asyncio.get_running_loop().time
        asked_s = request.timeout.ToMilliseconds() / 1000 if request.HasField("timeout") else self._longest_wait_s
        until = clock() + min(asked_s, self._longest_wait_s, call.remaining_s() - REPLY_MARGIN_S)
        pause = FIRST_POLL_S
        while True:
            operation = await asyncio.to_thread(self._ledger.get_operation, request.name)
            if operation.done or clock() + pause > until:
                return await asyncio.to_thread(self._read, request.name)
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, SLOWEST_POLL_S)

    async def CancelOperation(self, request: pb.CancelOperationRequest, call: Call) -> Empty:
        await asyncio.to_thread(self._ledger.request_cancel, request.name)
        return Empty()

    async def DeleteOperation(self, request: pb.DeleteOperationRequest, call: Call) -> Empty:
        await asyncio.to_thread(self._ledger.delete_operation, request.name)
        return Empty()

    def _read(self, name: str) -> pb.Operation:
        return operation_proto(self._ledger.get_operation(name), self._ledger)

    def _page(self, request: pb.ListOperationsRequest) -> pb.ListOperationsResponse:
        found, following = self._ledger.list_operations(
            kind=_kind(request.filter), page_size=page_size(request.page_size), page_token=request.page_token
        )
        operations = [operation_proto(operation, self._ledger) for operation in found]
        return pb.ListOperationsResponse(operations=operations, next_page_token=following)


def _kind(text: str) -> str:
    """The only filter there is: ``kind = "audit"``."""
    if not text:
        return ""
    match = _FILTER.fullmatch(text.strip())
    if match is None or match[1] not in KINDS:
        raise InvalidInput(
            f'a filter is kind = "…" with one of {", ".join(KINDS)}', field="filter", reason="FILTER_INVALID"
        )
    return match[1]
