"""An object store in a directory: the embedded default, durable and safe for several processes.

Bytes are written to ``.staging`` beside the objects, flushed to the disk, and only then given their key by a link or
a rename, so a reader sees all of an object or none of it, and a crash leaves at most a staging file.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from services.errors import InvalidInput, Unavailable

from .content import ObjectRef, check_key, check_name, describe, not_found, verify

STAGING = ".staging"


class DirectoryStore:
    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def put(self, data: bytes, *, media_type: str = "application/octet-stream") -> ObjectRef:
        ref = describe(data)
        with _faults(ref.key), self._staged(data) as staged:
            target = self._prepare(ref.key)
            try:
                os.link(staged, target)
            except FileExistsError:
                # Bytes that rotted on the disk are healed by whoever computes them again.
                if target.read_bytes() != data:
                    staged.replace(target)
            _flush_directory(target.parent)
        return ref

    def put_named(self, key: str, data: bytes) -> ObjectRef:
        check_name(key)
        ref = describe(data, key)
        with _faults(key), self._staged(data) as staged:
            try:
                target = self._prepare(key)
                staged.replace(target)
            except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
                raise InvalidInput(
                    f"object key {key} is at once an object and the folder of another",
                    field="key",
                    reason="OBJECT_KEY_INVALID",
                ) from error
            _flush_directory(target.parent)
        return ref

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        check_key(key)
        with _faults(key):
            try:
                data = (self._root / key).read_bytes()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                raise not_found(key) from None
        return verify(key, data, sha256)

    def exists(self, key: str) -> bool:
        check_key(key)
        with _faults(key):
            return (self._root / key).is_file()

    def size(self, key: str) -> int:
        check_key(key)
        if not self.exists(key):
            raise not_found(key)
        with _faults(key):
            return (self._root / key).stat().st_size

    def delete(self, key: str) -> None:
        check_key(key)
        with _faults(key), suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
            target = self._root / key
            target.unlink()
            _flush_directory(target.parent)

    def keys(self, prefix: str = "") -> Iterator[str]:
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)
        with _faults(prefix):
            files = [path for path in (self._root / folder).rglob("*") if path.is_file()]
        found = sorted(path.relative_to(self._root).as_posix() for path in files)
        return iter([key for key in found if key.startswith(prefix) and not key.startswith(f"{STAGING}/")])

    def check(self) -> None:
        with _faults(str(self._root)), self._staged(b"readiness"):
            shutil.disk_usage(self._root)

    @contextmanager
    def _staged(self, data: bytes) -> Iterator[Path]:
        staging = self._root / STAGING
        _make_directory(staging)
        staged = staging / uuid4().hex
        try:
            with staged.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield staged
        finally:
            staged.unlink(missing_ok=True)

    def _prepare(self, key: str) -> Path:
        target = self._root / key
        _make_directory(target.parent)
        return target


def _make_directory(path: Path) -> None:
    """Make a directory and its parents; each new name is flushed, or a power cut could lose a committed object."""
    if path.is_dir():
        return
    _make_directory(path.parent)
    path.mkdir(exist_ok=True)
    _flush_directory(path.parent)


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _faults(key: str) -> Iterator[None]:
    """Turn what the file system says into what a caller of a store understands."""
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "an error")
        raise Unavailable(f"the object directory answers {name} for {key}", reason="STORE_UNAVAILABLE") from error
