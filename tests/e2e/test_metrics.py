"""One /metrics for the whole platform, and every dashboard panel's query against a real Prometheus that scraped it."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.dashboard_queries import queries
from tests.e2e.conftest import ROOT, MainJob, Platform
from tests.servers.prometheus import Prometheus

pytestmark = [pytest.mark.ray, pytest.mark.prometheus]

DASHBOARDS = [
    ROOT / "deploy/grafana/dashboards" / f"{name}.json" for name in ("audits", "fairness-overview", "serving")
]
# No monitor watches this platform, and where it has no GPU there is none to show: tests/deploy asks for these.
ELSEWHERE = ("evenhand_monitor_", "ray_node_g")


@pytest.fixture(scope="module")
def scraped(main_job: MainJob, platform: Platform) -> str:
    """/metrics after the main job's audit was run once more: the newest is shown whole, older ones if there is room."""
    spec = main_job.artifacts.parent / "spec.yaml"
    platform.run("audits", "create", str(spec), "--cohort", main_job.cohort["name"], "--watch")
    return httpx.get(f"{platform.http}/metrics").text


def test_requests_batches_and_fairness_are_on_one_page(scraped: str, main_job: MainJob) -> None:
    for name in (
        "evenhand_gateway_requests_total",
        "evenhand_gateway_request_seconds_bucket",
        "evenhand_batch_rows_bucket",
        "evenhand_subgroup_metric",
        "evenhand_subgroup_n",
        "evenhand_subgroup_patients",
        "evenhand_fairness_gap",
    ):
        assert f"\n{name}{{" in scraped, name
    assert 'model="chest-classifier"' in scraped


def test_a_gauge_is_the_reports_number(scraped: str, main_job: MainJob) -> None:
    cells = json.loads((main_job.artifacts / "report.json").read_text())["cells"]
    wanted = (f'cohort="{main_job.cohort["name"].removeprefix("cohorts/")}"', 'metric="auroc"', 'group="Female"')
    shown = [
        line
        for line in scraped.splitlines()
        if line.startswith("evenhand_subgroup_metric{") and all(part in line for part in wanted)
    ]
    assert shown
    for line in shown:
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
        value = float(line.rpartition(" ")[2])
        keys = ("pipeline", "label", "metric", "attribute", "group")
        (cell,) = [c for c in cells if all(str(c[k] or "") == labels[k] for k in keys)]
        assert value == pytest.approx(cell["estimate"])


def test_no_patient_or_file_is_in_a_label(scraped: str, main_job: MainJob) -> None:
    import pandas as pd

    table = pd.read_csv(main_job.phantoms / "rows.csv")
    for value in [*table.patient_id.astype(str).unique()[:50], *table.image.astype(str)[:50]]:
        assert f'"{value}"' not in scraped


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panels_query_finds_numbers(
    dashboard: Path, main_job: MainJob, platform: Platform, prometheus: Callable[..., Prometheus]
) -> None:
    server = prometheus([platform.http.removeprefix("http://")], every="1s")  # a scrape of all processes takes a while
    server.wait_for("evenhand_ledger_up == 1")
    until = time.monotonic() + 6
    while time.monotonic() < until:  # some traffic for the rates, a refused request among it
        httpx.get(f"{platform.http}/v1/models")
        httpx.get(f"{platform.http}/v1/models/nothing")
        platform.run("models", "list", check=False)
    image = main_job.phantoms / "images"
    file = sorted(path for path in image.iterdir() if path.suffix == ".dcm")[0]
    for _ in range(3):
        platform.run("models", "infer", "chest-classifier", str(file), check=False)
    time.sleep(2.5)
    asked = 0
    for title, expression in queries(dashboard, server):
        if not any(name in expression for name in ELSEWHERE):
            values = [float(series["value"][1]) for series in server.query(expression)]
            assert values and any(map(math.isfinite, values)), f"{title}: {expression}"
            asked += 1
    assert asked >= 7
