"""Operations: made once however often they are asked for, listed without gaps, cancelled, deleted, remembered."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from services.adapters.ledger import ChunkSpec, Ledger, Operation, open_ledger
from services.errors import Conflict, FailedPrecondition, NotFound, OutOfRange, PageTokenMismatch, Unavailable
from tests.clock import ManualClock

ONE = [ChunkSpec("score", {"shard": 0}, rows=10)]


def create(ledger: Ledger, kind: str = "audit", **more: str) -> Operation:
    return ledger.create_operation(kind, "audits/1", {"spec": 1}, ONE, **more)[0]


def test_a_new_operation_is_pending_and_reads_back_equal(ledger: Ledger, clock: ManualClock) -> None:
    request = {"text": "ünï \u0001", "number": 1e16, "fraction": 0.1, "nothing": None, "list": [True, {}]}
    chunks = [
        ChunkSpec("score", {"shard": 0}, rows=7),
        ChunkSpec("score", {}, rows=5),
        ChunkSpec("reduce", {}, last=True),
    ]
    made, new = ledger.create_operation("audit", "audits/1", request, chunks)
    assert new
    assert made == ledger.get_operation(made.name)
    assert made.name.startswith("operations/")
    assert (made.kind, made.resource, made.state, made.rows_done, made.rows_total) == (
        "audit",
        "audits/1",
        "pending",
        0,
        12,
    )
    assert (made.cancel_requested, made.retries, made.progress, made.error, made.response) == (False, 0, {}, None, None)
    assert (made.create_time, made.update_time, made.start_time) == (clock.now, clock.now, None)
    assert made.request == request
    assert isinstance(made.request["number"], float)
    assert not made.done


def test_an_operation_without_chunks_would_never_end_and_is_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="at least one chunk"):
        ledger.create_operation("audit", "audits/1", {}, [])


def test_an_unknown_operation_is_not_found(ledger: Ledger) -> None:
    for attempt in (ledger.get_operation, ledger.request_cancel, ledger.delete_operation, ledger.chunk_results):
        with pytest.raises(NotFound) as caught:
            attempt("operations/none")
        assert caught.value.reason == "OPERATION_NOT_FOUND"


def test_the_same_request_id_with_the_same_body_gives_the_same_operation(ledger: Ledger) -> None:
    first, new = ledger.create_operation("audit", "audits/1", {}, ONE, request_id="r", body_digest="d")
    again, again_new = ledger.create_operation("audit", "audits/2", {}, ONE, request_id="r", body_digest="d")
    assert (new, again_new) == (True, False)
    assert again == first


@pytest.mark.parametrize(("kind", "digest"), [("audit", "other"), ("cohort", "d")])
def test_the_same_request_id_for_something_else_is_a_conflict(ledger: Ledger, kind: str, digest: str) -> None:
    create(ledger, request_id="r", body_digest="d")
    with pytest.raises(Conflict) as caught:
        create(ledger, kind, request_id="r", body_digest=digest)
    assert (caught.value.reason, caught.value.field) == ("REQUEST_ID_REUSED", "request_id")
    assert len(ledger.list_operations()[0]) == 1


def test_operations_without_a_request_id_are_all_new(ledger: Ledger) -> None:
    assert create(ledger).name != create(ledger).name


def test_fifty_concurrent_duplicates_make_exactly_one_operation(ledger_url: str) -> None:
    ledgers = [open_ledger(ledger_url) for _ in range(5)]

    def attempt(number: int) -> tuple[str, bool]:
        chunks = [ChunkSpec("score", {"shard": shard}) for shard in range(20)]
        operation, new = ledgers[number % 5].create_operation(
            "audit", "audits/1", {}, chunks, request_id="same", body_digest="d"
        )
        return operation.name, new

    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(attempt, range(50)))
    assert len({name for name, _ in results}) == 1
    assert sum(new for _, new in results) == 1
    assert len(ledgers[0].list_operations()[0]) == 1
    for ledger in ledgers:
        ledger.close()


def test_pages_are_newest_first_and_complete(ledger: Ledger) -> None:
    names = [create(ledger).name for _ in range(7)]
    create(ledger, "cohort")
    seen, token = [], ""
    while True:
        page, token = ledger.list_operations(kind="audit", page_size=3, page_token=token)
        seen += [operation.name for operation in page]
        if not token:
            break
    assert seen == names[::-1]


def test_pages_neither_skip_nor_repeat_while_operations_come_and_go(ledger: Ledger) -> None:
    names = [create(ledger).name for _ in range(6)]
    page, token = ledger.list_operations(page_size=2)
    create(ledger)
    ledger.request_cancel(page[1].name)
    ledger.delete_operation(page[1].name)  # the row that the token names
    rest, end = ledger.list_operations(page_size=10, page_token=token)
    assert [operation.name for operation in page + rest] == names[::-1]
    assert end == ""


def test_a_full_last_page_has_no_next(ledger: Ledger) -> None:
    for _ in range(4):
        create(ledger)
    _, token = ledger.list_operations(page_size=2)
    page, token = ledger.list_operations(page_size=2, page_token=token)
    assert (len(page), token) == (2, "")


def test_a_page_token_fits_only_its_own_query(ledger: Ledger) -> None:
    for number in range(3):
        create(ledger)
        ledger.put_resource(f"cohorts/{number}", "cohort", {"owner": "a"})
    _, of_all = ledger.list_operations(page_size=1)
    _, of_kind = ledger.list_operations(kind="audit", page_size=1)
    _, of_resources = ledger.list_resources("cohort", page_size=1, owner="a")
    wrong: list[Callable[[], object]] = [
        lambda: ledger.list_operations(kind="audit", page_token=of_all),
        lambda: ledger.list_operations(page_token=of_kind),
        lambda: ledger.list_operations(page_token=of_resources),
        lambda: ledger.list_resources("cohort", page_token=of_resources),
        lambda: ledger.list_resources("cohort", owner="b", page_token=of_resources),
    ]
    for attempt in wrong:
        with pytest.raises(PageTokenMismatch) as caught:
            attempt()
        assert (caught.value.reason, caught.value.field) == ("PAGE_TOKEN_OF_ANOTHER_QUERY", "page_token")


@pytest.mark.parametrize("token", ["x", "AAAA", "ünï", "\0", "=" * 40, "A" * 27, "A" * 28, "!" * 27, "A" * 10_000])
def test_a_made_up_page_token_is_refused(ledger: Ledger, token: str) -> None:
    create(ledger)
    with pytest.raises(PageTokenMismatch):
        ledger.list_operations(page_token=token)


def test_a_changed_page_token_is_refused(ledger: Ledger) -> None:
    for _ in range(2):
        create(ledger)
    _, token = ledger.list_operations(page_size=1)
    for position in range(len(token) - 1):
        changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        with pytest.raises(PageTokenMismatch):
            ledger.list_operations(page_token=changed)


def test_a_page_size_below_zero_is_refused_and_a_huge_one_capped(ledger: Ledger) -> None:
    with pytest.raises(OutOfRange, match="page_size"):
        ledger.list_operations(page_size=-1)
    create(ledger)
    assert len(ledger.list_operations(page_size=10**12)[0]) == 1


def test_cancelling_a_pending_operation_ends_it_at_once(ledger: Ledger) -> None:
    operation = create(ledger)
    cancelled = ledger.request_cancel(operation.name)
    assert (cancelled.state, cancelled.cancel_requested, cancelled.done) == ("cancelled", True, True)
    assert ledger.lease_chunk("w", 10, ["score"]) is None
    assert ledger.request_cancel(operation.name) == cancelled


def test_cancelling_a_finished_operation_changes_nothing(ledger: Ledger, clock: ManualClock) -> None:
    operation = create(ledger)
    lease = ledger.lease_chunk("w", 10, ["score"])
    assert lease
    ledger.commit_chunk(lease, {}, response={"type": "t"})
    before = ledger.get_operation(operation.name)
    clock.advance(1)
    assert ledger.request_cancel(operation.name) == before


def test_only_a_finished_operation_can_be_deleted_and_its_events_stay(ledger: Ledger) -> None:
    operation = create(ledger, request_id="r", body_digest="d")
    with pytest.raises(FailedPrecondition) as caught:
        ledger.delete_operation(operation.name)
    assert caught.value.reason == "OPERATION_NOT_DONE"
    ledger.request_cancel(operation.name)
    ledger.delete_operation(operation.name)
    with pytest.raises(NotFound):
        ledger.get_operation(operation.name)
    events = [event["event"] for event in ledger.history(operation.name)]
    assert events == ["created", "cancel_requested", "cancelled", "deleted"]
    assert create(ledger, request_id="r", body_digest="another").name != operation.name


def test_a_resource_is_replaced_where_it_is_in_the_list(ledger: Ledger) -> None:
    for number in range(3):
        ledger.put_resource(f"cohorts/{number}", "cohort", {"number": number})
    ledger.put_resource("cohorts/0", "cohort", {"number": 10})
    assert ledger.get_resource("cohorts/0") == {"number": 10}
    assert ledger.list_resources("cohort")[0] == [{"number": 2}, {"number": 1}, {"number": 10}]
    assert ledger.list_resources("training") == ([], "")


def test_resources_are_filtered_by_top_level_strings(ledger: Ledger) -> None:
    for number, owner in enumerate(["a", "b", "a", 'it\'s "b"']):
        ledger.put_resource(f"cohorts/{number}", "cohort", {"n": number, "owner": owner, "deep": {"owner": "z"}})
    page, token = ledger.list_resources("cohort", page_size=1, owner="a")
    rest, end = ledger.list_resources("cohort", page_size=1, page_token=token, owner="a")
    assert [body["n"] for body in page + rest] == [2, 0]
    assert end == ""
    assert [body["n"] for body in ledger.list_resources("cohort", owner='it\'s "b"')[0]] == [3]
    assert ledger.list_resources("cohort", owner="z")[0] == []
    assert ledger.list_resources("cohort", owner="a", missing="x")[0] == []


def test_a_resource_is_deleted_once(ledger: Ledger) -> None:
    ledger.put_resource("cohorts/1", "cohort", {})
    ledger.delete_resource("cohorts/1")
    assert ledger.get_resource("cohorts/1") is None
    with pytest.raises(NotFound) as caught:
        ledger.delete_resource("cohorts/1")
    assert caught.value.reason == "RESOURCE_NOT_FOUND"


def test_a_ready_ledger_says_so_and_keeps_nothing(ledger: Ledger) -> None:
    ledger.check()
    assert ledger.history("readiness") == []


def test_numbers_that_json_lacks_are_refused_before_they_are_written(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        ledger.put_resource("cohorts/1", "cohort", {"mean": float("nan")})
    assert ledger.get_resource("cohorts/1") is None


def test_a_ledger_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable) as caught:
        open_ledger("postgresql+psycopg://nobody:secret@127.0.0.1:9/none")
    assert caught.value.reason == "LEDGER_UNAVAILABLE"
    assert "secret" not in str(caught.value)


def test_an_operation_reads_as_done_in_its_final_states_only(ledger: Ledger) -> None:
    operation = create(ledger)
    states = {state: replace(operation, state=state).done for state in ("pending", "running", "succeeded", "failed")}
    assert states == {"pending": False, "running": False, "succeeded": True, "failed": True}


def test_a_list_can_leave_large_keys_out(ledger: Ledger) -> None:
    body = {"name": "audits/a", "state": "done", "gauges": {"cells": [0.1, 1e-300, 2**53 + 1]}, "digits": [0.1, 1e-7]}
    ledger.put_resource("audits/a", "audit", body)
    ledger.put_resource("audits/b", "audit", {"name": "audits/b", "state": "open"})
    listed, token = ledger.list_resources("audit", leave_out=("gauges", "nothing"))
    assert listed == [{"name": "audits/b", "state": "open"}, {key: body[key] for key in ("name", "state", "digits")}]
    assert not token
    narrowed, _ = ledger.list_resources("audit", leave_out=("gauges",), state="done")
    assert [found["name"] for found in narrowed] == ["audits/a"] and "gauges" not in narrowed[0]
    assert ledger.get_resource("audits/a") == body


def test_the_audits_of_a_cohort_are_found_however_they_came_there(ledger: Ledger) -> None:
    def of(cohort: str) -> list[str]:
        found, token = ledger.list_resources("audit", page_size=1, cohort=cohort)
        while token:
            page, token = ledger.list_resources("audit", page_size=1, page_token=token, cohort=cohort)
            found += page
        return [body["name"] for body in found]

    ledger.put_resource("audits/a", "audit", {"name": "audits/a", "cohort": "cohorts/c"})
    ledger.create_resource("audits/b", "audit", {"name": "audits/b", "cohort": "cohorts/d"})
    ledger.create_resource("audits/c", "audit", {"name": "audits/c", "cohort": "cohorts/c"})
    ledger.create_resource("studies/a", "study", {"name": "studies/a", "cohort": "cohorts/c"})
    ledger.put_resource("audits/none", "audit", {"name": "audits/none", "cohort": None})
    assert (of("cohorts/c"), of("cohorts/d"), of("cohorts/e")) == (["audits/c", "audits/a"], ["audits/b"], [])
    ledger.put_resource("audits/a", "audit", {"name": "audits/a", "cohort": "cohorts/d"})
    ledger.change_resource("audits/c", {"cohort": "cohorts/e"})
    assert (of("cohorts/c"), of("cohorts/d"), of("cohorts/e")) == ([], ["audits/b", "audits/a"], ["audits/c"])
