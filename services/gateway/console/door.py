"""Who is at a page's door: the signed-in session, and whether a form that arrives is one that we gave out."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from services.errors import Cancelled, InvalidInput, Overloaded, TooLarge
from services.gateway.sessions import SESSION_S

SESSION_COOKIE, FORM_COOKIE = "evenhand-session", "evenhand-form"
TOKEN_FIELD = "token"
LARGEST_FORM_BYTES, MOST_FIELDS = 4096, 16

ATTEMPTS, ATTEMPTS_S, MOST_PEERS = 20, 60.0, 10_000


def session_of(request: Request) -> str:
    """What the browser holds of a session; empty where it has none."""
    return request.cookies.get(SESSION_COOKIE, "")


def keep_session(response: Response, request: Request, session: str) -> None:
    """Give the session to the browser, out of reach of scripts and of other sites' requests."""
    _set(response, request, SESSION_COOKIE, session, max_age=SESSION_S)


def drop_session(response: Response) -> None:
    response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="strict")


def form_nonce(request: Request) -> tuple[str, bool]:
    """What ties forms to this browser, and whether it is new and has to be given out."""
    known = request.cookies.get(FORM_COOKIE, "")
    return (known, False) if len(known) == 43 else (secrets.token_urlsafe(32), True)


def keep_nonce(response: Response, request: Request, nonce: str) -> None:
    _set(response, request, FORM_COOKIE, nonce, max_age=None)


def token(nonce: str, session: str) -> str:
    """What a form of this browser and session carries: another site can neither read nor guess it."""
    return hashlib.sha256(f"evenhand form\n{nonce}\n{session}".encode()).hexdigest()


async def checked_form(request: Request) -> dict[str, str]:
    """The fields of a form that came from one of our own pages.

    Raises InvalidInput FORM_FOREIGN where another site sent it or its token is not this browser's, InvalidInput
    FORM_TOO_LONG over 16 fields, TooLarge, Cancelled.
    """
    if not _from_here(request):
        raise _foreign()
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > LARGEST_FORM_BYTES:
                raise TooLarge(f"a form may have {LARGEST_FORM_BYTES} bytes", field="body")
    except ClientDisconnect:
        raise Cancelled("the client went away") from None
    try:
        given = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise InvalidInput(f"a form may have {MOST_FIELDS} fields", field="body", reason="FORM_TOO_LONG") from None
    fields = {name: values[-1] for name, values in given.items()}
    nonce, new = form_nonce(request)
    expected = token(nonce, session_of(request))
    if new or not hmac.compare_digest(fields.pop(TOKEN_FIELD, "").encode(), expected.encode()):
        raise _foreign()
    return fields


def local_path(text: str) -> str:
    """``text`` if it is a path of this server, else the start page: a sign-in must not lead to another site."""
    plain = text.startswith("/") and not text.startswith(("//", "/\\")) and "\\" not in text and text.isprintable()
    return text if plain else "/"


class Attempts:
    """Failed sign-ins by address. Beyond :data:`ATTEMPTS` in :data:`ATTEMPTS_S` seconds no key is looked at."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, peer: str) -> None:
        """Raises Overloaded SIGN_INS_TOO_MANY."""
        since = self._clock() - ATTEMPTS_S
        recent = [at for at in self._failed.get(peer, ()) if at > since]
        if len(recent) >= ATTEMPTS:
            wait = recent[0] - since
            raise Overloaded("too many wrong keys", reason="SIGN_INS_TOO_MANY", retry_after_s=max(1.0, wait))

    def failed(self, peer: str) -> None:
        now = self._clock()
        self._failed[peer] = [at for at in self._failed.pop(peer, []) if at > now - ATTEMPTS_S] + [now]
        while len(self._failed) > MOST_PEERS:
            self._failed.popitem(last=False)


def _from_here(request: Request) -> bool:
    """What the browser itself says of where the form was; browsers without Sec-Fetch-Site send an Origin."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    try:
        origin = urlsplit(request.headers.get("origin", ""))
    except ValueError:
        return False
    return bool(origin.netloc) and origin.netloc == request.headers.get("host")


def _foreign() -> InvalidInput:
    return InvalidInput(
        "this form is not from an open page of this browser; load the page again", reason="FORM_FOREIGN"
    )


def _set(response: Response, request: Request, name: str, value: str, *, max_age: int | None) -> None:
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age=max_age, path="/", httponly=True, samesite="strict", secure=secure)
