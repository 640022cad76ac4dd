"""Every page without a browser: what it shows, its headers, and what becomes of hostile names."""

import html
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import httpx
import pytest

from services.gateway.console.rendering import VERSION
from tests.gateway.console.stage import HOSTILE, put_audit

PAGES = {
    "/": "Evenhand",
    "/cohorts": "Cohorts",
    "/{cohort}": "small",
    "/cohorts/hostile": "From the table to the cohort",
    "/models": "Models",
    "/models/chest": "Held-out scores|Labels",
    "/models/affine@1": "version 1",
    "/trainings": "There is no training here",
    "/audits": "succeeded",
    "/{audit}": "What was found",
    "/{running}": "80 of 200 rows",
    "/{failed}": "It failed",
    "/counterfactuals": "White to Black",
    "/{counterfactual}": "SYNTHETIC",
    "/monitors": "alarm",
    "/{monitor}": "Changes of a gap that noise does not explain",
    "/{monitor}?label=Fracture&metric=fpr&attribute=age": "Fracture, false positive rate, age",
    "/{window}": "Each label in each group",
    "/operations": "Given out again",
    "/operations?kind=audit": "running",
    "/{running_operation}": "Cancel this operation",
    "/{running_operation}/cancel": "cannot be undone",
}
APART = {"td", "th", "dt", "dd", "li", "p", "br", "h1", "h2", "h3"}
VOID = {"meta", "link", "input", "img", "br", "hr"}


class Outline(HTMLParser):
    """Collects what a page is made of, and fails where tags do not nest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.text += " " if tag in APART else ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_says_what_it_is_for(web, names, path):
    reply = web.get(path.format(**names))
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    page = Outline(reply.text)
    assert re.search(PAGES[path], page.text)
    assert f"Evenhand {VERSION} " in page.text, "of this software, whatever model is shown"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_can_be_read_by_ear_and_driven_by_keys(web, names, path):
    page = Outline(web.get(path.format(**names)).text)
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("main")) == len(page.all("h1")) == 1 and page.all("main")[0]["id"] == "content"
    assert next(tag for tag in page.all("a")) == {"class": "skip", "href": "#content"}
    assert all(nav.get("aria-label") for nav in page.all("nav"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes]
    assert set(named) <= set(ids)
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    assert all(image.get("alt") for image in page.all("img"))
    assert all(frame["title"] for frame in page.all("iframe"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))
    labels = {label.get("for") for label in page.all("label")}
    shown = [given for given in page.all("input") if given.get("type") != "hidden"]
    assert all(given["id"] in labels for given in shown)


@pytest.mark.parametrize("path", [*PAGES, "/audits/nope", "/assets/live.js", "/{running_operation}/progress"])
def test_nothing_may_run_but_our_own_scripts(web, names, path):
    headers = web.get(path.format(**names)).headers
    allowed = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["frame-ancestors"] == "'none'"
    assert allowed["script-src"] == allowed["style-src"] == allowed["connect-src"] == allowed["form-action"] == "'self'"
    assert allowed["img-src"] == "'self' data:"
    framing = path == "/{audit}" or path in ("/{running}", "/{failed}")
    assert ("frame-src" in allowed) == framing
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_inline_code_and_nothing_from_elsewhere(web, names, path):
    page = Outline(web.get(path.format(**names)).text)
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        for name in ("src", "href", "action"):
            assert attributes.get(name, "/").startswith(("/", "#", "data:,")), (tag, attributes)
    data = [script for script in page.all("script") if "src" not in script]
    assert all(script["type"] == "application/json" for script in data)
    assert "style" not in [tag for tag, _ in page.tags]


@pytest.mark.parametrize("path", ["/", "/cohorts", "/cohorts/hostile", "/audits", "/{running}", "/{failed}"])
def test_hostile_names_are_only_text(web, names, path):
    reply = web.get(path.format(**names)).text
    page = Outline(reply)
    assert HOSTILE in page.text
    assert "<script>alert" not in reply and "<img src=x" not in reply and "49" not in re.findall(r"\{\{.*?\}\}", reply)
    assert not page.all("img") or all(image["src"] != "x" for image in page.all("img"))


def test_verdicts_are_those_of_the_report(web, names):
    report = web.get(f"/v1/{names['audit']}/artifacts/report.json").json()
    changes = [row for row in report["changes"] if row["family"] == "changes" and row["verdict"] is not None]
    found = [row for row in changes if row["verdict"] == "change"]
    assert found
    page = " ".join(Outline(web.get(f"/{names['audit']}").text).text.split())
    assert f"{len(found)} of {len(changes)} comparisons of candidates with the baseline differ" in page


def test_a_report_is_shown_in_a_frame_that_runs_nothing(web, names):
    page = Outline(web.get(f"/{names['audit']}").text)
    frame = page.all("iframe")[0]
    assert frame["sandbox"] is None  # present and empty: nothing is allowed
    reply = web.get(frame["src"])
    assert reply.content == web.get(f"/v1/{names['audit']}/artifacts/report.html").content
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'") and "frame-ancestors 'self'" in policy
    etag = reply.headers["etag"]
    assert web.get(frame["src"], headers={"If-None-Match": etag}).status_code == 304


def test_an_alarm_names_its_cell_and_leads_to_its_window(web, names):
    monitor = names["monitor"]
    told = web.get(f"/v1/{monitor}/alarms").json()["alarms"]
    alarm = next(alarm for alarm in told if alarm["key"]["group"] == "Female")
    for path in ("/", f"/{monitor}"):
        reply = web.get(path)
        page = " ".join(Outline(reply.text).text.split())
        change = f"{alarm['change']:+.3f}".replace("-", "−")
        assert f"Female (sex) Edema, true positive rate {change}" in page
        assert f"since {alarm['sinceWindow']}" in page or f"window {alarm['sinceWindow']}" in page
        assert alarm["patients"] in page and "error rate −0." in page
        assert f'href="/{alarm["window"]}"' in reply.text
    assert alarm["window"] == names["window"]


def test_a_chart_is_there_in_words_and_numbers_too(web, names):
    reply = web.get(f"/{names['monitor']}")
    drawn = json.loads(html.unescape(re.search(r'id="drift-data">(.*?)</script>', reply.text)[1]))
    assert [one["group"] for one in drawn] == ["Female", "Male"]
    for one in drawn:
        assert len(one["times"]) == len(one["change"]) == len(one["cases"]) == 10
        assert one["change"][0] is None and one["low"][-1] < one["change"][-1] < one["high"][-1]
        assert one["versions"] == [[4, "version 2"]] and len(one["alarms"]) == 1
    page = " ".join(Outline(reply.text).text.split())
    assert "Change of the gap after window 9: −0." in page and "Alarm at window" in page
    table = re.search(r"Female</bdi>; the newest window first.*?</table>", reply.text, re.S)[0]
    assert table.count("<tr>") == 11 and f"{drawn[0]['change'][-1]:+.3f}".replace("-", "−") in table


def test_a_window_shows_its_cells_digest_and_what_came_later(web, names):
    window = web.get(f"/v1/{names['monitor']}/windows/9").json()
    page = " ".join(Outline(web.get(f"/{names['monitor']}/windows/9").text).text.split())
    assert window["digest"] in page and f"Came after closing {window['lateRows']}" in page
    assert window["lateRows"] == "80" and "revision 1" in page
    cell = next(cell for cell in window["cells"] if (cell["label"], cell["group"]) == ("Edema", "Female"))
    assert f"Edema sex: Female {cell['records']} {cell['patients']}" in page and f"{cell['values']['tpr']:.3f}" in page


def test_a_window_with_few_labels_shows_what_scores_and_labels_say_together(web, names):
    window = web.get(f"/v1/{names['monitor']}/windows/3").json()
    page = " ".join(Outline(web.get(f"/{names['monitor']}/windows/3").text).text.split())
    rate = next(r for r in window["rates"] if (r["label"], r["group"], r["metric"]) == ("Edema", "Female", "tpr"))
    told = f"{rate['value']:.3f} {rate['low']:.3f} to {rate['high']:.3f} {rate['labelsValue']:.3f}"
    assert "Where labels are few" in page and told in page
    assert "Where labels are few" not in web.get(f"/{names['monitor']}/windows/9").text


def test_every_frame_of_a_counterfactual_is_there_for_the_player(web, names):
    page = web.get(f"/{names['counterfactual']}")
    frames = re.findall(r"frame-\d{4}\.png", page.text)
    assert len(frames) == 10 and frames == sorted(frames)
    for frame in (frames[0], frames[-1]):
        reply = web.get(f"/{names['counterfactual']}/files/{frame}")
        assert reply.headers["content-type"] == "image/png" and reply.content[:4] == b"\x89PNG"
    outline = Outline(page.text)
    assert outline.all("video")[0]["src"] == f"/{names['counterfactual']}/files/video.mp4"
    assert "race Black" in outline.text
    assert "media-src 'self'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/audits/nope", "AUDIT_NOT_FOUND"),
        ("/cohorts/nope", "COHORT_NOT_FOUND"),
        ("/models/nope", "MODEL_NOT_FOUND"),
        ("/counterfactuals/nope", "COUNTERFACTUAL_NOT_FOUND"),
        ("/monitors/nope", "MONITOR_NOT_FOUND"),
        ("/{monitor}/windows/77", "WINDOW_NOT_FOUND"),
        ("/{monitor}/windows/x", "NAME_MALFORMED|WINDOW"),
        ("/operations/nope", "OPERATION_NOT_FOUND"),
        ("/audits/nope/files/report.html", "AUDIT_NOT_FOUND"),
        ("/{audit}/files/nope.html", "ARTIFACT_NOT_FOUND"),
        ("/audits/%3Cscript%3Ealert(1)", "AUDIT_NOT_FOUND"),
        ("/audits/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "PATH_NOT_FOUND"),
        ("/nowhere", "PATH_NOT_FOUND"),
        ("/audits/%00", "CONTROL_CHARACTER|NAME_MALFORMED|AUDIT_NOT_FOUND"),
    ],
)
def test_what_is_not_there_says_so(web, names, path, reason):
    reply = web.get(path.format(**names), headers={"Accept": "text/html,*/*"})
    assert reply.headers["content-type"].startswith("text/html")
    assert reply.status_code in (404, 400) and (reply.status_code == 404 or "%00" in path)
    page = Outline(reply.text)
    assert re.search(reason, page.text) and "Traceback" not in page.text


def test_a_page_token_of_another_list_is_refused(web):
    assert web.get("/audits?page_token=zzz").status_code == 400
    assert web.get("/operations?kind=nothing").status_code == 400


def test_a_ledger_that_is_away_is_a_page_of_its_own(open_stage):
    stage = open_stage()
    stage.ledger.away = True
    for path in ("/", "/audits", "/audits/one", "/cohorts", "/operations", "/counterfactuals"):
        reply = httpx.get(f"{stage.http}{path}")
        assert reply.status_code == 503, path
        assert int(reply.headers["retry-after"]) >= 1
        assert "the ledger is away" in Outline(reply.text).text
    stage.ledger.away = False
    assert httpx.get(f"{stage.http}/audits").status_code == 200


def test_lists_come_in_pages_that_hold_all_rows_once(open_stage):
    stage = open_stage()
    made = {put_audit(stage.ledger, f"audit {n}", 1)[0] for n in range(60)}
    with httpx.Client(base_url=stage.http) as web:
        path, seen, pages = "/audits", [], 0
        while path:
            reply = web.get(path)
            seen += re.findall(r'scope="row"><a href="/(audits/[0-9a-f-]+)"', reply.text)
            following = re.search(r'rel="next" href="([^"]+)"', reply.text)
            path, pages = following and following[1].replace("&amp;", "&"), pages + 1
        assert pages == 3 and len(seen) == len(set(seen)) == 63 and made < set(seen)
        assert "First page" in reply.text
        first = web.get("/operations?kind=audit")
        assert "kind=audit&amp;page_token=" in first.text


def test_progress_as_json_is_what_the_page_says(web, names):
    reply = web.get(f"/{names['running_operation']}/progress")
    told = reply.json()
    assert (told["counted"], told["state"], told["share"]) == ("80 of 200 rows", "running", 0.4)
    assert reply.headers["cache-control"] == "no-store"


def test_the_api_still_answers_programs_as_before(web):
    reply = web.get("/nowhere")
    assert reply.status_code == 404 and reply.headers["content-type"] == "application/problem+json"


def test_assets_are_whole(web):
    for name, kind in (("console.css", "text/css"), ("live.js", "javascript"), ("player.js", "javascript"),
                       ("uPlot.iife.min.js", "javascript"), ("uPlot.min.css", "text/css")):  # fmt: skip
        reply = web.get(f"/assets/{name}")
        assert reply.status_code == 200 and kind in reply.headers["content-type"] and reply.content
    assert web.get("/assets/../door.py").status_code == 404
