"""Appending: what is new, what is said again, what contradicts, what comes late; over several processes and kills."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from services.adapters.arrivals import Appended, ArrivalLog, Labels, Predictions, digest_ids
from services.adapters.arrivals.columns import row_digests
from services.adapters.ledger import Ledger, open_ledger
from services.adapters.object_store import MemoryStore
from services.errors import Conflict, InvalidInput, NotFound
from tests.adapters.arrivals import records
from tests.adapters.arrivals.records import BODY, DAY_US, MONITOR, NOW, SPEC, counting, made, open_log, same

spawning = multiprocessing.get_context("forkserver")
spawning.set_forkserver_preload(["tests.adapters.arrivals.records"])


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[Ledger, MemoryStore]]:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.put_resource(MONITOR, "monitor", BODY)
    yield ledger, MemoryStore()
    ledger.close()


@pytest.fixture
def log(parts: tuple[Ledger, MemoryStore]) -> ArrivalLog:
    return ArrivalLog(*parts)


def changed(batch: Predictions, row: int = 0) -> Predictions:
    scores = batch.scores.copy()
    scores[0, row] = 0.123
    return replace(batch, scores=scores)


def close(ledger: Ledger, index: int, end: str = "") -> None:
    summary = {"end_time": end} if end else {}
    ledger.close_window(MONITOR, index, revision=1, digest="", summary=summary, key="", points=[], alarms=[])


def test_a_batch_is_kept_once_however_often_it_is_sent(parts: tuple[Ledger, MemoryStore], log: ArrivalLog) -> None:
    predictions, labels = made(50)
    said = int(np.count_nonzero((labels.values >= 0).any(axis=0)))
    assert log.append_predictions(MONITOR, SPEC, predictions, NOW) == Appended(50, 0)
    assert log.append_labels(MONITOR, SPEC, labels, NOW) == Appended(said, 50 - said)
    fresh = ArrivalLog(*parts)
    for again in (log, fresh):
        assert again.append_predictions(MONITOR, SPEC, predictions.take(np.arange(20)), NOW) == Appended(0, 20)
        assert again.append_labels(MONITOR, SPEC, labels, NOW) == Appended(0, 50)
    twice = predictions.take(np.arange(100) % 50)
    assert log.append_predictions(MONITOR, SPEC, twice, NOW) == Appended(0, 100)
    other, _ = made(5, seed=9)
    pair = other.take(np.array([0, 1, 0, 2, 0]))
    assert log.append_predictions(MONITOR, SPEC, pair, NOW) == Appended(3, 2)


def test_a_record_with_other_values_refuses_the_batch_and_shows_both_digests(
    parts: tuple[Ledger, MemoryStore], log: ArrivalLog
) -> None:
    ledger, store = parts
    predictions, _ = made(10)
    log.append_predictions(MONITOR, SPEC, predictions.take(np.arange(5)), NOW)
    objects = list(store.keys())
    later = replace(predictions, time=predictions.time + 1)
    for wrong in (changed(predictions, 3), replace(predictions, version="v2"), later):
        with pytest.raises(Conflict) as caught:
            log.append_predictions(MONITOR, SPEC, wrong, NOW)
        assert caught.value.reason == "CONFLICTING_RECORD"
        details = caught.value.details
        assert details["before"] != details["now"]
        assert details["before"] in caught.value.message
        assert details["now"] in caught.value.message
    assert list(store.keys()) == objects, "something of a refused batch was kept"
    assert ledger.arrivals(MONITOR)["predictions"] == 5
    assert ledger.arrivals(MONITOR)["conflicts"] == 1 + 5 + 5
    within = predictions.take(np.array([7, 8, 7]))
    with pytest.raises(Conflict):
        log.append_predictions(MONITOR, SPEC, changed(within, 2), NOW)


def test_a_source_that_cannot_be_asked_again_passes_over_contradictions(
    parts: tuple[Ledger, MemoryStore], log: ArrivalLog
) -> None:
    predictions, labels = made(10)
    log.append_predictions(MONITOR, SPEC, predictions.take(np.arange(5)), NOW)
    outcome = log.append_predictions(MONITOR, SPEC, changed(predictions, 3), NOW, contradictions="skip")
    assert outcome == Appended(5, 4, conflicts=1)
    says = Labels(labels.records, np.ones_like(labels.values))
    log.append_labels(MONITOR, SPEC, says.take(np.arange(2)), NOW)
    other = Labels(labels.records[:4], np.zeros_like(labels.values[:, :4]))
    assert log.append_labels(MONITOR, SPEC, other, NOW, contradictions="skip") == Appended(2, 0, conflicts=2)
    assert parts[0].arrivals(MONITOR)["conflicts"] == 3


def test_rows_without_a_time_of_their_own_say_the_same_at_another_time(log: ArrivalLog) -> None:
    predictions, _ = made(10)
    untimed = replace(predictions, timed=False)
    log.append_predictions(MONITOR, SPEC, untimed, NOW)
    again = replace(untimed, time=untimed.time + 7)
    assert log.append_predictions(MONITOR, SPEC, again, NOW) == Appended(0, 10)
    with pytest.raises(Conflict):
        log.append_predictions(MONITOR, SPEC, replace(again, timed=True), NOW)


def test_labels_add_up_and_only_contradict_where_both_are_known(log: ArrivalLog) -> None:
    predictions, _ = made(3)
    log.append_predictions(MONITOR, SPEC, predictions, NOW)
    one = Labels(predictions.records, np.array([[1, 0, -1], [-1, -1, -1]], np.int8))
    two = Labels(predictions.records, np.array([[1, -1, -1], [0, 1, -1]], np.int8))
    assert log.append_labels(MONITOR, SPEC, one, NOW) == Appended(2, 1)
    assert log.append_labels(MONITOR, SPEC, two, NOW) == Appended(2, 1)
    with pytest.raises(Conflict) as caught:
        log.append_labels(MONITOR, SPEC, Labels(two.records, 1 - np.abs(two.values)), NOW)
    assert caught.value.reason == "CONFLICTING_LABEL"
    rows = [log.read_window(MONITOR, SPEC, index).labels for index in range(3)]
    assert sorted(np.concatenate(rows, axis=1).T.tolist()) == [[-1, -1], [0, 1], [1, 0]]


def test_a_batch_may_say_a_records_labels_in_several_rows(log: ArrivalLog) -> None:
    record = digest_ids(["a"])
    rows = np.repeat(record, 4, axis=0)
    values = np.array([[1, -1, 1, -1], [-1, 0, 0, -1]], np.int8)
    assert log.append_labels(MONITOR, SPEC, Labels(rows, values), NOW) == Appended(2, 2, unknown=2)
    values[1, 2] = 1
    with pytest.raises(Conflict):
        log.append_labels(MONITOR, SPEC, Labels(np.repeat(digest_ids(["b"]), 4, axis=0), values), NOW)


def test_labels_of_unknown_records_are_counted_until_their_records_come(parts: tuple[Ledger, MemoryStore]) -> None:
    ledger, _ = parts
    predictions, _ = made(6)
    says = Labels(predictions.records, np.array([[1] * 6, [-1] * 6], np.int8))
    more = Labels(predictions.records[:2], np.array([[-1] * 2, [0] * 2], np.int8))
    assert ArrivalLog(*parts).append_labels(MONITOR, SPEC, says, NOW).unknown == 6
    assert ArrivalLog(*parts).append_labels(MONITOR, SPEC, more, NOW).unknown == 2
    assert ledger.arrivals(MONITOR)["unknown_labels"] == 8
    ArrivalLog(*parts).append_predictions(MONITOR, SPEC, predictions.take(np.arange(1, 6)), NOW)
    assert ledger.arrivals(MONITOR)["unknown_labels"] == 2


def test_rows_of_closed_windows_are_kept_and_counted_late(parts: tuple[Ledger, MemoryStore], log: ArrivalLog) -> None:
    ledger, _ = parts
    predictions, labels = made(60)
    first = np.flatnonzero(SPEC.window_of(predictions.time) == 0)
    log.append_predictions(MONITOR, SPEC, predictions.take(first[:5]), NOW)
    close(ledger, 0)
    outcome = log.append_predictions(MONITOR, SPEC, predictions, NOW)
    assert outcome == Appended(55, 5, late=len(first) - 5)
    known = Labels(labels.records, np.abs(labels.values))
    assert log.append_labels(MONITOR, SPEC, known, NOW).late == len(first)
    assert ledger.late_rows(MONITOR) == {0: 2 * len(first) - 5}
    assert len(log.read_window(MONITOR, SPEC, 0).patients) == len(first)


def test_of_windows_by_number_late_is_what_came_before_the_last_closed_record(
    parts: tuple[Ledger, MemoryStore], log: ArrivalLog
) -> None:
    spec = counting(10)
    predictions, _ = made(30)
    order = np.argsort(predictions.time)
    log.append_predictions(MONITOR, spec, predictions.take(order[::2]), NOW)
    end = int(predictions.time[order[18]])
    moment = np.datetime64(end, "us")
    close(parts[0], 0, f"{moment}Z")
    outcome = log.append_predictions(MONITOR, spec, predictions.take(order[1::2]), NOW)
    assert outcome == Appended(15, 0, late=9)


def test_a_small_memory_forgets_old_records_and_looks_them_up_again(parts: tuple[Ledger, MemoryStore]) -> None:
    log = ArrivalLog(*parts, most_records=100)
    predictions, labels = made(1000, days=20)
    order = np.argsort(predictions.time)
    for at in range(0, 1000, 50):
        log.append_predictions(MONITOR, SPEC, predictions.take(order[at : at + 50]), NOW)
    assert len(log._index(MONITOR)) <= 100
    for again in (log, ArrivalLog(*parts, most_records=100)):
        assert again.append_predictions(MONITOR, SPEC, predictions.take(order[:300]), NOW) == Appended(0, 300)
        with pytest.raises(Conflict):
            again.append_predictions(MONITOR, SPEC, changed(predictions, int(order[3])), NOW)
        assert len(again._index(MONITOR)) <= 100
    known = Labels(labels.records, np.abs(labels.values))
    for at in range(0, 1000, 100):
        log.append_labels(MONITOR, SPEC, known.take(np.arange(at, at + 100)), NOW)
    assert len(log._index(MONITOR)) <= 200
    windows = [log.read_window(MONITOR, SPEC, index) for index in range(20)]
    assert sum(len(window.patients) for window in windows) == 1000
    assert all((window.labels >= 0).all() for window in windows), "a label of a forgotten record was not joined"


def test_a_monitor_that_is_gone_takes_nothing(parts: tuple[Ledger, MemoryStore], log: ArrivalLog) -> None:
    predictions, _ = made(3)
    log.append_predictions(MONITOR, SPEC, predictions, NOW)
    log.forget(MONITOR)
    assert list(parts[1].keys()) == []
    with pytest.raises(NotFound) as caught:
        log.append_predictions(MONITOR, SPEC, predictions, NOW)
    assert caught.value.reason == "MONITOR_NOT_FOUND"


def test_a_monitor_that_another_process_made_anew_starts_empty(
    parts: tuple[Ledger, MemoryStore], log: ArrivalLog
) -> None:
    predictions, _ = made(3)
    log.append_predictions(MONITOR, SPEC, predictions, NOW)
    parts[0].delete_monitor(MONITOR)
    parts[0].put_resource(MONITOR, "monitor", BODY)
    assert log.append_predictions(MONITOR, SPEC, predictions, NOW) == Appended(3, 0)


@pytest.mark.parametrize(("change", "reason"), [
    (lambda batch: replace(batch, scores=batch.scores + 1), "SCORE_INVALID"),
    (lambda batch: replace(batch, scores=batch.scores * -np.inf), "SCORE_INVALID"),
    (lambda batch: replace(batch, time=batch.time + 60 * DAY_US), "TIME_IN_FUTURE"),
    (lambda batch: replace(batch, time=batch.time - 9 * DAY_US), "TIME_BEFORE_ORIGIN"),
])  # fmt: skip
def test_rows_out_of_range_are_named(change, reason: str) -> None:  # type: ignore[no-untyped-def]
    predictions, _ = made(10)
    SPEC.check(predictions, NOW)
    with pytest.raises(InvalidInput) as caught:
        SPEC.check(change(predictions), NOW)
    assert caught.value.reason == reason


def test_a_rows_digest_is_of_its_values_and_not_of_their_spelling() -> None:
    predictions, _ = made(4)
    scores = predictions.scores.copy()
    scores[0], scores[1, 0] = 0.0, np.nan
    zero = replace(predictions, scores=scores)
    spelt = scores.copy()
    spelt[0] = -0.0
    spelt.view(np.uint32)[1, 0] = 0xFFC00001
    assert row_digests(zero).tolist() == row_digests(replace(predictions, scores=spelt)).tolist()
    assert len({*row_digests(zero).tolist(), *row_digests(replace(zero, version="v2")).tolist()}) == 8


def test_four_processes_at_once_keep_each_row_once(ledger_url: str, tmp_path: Path) -> None:
    predictions, labels = made(200, days=2)
    batches = [np.arange(at, at + 20) for at in range(0, 200, 20)]

    def write(seed: int) -> tuple[int, int]:
        log, recorded, again = open_log(ledger_url, tmp_path / "store"), 0, 0
        for number in np.random.default_rng(seed).permutation(len(batches)).tolist():
            outcome = log.append_predictions(MONITOR, SPEC, predictions.take(batches[number]), NOW)
            recorded, again = recorded + outcome.recorded, again + outcome.duplicates
            log.append_labels(MONITOR, SPEC, labels.take(batches[number]), NOW)
        log._ledger.close()
        return recorded, again

    open_log(ledger_url, tmp_path / "store")._ledger.close()
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(write, range(4)))
    assert sum(count[0] for count in counts) == 200
    assert sum(count[1] for count in counts) == 600
    check_whole(ledger_url, tmp_path)


def check_whole(url: str, folder: Path, seed: int = 0) -> None:
    """What is recorded is byte for byte what one process records of whole columns."""
    predictions, labels = made(400 if seed else 200, days=2)
    twin = open_log(f"sqlite:///{folder}/twin.db", folder / "twin")
    twin.append_predictions(MONITOR, SPEC, predictions, NOW)
    twin.append_labels(MONITOR, SPEC, labels, NOW)
    log = open_log(url, folder / "store")
    for index in range(2):
        assert same(log.read_window(MONITOR, SPEC, index), twin.read_window(MONITOR, SPEC, index))
    log._ledger.close()
    twin._ledger.close()


def test_killed_writers_lose_nothing_that_was_acknowledged_and_double_nothing(ledger_url: str, tmp_path: Path) -> None:
    random = Random(3)
    open_log(ledger_url, tmp_path / "store")._ledger.close()
    predictions, labels = made(400, days=2)
    for kill in range(4):
        journal = tmp_path / f"{kill}.journal"
        process = spawning.Process(
            target=records.write_until_killed, args=(ledger_url, tmp_path / "store", journal, kill)
        )
        process.start()
        end = time.monotonic() + 60
        while time.monotonic() < end and not (journal.exists() and len(journal.read_bytes().splitlines()) > kill):
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.05))
        process.kill()
        process.join(30)
    log = open_log(ledger_url, tmp_path / "store")
    acknowledged = {line for path in tmp_path.glob("*.journal") for line in path.read_text().splitlines()}
    assert len(acknowledged) > 4, "nothing was acknowledged before the kills: the test saw nothing"
    for line in sorted(acknowledged):
        kind, number = line.split()
        rows = np.arange(int(number) * 10, int(number) * 10 + 10)
        if kind == "predictions":
            assert log.append_predictions(MONITOR, SPEC, predictions.take(rows), NOW) == Appended(0, 10)
        elif kind == "labels":
            assert log.append_labels(MONITOR, SPEC, labels.take(rows), NOW) == Appended(0, 10)
    log.append_predictions(MONITOR, SPEC, predictions, NOW)
    log.append_labels(MONITOR, SPEC, labels, NOW)
    assert log._ledger.arrivals(MONITOR)["predictions"] == 400
    assert log._ledger.arrivals(MONITOR)["unknown_labels"] == 0
    log._ledger.close()
    check_whole(ledger_url, tmp_path, seed=1)
