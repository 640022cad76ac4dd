"""What an object store promises, and the rules of keys and digests that every store shares.

Objects put without a name are content-addressed: the key is ``sha256/<first two hex digits>/<all 64>``. Such an
object never changes, so writing it twice is harmless and reading it can always be checked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from services.errors import Internal, InvalidInput, NotFound, TooLarge

MAX_OBJECT_BYTES = 2 << 30
MAX_KEY_BYTES = 1024
MAX_SEGMENT_BYTES = 200  # below the 255 bytes of a file name, so that a directory can hold every key
CONTENT_PREFIX = "sha256/"

_CONTENT_KEY = re.compile(r"sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_SEGMENT = re.compile(r"(?!\.)[^\\\x00-\x1f\x7f\ud800-\udfff]+")


@dataclass(frozen=True)
class ObjectRef:
    """A stored object: its key, the hex sha256 of its bytes, and how many there are."""

    key: str
    sha256: str
    bytes: int


class ObjectStore(Protocol):
    """Bytes by key. All methods raise :class:`Unavailable` while the store cannot be reached."""

    def put(self, data: bytes, *, media_type: str = "application/octet-stream") -> ObjectRef:
        """Store bytes under their own digest. Durable on return; putting the same bytes again is no error.

        Raises :class:`TooLarge` over 2 GiB.
        """
        ...

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """Read an object; a content-addressed key, or a ``sha256`` given, is verified before anything is returned.

        Raises :class:`NotFound` ``ARTIFACT_NOT_FOUND`` and :class:`Internal` ``ARTIFACT_CORRUPT``.
        """
        ...

    def put_named(self, key: str, data: bytes) -> ObjectRef:
        """Store bytes under a name, replacing what was there in one step. ``sha256/`` is not for names."""
        ...

    def exists(self, key: str) -> bool:
        """Whether an object has this key."""
        ...

    def size(self, key: str) -> int:
        """Bytes of an object, without reading them. Raises :class:`NotFound` ``ARTIFACT_NOT_FOUND``."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that start with ``prefix``, in ascending order."""
        ...

    def check(self) -> None:
        """Readiness: returns if the store can be written to, raises :class:`Unavailable` if not."""
        ...


def content_key(digest: str) -> str:
    """``sha256/ab/abcd…`` of a hex digest."""
    return f"{CONTENT_PREFIX}{digest[:2]}/{digest}"


def describe(data: bytes, key: str | None = None) -> ObjectRef:
    """The reference of bytes that are about to be stored, by default under their own digest."""
    if len(data) > MAX_OBJECT_BYTES:
        raise TooLarge(f"an object may have {MAX_OBJECT_BYTES} bytes, this one has {len(data)}", field=key or "object")
    digest = hashlib.sha256(data).hexdigest()
    return ObjectRef(content_key(digest) if key is None else key, digest, len(data))


def check_key(key: str) -> None:
    """Raise :class:`InvalidInput` unless the key is a relative path without ``..``, NUL, backslash or dot files."""
    well_formed = all(
        _SEGMENT.fullmatch(segment) and len(segment.encode()) <= MAX_SEGMENT_BYTES for segment in key.split("/")
    )
    if not well_formed or len(key.encode()) > MAX_KEY_BYTES:
        raise InvalidInput(
            f"object key {key[:80]!r} is not a relative path of names without leading dots, backslashes or control"
            f" characters, each of at most {MAX_SEGMENT_BYTES} bytes",
            field="key",
            reason="OBJECT_KEY_INVALID",
        )


def check_name(key: str) -> None:
    """Like :func:`check_key`, for a key that a caller chose: the content-addressed space is not theirs."""
    check_key(key)
    if key.startswith(CONTENT_PREFIX):
        raise InvalidInput(
            f"object key {key!r} lies under {CONTENT_PREFIX}, where every key is the digest of its bytes: use put",
            field="key",
            reason="OBJECT_KEY_INVALID",
        )


def verify(key: str, data: bytes, sha256: str | None) -> bytes:
    """Return ``data`` if it has the digest that its key or the caller names; raise ``ARTIFACT_CORRUPT`` otherwise."""
    content = _CONTENT_KEY.fullmatch(key)
    expected = {digest for digest in (sha256, content and content.group(2)) if digest}
    if expected and expected != {actual := hashlib.sha256(data).hexdigest()}:
        raise Internal(
            f"object {key} has sha256 {actual} and {len(data)} bytes, expected sha256 {' and '.join(sorted(expected))}",
            field=key,
            reason="ARTIFACT_CORRUPT",
        )
    return data


def not_found(key: str) -> NotFound:
    return NotFound(f"no object has the key {key}", field=key, reason="ARTIFACT_NOT_FOUND")
