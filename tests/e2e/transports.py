"""The same wrong request over gRPC and over REST, and what every refusal must keep whichever way it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from services.adapters.status import DETAILS_KEY, json_pointer
from tests.e2e.conftest import ROOT

NOT_THE_CALLERS = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
NEVER_SHOWN = ("Traceback", ".py", "site-packages", "ray::", str(ROOT), "/tmp/", " object at 0x")


@dataclass(frozen=True)
class Refusal:
    """``field`` as gRPC names it; ``http`` is None where only gRPC was asked."""

    reason: str
    field: str
    message: str
    code: str = ""
    http: int | None = None


def by_grpc(error: grpc.RpcError) -> Refusal:
    """The rich status of a failed call; one without ErrorInfo has no reason."""
    info = error_details_pb2.ErrorInfo()
    details = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
    if details is not None:
        status = status_pb2.Status.FromString(details)
        assert status.code == error.code().value[0]
        assert any(packed.Unpack(info) for packed in status.details)
    _check_words(error.details())
    assert error.code().name not in NOT_THE_CALLERS, error.details()
    return Refusal(info.reason, info.metadata.get("field", ""), error.details(), error.code().name)


def by_rest(response: httpx.Response) -> Refusal:
    """The problem of a failed request. ``field`` is the JSON pointer."""
    assert 400 <= response.status_code < 500, (response.status_code, response.text[:500])
    assert response.headers["content-type"] == "application/problem+json", response.text[:500]
    _check_words(response.text)
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["type"].rpartition(":")[2] == problem["reason"]
    pointer = problem["errors"][0]["pointer"] if problem.get("errors") else ""
    return Refusal(problem["reason"], pointer, problem["detail"], http=response.status_code)


def _check_words(text: str) -> None:
    assert text.strip()
    shown = [word for word in NEVER_SHOWN if word in text]
    assert not shown, f"{shown} in {text[:500]}"


class Transports:
    """Both doors of one platform."""

    def __init__(self, http: str, address: str) -> None:
        unlimited = [("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(address, unlimited)
        self.web = httpx.Client(base_url=http, timeout=30)

    def close(self) -> None:
        self.channel.close()
        self.web.close()

    def call(self, method: str, message: Message, reply: type[Message]) -> Any:
        """``method`` is "<service's full name>/<method>"."""
        return self._unary(method, reply.FromString)(message, timeout=30)

    def refused(
        self, method: str, message: Message, verb: str, path: str, query: Mapping[str, str] | None = None
    ) -> Refusal:
        """What both say to the same request: a POST carries it as JSON, a GET has it in path and query."""
        over_grpc = self.refused_by_grpc(method, message)
        json = MessageToDict(message, preserving_proto_field_name=True) if verb == "POST" else None
        over_rest = by_rest(self.web.request(verb, path, json=json, params=query))
        assert over_grpc.reason == over_rest.reason
        assert over_grpc.message == over_rest.message
        assert over_rest.field == (json_pointer(over_grpc.field) if over_grpc.field else "")
        return Refusal(over_grpc.reason, over_grpc.field, over_grpc.message, over_grpc.code, over_rest.http)

    def refused_by_grpc(self, method: str, message: Message | Sequence[Message]) -> Refusal:
        """One message, or a stream of them where the method takes one."""
        try:
            if isinstance(message, Message):
                self._unary(method, bytes)(message, timeout=30)
            else:
                self.channel.stream_unary(f"/{method}", _serialized)(iter(message), timeout=30)
        except grpc.RpcError as error:
            return by_grpc(error)
        raise AssertionError(f"{method} took {str(message)[:300]}")

    def _unary(self, method: str, deserializer: Any) -> Any:
        return self.channel.unary_unary(f"/{method}", _serialized, deserializer)


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()
