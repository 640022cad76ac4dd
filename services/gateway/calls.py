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
from services.gateway import sessions

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
        self,
        transport: str,
        method: str,
        *,
        peer: str,
        authorization: str = "",
        session: str | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Call]:
        """Everything inside happens in the caller's name and time, and leaves as a ServiceError if it fails.

        ``method`` must come from the API's own list, since it becomes a metric's label. A ``session`` of
        :meth:`sign_in` stands in for a key; only the console gives one.
        """
        started, status = time.perf_counter(), "OK"
        try:
            caller = self._caller(authorization, peer) if session is None else self._signed_in(session, peer)
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

    @property
    def keyed(self) -> bool:
        """Whether callers need a key."""
        return bool(self._digests)

    def sign_in(self, key: str) -> str:
        """A session for a browser that sent ``key``. Raises Unauthenticated KEY_UNKNOWN."""
        given = _digest(key.strip())
        if not self._known(given):
            raise Unauthenticated("this is not a key of the platform", field="key", reason="KEY_UNKNOWN")
        return sessions.issue(given, time.time())

    def _caller(self, authorization: str, peer: str) -> str:
        if not self._digests:
            return peer
        scheme, _, key = authorization.partition(" ")
        given = _digest(key.strip())
        if not self._known(given) or scheme.lower() != "bearer":
            raise Unauthenticated("send a valid key as 'Authorization: Bearer <key>'")
        return _name(given)

    def _signed_in(self, session: str, peer: str) -> str:
        if not self._digests:
            return peer
        signer = sessions.signer(session, self._digests, time.time())
        if signer is None:
            raise Unauthenticated("sign in with a key", reason="SIGNED_OUT")
        return _name(signer)

    def _known(self, given: bytes) -> bool:
        # Every known key is compared, so that the time taken tells nothing about which one came close.
        matches = [hmac.compare_digest(given, known) for known in self._digests]
        return any(matches)


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


def _name(digest: bytes) -> str:
    """What a key is called in queues and logs."""
    return f"key-{digest.hex()[:8]}"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
