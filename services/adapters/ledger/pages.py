"""Page tokens: opaque to callers, bound to the query they continue, stable while rows are added.

A token names the last row of the page before, not a position, so rows that come or go never shift the next page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from services.errors import OutOfRange, PageTokenMismatch

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
_CHECK_BYTES = 12


def page_limit(page_size: int) -> int:
    """0 means the default, more than the maximum means the maximum (AIP-158)."""
    if page_size < 0:
        raise OutOfRange(f"page_size is {page_size}, expected 0 or more", field="page_size")
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def make_token(query: Mapping[str, Any], after: int) -> str:
    """The token of the page that follows the row numbered ``after`` in ``query``."""
    return base64.urlsafe_b64encode(_check(query, after) + after.to_bytes(8, "big")).decode().rstrip("=")


def read_token(query: Mapping[str, Any], token: str) -> int | None:
    """The row number in a token, None for the first page; raises :class:`PageTokenMismatch`."""
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    after = int.from_bytes(raw[_CHECK_BYTES:], "big")
    if len(raw) != _CHECK_BYTES + 8 or raw[:_CHECK_BYTES] != _check(query, after):
        raise PageTokenMismatch(
            "page_token was not made by this query: send it with the same filters as the page before, or leave it out",
            field="page_token",
        )
    return after


def _check(query: Mapping[str, Any], after: int) -> bytes:
    text = json.dumps([dict(query), after], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()[:_CHECK_BYTES]
