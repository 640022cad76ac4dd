"""Replies that keep their error's type on the way through Ray.

An exception that leaves a Serve replica reaches the caller wrapped, with a traceback, an address and the exception's
text in it. So no handle method raises: it returns a *sealed reply*, ``(error or None, value)``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import Any, TypeVar

from services.errors import DeadlineExceeded, Internal, ServiceError, error_from_dict, whereabouts

log = logging.getLogger(__name__)

T = TypeVar("T")
Reply = tuple[dict[str, Any] | None, Any]


async def seal(work: Awaitable[T]) -> Reply:
    """Await ``work``; a ServiceError becomes the reply's first half, anything else an Internal without its text."""
    try:
        return None, await work
    except Exception as error:
        return _sealed(error)


async def seal_in_time(work: Awaitable[T], deadline_s: float | None) -> Reply:
    """:func:`seal`, or DeadlineExceeded once the caller's time is up; the work is then cancelled."""

    async def in_time() -> T:
        try:
            async with asyncio.timeout(deadline_s):
                return await work
        except TimeoutError as error:
            raise DeadlineExceeded("the caller's deadline passed before the answer was ready") from error

    return await seal(in_time())


async def seal_stream(work: AsyncGenerator[T, None]) -> AsyncGenerator[Reply, None]:
    """Each value of ``work`` as a sealed reply; what it raises is the last one. Closing this closes ``work``."""
    async with aclosing(work):
        try:
            async for value in work:
                yield None, value
        except Exception as error:
            yield _sealed(error)


def _sealed(error: Exception) -> Reply:
    if isinstance(error, ServiceError):
        return error.to_dict(), None
    log.error("unexpected fault in a handle method: %s", whereabouts(error))
    return Internal("an unexpected fault; the platform's log has the details").to_dict(), None


def unseal(reply: Reply) -> Any:
    """The value of a sealed reply, or its error raised with its own class."""
    error, value = reply
    if error is not None:
        raise error_from_dict(error)
    return value
