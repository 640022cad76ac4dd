"""What every call meets at the door, whichever transport it came by: credentials, a deadline, a count, safe errors."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from services.adapters.telemetry import Telemetry
from services.errors import DeadlineExceeded, Internal, InvalidInput, ServiceError, Unauthenticated, whereabouts

log = logging.getLogger(__name__)

LONGEST_TIMEOUT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Call:
    """One call. ``caller`` is a key's digest or an address; ``deadline`` is on the event loop's clock."""

    method: str
    caller: str
    deadline: float

    def remaining_s(self) -> float:
        return self.deadline - asyncio.get_running_loop().time()

    def context(self) -> dict[str, Any]:
        """What an application is told beside the request."""
        return {"deadline_s": self.remaining_s(), "caller": self.caller}


class Guard:
    """The door. ``keys`` are the accepted bearer keys; without any, everybody is let in."""

    def __init__(self, keys: Sequence[str], telemetry: Telemetry, *, timeout_s: float) -> None:
        self._digests = [_digest(key) for key in keys]
        self._telemetry = telemetry
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def watch(
        self, transport: str, method: str, *, peer: str, authorization: str = "", timeout_s: float | None = None
    ) -> AsyncIterator[Call]:
        """Everything inside happens in the caller's name and time, and leaves as a ServiceError if it fails.

        ``method`` must come from the API's own list, since it becomes a metric's label.
        """
        started, status = time.perf_counter(), "OK"
        try:
            caller = self._caller(authorization, peer)
            allowed_s = self._timeout_s if timeout_s is None else min(timeout_s, LONGEST_TIMEOUT_S)
            if allowed_s <= 0:
                raise DeadlineExceeded("the deadline had passed before the call arrived")
            deadline = asyncio.get_running_loop().time() + allowed_s
            async with asyncio.timeout_at(deadline) as limit:
                yield Call(method, caller, deadline)
        except ServiceError as error:
            status = error.status
            raise
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                status = DeadlineExceeded.status
                raise DeadlineExceeded(f"not done within {allowed_s:.3g} s") from None
            status = Internal.status
            log.error("unexpected fault in %s: %s", method, whereabouts(error))
            raise Internal("an unexpected fault; the platform's log has the details") from None
        finally:
            elapsed = time.perf_counter() - started
            self._telemetry.request(transport=transport, method=method, status=status, seconds=elapsed)

    def _caller(self, authorization: str, peer: str) -> str:
        if not self._digests:
            return peer
        scheme, _, key = authorization.partition(" ")
        given = _digest(key.strip())
        # Every known key is compared, so that the time taken tells nothing about which one came close.
        matches = [hmac.compare_digest(given, known) for known in self._digests]
        if scheme.lower() != "bearer" or not any(matches):
            raise Unauthenticated("send a valid key as 'Authorization: Bearer <key>'")
        return f"key-{given.hex()[:8]}"


def timeout_from_header(value: str | None) -> float | None:
    """X-Request-Timeout in seconds; None where the caller sent none."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= LONGEST_TIMEOUT_S:
        raise InvalidInput(
            f"X-Request-Timeout takes seconds, above 0 and up to {LONGEST_TIMEOUT_S:.0f}",
            field="X-Request-Timeout",
            reason="TIMEOUT_INVALID",
        )
    return seconds


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
