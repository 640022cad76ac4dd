"""The files that an audit left in the object store."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator
from dataclasses import dataclass

from evenhand.audit.v1 import audit_service_pb2 as pb

from services.adapters.ledger import Ledger
from services.adapters.object_store import ObjectStore
from services.errors import FailedPrecondition, NotFound
from services.gateway.calls import Call

PIECE_BYTES = 2**20


@dataclass(frozen=True)
class Found:
    """An artifact's place and digest; its bytes are read when they are wanted."""

    key: str
    sha256: str
    media_type: str


class Artifacts:
    """Finds and reads artifacts of audits by file name."""

    def __init__(self, ledger: Ledger, store: ObjectStore) -> None:
        self._ledger = ledger
        self._store = store

    async def find(self, audit: str, filename: str) -> Found:
        """``audit`` is "audits/{audit}". NotFound, or FailedPrecondition while the audit has no artifacts yet."""
        body = await asyncio.to_thread(self._ledger.get_resource, audit) if audit.startswith("audits/") else None
        if body is None:
            raise NotFound(f"there is no audit {audit[:80]!r}", field="name", reason="AUDIT_NOT_FOUND")
        for artifact in body.get("artifacts") or ():
            if artifact["filename"] == filename:
                guessed = mimetypes.guess_type(filename)[0] or "application/octet-stream"
                return Found(artifact["key"], artifact["sha256"], artifact.get("media_type") or guessed)
        if body.get("state") != "STATE_SUCCEEDED":
            raise FailedPrecondition("the audit has left no artifacts yet", field="name", reason="AUDIT_NOT_DONE")
        names = ", ".join(artifact["filename"] for artifact in body.get("artifacts") or ())
        raise NotFound(
            f"the audit has no artifact {filename[:80]!r}; it has {names}",
            field="filename",
            reason="ARTIFACT_NOT_FOUND",
        )

    async def read(self, found: Found) -> bytes:
        """All bytes, verified against the digest before the first is given out."""
        return await asyncio.to_thread(self._store.get, found.key, sha256=found.sha256)

    async def stream(self, request: pb.ReadArtifactRequest, call: Call) -> AsyncIterator[pb.ReadArtifactResponse]:
        """ReadArtifact: pieces in order, then one message with the digest alone."""
        found = await self.find(request.name, request.filename)
        data = memoryview(await self.read(found))
        for start in range(0, len(data), PIECE_BYTES):
            yield pb.ReadArtifactResponse(data=bytes(data[start : start + PIECE_BYTES]))
        yield pb.ReadArtifactResponse(sha256=found.sha256)
