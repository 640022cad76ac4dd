"""Windows are closed once, and what is in them does not depend on how their rows came or on what was killed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from evenhand.monitoring.v1 import drift_pb2, monitor_pb2

from services.adapters.arrivals import ArrivalLog, WatchSpec
from services.adapters.ledger import Ledger
from services.errors import Unavailable
from services.monitoring import derive
from services.monitoring.cells import put_patients, read_sums
from services.monitoring.closing import next_closing
from services.monitoring.derive import DeriveTask, settle
from tests.monitoring.traffic import DAY, Traffic, predictions, truths
from tests.monitoring.world import BEGAN, Fleet, World, stamp

DAYS = 4
ORIGIN = BEGAN - DAYS * DAY
SPEC: dict[str, Any] = {"window": {"length": "86400s", "origin": stamp(ORIGIN)}, "reference": {"first_windows": 1}}
TRAFFIC = [Traffic(day, records=300, miss=1.0 if day >= 2 else 0.0) for day in range(DAYS)]


@pytest.fixture
async def timely(world: World) -> list[str]:
    """Digests of the windows of a monitor whose rows all came in time, in order, once."""
    made = await world.create(**SPEC)
    world.record(made.name, ORIGIN, *TRAFFIC)
    world.close(made.name, DAYS)
    return world.digests(made.name)


async def test_a_worker_closes_what_is_over_in_order_and_tells_the_monitor(world: World, timely: list[str]) -> None:
    made = await world.create(**SPEC)
    world.record(made.name, ORIGIN, *TRAFFIC)
    await world.until(lambda: world.body(made.name)["closed_windows"] == DAYS, world.worker())
    assert world.digests(made.name) == timely
    now = await world.get(made.name)
    assert now.closed_windows == DAYS
    assert now.last_window_end.ToDatetime(UTC) == ORIGIN + DAYS * DAY
    assert now.arrivals.predictions == now.arrivals.labels == 300 * DAYS
    assert (now.state == monitor_pb2.Monitor.STATE_ALARMED) == (now.alarms > 0)
    operations, _ = world.ledger().list_operations(kind="monitor-window")
    assert [operation.state for operation in operations] == ["succeeded"] * DAYS


async def test_order_batches_repeats_and_labels_before_predictions_leave_no_trace(
    world: World, timely: list[str]
) -> None:
    made = await world.create(**SPEC)
    log, spec, now = ArrivalLog(world.ledger(), world.store()), WatchSpec.of(world.body(made.name)), datetime.now(UTC)
    draw = np.random.default_rng(3)
    for traffic in reversed(TRAFFIC):
        frame = traffic.frame()
        order = draw.permutation(len(frame))
        rows, labels = predictions(frame, spec, ORIGIN, traffic), truths(frame)
        for part in np.array_split(order, 7):
            log.append_labels(made.name, spec, labels.take(part), now)
        for part in np.array_split(order, 5):
            for _ in range(2):
                log.append_predictions(made.name, spec, rows.take(part), now)
    world.close(made.name, DAYS)
    assert world.digests(made.name) == timely
    assert (await world.get(made.name)).arrivals.duplicates == 300 * DAYS


async def test_late_rows_are_counted_and_taken_in_by_a_new_revision(world: World, timely: list[str]) -> None:
    made = await world.create(**SPEC)
    log, spec = ArrivalLog(world.ledger(), world.store()), WatchSpec.of(world.body(made.name))
    world.record(made.name, ORIGIN, *TRAFFIC[:2], TRAFFIC[3])
    frame = TRAFFIC[2].frame()
    rows, labels = predictions(frame, spec, ORIGIN, TRAFFIC[2]), truths(frame)
    log.append_predictions(made.name, spec, rows.take(np.arange(200)), datetime.now(UTC))
    worker = world.worker()
    await world.until(lambda: world.body(made.name)["closed_windows"] == DAYS, worker)
    assert world.digests(made.name)[2] != timely[2]

    world.record(made.name, ORIGIN, TRAFFIC[2], labels=False)
    log.append_labels(made.name, spec, labels, datetime.now(UTC))
    window = await world.window(made.name, 2)
    assert (window.revision, window.records, window.labelled, window.late_rows) == (1, 200, 0, 100 + 300)
    operation = await world.rederive(made.name, 2)
    await world.until(lambda: world.ledger().get_operation(operation.name).done, world.worker())
    done = world.ledger().get_operation(operation.name)
    assert done.state == "succeeded"
    window = await world.window(made.name, 2)
    assert (window.revision, window.records, window.labelled, window.late_rows) == (2, 300, 300, 0)
    assert world.digests(made.name) == timely
    assert done.response is not None
    assert done.response["value"]["digest"] == timely[2]


async def test_deriving_again_what_did_not_change_makes_no_revision(world: World) -> None:
    made = await world.create(**SPEC)
    world.record(made.name, ORIGIN, *TRAFFIC)
    world.close(made.name, DAYS)
    before = await world.window(made.name, 1)
    operation = await world.rederive(made.name, 1)
    await world.until(lambda: world.ledger().get_operation(operation.name).done, world.worker())
    assert await world.window(made.name, 1) == before


async def test_an_alarm_stays_when_its_window_is_derived_again_without_it(world: World) -> None:
    made = await world.create(**{**SPEC, "window": {**SPEC["window"], "label_delay": "0s"}})
    bad = [Traffic(day, records=2000, miss=1.0 if day >= 2 else 0.0) for day in range(DAYS)]
    world.record(made.name, ORIGIN, *bad)
    world.close(made.name, DAYS)
    alarms = await world.alarms(made.name)
    assert alarms
    # As many again in which nothing is wrong: the gap of these windows halves.
    world.record(made.name, ORIGIN, *(Traffic(day, records=2000, seed=5) for day in range(2, DAYS)))
    for day in range(2, DAYS):
        operation = await world.rederive(made.name, day)
        await world.until(lambda name=operation.name: world.ledger().get_operation(name).done, world.worker())
    assert {alarm.name for alarm in alarms} <= {alarm.name for alarm in await world.alarms(made.name)}
    kept = {alarm.name: alarm for alarm in await world.alarms(made.name)}
    assert all(kept[alarm.name] == alarm for alarm in alarms)


@pytest.mark.timeout(600)
async def test_killed_workers_cost_nothing_but_time(world: World, timely: list[str]) -> None:
    made = await world.create(**SPEC)
    world.record(made.name, ORIGIN, *TRAFFIC)
    ledger = world.ledger()
    with Fleet(world) as fleet:
        first, second = fleet.start(), fleet.start()
        await _until(lambda: _leased(ledger))
        await asyncio.sleep(1.0)
        first.kill()
        second.kill()
        fleet.start()
        await _until(lambda: ledger.closed_windows(made.name) >= 2)
        fleet.processes[-1].kill()
        fleet.start()
        await _until(lambda: (world.body(made.name)["closed_windows"]) == DAYS)
    assert world.digests(made.name) == timely
    names = [alarm.name for alarm in await world.alarms(made.name)]
    assert len(names) == len(set(names))
    whole = await world.create(**SPEC)
    world.record(whole.name, ORIGIN, *TRAFFIC)
    world.close(whole.name, DAYS)
    assert _series(await world.alarms(made.name)) == _series(await world.alarms(whole.name))
    assert world.ledger().points(made.name) == world.ledger().points(whole.name)


@pytest.mark.parametrize("place", ["before the transaction", "after the transaction"])
async def test_an_end_around_the_transaction_closes_the_window_once(
    world: World, timely: list[str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await world.create(**SPEC)
    world.record(made.name, ORIGIN, *TRAFFIC)
    closing = Ledger.close_window
    calls = []

    def dies(self: Ledger, *arguments: Any, **named: Any) -> bool:
        if place == "after the transaction":
            closing(self, *arguments, **named)
        calls.append(place)
        raise Unavailable("the process ends here")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "close_window", dies)
        with pytest.raises(Unavailable):
            world.close(made.name, 1)
    assert calls == [place]
    world.close(made.name, DAYS)
    assert world.digests(made.name) == timely
    assert {summary["revision"] for summary in world.ledger().list_windows(made.name)[0]} == {1}


async def test_rows_that_arrive_while_a_window_is_read_are_in_it(
    world: World, timely: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await world.create(**SPEC)
    world.record(made.name, ORIGIN, TRAFFIC[0], labels=False)
    plain, reads = derive.derive, []

    def meanwhile(*arguments: Any) -> derive.Content:
        reads.append(None)
        if len(reads) == 1:
            log, spec = ArrivalLog(world.ledger(), world.store()), WatchSpec.of(world.body(made.name))
            log.append_labels(made.name, spec, truths(TRAFFIC[0].frame()), datetime.now(UTC))
        return plain(*arguments)

    monkeypatch.setattr(derive, "derive", meanwhile)
    world.close(made.name, 1)
    assert len(reads) == 2
    assert world.digests(made.name) == timely[:1]


async def test_a_window_is_closed_however_steadily_labels_come(
    world: World, timely: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await world.create(**SPEC)
    world.record(made.name, ORIGIN, TRAFFIC[0], labels=False)
    plain, reads = derive.derive, []
    labels = truths(TRAFFIC[0].frame())
    log, spec = ArrivalLog(world.ledger(), world.store()), WatchSpec.of(world.body(made.name))

    def meanwhile(*arguments: Any) -> derive.Content:
        part = np.arange(len(labels))[len(reads) :: 100]
        reads.append(log.append_labels(made.name, spec, labels.take(part), datetime.now(UTC)).recorded)
        return plain(*arguments)

    monkeypatch.setattr(derive, "derive", meanwhile)
    world.close(made.name, 1)
    assert len(reads) == derive.MOST_READS
    window = await world.window(made.name, 0)
    assert (window.labelled, window.late_rows) == (sum(reads[:-1]), reads[-1])
    assert (await world.get(made.name)).arrivals.late_labels == reads[-1] > 0


async def test_who_comes_back_is_known_to_later_windows_and_no_part_of_a_digest(world: World) -> None:
    days = [Traffic(day, records=300, same_people=day != 1) for day in range(3)]
    made, alone = await world.create(**SPEC), await world.create(**SPEC)
    world.record(made.name, ORIGIN, *days)
    world.close(made.name, 3)
    world.record(alone.name, ORIGIN, days[2])
    world.close(alone.name, 3)
    summaries, _ = world.ledger().list_windows(made.name)
    cells = [read_sums(world.store(), summary) for summary in summaries]
    assert cells[0].returning.sum() == cells[1].returning.sum() == 0
    assert cells[2].returning.tolist() == cells[2].patients.tolist()
    assert cells[2].patients.sum() > 0
    assert world.digests(made.name)[2] == world.digests(alone.name)[2]
    assert world.ledger().latest_points(made.name) != world.ledger().latest_points(alone.name)


async def test_nothing_of_a_deleted_monitor_is_left_in_the_store(world: World) -> None:
    before = set(world.store().keys())
    made = await world.create(**SPEC)
    task = DeriveTask(world.settings.ledger, world.settings.store, made.name, 0, again=True)
    for seed in range(2):
        world.record(made.name, ORIGIN, Traffic(0, records=50, seed=seed))
        assert settle(world.ledger(), world.store(), task)["revision"] == seed + 1
    put_patients(world.store(), made.name, np.arange(3, dtype=np.uint64))  # of a closing that was killed
    assert len(list(world.store().keys(f"{made.name}/patients/"))) == 3
    ArrivalLog(world.ledger(), world.store()).forget(made.name)
    assert set(world.store().keys()) == before


async def test_several_at_once_close_a_window_once(world: World) -> None:
    made = await world.create(**SPEC)
    world.record(made.name, ORIGIN, *TRAFFIC)
    task = DeriveTask(world.settings.ledger, world.settings.store, made.name, 0)
    found = await asyncio.gather(*(asyncio.to_thread(settle, world.ledger(), world.store(), task) for _ in range(4)))
    assert {summary["revision"] for summary in found} == {1}
    assert len({summary["digest"] for summary in found}) == 1
    assert world.ledger().closed_windows(made.name) == 1


async def test_a_window_waits_for_its_labels(world: World) -> None:
    made = await world.create(**{**SPEC, "window": {**SPEC["window"], "label_delay": "86400s"}})
    world.record(made.name, ORIGIN, *TRAFFIC)
    log = ArrivalLog(world.ledger(), world.store())
    body = world.body(made.name)
    asked = {"now": ORIGIN + 2 * DAY - timedelta(seconds=1), "retry_after_s": 60.0, "quiet_s": 0.0}
    assert next_closing(world.ledger(), log, body, **asked) is None
    operation = next_closing(world.ledger(), log, body, **{**asked, "now": ORIGIN + 2 * DAY})
    assert operation is not None
    assert operation.resource == f"{made.name}/windows/0"
    again = next_closing(world.ledger(), log, body, **{**asked, "now": ORIGIN + 2 * DAY})
    assert again is not None
    assert again.name == operation.name


async def test_windows_of_so_many_records_close_when_they_are_full(world: World) -> None:
    made = await world.create(window={"records": "250", "origin": stamp(ORIGIN)})
    world.record(made.name, ORIGIN, *TRAFFIC)
    count = 300 * DAYS // 250
    await world.until(lambda: world.body(made.name)["closed_windows"] == count, world.worker())
    windows = [await world.window(made.name, index) for index in range(count)]
    assert [window.records for window in windows] == [250] * count
    assert all(one.end_time.ToMicroseconds() <= other.start_time.ToMicroseconds() for one, other in pairwise(windows))


async def test_a_closing_that_failed_is_said_and_tried_again(world: World) -> None:
    made = await world.create(**SPEC)
    world.record(made.name, ORIGIN, TRAFFIC[0])
    worker = world.worker(retry_after_s=0.2)
    good = worker._derive
    failing = [True]

    async def fails_at_first(task: DeriveTask) -> dict[str, Any]:
        if failing[0]:
            raise ValueError("something that nobody foresaw")
        return await good(task)

    worker._derive = fails_at_first
    running = asyncio.create_task(worker.run())
    try:
        await _until(lambda: "window 0 could not be closed" in world.body(made.name)["trouble"])
        failing[0] = False
        await _until(lambda: world.body(made.name)["closed_windows"] == DAYS)
        await _until(lambda: world.body(made.name)["trouble"] == "")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_deleted_monitor_is_not_brought_back_by_its_closing(world: World) -> None:
    made = await world.create(**SPEC)
    world.record(made.name, ORIGIN, TRAFFIC[0])
    worker = world.worker()
    good, deleted = worker._derive, []

    async def deleted_meanwhile(task: DeriveTask) -> dict[str, Any]:
        summary = await good(task)
        if not deleted:
            world.ledger().delete_monitor(made.name)
            deleted.append(task)
        return summary

    worker._derive = deleted_meanwhile

    def all_done() -> bool:
        operations, _ = world.ledger().list_operations(kind="monitor-window")
        return bool(operations) and all(operation.done for operation in operations)

    await world.until(all_done, worker)
    assert world.ledger().get_resource(made.name) is None


def _series(alarms: list[drift_pb2.Alarm]) -> set[tuple[str, ...]]:
    return {(alarm.key.label, alarm.key.metric, alarm.key.attribute, alarm.key.group) for alarm in alarms}


def _leased(ledger: Ledger) -> bool:
    operations, _ = ledger.list_operations(kind="monitor-window")
    return any(operation.start_time is not None for operation in operations)


async def _until(done: Any, limit_s: float = 240) -> None:
    async with asyncio.timeout(limit_s):
        while not await asyncio.to_thread(done):
            await asyncio.sleep(0.05)
