"""Monitors in the ledger: segments in order of their commits, windows closed once, alarms that stay."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from services.adapters.ledger import Ledger, monitoring, open_ledger
from services.errors import NotFound, PageTokenMismatch
from tests.clock import ManualClock

MONITOR = "monitors/m"
SERIES = {"label": "Edema", "metric": "tpr", "attribute": "sex", "group": "Female"}
VALUES: dict[str, Any] = {
    "state": "ok", "value": 0.1, "gap": -0.1234567890123456, "standard_error": None, "change": None, "low": -0.3,
    "high": 0.1, "e_value": 1e300, "cases": 2**40, "patients": 5, "records": 7, "alarmed": False,
}  # fmt: skip
POINT = SERIES | VALUES


@pytest.fixture
def watched(ledger: Ledger) -> Ledger:
    ledger.put_resource(MONITOR, "monitor", {"name": MONITOR})
    return ledger


def close(ledger: Ledger, index: int, revision: int = 1, **more: Any) -> bool:
    content = {"digest": "d", "summary": {"index": index, "revision": revision}, "key": "", "points": [], "alarms": []}
    return ledger.close_window(MONITOR, index, revision=revision, **{**content, **more})


def alarm(number: int, group: str = "Female") -> dict[str, Any]:
    return {"name": f"{MONITOR}/alarms/{number}", "key": SERIES | {"group": group}, "change": 0.1 * number}


def test_a_request_made_by_several_at_once_makes_one_monitor(ledger: Ledger) -> None:
    def make(number: int) -> dict[str, Any] | None:
        return ledger.create_monitor("monitor", {"name": f"monitors/{number}", "request_id": "once"})

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(make, range(8)))
    assert made[0] is not None
    assert made == [made[0]] * 8
    assert ledger.resource_names("monitor") == [made[0]["name"]]
    assert ledger.monitor_of_request("once") == made[0]
    ledger.delete_monitor(made[0]["name"])
    assert ledger.monitor_of_request("once") is None
    assert make(9) == {"name": "monitors/9", "request_id": "once"}


def test_segments_come_back_in_order_and_add_up(watched: Ledger, clock: ManualClock) -> None:
    first = watched.append_segment(
        MONITOR, "labels", key="k1", sha256="s1", rows=10, duplicates=3, unknown=4, first_time=5, last_time=9
    )
    watched.append_segment(MONITOR, "predictions", key="k2", sha256="s2", rows=7, late_windows={0: 2, 1: 1}, unknown=-3)
    watched.append_segment(MONITOR, "refused", rows=2)
    found = watched.segments(MONITOR)
    assert [(segment.kind, segment.key, segment.rows) for segment in found] == [
        ("labels", "k1", 10), ("predictions", "k2", 7), ("refused", "", 2),
    ]  # fmt: skip
    assert (found[0].seq, found[0].first_time, found[0].last_time, found[0].create_time) == (first, 5, 9, clock.now)
    assert [segment.key for segment in watched.segments(MONITOR, after=first, kind="predictions")] == ["k2"]
    assert watched.arrivals(MONITOR) == {
        "predictions": 7, "labels": 10, "duplicates": 3, "conflicts": 2, "unknown_labels": 1, "late_predictions": 3,
        "late_labels": 0,
    }  # fmt: skip
    assert set(watched.arrivals("monitors/other").values()) == {0}


def test_between_two_times_are_segments_of_records_there_and_labels_without_a_known_record(watched: Ledger) -> None:
    spans = {"a": (0, 9), "b": (10, 19), "c": (5, 25), "d": (20, 30)}
    for key, (first, last) in spans.items():
        watched.append_segment(MONITOR, "predictions", key=key, rows=1, first_time=first, last_time=last)
    watched.append_segment(MONITOR, "labels", key="unknown", rows=1, unknown=1)
    watched.append_segment(MONITOR, "labels", key="known", rows=1, first_time=0, last_time=9)
    assert [segment.key for segment in watched.segments(MONITOR, between=(10, 20))] == ["b", "c", "unknown"]


def test_a_monitor_that_is_not_there_takes_nothing(ledger: Ledger) -> None:
    ledger.put_resource("audits/a", "audit", {})
    for ask in (
        lambda: ledger.append_segment("monitors/none", "predictions", rows=1),
        lambda: ledger.append_segment("audits/a", "predictions", rows=1),
        lambda: close(ledger, 0),
        lambda: ledger.delete_monitor(MONITOR),
    ):
        with pytest.raises(NotFound) as caught:
            ask()
        assert caught.value.reason == "MONITOR_NOT_FOUND"


def test_an_append_that_does_not_know_the_newest_segment_or_closed_window_writes_nothing(watched: Ledger) -> None:
    first = watched.append_segment(MONITOR, "predictions", rows=1, after=0, closed=0)
    assert first > 0
    assert watched.append_segment(MONITOR, "predictions", rows=1, after=0, closed=0) == 0
    close(watched, 0)
    assert watched.append_segment(MONITOR, "predictions", rows=1, after=first, closed=0) == 0
    assert len(watched.segments(MONITOR)) == 1
    assert watched.append_segment(MONITOR, "predictions", rows=1, after=first, closed=1) > first


def test_of_writers_in_a_race_each_sees_all_before_its_own(ledger_url: str) -> None:
    ledgers = [open_ledger(ledger_url) for _ in range(4)]
    ledgers[0].put_resource(MONITOR, "monitor", {})

    def append(ledger: Ledger) -> None:
        for _ in range(10):
            seen = 0
            while not (seq := ledger.append_segment(MONITOR, "predictions", rows=1, after=seen)):
                seen = ledger.segments(MONITOR)[-1].seq
            numbers = [segment.seq for segment in ledger.segments(MONITOR)]
            assert numbers.index(seq) == len([number for number in numbers if number <= seen])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, ledgers))
    assert len(ledgers[0].segments(MONITOR)) == 40
    for ledger in ledgers:
        ledger.close()


def test_a_window_is_closed_once_and_every_float_comes_back_as_it_went_in(watched: Ledger) -> None:
    assert close(watched, 0, points=[POINT])
    assert not close(watched, 0, points=[POINT | {"gap": 0.9}], alarms=[alarm(1)])
    assert watched.points(MONITOR) == [{"window_index": 0} | POINT]
    assert watched.latest_points(MONITOR) == watched.points(MONITOR)
    assert watched.list_alarms()[0] == []
    assert (watched.closed_windows(MONITOR), watched.get_window(MONITOR, 1)) == (1, None)


def test_a_new_revision_replaces_points_and_leaves_alarms(watched: Ledger) -> None:
    close(watched, 0, points=[POINT], alarms=[alarm(1)])
    assert close(watched, 0, revision=2, points=[POINT | {"gap": 0.5}], alarms=[alarm(2)])
    assert [point["gap"] for point in watched.points(MONITOR)] == [0.5]
    assert watched.get_window(MONITOR, 0) == {"index": 0, "revision": 2}
    assert watched.list_alarms(MONITOR)[0] == [alarm(1)]
    assert not close(watched, 0, revision=1)


def test_a_window_is_not_closed_over_a_segment_that_came_while_it_was_read(watched: Ledger) -> None:
    seen = watched.append_segment(MONITOR, "predictions", rows=1, first_time=0, last_time=5)
    watched.append_segment(MONITOR, "predictions", rows=1, first_time=20, last_time=30)
    watched.append_segment(MONITOR, "predictions", rows=1, first_time=9, last_time=30)
    assert not close(watched, 0, through=seen, between=(0, 10))
    assert close(watched, 0, through=seen, between=(0, 9))


def test_late_rows_are_those_that_the_newest_revision_has_not_taken_in(watched: Ledger) -> None:
    close(watched, 0)
    close(watched, 1)
    watched.append_segment(MONITOR, "predictions", rows=5, late_windows={0: 2, 1: 1})
    watched.append_segment(MONITOR, "labels", rows=5, late_windows={0: 3})
    assert watched.late_rows(MONITOR) == {0: 5, 1: 1}
    close(watched, 0, revision=2)
    assert watched.late_rows(MONITOR) == {1: 1}
    assert watched.arrivals(MONITOR)["late_labels"] == 3


def test_windows_are_listed_oldest_first_in_pages_and_points_by_series(watched: Ledger) -> None:
    male = POINT | {"group": "Male", "label": "Mass"}
    for index in range(5):
        close(watched, index, points=[male, POINT])
    close(watched, 1, revision=2, points=[POINT])
    first, token = watched.list_windows(MONITOR, page_size=3)
    second, end = watched.list_windows(MONITOR, page_size=3, page_token=token)
    assert [(window["index"], window["revision"]) for window in first + second] == [
        (0, 1), (1, 2), (2, 1), (3, 1), (4, 1),
    ]  # fmt: skip
    assert end == ""
    with pytest.raises(PageTokenMismatch):
        watched.list_windows("monitors/other", page_token=token)
    found = watched.points(MONITOR, windows=range(1, 3))
    assert [(point["window_index"], point["group"]) for point in found] == [(1, "Female"), (2, "Female"), (2, "Male")]
    assert [point["window_index"] for point in watched.points(MONITOR, label="Mass", group="Male")] == [0, 2, 3, 4]


def test_alarms_are_listed_newest_first_of_one_monitor_or_of_all(watched: Ledger) -> None:
    watched.put_resource("monitors/n", "monitor", {})
    close(watched, 0, alarms=[alarm(1), alarm(2, "Male")])
    watched.close_window("monitors/n", 0, revision=1, digest="d", summary={}, key="", points=[], alarms=[alarm(9)])
    assert [body["change"] for body in watched.list_alarms("-")[0]] == [0.9, 0.2, 0.1]
    first, token = watched.list_alarms(MONITOR, page_size=1)
    assert first + watched.list_alarms(MONITOR, page_size=1, page_token=token)[0] == [alarm(2, "Male"), alarm(1)]
    assert watched.count_alarms(MONITOR) == 2


def test_deleting_a_monitor_forgets_it_and_names_the_objects_that_only_it_had(watched: Ledger) -> None:
    watched.put_resource("monitors/n", "monitor", {})
    watched.append_segment(MONITOR, "predictions", key="mine", rows=1)
    watched.append_segment(MONITOR, "predictions", key="shared", rows=1)
    watched.append_segment("monitors/n", "predictions", key="shared", rows=1)
    close(watched, 0, key="sums", points=[POINT], alarms=[alarm(1)])
    assert watched.delete_monitor(MONITOR) == ["mine", "sums"]
    assert watched.get_resource(MONITOR) is None
    assert (watched.segments(MONITOR), watched.points(MONITOR), watched.list_alarms("-")[0]) == ([], [], [])
    assert watched.closed_windows(MONITOR) == 0
    assert len(watched.segments("monitors/n")) == 1


def test_a_ledger_of_the_first_revision_is_brought_up_to_date(new_ledger_url: Callable[[], str]) -> None:
    url = new_ledger_url()
    old = open_ledger(url)
    kept = {"kept": True, "cohort": "cohorts/c"}
    old.put_resource("audits/a", "audit", kept)
    old.put_resource("audits/b", "audit", {"cohort": None})
    old.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        for table in ("segments", "windows", "points", "alarms"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("DROP INDEX resources_by_cohort"))
        connection.execute(text("ALTER TABLE resources DROP COLUMN cohort"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    engine.dispose()
    ledger = open_ledger(url)
    ledger.put_resource(MONITOR, "monitor", {})
    assert ledger.append_segment(MONITOR, "predictions", rows=1) == 1
    assert ledger.list_resources("audit", cohort="cohorts/c") == ([kept], "")
    ledger.close()


def test_what_all_monitors_show_is_what_each_shows(ledger: Ledger) -> None:
    for monitor, windows in (("monitors/a", 2), ("monitors/b", 1), ("monitors/c", 0)):
        ledger.put_resource(monitor, "monitor", {"name": monitor})
        for index in range(windows):
            for revision in (1, 2):
                ledger.close_window(
                    monitor, index, revision=revision, digest="d", key="", alarms=[],
                    summary={"index": index, "revision": revision, "of": monitor},
                    points=[POINT | {"gap": index + revision / 10}, POINT | {"group": "Male"}],
                )  # fmt: skip
        if windows:
            ledger.append_segment(monitor, "predictions", rows=5 * windows)
            ledger.append_segment(monitor, "labels", rows=3, unknown=2)
    latest = ledger.all_latest(["monitors/a", "monitors/b", "monitors/c"])
    assert set(latest) == {"monitors/a", "monitors/b"}
    for monitor, (summary, points) in latest.items():
        assert summary == ledger.get_window(monitor, ledger.closed_windows(monitor) - 1)
        assert summary["revision"] == 2
        assert points == ledger.latest_points(monitor)
        assert len(points) == 2
    assert set(ledger.all_latest(["monitors/b"])) == {"monitors/b"}
    assert ledger.all_arrivals() == {monitor: ledger.arrivals(monitor) for monitor in ("monitors/a", "monitors/b")}


def test_a_window_closed_between_two_statements_of_a_scrape_is_left_to_the_next(
    watched: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What PostgreSQL may show at READ COMMITTED: the second statement sees more than the first."""
    close(watched, 0, points=[POINT])
    with watched._database.read() as db:
        plain, asked = db.execute, []

        def execute(statement: Any, *more: Any) -> Any:
            if asked:
                plain(text("UPDATE points SET window_index = 1"))
                plain(text("UPDATE windows SET window_index = 1"))
                plain(text("INSERT INTO points SELECT 'monitors/new', window_index, label, metric, attribute, grp,"
                           " state, value, gap, standard_error, change, low, high, e_value, cases, patients, records,"
                           " alarmed FROM points"))  # fmt: skip
                plain(text("INSERT INTO windows SELECT 'monitors/new', window_index, revision, digest, summary, key,"
                           " through, close_time FROM windows"))  # fmt: skip
            asked.append(statement)
            return plain(statement, *more)

        monkeypatch.setattr(db, "execute", execute)
        found = monitoring.all_latest(db, [MONITOR, "monitors/new"])
        db.rollback()
    assert len(asked) == 2
    assert found == {MONITOR: ({"index": 0, "revision": 1}, [])}
