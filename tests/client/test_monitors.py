import sys
import threading
import uuid
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from evenhand import AsyncClient
from evenhand.calls import Retry
from evenhand.client import Client
from evenhand.errors import Conflict, FailedPrecondition, InvalidInput, NotFound, Unavailable
from evenhand.monitor_frames import BATCH_ROWS
from evenhand.monitor_windows import CELL_COLUMNS, PLAN_COLUMNS, POINT_COLUMNS, RATE_COLUMNS, told_series

from services import errors as platform
from tests.client.monitoring import SPEC, predictions, truth

QUICK = Retry(attempts=4, first_s=0.001, longest_s=0.002)


@pytest.fixture
def monitor(client):
    return client.monitors.create(SPEC, display_name="Ward <3>")


@pytest.fixture
def watched(twin, monitor):
    """After ten windows, in the eighth of which an alarm was raised."""
    for index in range(10):
        twin.close(monitor.name, Female=-0.12 if index > 5 else 0.0, **{"10": None if index < 3 else 0.01})
        if index == 7:
            twin.raise_alarm(monitor.name)
    return monitor.refresh()


def lost(count):
    return [platform.Unavailable("restarting", retry_after_s=0.001) for _ in range(count)]


def test_a_monitor_is_created_once_whatever_is_lost(twin):
    with Client(twin.address, retry=QUICK) as client:
        twin.lost_replies["CreateMonitor"] = 2
        monitor = client.monitors.create(SPEC, display_name="Ward 3")
    requests = twin.called("CreateMonitor")
    assert len(requests) == 3
    assert uuid.UUID(requests[0].request_id).version == 4
    assert list(twin.monitors) == [monitor.name]
    assert (monitor.state, monitor.proto.display_name, monitor.alarm_count) == ("waiting", "Ward 3", 0)


def test_a_repeated_request_id_gives_the_first_monitor_and_refuses_another(client, twin):
    request_id = "11111111-1111-4111-8111-111111111111"
    first = client.monitors.create(SPEC, request_id=request_id)
    assert client.monitors.create(SPEC, request_id=request_id).name == first.name
    with pytest.raises(Conflict):
        client.monitors.create({**SPEC, "alpha": 0.1}, request_id=request_id)


def test_a_refusal_names_the_field_of_the_spec(client):
    with pytest.raises(InvalidInput) as caught:
        client.monitors.create({**SPEC, "labels": {"Edema": 1.5}})
    assert (caught.value.reason, caught.value.field) == ("THRESHOLD_INVALID", "spec.labels[0].threshold")


def test_monitors_are_found_by_either_name_listed_and_deleted(client, monitor):
    assert client.monitors.get("1").name == client.monitors.get("monitors/1").name == monitor.name
    client.monitors.create(SPEC)
    assert [one.name for one in client.monitors.list()] == ["monitors/2", "monitors/1"]
    assert client.monitors.list(limit=1).to_pandas()["state"].tolist() == ["waiting"]
    client.monitors.delete("monitors/1")
    with pytest.raises(NotFound) as caught:
        client.monitors.get("monitors/1")
    assert "evenhand monitors list" in caught.value.hint
    with pytest.raises(NotFound):
        client.monitors.delete("monitors/1")


def test_a_plan_says_what_is_silent_and_what_is_unknown(client):
    plan = client.monitors.plan(SPEC, records_per_window=400)
    frame = plan.to_pandas()
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == PLAN_COLUMNS
    assert len(plan) == len(frame) == 2 * (2 + 3)
    assert plan.silent()[["label", "group"]].to_numpy().tolist() == [["Pneumonia", "10"], ["Edema", "10"]]
    said = plan.detectable().set_index(["label", "attribute"])["smallest change"]
    assert said["Edema", "sex"] == "0.025"
    assert said["Edema", "ward"] == "0.025, 1 of 3 groups silent"
    assert plan.warnings == ("cells of [few] positives",)
    unknown = client.monitors.plan(SPEC)
    assert unknown.to_pandas()["minimum_detectable_change"].isna().all()
    assert set(unknown.detectable()["smallest change"]) == {"unknown"}
    assert len(unknown.silent()) == 0


def test_a_long_table_arrives_whole_in_batches_with_failures_between(twin, capfd):
    rows = 2 * BATCH_ROWS + 17
    frame = predictions(rows)
    with Client(twin.address, retry=QUICK) as client:
        monitor = client.monitors.create(SPEC)
        twin.failures["RecordPredictions"] = lost(2)
        twin.lost_replies["RecordPredictions"] = 1
        found = monitor.record_predictions(frame, model_version="1")
        again = monitor.record_predictions(frame.sample(frac=1.0, random_state=3), progress=True)
    sizes = [len(request.record_ids) for request in twin.called("RecordPredictions")]
    assert sizes[:6] == [BATCH_ROWS] * 5 + [17]
    assert len(twin.predicted) == rows
    assert (found.rows, found.recorded + found.duplicates, found.late) == (rows, rows, 0)
    assert (again.recorded, again.duplicates) == (0, rows)
    assert {request.model_version for request in twin.called("RecordPredictions")} == {"1", ""}
    assert f"{rows}/{rows} rows" in capfd.readouterr().err


def test_labels_come_before_and_after_their_records(client, twin, monitor):
    early = monitor.record_labels(truth(30))
    assert (early.recorded, early.unknown, early.duplicates) == (30, 30, 0)
    monitor.record_predictions(predictions(40))
    more = monitor.record_labels(truth(40))
    assert (more.recorded, more.unknown, more.duplicates) == (10, 0, 30)
    arrived = monitor.refresh().arrived
    assert (arrived["predictions"], arrived["labels"], arrived["unknown_labels"]) == (40, 40, 30)
    assert monitor.label_delay_s is None


def test_a_record_that_says_otherwise_is_a_conflict_and_says_which_rows_are_there(client, twin, monitor):
    frame = predictions(BATCH_ROWS + 10)
    monitor.record_predictions(frame)
    frame.loc[BATCH_ROWS + 3, "Pneumonia"] = 0.123
    frame["record_id"] = frame["record_id"].where(frame.index >= BATCH_ROWS, "new-" + frame["record_id"])
    with pytest.raises(Conflict) as caught:
        monitor.record_predictions(frame)
    assert (caught.value.reason, caught.value.field) == ("CONFLICTING_RECORD", "record_ids[3]")
    assert "a" * 12 in caught.value.message and "b" * 12 in caught.value.message
    assert f"rows {BATCH_ROWS} and {BATCH_ROWS + 9}" in caught.value.hint
    assert f"{BATCH_ROWS} rows before it were sent" in caught.value.hint
    flipped = truth(10)
    monitor.record_labels(flipped)
    with pytest.raises(Conflict) as caught:
        monitor.record_labels(flipped.assign(Pneumonia=1 - flipped["Pneumonia"]))
    assert caught.value.reason == "CONFLICTING_LABEL"


def test_nothing_is_sent_of_a_table_with_a_wrong_row(twin, monitor):
    frame = predictions(2 * BATCH_ROWS)
    frame.loc[2 * BATCH_ROWS - 1, "Edema"] = 7.0
    with pytest.raises(InvalidInput):
        monitor.record_predictions(frame)
    assert twin.called("RecordPredictions") == []


def test_windows_are_a_row_per_series(watched, twin):
    frame = watched.windows().to_pandas()
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == POINT_COLUMNS
    assert len(frame) == 10 * 2 * 5
    assert frame["start_time"].iloc[0] == pd.Timestamp("2026-01-05", tz="UTC")
    unknown = frame[(frame["group"] == "10") & (frame["window"] < 3)]
    assert unknown["change"].isna().all() and unknown["standard_error"].isna().all()
    assert set(unknown["state"]) == {"insufficient"}
    chosen = watched.windows(label="Edema", attribute="sex")
    assert set(chosen.to_pandas()["label"]) == {"Edema"}
    assert set(chosen.to_pandas()["group"]) == {"Female", "Male"}
    overview = chosen.overview()
    assert overview["records"].tolist() == [800] * 10
    assert overview["model_versions"].iloc[-1] == {"1": 100, "2": 700}
    assert len(watched.windows(limit=4)) == 4


def test_a_monitor_without_windows_has_an_empty_table_of_the_same_columns(monitor):
    frame = monitor.windows().to_pandas()
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == POINT_COLUMNS
    assert len(frame) == len(monitor.alarms()) == 0


def test_one_window_has_its_cells_and_can_be_derived_again(watched, client):
    window = watched.window(7)
    assert (window.index, window.end_time) == (7, datetime(2026, 3, 2, tzinfo=UTC))
    cells = window.cells()
    assert {name: str(kind) for name, kind in cells.dtypes.items()} == CELL_COLUMNS
    assert len(cells) == 10 and cells["tpr"].tolist() == [0.8] * 10 and cells["fpr"].isna().all()
    assert {name: str(kind) for name, kind in window.rates().dtypes.items()} == RATE_COLUMNS
    assert window.rates().empty, "its labels are many"
    operation = watched.rederive(7)
    again = operation.result(5)
    assert (again.name, again.proto.revision) == (window.name, 2)
    assert client.operations.get(operation.name).result(5).digest == window.digest
    with pytest.raises(NotFound) as caught:
        watched.window(99)
    assert "evenhand monitors windows" in caught.value.hint


def test_alarms_name_the_cell_the_size_since_when_and_what_moved(watched, client):
    alarm = watched.alarms()[0]
    row = watched.alarms().to_pandas().iloc[0]
    assert (row["label"], row["attribute"], row["group"], row["metric"]) == ("Pneumonia", "sex", "Female", "tpr")
    assert (row["window"], row["since_window"], row["patients"]) == (7, 5, 203)
    assert row["low"] < row["change"] < row["high"] < 0
    assert row["since_time"] == pd.Timestamp("2026-02-09", tz="UTC")
    assert row["moved"] == ["error_rate"]
    assert [one["what"] for one in alarm.moved] == ["error_rate", "prevalence"]
    assert [one.name for one in client.monitors.alarms()] == [alarm.name]
    other = client.monitors.create(SPEC)
    assert other.alarms() == []


def soon(change):
    """Something happens on the server while a watch waits."""
    threading.Timer(0.1, change).start()


def test_watching_tells_what_happens_and_ends_with_the_monitor(twin, monitor):
    name = monitor.name
    twin.close(name)
    events = monitor.watch(every=0.01)
    soon(lambda: twin.close(name))
    event = next(events)
    assert (event.kind, event.text) == ("window", "window 1 closed: 800 records, 790 labelled")
    soon(lambda: twin.raise_alarm(name))
    event, state = next(events), next(events)
    assert (event.kind, event.alarm.name, state.text) == ("alarm", f"{name}/alarms/1", f"{name} is alarmed")
    soon(lambda: twin.close(name, revision=2))
    event = next(events)
    assert (event.kind, event.window.proto.revision) == ("rederived", 2)
    soon(lambda: setattr(twin.monitors[name], "trouble", "the folder cannot be read"))
    event = next(events)
    assert (event.kind, event.text) == ("trouble", "the folder cannot be read")
    soon(lambda: twin.finish(name))
    assert [event.text for event in events] == []  # the alarm stands


def test_a_watch_without_an_alarm_tells_that_it_is_finished(twin, monitor):
    events = monitor.watch(every=0.01)
    soon(lambda: twin.finish(monitor.name))
    assert [event.text for event in events] == [f"{monitor.name} is finished"]


def test_the_past_is_told_if_asked_and_windows_are_read_only_when_something_changed(twin, watched):
    events = watched.watch(every=0.01, past=True)
    kinds = [next(events).kind for _ in range(12)]
    assert kinds == ["window"] * 10 + ["alarm", "state"]
    before = len(twin.called("ListWindows"))
    looks = len(twin.called("GetMonitor"))
    soon(lambda: twin.close(watched.name))
    event = next(events)
    assert event.window.index == 10 and event.to_json()["window"]["index"] == 10
    assert len(twin.called("ListWindows")) == before + 1
    assert len(twin.called("GetMonitor")) > looks + 2
    assert event.to_dict()["window"] == f"{watched.name}/windows/10"


def test_watching_outlasts_a_restart_but_not_a_monitor_that_was_never_seen(twin, watched):
    with Client(twin.address, retry=Retry(attempts=1)) as client:
        events = client.monitors.get(watched.name).watch(every=0.01, past=True)
        for _ in range(12):
            next(events)
        twin.failures["GetMonitor"] = lost(5)
        twin.close(watched.name)
        assert next(events).kind == "window"
        other = client.monitors.get(watched.name)
        twin.failures["GetMonitor"] = lost(1)
        with pytest.raises(Unavailable):
            next(other.watch(every=0.01))


def test_a_notebook_shows_a_monitor_without_believing_its_names(watched):
    html = watched._repr_html_()
    assert "Ward &lt;3&gt;" in html and "<3>" not in html
    assert "windows closed: 10, alarms: 1" in html
    assert "7d from 2026-01-05T00:00:00Z, labels within 14d" in html
    assert "its first 2 windows" in html
    assert "Female" in watched.windows()[0]._repr_html_()


def test_the_series_that_is_drawn_unasked_is_that_of_the_newest_alarm(watched, client):
    alarms = watched.alarms()
    assert told_series(watched.proto, alarms, "", "", "") == ("Pneumonia", "sex", "tpr")
    assert told_series(watched.proto, alarms, "Edema", "", "") == ("Edema", "sex", "tpr")
    assert told_series(watched.proto, alarms, "", "ward", "") == ("Pneumonia", "ward", "tpr")
    assert told_series(watched.proto, [], "none", "", "fpr") == ("none", "sex", "fpr")


def lines_at(axes, day):
    """Colours of the vertical lines at a day."""
    return [line.get_color() for line in axes.lines if np.array_equal(line.get_xdata(), [day, day])]


def days(year, month, day):
    return datetime(year, month, day, tzinfo=UTC).timestamp() / 86_400


def test_a_drift_plot_has_three_panels_a_group_with_alarm_and_versions(watched):
    figure = watched.drift_plot("Pneumonia", "sex")
    female, male = figure.axes[:3], figure.axes[3:]
    assert len(male) == 3
    assert female[0].get_title(loc="left").startswith("Female\nchange −0.120 (−0.215 to −0.025)")
    alarm_at = days(2026, 3, 2)
    red = lines_at(female[1], alarm_at)
    assert len(red) == 1 and lines_at(male[1], alarm_at) == []
    band = [patch.get_extents().transformed(female[1].transData.inverted()) for patch in female[1].patches]
    assert (band[0].x0, band[0].x1) == pytest.approx((days(2026, 2, 9), alarm_at))
    assert lines_at(female[0], days(2026, 2, 16)) == lines_at(male[0], days(2026, 2, 16)) != []
    assert [bar.get_height() for bar in female[2].patches[:10]] == [80] * 10
    assert female[0].get_ylim() == male[0].get_ylim() and female[1].get_ylim() == male[1].get_ylim()
    low, high = female[1].get_ylim()
    assert low < -0.22 and high > 0.1
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"alarm", "other model version", "interval valid at any time"} <= set(words)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.data("svg").lstrip().startswith(b"<?xml")


def test_what_is_not_known_is_not_drawn_as_zero(watched):
    figure = watched.drift_plot("Pneumonia", "ward")
    tens = figure.axes[6:9]
    assert tens[0].get_title(loc="left").startswith("10")
    change = next(line for line in tens[1].lines if len(line.get_xdata()) == 10)
    assert np.isnan(change.get_ydata()[:3]).all() and not np.isnan(change.get_ydata()[3:]).any()
    assert {bar.get_facecolor() for bar in tens[2].patches[:3]} != {
        bar.get_facecolor() for bar in tens[2].patches[3:10]
    }
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "alarm" not in words


def test_a_series_that_is_not_there_and_a_missing_matplotlib_say_what_to_do(watched, monkeypatch):
    with pytest.raises(InvalidInput) as caught:
        watched.drift_plot("Gout", "sex")
    assert caught.value.reason == "SERIES_UNKNOWN" and "Pneumonia, Edema" in caught.value.hint
    monkeypatch.delitem(sys.modules, "evenhand.drift_plot")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(FailedPrecondition) as caught:
        watched.drift_plot("Pneumonia", "sex")
    assert "evenhand[plot]" in caught.value.hint


async def test_the_async_twin_does_the_same(twin, watched):
    async with AsyncClient(twin.address, retry=QUICK) as client:
        monitor = await client.monitors.create(SPEC, display_name="again")
        assert len(await client.monitors.plan(SPEC, records_per_window=10)) == 10
        found = await monitor.record_predictions(predictions(30), model_version="1")
        assert (found.recorded, (await monitor.record_labels(truth(30))).unknown) == (30, 0)
        assert (await monitor.refresh()).arrived["predictions"] == 30
        assert [one.name for one in await client.monitors.list()] == [monitor.name, watched.name]
        same = await client.monitors.get(watched.name)
        frame = (await same.windows(label="Edema")).to_pandas()
        assert frame.equals(watched.windows(label="Edema").to_pandas())
        assert (await same.window(3)).digest == watched.window(3).digest
        assert len(await same.alarms()) == len(await client.monitors.alarms()) == 1
        assert (await (await same.rederive(3)).result(5)).proto.revision == 2
        twin.finish(watched.name)
        assert [event.kind async for event in same.watch(every=0.01, past=True)] == ["window"] * 10 + ["alarm", "state"]
        assert len((await same.drift_plot("Edema", "sex")).axes) == 6
        await client.monitors.delete(monitor.name)
        with pytest.raises(NotFound):
            await client.monitors.get(monitor.name)
