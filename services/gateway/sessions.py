"""A signed-in browser's session: a statement that whoever holds it knew a key, without the key in it.

The statement is signed with the digest of the key itself. So every replica that knows the key can read it, nothing is
stored, it ends by itself, and with a key that is withdrawn all sessions of it are gone.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence

SESSION_S = 8 * 3600

_PURPOSE = b"evenhand console session 1"
_EXPIRY_BYTES, _NONCE_BYTES, _SIGNATURE_BYTES = 8, 16, 32


def issue(digest: bytes, now_s: float) -> str:
    """A session of the key with this digest, from ``now_s`` (seconds since 1970) for :data:`SESSION_S`."""
    stated = int(now_s + SESSION_S).to_bytes(_EXPIRY_BYTES, "big") + secrets.token_bytes(_NONCE_BYTES)
    return base64.urlsafe_b64encode(stated + _sign(digest, stated)).decode()


def signer(session: str, digests: Sequence[bytes], now_s: float) -> bytes | None:
    """The digest that signed the session; None where none of ``digests`` did or its time is over.

    Every digest is tried, so that the time taken tells nothing about which one it was.
    """
    try:
        raw = base64.b64decode(session, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _EXPIRY_BYTES + _NONCE_BYTES + _SIGNATURE_BYTES:
        return None
    stated, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    signers = [digest for digest in digests if hmac.compare_digest(_sign(digest, stated), signature)]
    if not signers or now_s >= int.from_bytes(stated[:_EXPIRY_BYTES], "big"):
        return None
    return signers[0]


def _sign(digest: bytes, stated: bytes) -> bytes:
    return hmac.digest(digest, _PURPOSE + stated, "sha256")
