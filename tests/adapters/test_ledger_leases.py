"""Leases: one worker at a time, and whoever lost its lease can change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from services.adapters.ledger import ChunkSpec, Lease, LeaseLost, Ledger, open_ledger
from services.errors import Conflict
from tests.clock import ManualClock

KINDS = ["score", "reduce"]


def start(ledger: Ledger, scores: int = 2, reduces: int = 1) -> str:
    chunks = [ChunkSpec("score", {"shard": shard}, rows=10) for shard in range(scores)]
    chunks += [ChunkSpec("reduce", {}, last=True) for _ in range(reduces)]
    return ledger.create_operation("audit", "audits/1", {}, chunks)[0].name


def lease(ledger: Ledger, worker: str = "w", ttl_s: float = 10, kinds: Iterable[str] = KINDS) -> Lease:
    leased = ledger.lease_chunk(worker, ttl_s, list(kinds))
    assert leased is not None
    return leased


def all_uses(ledger: Ledger, stale: Lease) -> list[Callable[[], object]]:
    return [
        lambda: ledger.renew(stale, 10),
        lambda: ledger.report_progress(stale, {"stage": "late"}),
        lambda: ledger.commit_chunk(stale, {"late": True}, response={"late": True}),
        lambda: ledger.release(stale),
        lambda: ledger.fail_operation(stale, {"late": True}),
        lambda: ledger.finish_cancelled(stale),
    ]


def assert_useless(ledger: Ledger, stale: Lease) -> None:
    """Every use of the lease raises LeaseLost and changes nothing that can be seen."""
    before = (ledger.get_operation(stale.operation), ledger.history(stale.operation))
    results = ledger.chunk_results(stale.operation)
    for use in all_uses(ledger, stale):
        with pytest.raises(LeaseLost):
            use()
    assert (ledger.get_operation(stale.operation), ledger.history(stale.operation)) == before
    assert ledger.chunk_results(stale.operation) == results


def test_chunks_are_leased_in_order_and_only_to_one(ledger: Ledger, clock: ManualClock) -> None:
    name = start(ledger)
    first, second = lease(ledger, "a"), lease(ledger, "b")
    assert (first.operation, first.chunk, first.kind, first.payload, first.token) == (name, 0, "score", {"shard": 0}, 1)
    assert first.expires == clock.now + timedelta(seconds=10)
    assert second.chunk == 1
    assert ledger.lease_chunk("c", 10, KINDS) is None


def test_the_oldest_operation_goes_first(ledger: Ledger) -> None:
    first, second = start(ledger, 1), start(ledger, 1)
    assert [lease(ledger).operation, lease(ledger).operation] == [first, second]


def test_only_the_asked_kinds_are_leased(ledger: Ledger) -> None:
    start(ledger)
    assert ledger.lease_chunk("w", 10, ["reduce", "other"]) is None
    assert ledger.lease_chunk("w", 10, []) is None
    assert lease(ledger, kinds=["score"]).kind == "score"


def test_the_first_lease_starts_the_operation(ledger: Ledger, clock: ManualClock) -> None:
    name = start(ledger)
    clock.advance(5)
    lease(ledger)
    started = clock.now
    clock.advance(5)
    lease(ledger)
    operation = ledger.get_operation(name)
    assert (operation.state, operation.start_time) == ("running", started)


def test_last_chunks_wait_until_all_others_are_committed(ledger: Ledger) -> None:
    name = start(ledger, scores=2, reduces=2)
    first, second = lease(ledger), lease(ledger)
    assert ledger.lease_chunk("w", 10, KINDS) is None
    ledger.commit_chunk(first, {})
    assert ledger.lease_chunk("w", 10, KINDS) is None
    ledger.commit_chunk(second, {})
    reduces = [lease(ledger), lease(ledger)]
    assert [each.kind for each in reduces] == ["reduce", "reduce"]
    ledger.commit_chunk(reduces[1], {})
    assert ledger.get_operation(name).state == "running"
    ledger.commit_chunk(reduces[0], {})
    assert ledger.get_operation(name).state == "succeeded"


def test_the_last_commit_finishes_the_operation_with_its_response(ledger: Ledger, clock: ManualClock) -> None:
    name = start(ledger, scores=1)
    ledger.commit_chunk(lease(ledger), {"key": "k"}, response={"ignored": True})
    operation = ledger.get_operation(name)
    assert (operation.state, operation.rows_done, operation.response) == ("running", 10, None)
    clock.advance(1)
    ledger.commit_chunk(lease(ledger), {"digest": "d"}, response={"type": "Audit", "value": {}})
    operation = ledger.get_operation(name)
    assert (operation.state, operation.rows_done, operation.response) == (
        "succeeded",
        10,
        {"type": "Audit", "value": {}},
    )
    assert operation.update_time == clock.now
    assert ledger.chunk_results(name) == [
        {"chunk": 0, "kind": "score", "payload": {"shard": 0}, "result": {"key": "k"}},
        {"chunk": 1, "kind": "reduce", "payload": {}, "result": {"digest": "d"}},
    ]


def test_results_come_in_chunk_order_whatever_the_order_of_commits(ledger: Ledger) -> None:
    name = start(ledger, scores=3)
    for each in [lease(ledger), lease(ledger), lease(ledger)][::-1]:
        ledger.commit_chunk(each, {"of": each.chunk})
    assert [(row["chunk"], row["result"]["of"]) for row in ledger.chunk_results(name)] == [(0, 0), (1, 1), (2, 2)]


def test_an_expired_lease_is_taken_over_with_a_greater_token(ledger: Ledger, clock: ManualClock) -> None:
    name = start(ledger, scores=1)
    lost = lease(ledger, "a")
    clock.advance(9.9)
    assert ledger.lease_chunk("b", 10, KINDS) is None
    clock.advance(0.1)
    taken = lease(ledger, "b")
    assert (taken.chunk, taken.token) == (lost.chunk, lost.token + 1)
    assert ledger.get_operation(name).retries == 1
    assert_useless(ledger, lost)
    ledger.commit_chunk(taken, {"by": "b"})
    assert ledger.chunk_results(name)[0]["result"] == {"by": "b"}


def test_the_margin_for_clocks_that_differ_delays_the_takeover(ledger_url: str, clock: ManualClock) -> None:
    ledger = open_ledger(ledger_url, clock=clock, skew_s=2)
    start(ledger, scores=1)
    lease(ledger)
    clock.advance(11.9)
    assert ledger.lease_chunk("b", 10, KINDS) is None
    clock.advance(0.1)
    assert ledger.lease_chunk("b", 10, KINDS) is not None
    ledger.close()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_costs_work_but_never_a_double_commit(
    ledger_url: str, clock: ManualClock, hours: int
) -> None:
    other_clock = ManualClock()
    other_clock.advance(3600 * hours)
    right, wrong = open_ledger(ledger_url, clock=clock), open_ledger(ledger_url, clock=other_clock)
    name = start(right, scores=4)
    held = [lease(right), lease(wrong)]
    while (taken := wrong.lease_chunk("b", 10, KINDS)) or (taken := right.lease_chunk("a", 10, KINDS)):
        held.append(taken)
        if len(held) > 20:
            break
    commits = 0
    for each in held:
        try:
            right.commit_chunk(each, {"token": each.token})
            commits += 1
        except LeaseLost:
            pass
    assert commits == 4
    committed = [event for event in right.history(name) if event["event"] == "committed"]
    assert sorted(event["details"]["chunk"] for event in committed) == [0, 1, 2, 3]
    right.close()
    wrong.close()


def test_an_expired_lease_that_nobody_took_still_commits(ledger: Ledger, clock: ManualClock) -> None:
    start(ledger, scores=1)
    slow = lease(ledger)
    clock.advance(1000)
    ledger.commit_chunk(slow, {})
    assert len(ledger.chunk_results(slow.operation)) == 1


def test_renewing_keeps_a_chunk_and_tells_of_a_cancellation(ledger: Ledger, clock: ManualClock) -> None:
    name = start(ledger, scores=1)
    held = lease(ledger)
    clock.advance(9)
    renewed = ledger.renew(held, 10)
    assert renewed == replace(held, expires=clock.now + timedelta(seconds=10))
    clock.advance(9)
    assert ledger.lease_chunk("b", 10, KINDS) is None
    ledger.request_cancel(name)
    assert ledger.renew(renewed, 10).cancel_requested


def test_a_released_chunk_is_free_at_once_and_its_lease_useless(ledger: Ledger) -> None:
    name = start(ledger, scores=1)
    given_back = lease(ledger, "a")
    ledger.release(given_back)
    assert_useless(ledger, given_back)
    again = lease(ledger, "b")
    assert (again.chunk, again.token) == (given_back.chunk, given_back.token + 1)
    assert ledger.get_operation(name).retries == 0, "giving back is not a retry"
    assert_useless(ledger, given_back)


def test_committing_twice_with_one_lease_commits_once(ledger: Ledger) -> None:
    """The first commit's reply may be lost, so the worker must be able to ask again."""
    name = start(ledger, scores=1, reduces=0)
    held = lease(ledger)
    ledger.commit_chunk(held, {"n": 1}, response={"r": 1})
    before = (ledger.get_operation(name), ledger.history(name))
    ledger.commit_chunk(held, {"n": 2}, response={"r": 2})
    assert (ledger.get_operation(name), ledger.history(name)) == before
    assert ledger.chunk_results(name)[0]["result"] == {"n": 1}


def test_progress_is_replaced_and_read_back(ledger: Ledger) -> None:
    name = start(ledger)
    held = lease(ledger)
    ledger.report_progress(held, {"stage": "decode", "files": 3})
    ledger.report_progress(held, {"stage": "write"})
    assert ledger.get_operation(name).progress == {"stage": "write"}


def test_failing_ends_the_operation_for_everybody(ledger: Ledger) -> None:
    name = start(ledger)
    failing, other = lease(ledger), lease(ledger)
    ledger.fail_operation(failing, {"class": "Undecodable", "message": "row 3"})
    operation = ledger.get_operation(name)
    assert (operation.state, operation.error) == ("failed", {"class": "Undecodable", "message": "row 3"})
    assert_useless(ledger, other)
    assert ledger.lease_chunk("w", 10, KINDS) is None


def test_cancelling_a_running_operation_leaves_its_end_to_the_worker(ledger: Ledger) -> None:
    name = start(ledger, scores=3)
    held, other = lease(ledger), lease(ledger)
    assert ledger.request_cancel(name).state == "running"
    assert ledger.lease_chunk("w", 10, KINDS) is None, "no new work for what is being cancelled"
    ledger.finish_cancelled(held)
    assert ledger.get_operation(name).state == "cancelled"
    assert_useless(ledger, other)


def test_an_operation_that_is_being_cancelled_does_not_hold_up_the_next(ledger: Ledger) -> None:
    cancelling, following = start(ledger), start(ledger)
    lease(ledger)
    ledger.request_cancel(cancelling)
    assert lease(ledger).operation == following


def test_a_cancelled_operation_ends_with_the_commit_or_release_of_its_last_holder(ledger: Ledger) -> None:
    for let_go in (lambda held: ledger.commit_chunk(held, {}), ledger.release):
        name = start(ledger, scores=3)
        first, second = lease(ledger), lease(ledger)
        ledger.request_cancel(name)
        let_go(first)
        assert ledger.get_operation(name).state == "running"
        let_go(second)
        assert ledger.get_operation(name).state == "cancelled"


def test_a_cancelled_operation_whose_worker_died_is_ended_by_the_next_worker_that_looks(
    ledger: Ledger, clock: ManualClock
) -> None:
    name = start(ledger)
    lost = lease(ledger)
    ledger.request_cancel(name)
    clock.advance(10)
    assert ledger.lease_chunk("b", 10, KINDS) is None
    assert ledger.get_operation(name).state == "cancelled"
    assert_useless(ledger, lost)


def test_a_lease_of_a_deleted_operation_is_lost(ledger: Ledger) -> None:
    name = start(ledger)
    held, other = lease(ledger), lease(ledger)
    ledger.fail_operation(held, {})
    ledger.delete_operation(name)
    for use in all_uses(ledger, other):
        with pytest.raises(LeaseLost):
            use()


def test_the_rate_counts_the_rows_of_the_window(ledger: Ledger, clock: ManualClock) -> None:
    name = start(ledger, scores=5)
    assert ledger.recent_rate(name) == 0
    held = [lease(ledger, ttl_s=100) for _ in range(5)]
    clock.advance(2)
    ledger.commit_chunk(held[0], {})
    assert ledger.recent_rate(name) == pytest.approx(10 / 2), "since the start, when that is nearer"
    clock.advance(18)
    ledger.commit_chunk(held[1], {})
    ledger.commit_chunk(held[2], {})
    assert ledger.recent_rate(name, window_s=10) == pytest.approx(2.0)
    clock.advance(11)
    assert ledger.recent_rate(name, window_s=10) == 0
    assert ledger.recent_rate(name, window_s=100) == pytest.approx(30 / 31)


def test_a_refused_operation_leaves_no_chunk_behind(ledger: Ledger) -> None:
    chunks = [ChunkSpec("score", {})]
    ledger.create_operation("audit", "audits/1", {}, chunks, request_id="r", body_digest="d")
    with pytest.raises(Conflict):
        ledger.create_operation("audit", "audits/1", {}, chunks * 5, request_id="r", body_digest="other")
    assert ledger.lease_chunk("w", 10, KINDS) is not None
    assert ledger.lease_chunk("w", 10, KINDS) is None
