"""Phantom traffic through a really served model: one of its versions hurts one group, and that cell alarms.

All images come from a low-dose scanner; behind the second version it takes women's at a tenth of that dose, so that
the same network finds an enlarged heart in nearly every healthy woman.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import tritonclient.grpc as triton_grpc
from evenhand import Client

from services.adapters.weights import DirectoryRegistry
from services.maths.imaging.degradation import degrade
from services.maths.phantoms import draw_records
from services.maths.pixels import to_model
from tests.dashboard_queries import queries
from tests.e2e.conftest import ROOT, Platform
from tests.servers.alertmanager import Alertmanager, Webhook, shipped_routes_at_once
from tests.servers.prometheus import Prometheus

pytestmark = [pytest.mark.ray, pytest.mark.prometheus, pytest.mark.timeout(900)]

MODEL = "chest-classifier"
RECORD = next(model for model in DirectoryRegistry([ROOT / "deploy" / "zoo"]).models() if model.name == MODEL)
LABELS = ("Cardiomegaly", "Lung Opacity")
PER_WINDOW, REFERENCE, HURT = 320, 3, 2
PHOTONS, FEWER = 3000, 300
LEVELS = {"sex": ["Female", "Male"], "age": ["under 60", "60 and over"]}


@pytest.fixture(scope="module")
def traffic(platform: Platform) -> pd.DataFrame:
    """A row per image in order of time: who, what is true, and what the served model said of it."""
    images, rows = _phantoms(PER_WINDOW * (REFERENCE + HURT))
    hurt = (np.arange(len(rows)) >= PER_WINDOW * REFERENCE) & (rows["sex"] == "Female").to_numpy()
    for dose, those in ((PHOTONS, ~hurt), (FEWER, hurt)):
        ids = list(rows["record_id"][those])
        images[those] = degrade(images[those], ids, seed=1, operator="low-dose-xray", photons=dose)
    scores = _classified(platform, images)
    start = datetime.now(UTC) - timedelta(hours=2)
    return rows.assign(
        **{f"score {label}": scores[label] for label in LABELS},
        time=[start + timedelta(seconds=place) for place in range(len(rows))],
        version=["1" if place < PER_WINDOW * REFERENCE else "2" for place in range(len(rows))],
    )


def _phantoms(count: int) -> tuple[np.ndarray, pd.DataFrame]:
    images: list[np.ndarray] = []
    rows: list[dict[str, Any]] = []
    patient = 0
    while len(rows) < count:
        for record in draw_records("chest", "null", patient, 9001, 128):
            images.append(record.image)
            rows.append(record.row)
        patient += 1
    table = pd.DataFrame(rows[:count])
    table["age"] = np.where(table["age"].astype(float) < 60, *LEVELS["age"])
    return to_model(np.stack(images[:count]), RECORD.input), table


def _classified(platform: Platform, images: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of the labels, from the model behind the API, thirty-two images a request."""
    client = triton_grpc.InferenceServerClient(platform.grpc)
    parts = []
    for at in range(0, len(images), 32):
        batch = images[at : at + 32]
        tensor = triton_grpc.InferInput("image", list(batch.shape), "FP32")
        tensor.set_data_from_numpy(batch)
        answer = client.infer(MODEL, [tensor], "1")
        parts.append(answer.as_numpy(answer.get_response().outputs[0].name))
    found = np.concatenate(parts)
    return {label: found[:, list(RECORD.labels).index(label)] for label in LABELS}


@pytest.fixture(scope="module")
def monitor(platform: Platform, traffic: pd.DataFrame) -> Iterator[Any]:
    """A monitor that saw all of the traffic, with its windows closed."""
    with Client(platform.grpc) as client:
        made = client.monitors.create(
            {
                "model": f"models/{MODEL}",
                "labels": [{"label": label, "threshold": RECORD.thresholds[label]} for label in LABELS],
                "attributes": [{"attribute": name, "levels": levels} for name, levels in LEVELS.items()],
                "window": {"records": PER_WINDOW, "origin": (datetime.now(UTC) - timedelta(days=1)).isoformat()},
                "reference": {"first_windows": REFERENCE},
                "planned_windows": 20,
            }
        )
        for version, rows in traffic.groupby("version"):
            scored = rows[["record_id", "patient_id", "time", *LEVELS]].assign(
                **{label: rows[f"score {label}"] for label in LABELS}
            )
            told = made.record_predictions(scored, model_version=version)
            assert told.recorded == len(rows)
        made.record_labels(traffic[["record_id", *LABELS]])
        _until_closed(made, REFERENCE + HURT)
        yield made


def test_the_version_that_hurts_one_group_raises_an_alarm_of_that_cell(monitor: Any) -> None:
    windows, alarms = monitor.windows(), [alarm.proto for alarm in monitor.alarms()]
    assert [window.proto.records for window in windows] == [PER_WINDOW] * (REFERENCE + HURT)
    versions = [dict(window.proto.model_versions) for window in windows]
    assert versions == [{"1": PER_WINDOW}] * REFERENCE + [{"2": PER_WINDOW}] * HURT
    assert {alarm.key.attribute for alarm in alarms} == {"sex"}
    women = next(
        alarm
        for alarm in alarms
        if (alarm.key.label, alarm.key.metric, alarm.key.group) == ("Cardiomegaly", "fpr", "Female")
    )
    assert 0 < women.low < women.change
    assert REFERENCE <= women.since_window <= REFERENCE + 1
    assert women.model_versions == ["2"]
    assert {one.what for one in women.moved if one.moved} & {"error_rate", "score_distribution", "threshold"}
    assert "prevalence" not in {one.what for one in women.moved if one.moved}
    assert "sex=Female" in women.summary


def test_the_alarm_reaches_a_webhook_the_dashboard_and_the_console(
    platform: Platform,
    monitor: Any,
    prometheus: Callable[..., Prometheus],
    alertmanager: Callable[[Path], Alertmanager],
    tmp_path: Path,
) -> None:
    name = monitor.proto.name.removeprefix("monitors/")
    page = httpx.get(f"{platform.http}/monitors/{name}").text
    assert {"Cardiomegaly", "Female", "false positive rate"} <= set(
        re.findall("Cardiomegaly|Female|false positive rate", page)
    )
    assert f"/monitors/{name}/windows/{REFERENCE}" in page

    webhook = Webhook()
    try:
        server = _watched(platform, prometheus, alertmanager, webhook, tmp_path)
        server.wait_for(f'evenhand_monitor_alarm{{monitor="{name}"}} == 1', timeout_s=60)
        until = time.monotonic() + 90
        while True:
            path, body = webhook.posted.get(timeout=max(0.1, until - time.monotonic()))
            cells = [(alert["labels"].get("label"), alert["labels"].get("group")) for alert in body["alerts"]]
            if path == "/fairness" and ("Cardiomegaly", "Female") in cells:
                break
    finally:
        webhook.stop()
    for title, expression in queries(ROOT / "deploy/grafana/dashboards/drift.json", server):
        assert server.query(expression), f"{title}: {expression}"


def _watched(
    platform: Platform,
    prometheus: Callable[..., Prometheus],
    alertmanager: Callable[[Path], Alertmanager],
    webhook: Webhook,
    folder: Path,
) -> Prometheus:
    """A Prometheus with the shipped rules that scrapes the platform, and posts by the shipped routes, but at once."""
    quick = shipped_routes_at_once(ROOT / "deploy/alertmanager/alertmanager.yml", webhook, folder)
    rules = sorted((ROOT / "deploy/prometheus/rules").glob("*.yml"))
    host = platform.http.removeprefix("http://")
    server = prometheus([host], rule_files=rules, alertmanagers=[alertmanager(quick).address], every="1s")
    server.wait_for("evenhand_ledger_up == 1", timeout_s=60)
    return server


def _until_closed(monitor: Any, windows: int, limit_s: float = 240) -> None:
    until = time.monotonic() + limit_s
    while monitor.refresh().proto.closed_windows < windows:
        assert time.monotonic() < until, f"after {limit_s:.0f} s the monitor is {monitor.proto}"
        time.sleep(0.5)
