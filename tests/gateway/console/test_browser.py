"""The pages in a real Chromium: every page clicked through, no complaint of it, nothing asked of other servers."""

import re
import time

import pytest
from playwright.sync_api import sync_playwright

from tests.conftest import require
from tests.gateway.console.stage import commit_rows, put_audit
from tests.servers.processes import program

pytestmark = pytest.mark.browser

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PAGES = [
    "/", "/cohorts", "/{cohort}", "/cohorts/hostile", "/models", "/models/chest", "/trainings", "/audits", "/{audit}",
    "/{running}", "/{failed}", "/counterfactuals", "/{counterfactual}", "/monitors", "/{monitor}", "/{window}",
    "/operations", "/{running_operation}", "/{running_operation}/cancel",
]  # fmt: skip


def until(page, expression, limit_s=20):
    """Wait until ``expression`` is true. Playwright's own way of waiting needs eval, which the policy forbids."""
    end = time.monotonic() + limit_s
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


@pytest.fixture(scope="module")
def chrome():
    """One browser for all tests; Playwright only drives the Chromium that is installed."""
    path = require("Chromium", lambda: program("chromium"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


class Visit:
    """A page of a browser that notes complaints and where it asked for things."""

    def __init__(self, chrome, url, **context):
        self.context = chrome.new_context(base_url=url, viewport={"width": 1280, "height": 900}, **context)
        self.page = self.context.new_page()
        self.url, self.complaints, self.foreign = url, [], []
        self.page.on("console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        self.page.on("request", self._note)

    def _note(self, request):
        if not request.url.startswith((self.url, "data:")):
            self.foreign.append(request.url)

    def go(self, path):
        reply = self.page.goto(path, wait_until="load")
        assert reply.status == 200, path
        return self.page


@pytest.fixture
def visit(chrome):
    opened = []

    def visit(url, **context):
        opened.append(Visit(chrome, url, **context))
        return opened[-1]

    yield visit
    for one in opened:
        one.context.close()
        assert not one.complaints
        assert not one.foreign


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_opens_without_a_complaint_and_fits(stage, names, visit, scheme, tmp_path):
    seen = visit(stage.http, color_scheme=scheme)
    papers = set()
    for path in PAGES:
        page = seen.go(path.format(**names))
        papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert page.locator("h1").is_visible()
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            assert len(page.screenshot(full_page=True)) > 5_000
        page.set_viewport_size({"width": 1280, "height": 900})
    assert papers == {"rgb(246, 246, 244)" if scheme == "light" else "rgb(18, 19, 21)"}


def test_every_link_of_every_page_leads_somewhere(stage, names, visit):
    seen = visit(stage.http)
    todo, done = ["/"], set()
    served = {model["name"] for model in seen.page.request.get("/v1/models").json()["models"]}
    while todo:
        path = todo.pop()
        done.add(path)
        page = seen.go(path)
        links = page.locator("main a[href], header a[href]").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        links = {link.partition("#")[0] for link in links} - {""}
        # What worked once may be served no more: its link then leads to a page that says so.
        links = {link for link in links if not link.startswith("/models/") or link[1:].partition("%40")[0] in served}
        pages = {link for link in links if re.match(r"/([a-z]+(/[^/]+(/cancel|/windows/\d+)?)?)?(\?.*)?$", link)}
        for link in links - pages - done:
            assert seen.page.request.get(link).status == 200, (path, link)
            done.add(link)
        pages = {link for link in pages if not link.startswith(("/v1", "/v2", "/metrics"))}
        todo += sorted(pages - done - set(todo))
    reached = {path.format(**names) for path in PAGES}
    assert reached <= done, reached - done


def test_the_keyboard_reaches_everything(stage, names, visit):
    seen = visit(stage.http)
    for path in ("/", "/{audit}", "/{counterfactual}", "/{monitor}"):
        page = seen.go(path.format(**names))
        page.evaluate("document.querySelectorAll('iframe').forEach(frame => frame.remove())")  # has hundreds of its own
        page.evaluate("addEventListener('focusin', event => { event.target.dataset.reached = 1 })")
        wanted = page.locator(
            "a[href], button:enabled, input:enabled:not([type=hidden]), select, summary, [tabindex='0']"
        )
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        for _ in range(wanted.count() + 100):  # what scrolls, and a video's own buttons, are reached besides
            page.keyboard.press("Tab")
            focused = page.evaluate_handle("document.activeElement")
            if focused.evaluate("e => e === document.body || e.className === 'skip'"):
                break
            assert focused.evaluate("e => getComputedStyle(e).outlineStyle") != "none", focused.inner_html()
        missed = wanted.evaluate_all(
            """all => all.filter(e => e.checkVisibility({visibilityProperty: true}) && !e.dataset.reached)
                         .map(e => e.outerHTML)"""
        )
        assert not missed, path


def test_the_skip_link_leads_to_the_content(stage, visit):
    page = visit(stage.http).go("/audits")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_the_player_scrubs_plays_and_blinks(stage, names, visit):
    page = visit(stage.http).go(f"/{names['counterfactual']}")
    pixels = "id => { const c = document.getElementById(id); return c.width ? c.toDataURL() : '' }"
    until(page, "document.getElementById('scale').textContent.endsWith('%')")
    until(page, "document.getElementById('frame').width > 1")
    first, flat = page.evaluate(pixels, "frame"), page.evaluate(pixels, "difference")
    page.focus("#scrub")
    page.keyboard.press("End")
    until(page, "document.getElementById('place').textContent === '10 of 10'")
    last, map_ = page.evaluate(pixels, "frame"), page.evaluate(pixels, "difference")
    assert last != first and map_ != flat
    assert page.locator("#shown").inner_text() == "Frame 10 of 10"
    page.keyboard.press("ArrowLeft")
    until(page, "document.getElementById('place').textContent === '9 of 10'")
    page.keyboard.press("End")
    page.keyboard.press("b")
    assert page.locator("#blink").get_attribute("aria-pressed") == "true"
    until(page, "document.getElementById('shown').textContent.includes('blinking')")
    assert page.evaluate(pixels, "frame") == first
    page.keyboard.press("b")
    until(page, "!document.getElementById('shown').textContent.includes('blinking')")
    page.click("#play")
    until(page, "document.getElementById('place').textContent !== '10 of 10'")
    page.click("#play")
    assert page.locator("#play").inner_text() == "Play"
    assert page.locator("#trace-chart canvas").count() == 1
    assert page.locator(".watermark").first.is_visible()


def test_drift_is_drawn_in_the_colours_of_the_scheme(stage, names, visit):
    seen = visit(stage.http)
    page = seen.go(f"/{names['monitor']}")
    assert page.locator(".drift canvas").count() == 2
    drawn = "document.querySelector('.drift canvas').toDataURL()"
    light = page.evaluate(drawn)
    page.emulate_media(color_scheme="dark")
    until(page, f"{drawn} !== {light!r}")
    page.select_option("#pick-label", "Fracture")
    page.click("text=Show")
    assert "label=Fracture" in page.url and "Fracture, Female" in page.locator("figcaption").first.inner_text()


def test_progress_moves_without_a_reload_and_the_end_is_shown(open_stage, visit):
    stage = open_stage()
    audit, operation = put_audit(stage.ledger, "moving", 80, 40, 80)
    commit_rows(stage.ledger, operation)
    page = visit(stage.http).go(f"/{audit}")
    assert page.locator('[data-live="counted"]').inner_text() == "80 of 200 rows"
    page.evaluate("window.same = true")
    commit_rows(stage.ledger, operation)
    until(page, """document.querySelector('[data-live="counted"]').textContent === '120 of 200 rows'""")
    assert page.evaluate("""document.querySelector('[data-live="share"]').value""") == 0.6
    assert page.evaluate("window.same") is True
    with page.expect_event("load"):
        stage.ledger.request_cancel(operation)
    assert page.evaluate("window.same") is None
    assert page.locator("main .state").first.inner_text() == "cancelled"
    assert page.locator("[data-operation]").count() == 0


def test_cancelling_takes_two_clicks(open_stage, names, visit):
    stage = open_stage()
    page = visit(stage.http).go(f"/{names['running_operation']}")
    page.click("text=Cancel this operation")
    assert not stage.ledger.get_operation(names["running_operation"]).cancel_requested
    page.click("button:has-text('Cancel the operation')")
    page.wait_for_url(f"**/{names['running_operation']}")
    assert stage.ledger.get_operation(names["running_operation"]).cancel_requested


def test_signing_in_and_out(open_stage, visit):
    stage = open_stage(keys=("key-of-a-hospital",))
    seen = visit(stage.http)
    page = seen.page
    page.goto("/audits?page_token=")
    assert page.url.startswith(f"{stage.http}/sign-in?next=")
    page.fill("#key", "key-of-a-hospital")
    page.keyboard.press("Enter")
    page.wait_for_url("**/audits?page_token=")
    assert page.evaluate("document.cookie") == ""
    page.click("text=Sign out")
    page.wait_for_url("**/sign-in")
    page.goto("/audits")
    assert "/sign-in" in page.url


def test_pages_work_without_scripts(stage, names, visit):
    seen = visit(stage.http, java_script_enabled=False)
    page = seen.go(f"/{names['counterfactual']}")
    assert page.locator("video").is_visible() and not page.locator("#player").is_visible()
    page = seen.go(f"/{names['monitor']}")
    page.locator("summary").first.click()
    assert page.locator("details[open] table").first.is_visible()
    page = seen.go(f"/{names['running']}")
    assert page.locator("progress").is_visible()


def test_the_report_in_its_frame_is_readable(stage, names, visit):
    page = visit(stage.http).go(f"/{names['audit']}")
    page.locator("iframe").scroll_into_view_if_needed()
    assert page.frame_locator("iframe").locator("h1").inner_text() == "small"


def test_a_page_prints(stage, names, visit):
    page = visit(stage.http).go(f"/{names['monitor']}")
    assert page.pdf()[:5] == b"%PDF-"
    page.emulate_media(media="print")
    assert not page.locator(".bar nav").is_visible() and page.locator("h1").is_visible()
