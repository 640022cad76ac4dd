"""An object store in a dictionary: for tests and for one process."""

from __future__ import annotations

from collections.abc import Iterator

from .content import ObjectRef, check_key, check_name, describe, not_found, verify


class MemoryStore:
    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    def put(self, data: bytes, *, media_type: str = "application/octet-stream") -> ObjectRef:
        ref = describe(data)
        self._objects[ref.key] = bytes(data)
        return ref

    def put_named(self, key: str, data: bytes) -> ObjectRef:
        check_name(key)
        ref = describe(data, key)
        self._objects[key] = bytes(data)
        return ref

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        check_key(key)
        try:
            data = self._objects[key]
        except KeyError:
            raise not_found(key) from None
        return verify(key, data, sha256)

    def exists(self, key: str) -> bool:
        check_key(key)
        return key in self._objects

    def size(self, key: str) -> int:
        return len(self.get(key))

    def delete(self, key: str) -> None:
        check_key(key)
        self._objects.pop(key, None)

    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter(sorted(key for key in self._objects if key.startswith(prefix)))

    def check(self) -> None:
        """Memory is always there."""
