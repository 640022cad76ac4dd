"""The files that audits, synthetic cohorts, generations, counterfactuals and upscalings left in the object store."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from services.adapters.ledger import Ledger
from services.adapters.object_store import ObjectStore
from services.errors import FailedPrecondition, NotFound, ServiceError

PIECE_BYTES = 2**20
MOST_NAMES = 10  # in a message: a counterfactual has hundreds of files
COLLECTIONS = {
    "audits": "audit",
    "cohorts": "cohort",
    "counterfactuals": "counterfactual",
    "generations": "generation",
    "upscalings": "upscaling",
}


@dataclass(frozen=True)
class Found:
    """An artifact's place and digest; its bytes are read when they are wanted."""

    key: str
    sha256: str
    media_type: str


class Artifacts:
    """Finds and reads artifacts by their owner's name and their file name."""

    def __init__(self, ledger: Ledger, store: ObjectStore) -> None:
        self._ledger = ledger
        self._store = store

    async def find(self, name: str, filename: str) -> Found:
        """``name`` is "audits/{audit}" and the like. NotFound, or FailedPrecondition while the file may still come."""
        owner = COLLECTIONS.get(name.partition("/")[0])
        body = await asyncio.to_thread(self._ledger.get_resource, name) if owner else None
        if body is None:
            what = owner or f"{', '.join(COLLECTIONS.values())} or other owner of artifacts"
            reason = f"{(owner or 'resource').upper()}_NOT_FOUND"
            raise NotFound(f"there is no {what} {name[:80]!r}", field="name", reason=reason)
        for artifact in body.get("artifacts") or ():
            if artifact["filename"] == filename:
                guessed = mimetypes.guess_type(filename)[0] or "application/octet-stream"
                return Found(artifact["key"], artifact["sha256"], artifact.get("media_type") or guessed)
        raise _absent(str(owner), body, filename)

    async def read(self, found: Found) -> bytes:
        """All bytes, verified against the digest before the first is given out."""
        return await asyncio.to_thread(self._store.get, found.key, sha256=found.sha256)

    async def stream(self, request: Any, reply: type[Message]) -> AsyncIterator[Message]:
        """ReadArtifact of either service: pieces in order, then one message with the digest alone."""
        found = await self.find(request.name, request.filename)
        data = memoryview(await self.read(found))
        make: Any = reply  # both services' replies have the same two fields
        for start in range(0, len(data), PIECE_BYTES):
            yield make(data=bytes(data[start : start + PIECE_BYTES]))
        yield make(sha256=found.sha256)


def _absent(owner: str, body: Mapping[str, Any], filename: str) -> ServiceError:
    """Why there is no such file: not yet, or never."""
    if body.get("state") != "STATE_SUCCEEDED":
        have = "no artifacts" if not body.get("artifacts") else f"no {filename[:80]!r}"
        return FailedPrecondition(f"the {owner} has left {have} yet", field="name", reason=f"{owner.upper()}_NOT_DONE")
    names = [artifact["filename"] for artifact in body.get("artifacts") or ()]
    shown = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
    return NotFound(
        f"the {owner} has no artifact {filename[:80]!r}; it has {shown or 'none'}",
        field="filename",
        reason="ARTIFACT_NOT_FOUND",
    )
