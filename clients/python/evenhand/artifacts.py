"""Files that work left in the object store: reading them whole or not at all, and writing them likewise."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from evenhand.calls import Caller, Flow, Sleep
from evenhand.errors import IncompleteStream, Unavailable
from evenhand.resources.v1 import artifact_service_pb2

METHOD = "evenhand.resources.v1.ArtifactService/ReadArtifact"


@dataclass(frozen=True)
class Artifact:
    """A file in the object store, and how to tell that it arrived whole."""

    filename: str
    sha256: str
    bytes: int
    media_type: str


def artifacts_of(proto: Any) -> tuple[Artifact, ...]:
    """The artifacts that a resource lists."""
    return tuple(Artifact(a.filename, a.sha256, a.bytes, a.media_type) for a in proto.artifacts)


def read_artifact(caller: Caller, name: str, filename: str) -> Flow[bytes]:
    """One file of "generations/…" and the like; see :func:`read_stream`."""
    request = artifact_service_pb2.ReadArtifactRequest(name=name, filename=filename)
    return read_stream(caller, METHOD, request, artifact_service_pb2.ReadArtifactResponse, filename)


def read_stream(caller: Caller, method: str, request: Message, reply: type[Message], filename: str) -> Flow[bytes]:
    """An artifact's bytes, checked against the sha256 that the stream ends with.

    A stream that breaks is begun again a few times.

    Raises:
        IncompleteStream: it ended without its sha256, or the bytes have another one.
    """
    for attempt in range(caller.retry.attempts):
        received = _Received(filename)
        try:
            yield from caller.download(method, request, reply, received.take)
            return received.whole()
        except Unavailable as error:
            delay = caller.retry.delay(attempt, error, caller.rng)
            if delay is None or not caller.budget.spend():
                if received.count:
                    raise IncompleteStream(f"the stream broke: {error.message}", field=filename) from error
                raise
            yield Sleep(delay)
    raise AssertionError("the last attempt returns or raises")


class _Received:
    """The pieces of one artifact so far."""

    def __init__(self, filename: str) -> None:
        self._filename = filename
        self._buffer = io.BytesIO()
        self._sha256 = ""
        self.count = 0

    def take(self, reply: Any) -> None:
        self.count += 1
        self._buffer.write(reply.data)
        self._sha256 = reply.sha256

    def whole(self) -> bytes:
        data = self._buffer.getvalue()
        if not self._sha256:
            raise IncompleteStream("the stream ended without its sha256", field=self._filename)
        if hashlib.sha256(data).hexdigest() != self._sha256:
            raise IncompleteStream("the bytes have another sha256 than the stream promised", field=self._filename)
        return data


def write_whole(path: Path, data: bytes) -> Path:
    """Write beside, then rename: a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
