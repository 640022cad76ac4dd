"""Keys, sessions and forms: who gets in, and which forms are believed."""

import re

import httpx
import pytest

from services.errors import Overloaded
from services.gateway.console.door import ATTEMPTS, ATTEMPTS_S, Attempts, local_path
from services.gateway.sessions import SESSION_S, issue, signer

KEY = "secret-key-of-a-hospital"
PAGES = ["/", "/cohorts", "/audits", "/{audit}", "/models/chest", "/operations", "/{audit}/files/report.html",
         "/{running_operation}/progress", "/{counterfactual}/files/video.mp4"]  # fmt: skip


@pytest.fixture
def keyed(open_stage):
    return open_stage(keys=(KEY, "another-key"))


@pytest.fixture
def browser(keyed):
    """A browser's cookies and headers; ``post`` sends a form of the page at ``page``, changed by ``fields``."""
    with httpx.Client(base_url=keyed.http, headers={"Accept": "text/html"}) as client:
        yield client


def token_of(client, page):
    return re.search(r'name="token" value="([0-9a-f]{64})"', client.get(page).text)[1]


def sign_in(client, key=KEY, **changes):
    fields = {"token": token_of(client, "/sign-in"), "key": key, "next": "/audits"} | changes
    return client.post("/sign-in", data=fields, headers={"Origin": str(client.base_url).rstrip("/")})


@pytest.mark.parametrize("path", PAGES)
def test_without_a_session_every_page_leads_to_the_sign_in(browser, names, path):
    reply = browser.get(path.format(**names))
    assert reply.status_code == 303
    assert reply.headers["location"].startswith("/sign-in?next=%2F")
    assert not reply.content


def test_a_key_opens_a_session_that_is_out_of_reach(browser, names):
    reply = sign_in(browser)
    assert (reply.status_code, reply.headers["location"]) == (303, "/audits")
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and f"Max-Age={SESSION_S}" in cookie
    assert KEY not in cookie
    for path in PAGES:
        reply = browser.get(path.format(**names))
        assert reply.status_code == 200 and KEY.encode() not in reply.content
    assert "Sign out" in browser.get("/").text


def test_a_session_is_no_key_of_the_api(browser):
    sign_in(browser)
    assert browser.get("/v1/audits").status_code == 401
    session = browser.cookies["evenhand-session"]
    assert browser.get("/v1/audits", headers={"Authorization": f"Bearer {session}"}).status_code == 401


def test_a_wrong_key_opens_nothing(browser):
    reply = sign_in(browser, "wrong")
    assert reply.status_code == 401 and "not a key" in reply.text and "wrong" not in re.sub("<[^>]+>", "", reply.text)
    assert browser.get("/audits").status_code == 303


def test_signing_out_takes_the_session_from_the_browser(browser):
    sign_in(browser)
    reply = browser.post("/sign-out", data={"token": token_of(browser, "/")}, headers={"Sec-Fetch-Site": "same-origin"})
    assert reply.status_code == 303 and "evenhand-session" not in browser.cookies
    assert browser.get("/audits").status_code == 303


@pytest.mark.parametrize(
    "where", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nb"]
)
def test_a_sign_in_leads_to_this_server_only(browser, where):
    assert sign_in(browser, next=where).headers["location"] == "/" == local_path(where)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ],
)
def test_forms_of_other_sites_are_refused(browser, keyed, names, headers):
    sign_in(browser)
    path = f"/{names['running_operation']}/cancel"
    reply = browser.post(path, data={"token": token_of(browser, path)}, headers=headers)
    assert reply.status_code == 403 and "FORM_FOREIGN" in reply.text
    assert not keyed.ledger.get_operation(names["running_operation"]).cancel_requested


@pytest.mark.parametrize("token", ["", "0" * 64, "ä", None])
def test_forms_without_our_token_are_refused(browser, keyed, names, token):
    sign_in(browser)
    path = f"/{names['running_operation']}/cancel"
    browser.get(path)
    fields = {} if token is None else {"token": token}
    reply = browser.post(path, data=fields, headers={"Sec-Fetch-Site": "same-origin"})
    assert reply.status_code == 403
    assert not keyed.ledger.get_operation(names["running_operation"]).cancel_requested


def test_a_token_of_another_session_or_browser_is_refused(browser, keyed, names):
    sign_in(browser)
    path = f"/{names['running_operation']}/cancel"
    ours = token_of(browser, path)
    with httpx.Client(base_url=keyed.http) as other:
        sign_in(other)
        other.get(path)
        reply = other.post(path, data={"token": ours}, headers={"Sec-Fetch-Site": "same-origin"})
        assert reply.status_code == 403


def test_the_confirmed_form_cancels(browser, keyed, names):
    sign_in(browser)
    path = f"/{names['running_operation']}/cancel"
    reply = browser.post(path, data={"token": token_of(browser, path)}, headers={"Sec-Fetch-Site": "same-origin"})
    assert (reply.status_code, reply.headers["location"]) == (303, f"/{names['running_operation']}")
    assert keyed.ledger.get_operation(names["running_operation"]).cancel_requested


def test_cancelling_needs_a_session_too(browser, keyed, names):
    path = f"/{names['running_operation']}/cancel"
    token = token_of(browser, "/sign-in")
    reply = browser.post(path, data={"token": token}, headers={"Sec-Fetch-Site": "same-origin"})
    assert (reply.status_code, reply.headers["location"]) == (303, "/sign-in")
    assert not keyed.ledger.get_operation(names["running_operation"]).cancel_requested


def test_a_form_has_an_end(browser):
    reply = sign_in(browser, "x" * 5000)
    assert reply.status_code == 413
    reply = sign_in(browser, **{f"field{number}": "" for number in range(20)})
    assert reply.status_code == 400 and "16 fields" in reply.text


def test_guessing_keys_is_slowed_down(browser):
    for _ in range(ATTEMPTS):
        assert sign_in(browser, "guess").status_code == 401
    reply = sign_in(browser)
    assert reply.status_code == 429 and int(reply.headers["retry-after"]) >= 1


def test_attempts_are_forgotten_after_their_time():
    now = 0.0
    attempts = Attempts(clock=lambda: now)
    for _ in range(ATTEMPTS):
        attempts.check("a")
        attempts.failed("a")
    with pytest.raises(Overloaded) as refused:
        attempts.check("a")
    assert 0 < refused.value.retry_after_s <= ATTEMPTS_S
    attempts.check("b")
    now = ATTEMPTS_S + 1
    attempts.check("a")


def test_a_session_is_its_keys_and_ends():
    mine, other = b"m" * 32, b"o" * 32
    session = issue(mine, 1000.0)
    assert signer(session, [other, mine], 1000.0 + SESSION_S - 1) == mine
    assert signer(session, [other], 1001.0) is None
    assert signer(session, [mine], 1000.0 + SESSION_S) is None
    for at in range(0, len(session), 7):
        changed = session[:at] + ("A" if session[at] != "A" else "B") + session[at + 1 :]
        assert signer(changed, [mine], 1001.0) is None, at
    for broken in ("", "ä", "AAAA", session + "AAAA", "*" * len(session)):
        assert signer(broken, [mine], 1001.0) is None


def test_a_session_of_a_withdrawn_key_is_over(open_stage):
    before, after = open_stage(keys=(KEY,)), open_stage(keys=("another-key",))
    with httpx.Client(base_url=before.http) as client:
        sign_in(client)
        session = {"evenhand-session": client.cookies["evenhand-session"]}
    assert httpx.get(f"{before.http}/audits", cookies=session).status_code == 200
    assert httpx.get(f"{after.http}/audits", cookies=session).status_code == 303


def test_without_keys_there_is_nothing_to_sign_in_to(web):
    reply = web.get("/sign-in")
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    assert "Sign out" not in web.get("/").text


def test_a_form_token_is_known_only_after_a_page(stage, names):
    """Also without keys: another site must not cancel in a visitor's name."""
    with httpx.Client(base_url=stage.http) as client:
        reply = client.post(f"/{names['running_operation']}/cancel", headers={"Sec-Fetch-Site": "same-origin"})
        assert reply.status_code == 403
    assert not stage.ledger.get_operation(names["running_operation"]).cancel_requested
