"""The dashboards: what the code writes, Grafana's schema, every query against real numbers, and a look at them."""

from __future__ import annotations

import copy
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.dashboard.modules.reporter.reporter_agent import GPU_TAG_KEYS, METRICS_GAUGES

from services.gateway import metrics
from tests.conftest import require
from tests.dashboard_queries import filled, queries, variables
from tests.deploy.drifting import Drift, scraped_drift
from tests.gateway.conftest import World
from tests.servers.processes import program
from tests.servers.prometheus import Prometheus

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
PREVIEW = GRAFANA / "preview"
DRAWN = ROOT / "out" / "dashboards"
WITHOUT_GPU = {"GPU busy", "GPU memory"}

SCHEMA = json.loads(Path(__file__).with_name("dashboard.schema.json").read_text())
OF_THE_SOURCE = ("expr", "step", "titleFormat", "textFormat")  # keys of an annotation that Prometheus' source adds


def faults(document: dict[str, Any]) -> list[str]:
    """What Grafana's schema of a dashboard, which knows no extra keys, has against one."""
    known = copy.deepcopy(document)
    for annotation in known["annotations"]["list"]:
        for key in OF_THE_SOURCE:
            del annotation[key]
    found = jsonschema.Draft7Validator(SCHEMA).iter_errors(known)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in found]


def test_the_committed_dashboards_are_what_their_code_writes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, GRAFANA / "dashboards.py", tmp_path], check=True)
    written = {file.name: file.read_text() for file in tmp_path.glob("*.json")}
    assert set(written) == {"fairness-overview.json", "drift.json", "serving.json", "audits.json"}
    assert written == {file.name: file.read_text() for file in DASHBOARDS}


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_fits_grafanas_schema(dashboard: Path) -> None:
    assert faults(json.loads(dashboard.read_text())) == []


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        (("schemaVersion",), "39"),
        (("panels", 0, "gridPos", "w"), "wide"),
        (("panels", 0, "titel"), "Monitors"),
        (("panels", 0, "fieldConfig", "defaults", "thresholds"), {"mode": "absolutely", "steps": []}),
        (("templating", "list", 0, "refresh"), 7),
    ],
)
def test_the_schema_refuses_what_grafana_would_not_read(where: tuple[Any, ...], wrong: Any) -> None:
    document = json.loads((GRAFANA / "dashboards" / "fairness-overview.json").read_text())
    place = document
    for key in where[:-1]:
        place = place.setdefault(key, {}) if isinstance(place, dict) else place[key]
    place[where[-1]] = wrong
    assert faults(document)


def test_titles_are_given_once_and_every_panel_says_what_to_make_of_it() -> None:
    identifiers = set()
    for dashboard in DASHBOARDS:
        document = json.loads(dashboard.read_text())
        identifiers.add(document["uid"])
        panels = [panel for panel in document["panels"] if panel["type"] != "row"]
        titles = [panel["title"] for panel in panels]
        assert len(set(titles)) == len(titles)
        assert all(len(panel["description"]) > 15 for panel in panels)
        for one in document["panels"]:
            place = one["gridPos"]
            assert place["x"] + place["w"] <= 24
    assert len(identifiers) == len(DASHBOARDS)


def test_what_is_provisioned_is_where_compose_puts_it_and_what_the_panels_ask() -> None:
    provisioned = GRAFANA / "provisioning"
    (provider,) = yaml.safe_load((provisioned / "dashboards" / "evenhand.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((provisioned / "datasources" / "prometheus.yaml").read_text())["datasources"]
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert source["url"].removeprefix("http://").split(":")[0] in services
    for dashboard in DASHBOARDS:
        panels = [panel for panel in json.loads(dashboard.read_text())["panels"] if panel["type"] != "row"]
        assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}


def test_the_gpu_panels_ask_for_gauges_that_ray_has() -> None:
    document = json.loads((GRAFANA / "dashboards" / "serving.json").read_text())
    asked = [t["expr"] for panel in document["panels"] if panel["title"] in WITHOUT_GPU for t in panel["targets"]]
    for expression, gauge in zip(asked, ("node_gpus_utilization", "node_gram_used"), strict=True):
        assert f"(ray_{gauge})" in expression
        assert "GpuIndex" in GPU_TAG_KEYS
        assert gauge in METRICS_GAUGES


@pytest.fixture(scope="module")
def drift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drift]:
    """A Prometheus that has seen a monitor drift, an alarm and a new version of the model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "KEPT_S", 0.0)  # the windows of months in less than a minute
        world = World(tmp_path_factory.mktemp("drift"), drain_s=1.0).start()
        server = require("Prometheus", lambda: Prometheus([world.http.removeprefix("http://")], every="1s"))
        try:
            yield scraped_drift(world, server)
        finally:
            server.stop()
            world.stop()


@pytest.mark.prometheus
@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_finds_numbers(dashboard: Path, drift: Drift) -> None:
    asked = 0
    for title, expression in queries(dashboard, drift.server):
        if title not in WITHOUT_GPU:
            values = [
                float(series["value"][1])
                for series in drift.server.query(f"last_over_time(({expression})[30s:1s])", drift.end)
            ]
            assert values and any(map(math.isfinite, values)), f"{title}: {expression}"
            asked += 1
    assert asked >= 10


@pytest.mark.prometheus
def test_an_alarm_and_a_new_version_are_marked_at_one_moment(drift: Drift) -> None:
    document = json.loads((GRAFANA / "dashboards" / "drift.json").read_text())
    values = {**variables(document, drift.server), "label": "Edema", "metric": "tpr", "attribute": "sex"}
    alarms, versions = (filled(each["expr"], values) for each in document["annotations"]["list"])
    for expression, wanted in ((alarms, {"Female", "Male"}), (versions, {"1", "2"})):
        seen = drift.server.query(f"count_over_time(({expression})[5m:1s])", drift.end)
        assert {series["metric"].get("group") or series["metric"]["version"] for series in seen} == wanted
        assert all(1 <= float(series["value"][1]) <= 2 for series in seen), "marked once, not as long as it lasts"


def built_page() -> Path:
    """The page that draws with Grafana's components, made where npm can be had."""
    npm = require("npm", lambda: program("npm"))
    if not (PREVIEW / "node_modules" / "@grafana" / "ui").is_dir():
        install = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        done = subprocess.run([npm, *install], cwd=PREVIEW, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"Grafana's components cannot be installed here: {done.stderr[-300:]}")
    subprocess.run([npm, "run", "build"], cwd=PREVIEW, check=True, capture_output=True)
    return PREVIEW / "dist"


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_drawn_by_grafanas_components(
    dashboard: Path, theme: str, drift: Drift, chromium: str, tmp_path: Path
) -> None:
    from playwright.sync_api import sync_playwright

    shutil.copytree(built_page(), tmp_path, dirs_exist_ok=True)
    preview = {
        "dashboard": json.loads(dashboard.read_text()),
        "prometheus": drift.server.url,
        "from": drift.begin,
        "to": drift.end,
        "step": 1,
        "theme": theme,
        "values": {"label": "Edema", "metric": "tpr", "attribute": "sex"} if dashboard.stem == "drift" else {},
    }
    page_file = tmp_path / "page.html"
    page_file.write_text(
        f'<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="page.css"><body style="margin:8px">'
        f'<div id="page"></div><script>window.PREVIEW = {json.dumps(preview)}</script><script src="page.js"></script>'
    )
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1620, "height": 1000})
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        page.wait_for_function("window.DRAWN")
        drawn = page.evaluate("window.DRAWN")
        assert "error" not in drawn, drawn
        page.set_viewport_size({"width": 1620, "height": drawn["height"] + 20})
        page.wait_for_timeout(1000)
        DRAWN.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=DRAWN / f"{dashboard.stem}-{theme}.png")
        browser.close()
    assert all(url.startswith(("file:", "data:", drift.server.url)) for url in asked), (
        "nothing is fetched from elsewhere"
    )
    titles = [panel["title"] for panel in drawn["panels"]]
    for panel in drawn["panels"]:
        assert not panel.get("error"), panel
        assert (panel["points"] == 0) == (panel["title"] in WITHOUT_GPU), panel
    if dashboard.stem == "drift":
        assert {"Female", "Male"} <= set(titles), "a panel for each group"
        assert {mark["text"].split(":")[0] for mark in drawn["marks"]} == {"Alarm", "Model version"}
