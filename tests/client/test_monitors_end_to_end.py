"""The client against a real gateway, a real monitoring room and a real worker: a fault goes in, its alarm comes out."""

import asyncio
import json
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evenhand import MonitorSpec
from evenhand.client import Client
from evenhand.commands.console import ExitCode
from evenhand.errors import Conflict, InvalidInput, NotFound
from evenhand.monitor_spec import monitor_spec_proto

from services.adapters.telemetry import PrometheusTelemetry
from services.gateway.backends import LocalBackends
from services.gateway.edge import open_edge
from services.gateway.replica import Replica
from services.gateway.settings import Settings
from services.hosting.envelope import seal
from tests.monitoring.world import BEGAN, DAY, LABELS, LEVELS, THRESHOLDS, Traffic, make_world

SHIPPED = Path(__file__).resolve().parents[2] / "deploy/monitors/chest-classifier.yaml"
ORIGIN = BEGAN - 10 * DAY
SPEC = MonitorSpec(
    labels=dict(zip(LABELS, THRESHOLDS, strict=True)),
    attributes=LEVELS,
    metrics=["tpr"],
    window=timedelta(days=1),
    origin=ORIGIN,
    reference=3,
    planned_windows=20,
)


class Monitoring:
    """The monitoring application's handle methods, in this process."""

    def __init__(self, world):
        monitors, windows = world.monitors(), world.windows()
        self.CreateMonitor, self.PlanMonitor = sealed(monitors.create), sealed(monitors.plan)
        self.GetMonitor, self.ListMonitors = sealed(monitors.get), sealed(monitors.list)
        self.DeleteMonitor, self.ListAlarms = sealed(monitors.delete), sealed(windows.alarms)
        self.GetWindow, self.ListWindows = sealed(windows.get), sealed(windows.list)
        self.RederiveWindow = sealed(windows.rederive)


def sealed(work):
    return lambda payload, context: seal(work(payload))


class Platform:
    """One loop in a thread with a gateway's replica and a worker."""

    def __init__(self, folder):
        self.world = make_world(folder)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._start(folder))
        self.address = f"127.0.0.1:{self.replica.grpc_port}"

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _start(self, folder):
        world = self.world
        edge = open_edge(
            Settings(data_dir=folder, http_port=0, grpc_port=0, drain_s=1.0),
            backends=LocalBackends({}, {"monitoring": Monitoring(world)}),
            ledger=world.ledger(),
            store=world.store(),
            telemetry=PrometheusTelemetry(),
            keys=(),
        )
        self.replica = Replica(edge)
        await self.replica.start()
        self._working = asyncio.create_task(world.worker(quiet_s=5.0).run())  # rows first, then labels

    def stop(self):
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _stop(self):
        self._working.cancel()
        await asyncio.gather(self._working, return_exceptions=True)
        await self.replica.stop()


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    platform = Platform(tmp_path_factory.mktemp("platform"))
    with Client(platform.address) as client:
        yield client
    platform.stop()


def tables(traffic):
    """A day's predictions, and its labels."""
    frame = traffic.frame()
    start = pd.Timestamp(ORIGIN + traffic.day * DAY)
    scores = {label: frame[f"score.{label}"] for label in LABELS}
    people = frame[["record_id", "patient_id", *LEVELS]]
    made = people.assign(time=start + pd.to_timedelta(frame["offset_s"], unit="s"), model_version=traffic.version)
    truth = {label: frame[f"truth.{label}"] for label in LABELS}
    return made.assign(**scores), frame[["record_id"]].assign(**truth)


@pytest.fixture(scope="module")
def watched(client):
    """Eight days; from the sixth on another version misses most women with oedema. Rows of the second come late."""
    monitor = client.monitors.create(SPEC, display_name="Ward 3")
    days = [Traffic(day, miss=0.7 if day >= 5 else 0.0, version="2" if day >= 5 else "1") for day in range(8)]
    made, truth = (pd.concat(parts, ignore_index=True) for parts in zip(*map(tables, days), strict=True))
    late = made["record_id"].isin(made.loc[made["record_id"].str.startswith("d1-"), "record_id"].iloc[:9])
    early = monitor.record_labels(truth.sample(frac=0.5, random_state=1))
    assert early.unknown == early.recorded == len(truth) // 2
    assert monitor.record_predictions(made[~late]).recorded == len(made) - 9
    assert monitor.record_labels(truth).duplicates == len(truth) // 2
    closed = set()
    for event in monitor.watch(every=0.1, past=True):
        closed |= {event.window.index} if event.kind == "window" else set()
        if {*range(8)} <= closed and monitor.alarms():
            break
    return monitor.refresh(), made, late


def test_the_right_cell_alarms_with_its_interval_and_what_moved(watched):
    monitor, _, _ = watched
    assert monitor.state == "alarmed"
    alarms = monitor.alarms().to_pandas()
    assert set(alarms["label"]) == {"Edema"} and set(alarms["attribute"]) == {"sex"}
    women = alarms[alarms["group"] == "Female"].iloc[0]
    assert women["low"] <= women["change"] <= women["high"] < 0
    assert women["window"] >= 5 and women["since_window"] >= 4
    assert women["model_versions"] == ["2"]


def test_windows_follow_from_what_was_sent(watched):
    monitor, _, _ = watched
    windows = monitor.windows()
    overview = windows.overview().set_index("window")
    assert overview.loc[range(8), "records"].tolist() == [600, 591, *[600] * 6]
    assert overview.loc[4, "model_versions"] == {"1": 600} and overview.loc[5, "model_versions"] == {"2": 600}
    frame = windows.to_pandas()
    women = frame[(frame["label"] == "Edema") & (frame["group"] == "Female")].set_index("window")
    assert women.loc[5:7, "gap"].max() < -0.3 < women.loc[0:4, "gap"].min()
    cells = monitor.window(0).cells()
    everyone = cells[(cells["label"] == "Edema") & (cells["group"] == "")]
    assert set(everyone["records"]) == {600} and everyone["tpr"].between(0.7, 0.99).all()


def test_late_rows_are_taken_in_when_a_window_is_derived_again(watched, client):
    monitor, made, late = watched
    sent = monitor.record_predictions(made[late])
    assert (sent.recorded, sent.late) == (9, 9)
    before = monitor.window(1)
    again = monitor.rederive(1).result(60)
    assert again.proto.revision == before.proto.revision + 1
    assert (again.proto.records, before.proto.records) == (600, 591)
    assert again.digest != before.digest
    assert monitor.window(1).digest == again.digest


def test_a_drift_plot_is_drawn_of_what_the_platform_found(watched, tmp_path):
    monitor, _, _ = watched
    figure = monitor.drift_plot("Edema", "sex")
    (tmp_path / "drift.png").write_bytes(figure.data())
    women = next(axes for axes in figure.axes if axes.get_title(loc="left").startswith("Female"))
    points = women.containers[0].lines[0]
    assert len(points.get_xdata()) >= 8 and np.nanmin(points.get_ydata()) < -0.3


def test_bad_input_is_refused_with_its_field_and_nothing_is_kept(watched, client):
    monitor, made, late = watched
    changed = made[~late].head(3).assign(Edema=0.123)
    with pytest.raises(Conflict) as caught:
        monitor.record_predictions(changed)
    assert caught.value.reason == "CONFLICTING_RECORD"
    future = made.head(2).assign(record_id=["x", "y"], time=pd.Timestamp.now("UTC") + pd.Timedelta(days=3))
    for wrong, reason in ((future, "TIME_IN_FUTURE"), (future.assign(time=ORIGIN - DAY), "TIME_BEFORE_ORIGIN")):
        with pytest.raises(InvalidInput) as caught:
            monitor.record_predictions(wrong)
        assert caught.value.reason == reason
    for spec, reason in (
        (MonitorSpec(labels={"Edema": 1.5}, attributes=LEVELS), "THRESHOLD_INVALID"),
        (MonitorSpec(labels={"Edema": 0.5}, attributes={"sex": ["Female"]}), "LEVELS_INVALID"),
        (MonitorSpec(labels={"Edema": 0.5}, attributes=LEVELS, metrics=["auroc"]), "METRIC_UNKNOWN"),
        (MonitorSpec(labels={"Edema": 0.5}, attributes=LEVELS, alpha=0.7), "ALPHA_INVALID"),
    ):
        with pytest.raises(InvalidInput) as caught:
            client.monitors.create(spec)
        assert caught.value.reason == reason and caught.value.field
    with pytest.raises(NotFound) as missing:
        monitor.window(99)
    assert missing.value.reason == "WINDOW_NOT_FOUND"


def test_a_plan_and_a_deletion(client):
    plan = client.monitors.plan(SPEC, records_per_window=600)
    assert len(plan) == 2 * 4
    monitor = client.monitors.create(SPEC)
    assert client.monitors.list(limit=1)[0].name == monitor.name
    client.monitors.delete(monitor.name)
    with pytest.raises(NotFound) as caught:
        client.monitors.get(monitor.name)
    assert caught.value.reason == "MONITOR_NOT_FOUND"


def test_the_shipped_monitor_is_one_that_the_platform_takes(client):
    """But for its model, which is not served here."""
    spec = monitor_spec_proto(SHIPPED)
    spec.model = ""
    plan = client.monitors.plan(spec, records_per_window=2000)
    assert len(plan) == 4 * 2 * (2 + 4 + 4 + 8)
    assert plan.to_pandas()["label"].unique().tolist() == [one.label for one in spec.labels]
    assert client.monitors.create(spec).proto.spec.planned_windows == 104


def test_the_command_line_says_the_same(watched, client, command_line, monkeypatch):
    monkeypatch.setenv("EVENHAND_ADDRESS", client.connection.target.address)
    monitor, _, _ = watched
    code, out, _ = command_line("monitors", "watch", monitor.name, "--once", "--until-alarm")
    assert code == ExitCode.ALARM
    assert "Edema tpr, sex: Female" in out and "Ward 3" in out
    code, out, _ = command_line("monitors", "windows", monitor.name, "--label", "Edema", "--attribute", "sex")
    assert code == 0
    assert out.count("Edema tpr, sex: Female") >= 8 and "Fracture" not in out
    code, out, _ = command_line("monitors", "alarms", monitor.name, "--json")
    assert json.loads(out)[-1]["key"]["label"] == "Edema"
    for arguments in (("show",), ("plan",), ("window", "5"), ("windows",)):
        code, out, err = command_line("monitors", arguments[0], monitor.name, *arguments[1:])
        assert (code, err) == (0, "") or arguments == ("plan",)
        assert out
