"""Resources that an operation makes, as the ledger keeps them and as callers see them: read, listed, deleted.

A body holds fields of the resource's message. While its operation is remembered, that says where the resource stands
and how far it has come.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.adapters.ledger import Ledger, Operation
from services.errors import NotFound
from services.hosting.requests import page_size, resource_name

M = TypeVar("M", bound=Message)

STATE_OF_OPERATION = {
    "pending": "STATE_PENDING",
    "running": "STATE_RUNNING",
    "succeeded": "STATE_SUCCEEDED",
    "failed": "STATE_FAILED",
    "cancelled": "STATE_CANCELLED",
}


class Stored(Generic[M]):
    """The resources of one collection. ``counted`` is the message's field of how many are done, if it has one."""

    def __init__(self, ledger: Ledger, message: type[M], *, kind: str, collection: str, counted: str = "") -> None:
        self._ledger = ledger
        self._message = message
        self._kind = kind
        self._collection = collection
        self._counted = counted

    def put_new(self, operation: Operation, fields: Mapping[str, Any]) -> None:
        """The resource before it has results, unless it is there: a retried request may find it so.

        The stored state is shown only once the operation was forgotten, and without results it did not succeed then.
        """
        if self._ledger.get_resource(operation.resource) is None:
            self._ledger.put_resource(operation.resource, self._kind, self.body(operation, fields))

    def body(self, operation: Operation, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "name": operation.resource,
            "operation": operation.name,
            "state": "STATE_FAILED",
            "create_time": timestamp(operation.create_time),
            **fields,
        }

    def message(self, body: Mapping[str, Any], operation: Operation | None = None) -> M:
        """The message of a body. ``operation`` is None once it was forgotten; what is stored then stands."""
        message = self._message()
        shown = {key: body[key] for key in message.DESCRIPTOR.fields_by_name if key in body}
        if operation is not None:
            shown["state"] = STATE_OF_OPERATION[operation.state]
            shown["update_time"] = timestamp(operation.update_time)
            if self._counted:
                shown[self._counted] = int(operation.progress.get(self._counted, operation.rows_done))
        return ParseDict(shown, message)

    def read(self, name: str) -> M:
        body = self._body_of(name)
        return self.message(body, self._operation(body))

    def page(self, asked: int, token: str, **equals: str) -> tuple[list[M], str]:
        """Newest first. ``equals`` are strings among the bodies' own keys."""
        bodies, following = self._ledger.list_resources(
            self._kind,
            page_size=page_size(asked),
            page_token=token,
            **{key: text for key, text in equals.items() if text},
        )
        return [self.message(body, self._operation(body)) for body in bodies], following

    def delete(self, name: str) -> None:
        """FailedPrecondition while its operation runs. The artifacts stay until they are collected."""
        body = self._body_of(name)
        # The operation first: it refuses while unfinished, and what a crash here leaves can be deleted again.
        if self._operation(body) is not None:
            self._ledger.delete_operation(body["operation"])
        self._ledger.delete_resource(name)

    def _body_of(self, name: str) -> dict[str, Any]:
        body = self._ledger.get_resource(resource_name(name, self._collection, "name"))
        if body is None:
            raise NotFound(f"there is no {name}", field="name", reason=f"{self._kind.upper()}_NOT_FOUND")
        return body

    def _operation(self, body: Mapping[str, Any]) -> Operation | None:
        try:
            return self._ledger.get_operation(body["operation"])
        except NotFound:
            return None


def timestamp(moment: datetime) -> str:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp.ToJsonString()
