"""An object store on any server that speaks S3 (MinIO, Ceph, AWS), through the ``minio`` client.

The client's public ``put_object`` cannot send ``If-None-Match`` (given as metadata it becomes ``x-amz-meta-…`` and
the write silently overwrites), so conditional creates go through its ``_put_object``, which is pinned and tested.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import TypeVar

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from services.errors import Internal, NotFound, Unavailable

from .content import ObjectRef, check_key, check_name, describe, not_found, verify

T = TypeVar("T")

PROBE = "readiness-probe"

_MISSING = frozenset({"NoSuchKey", "NoSuchBucket"})
_PASSING = frozenset({"SlowDown", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted", "BadDigest"})


class S3Store:
    """``bucket`` on ``endpoint`` (``host:port``). The first write makes the bucket if the server does not have it.

    What may pass (no connection, 5xx, SlowDown, a truncated body) is tried ``attempts`` times with a growing pause,
    then raised as :class:`Unavailable`; whatever else the server refuses is raised at once.
    """

    def __init__(
        self,
        endpoint: str,
        bucket: str,
        *,
        access_key: str,
        secret_key: str,
        secure: bool = True,
        region: str = "us-east-1",
        attempts: int = 6,
        pause_s: float = 0.1,
    ) -> None:
        self._bucket = bucket
        self._attempts = attempts
        self._pause_s = pause_s
        self._jitter = Random()
        self._client = Minio(
            endpoint,
            access_key=access_key,
            secret_key=secret_key,
            secure=secure,
            region=region,
            # Retries are counted here and nowhere else: urllib3's own would multiply with them.
            http_client=urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=3, read=30), retries=False, maxsize=16, cert_reqs="CERT_REQUIRED"
            ),
        )

    def put(self, data: bytes, *, media_type: str = "application/octet-stream") -> ObjectRef:
        ref = describe(data)
        try:
            self._write(ref.key, data, {"Content-Type": media_type, "If-None-Match": "*"})
        except S3Error as error:
            if error.code != "PreconditionFailed":
                raise self._fault(ref.key, error) from error
            # Either somebody wrote these bytes before, or our own first attempt was stored and its reply was lost.
            # An object of another size or checksum under this key is damaged, and may be replaced by the right bytes.
            if not self._holds(ref.key, data):
                self._replace(ref.key, data, media_type)
        return ref

    def put_named(self, key: str, data: bytes) -> ObjectRef:
        check_name(key)
        ref = describe(data, key)
        self._replace(key, data, "application/octet-stream")
        return ref

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        check_key(key)
        try:
            return verify(key, self._read(key), sha256)
        except Internal:
            # A bit may have flipped on the way; what is wrong twice is wrong in the store.
            return verify(key, self._read(key), sha256)

    def exists(self, key: str) -> bool:
        check_key(key)
        try:
            self._call(key, lambda: self._client.stat_object(self._bucket, key))
        except NotFound:
            return False
        return True

    def size(self, key: str) -> int:
        check_key(key)
        return int(self._call(key, lambda: self._client.stat_object(self._bucket, key)).size or 0)

    def delete(self, key: str) -> None:
        check_key(key)
        try:
            self._call(key, lambda: self._client.remove_object(self._bucket, key))
        except NotFound:
            return

    def keys(self, prefix: str = "") -> Iterator[str]:
        def listing() -> list[str]:
            found = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
            return sorted(item.object_name for item in found if item.object_name)

        try:
            return iter(self._call(prefix, listing))
        except NotFound:
            return iter(())

    def check(self) -> None:
        self.put_named(PROBE, b"")
        self.delete(PROBE)

    def _write(self, key: str, data: bytes, headers: dict[str, str | list[str] | tuple[str]]) -> None:
        """Put bytes, making the bucket if need be; lets :class:`S3Error` through so that callers can read its code."""
        checksum = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()

        def write() -> None:
            try:
                self._client._put_object(self._bucket, key, data, headers={**headers, "Content-MD5": checksum})
            except S3Error as error:
                if error.code != "NoSuchBucket":
                    raise
                self._make_bucket()
                self._client._put_object(self._bucket, key, data, headers={**headers, "Content-MD5": checksum})

        self._retry(key, write)

    def _replace(self, key: str, data: bytes, media_type: str) -> None:
        try:
            self._write(key, data, {"Content-Type": media_type})
        except S3Error as error:
            raise self._fault(key, error) from error

    def _make_bucket(self) -> None:
        try:
            self._client.make_bucket(self._bucket)
        except S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def _holds(self, key: str, data: bytes) -> bool:
        stat = self._call(key, lambda: self._client.stat_object(self._bucket, key))
        return stat.size == len(data) and stat.etag == hashlib.md5(data, usedforsecurity=False).hexdigest()

    def _read(self, key: str) -> bytes:
        def read() -> bytes:
            response = self._client.get_object(self._bucket, key)
            try:
                return response.read()
            finally:
                response.close()
                response.release_conn()

        return self._call(key, read)

    def _call(self, key: str, request: Callable[[], T]) -> T:
        try:
            return self._retry(key, request)
        except S3Error as error:
            raise self._fault(key, error) from error

    def _fault(self, key: str, error: S3Error) -> NotFound | Unavailable:
        if error.code in _MISSING:
            return not_found(key)
        return Unavailable(f"the object store refuses {key}: {error.code}", reason="STORE_REFUSED")

    def _retry(self, key: str, request: Callable[[], T]) -> T:
        for attempt in range(1, self._attempts + 1):
            try:
                return request()
            except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
                if isinstance(error, S3Error) and not _may_pass(error):
                    raise
                if attempt == self._attempts:
                    raise Unavailable(
                        f"the object store did not serve {key} in {attempt} attempts: {type(error).__name__}",
                        reason="STORE_UNAVAILABLE",
                    ) from error
            # Full jitter: workers that failed together do not come back together.
            time.sleep(self._jitter.uniform(0.5, 1.0) * min(3.0, self._pause_s * 2 ** (attempt - 1)))
        raise AssertionError("unreachable: the last attempt returns or raises")


def _may_pass(error: S3Error) -> bool:
    return error.code in _PASSING or error.response.status >= 500
