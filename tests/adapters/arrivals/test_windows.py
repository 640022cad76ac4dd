"""A window is a pure function of what is recorded, whatever the order, batches, repeats and processes."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.adapters.arrivals import ArrivalLog, Labels, Predictions, WatchSpec, WindowRows, digest_ids
from services.adapters.ledger import open_ledger
from services.adapters.object_store import MemoryStore
from tests.adapters.arrivals.records import BODY, DAY_US, MONITOR, NOW, ORIGIN, SPEC, counting, made, same

COUNT, WINDOWS = 60, 3
MEMORY = next(filter(Path.is_dir, [Path("/dev/shm")]), None)  # what hypothesis tries need not reach a disk
PREDICTIONS, LABELS = made(COUNT)


def new_logs(folder: str, number: int, **more: int) -> list[ArrivalLog]:
    ledger, store = open_ledger(f"sqlite:///{folder}/ledger.db"), MemoryStore()
    ledger.put_resource(MONITOR, "monitor", BODY)
    return [ArrivalLog(ledger, store, **more) for _ in range(number)]


def windows(log: ArrivalLog, spec: WatchSpec, count: int = WINDOWS) -> list[WindowRows]:
    return [log.read_window(MONITOR, spec, index) for index in range(count)]


def expected(mask: np.ndarray, predictions: Predictions = PREDICTIONS, labels: Labels = LABELS) -> WindowRows:
    """Straight from the columns."""
    rows = np.flatnonzero(mask)
    rows = rows[np.argsort([bytes(predictions.records[row]) for row in rows])]
    names = sorted({bytes(patient) for patient in predictions.patients[rows]})
    return WindowRows(
        scores=predictions.scores[:, rows],
        labels=labels.values[:, rows],
        codes=predictions.codes[:, rows],
        patients=np.array([names.index(bytes(patient)) for patient in predictions.patients[rows]], np.int64),
        versions={"v1": len(rows)} if len(rows) else {},
        conflicts=0,
        label_delay_s=-1,
        start=0,
        end=0,
        through=0,
        patient_keys=np.array([int.from_bytes(name[:8], "big") for name in names], np.uint64),
    )


def close(log: ArrivalLog, spec: WatchSpec, index: int) -> int:
    """Close a window as it is read now; how many records are in it."""
    rows = log.read_window(MONITOR, spec, index)
    end = (datetime(1970, 1, 1) + timedelta(microseconds=rows.end)).isoformat() + "Z"
    summary = {"index": index, "end_time": end, "last_record": rows.last_record}
    said: dict[str, Any] = {"digest": "", "summary": summary, "key": "", "points": [], "alarms": []}
    assert log._ledger.close_window(MONITOR, index, revision=1, through=rows.through, between=rows.between, **said)
    return rows.scores.shape[1]


@st.composite
def schedules(draw: st.DrawFn) -> list[tuple[str, int, list[int]]]:
    """Batches of predictions and labels by one of three logs: together all rows, some of them several times."""
    rows = st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=25)
    who = st.integers(0, 2)
    parts: list[tuple[str, int, list[int]]] = []
    for kind in ("predictions", "labels"):
        order = draw(st.permutations(range(COUNT)))
        cuts = sorted(draw(st.lists(st.integers(0, COUNT), max_size=5)))
        for start, stop in zip([0, *cuts], [*cuts, COUNT], strict=True):
            parts.append((kind, draw(who), list(order[start:stop])))
        parts += [(kind, draw(who), again) for again in draw(st.lists(rows, max_size=3))]
    return draw(st.permutations(parts))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedule=schedules(), most=st.sampled_from([8, 1000]), size=st.sampled_from([1, 7, 20]))
def test_any_order_batching_repetition_and_process_gives_the_same_bytes(
    schedule: list[tuple[str, int, list[int]]], most: int, size: int
) -> None:
    with TemporaryDirectory(dir=MEMORY) as folder:
        logs = new_logs(folder, 3, most_records=most)
        for number, (kind, who, rows) in enumerate(schedule):
            now = NOW + timedelta(seconds=number)
            if kind == "predictions":
                logs[who].append_predictions(MONITOR, SPEC, PREDICTIONS.take(np.array(rows, int)), now)
            else:
                logs[who].append_labels(MONITOR, SPEC, LABELS.take(np.array(rows, int)), now)
        of = SPEC.window_of(PREDICTIONS.time)
        for index, found in enumerate(windows(logs[0], SPEC)):
            assert same(found, WindowRows(**{**vars(expected(of == index)), "start": found.start, "end": found.end}))
            assert (found.start, found.end) == SPEC.span(index)
        arrivals = logs[0]._ledger.arrivals(MONITOR)
        assert arrivals["predictions"] == COUNT
        if most > COUNT:
            assert arrivals["unknown_labels"] == 0
        # Windows by number, over the same log.
        spec, order = counting(size), np.lexsort((*_halves(PREDICTIONS), PREDICTIONS.time))
        full = COUNT // size
        for index, found in enumerate(windows(logs[1], spec, full)):
            mask = np.zeros(COUNT, bool)
            mask[order[index * size : (index + 1) * size]] = True
            times = PREDICTIONS.time[mask]
            assert (found.start, found.end) == (times.min(), times.max())
            assert same(found, WindowRows(**{**vars(expected(mask)), "start": found.start, "end": found.end}))
        assert logs[1].closable(MONITOR, spec, NOW, 0) == [0][:full]
        logs[0]._ledger.close()


def _halves(batch: Predictions) -> list[np.ndarray]:
    halves = batch.records.view(">u8")
    return [halves[:, 1], halves[:, 0]]


def test_records_of_one_time_are_cut_by_their_digests(tmp_path: Path) -> None:
    (log,) = new_logs(str(tmp_path), 1)
    predictions = Predictions(
        PREDICTIONS.records,
        PREDICTIONS.patients,
        np.full(COUNT, SPEC.origin + 5),
        PREDICTIONS.codes,
        PREDICTIONS.scores,
    )
    for rows in np.array_split(np.random.default_rng(1).permutation(COUNT), 7):
        log.append_predictions(MONITOR, counting(25), predictions.take(rows), NOW)
    found = [log.read_window(MONITOR, counting(25), index).scores for index in range(2)]
    order = np.argsort([bytes(record) for record in predictions.records])
    whole = np.concatenate(found, axis=1)
    assert whole.tobytes() == np.ascontiguousarray(predictions.scores[:, order[:50]]).tobytes()


def test_a_window_may_be_closed_when_its_labels_had_their_time(tmp_path: Path) -> None:
    (log,) = new_logs(str(tmp_path), 1)
    day, delay = timedelta(days=1), timedelta(seconds=3600.5)
    moment = ORIGIN + 2 * day + delay
    assert log.closable(MONITOR, SPEC, moment - timedelta(microseconds=1), 0) == [0]
    assert log.closable(MONITOR, SPEC, moment, 0) == [0, 1]
    assert log.closable(MONITOR, SPEC, moment, 1) == [1]
    assert log.closable(MONITOR, SPEC, moment, 5) == []
    assert log.closable(MONITOR, SPEC, ORIGIN - day, 0) == []
    spec = WatchSpec(SPEC.labels, SPEC.attributes, SPEC.origin, delay=DAY_US, records=20)
    log.append_predictions(MONITOR, spec, PREDICTIONS, NOW)
    last = np.sort(PREDICTIONS.time)[39] - SPEC.origin + DAY_US
    assert close(log, spec, 0) == 20
    assert log.closable(MONITOR, spec, ORIGIN + timedelta(microseconds=int(last)), 1) == [1]
    assert log.closable(MONITOR, spec, ORIGIN + timedelta(microseconds=int(last) - 1), 1) == []


@pytest.mark.parametrize("times", [1, 5, 3 * DAY_US])  # many records at one time, or none
@pytest.mark.parametrize("size", [1, 7, 20])
def test_a_record_is_in_one_window_of_so_many_however_late_it_comes(tmp_path: Path, size: int, times: int) -> None:
    rows, before = np.random.default_rng(size).permutation(COUNT), 40
    predictions = Predictions(
        PREDICTIONS.records,
        PREDICTIONS.patients,
        SPEC.origin + (PREDICTIONS.time - SPEC.origin) % times,
        PREDICTIONS.codes,
        np.arange(2 * COUNT, dtype=np.float32).reshape(2, COUNT),
    )
    (log,) = new_logs(str(tmp_path), 1)
    spec = counting(size)
    for part in np.array_split(rows[:before], 3):
        log.append_predictions(MONITOR, spec, predictions.take(part), NOW)
    for index in range(2):
        assert close(log, spec, index) == size
    ends = [log.read_window(MONITOR, spec, index).last_record for index in range(2)]
    for part in np.array_split(rows[before:], 3):
        log.append_predictions(MONITOR, spec, predictions.take(part), NOW)
    closed = 2
    while closed < 12 and log.closable(MONITOR, spec, NOW, closed):
        assert close(log, spec, closed) == size
        closed += 1
    found = windows(log, spec, closed)
    assert [one.last_record for one in found[:2]] == ends, "a closed window keeps its bounds"
    assert size < 20 or sum(one.scores.shape[1] for one in found[:2]) > 2 * size, "late ones are in it"
    numbers = np.concatenate([one.scores[0] for one in found]).astype(int)
    order = np.lexsort((*_halves(predictions), predictions.time))
    assert sorted(numbers) == sorted(order[: len(numbers)]), "each record up to the last window's end is in one window"
    assert closed == 12 or len(numbers) > COUNT - size
    at = 0
    for one in found:
        assert set(one.scores[0].astype(int)) == set(order[at : at + one.scores.shape[1]])
        at += one.scores.shape[1]


def test_segments_are_not_read_while_the_labels_of_a_window_have_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (log,) = new_logs(str(tmp_path), 1)
    spec = WatchSpec(SPEC.labels, SPEC.attributes, SPEC.origin, delay=9 * DAY_US, records=20)
    for rows in np.array_split(np.argsort(PREDICTIONS.time), 6):
        log.append_predictions(MONITOR, spec, PREDICTIONS.take(rows), NOW)
    reads: list[str] = []
    plain = MemoryStore.get
    monkeypatch.setattr(MemoryStore, "get", lambda *given, **more: reads.append(given[1]) or plain(*given, **more))
    assert log.closable(MONITOR, spec, ORIGIN + timedelta(days=9), 0) == []
    assert reads == []
    assert log.closable(MONITOR, spec, ORIGIN + timedelta(days=13), 0) == [0]
    assert 0 < len(reads) < 6


def test_an_empty_window_has_no_rows(tmp_path: Path) -> None:
    (log,) = new_logs(str(tmp_path), 1)
    for spec in (SPEC, counting(5)):
        empty = log.read_window(MONITOR, spec, 0)
        assert (empty.scores.shape, empty.labels.shape, empty.codes.shape) == ((2, 0), (2, 0), (2, 0))
        assert (empty.patients.shape, empty.versions, empty.label_delay_s) == ((0,), {}, -1)


def test_versions_are_counted_and_the_delay_of_labels_is_of_their_first(tmp_path: Path) -> None:
    (log,) = new_logs(str(tmp_path), 1)
    time = np.full(4, SPEC.origin + DAY_US // 2)
    records = digest_ids("abcd")
    for version, rows in (("v2", [0, 1, 2]), ("v1", [3])):
        batch = Predictions(records, records, time, PREDICTIONS.codes[:, :4], PREDICTIONS.scores[:, :4], version)
        log.append_predictions(MONITOR, SPEC, batch.take(np.array(rows)), NOW)
    noon = ORIGIN + timedelta(hours=12)
    first = np.array([[1, 0, -1], [-1, -1, -1]], np.int8)
    log.append_labels(MONITOR, SPEC, Labels(records[:3], first), noon + timedelta(seconds=40))
    log.append_labels(MONITOR, SPEC, Labels(records[:1], np.array([[-1], [1]], np.int8)), noon + timedelta(hours=5))
    log.append_labels(MONITOR, SPEC, Labels(records[2:3], np.array([[-1], [1]], np.int8)), noon + timedelta(seconds=50))
    found = log.read_window(MONITOR, SPEC, 0)
    assert found.versions == {"v1": 1, "v2": 3}
    assert found.label_delay_s == 40
    assert found.through == log._ledger.last_segment(MONITOR)


def test_history_that_is_yet_to_come_is_waited_for(tmp_path: Path) -> None:
    (log,) = new_logs(str(tmp_path), 1)
    made = datetime.now(UTC)
    assert log.closable(MONITOR, SPEC, made + timedelta(hours=1), 0, quiet_s=60, since=made) == []
    first = SPEC.window_of(PREDICTIONS.time) == 0
    assert first.any() and not first.all()
    log.append_predictions(MONITOR, SPEC, PREDICTIONS.take(np.flatnonzero(first)), NOW)
    came = datetime.now(UTC)
    assert log.closable(MONITOR, SPEC, came, 1, quiet_s=60, since=made) == [], "the next day's may follow"
    assert log.closable(MONITOR, SPEC, came + timedelta(seconds=61), 1, quiet_s=60, since=made)[0] == 1
    assert log.closable(MONITOR, SPEC, came, 1, quiet_s=60, since=ORIGIN)[0] == 1, "it passed while it was watched"


MEASURE = """
import sys
from pathlib import Path
from datetime import UTC, datetime, timedelta
import numpy as np
from services.adapters.arrivals import *
from services.adapters.arrivals.log import *
from services.adapters.ledger import open_ledger
from services.adapters.object_store import DirectoryStore
from tests.adapters.arrivals.records import MONITOR, NOW, BODY, DAY_US

labels = tuple(f"label {n}" for n in range(12))
attributes = tuple((f"attribute {n}", ("a", "b")) for n in range(4))
spec = WatchSpec(labels, attributes, 0, 0, DAY_US)
folder = Path(sys.argv[1])
log = ArrivalLog(open_ledger(f"sqlite:///{folder}/ledger.db"), DirectoryStore(folder / "store"))
if sys.argv[2] == "write":
    log._ledger.put_resource(MONITOR, "monitor", BODY)
    rng = np.random.default_rng(0)
    for part in range(21):
        n, day = (50_000, 0) if part < 20 else (10, 5)
        records, patients = rng.integers(0, 256, (2, n, 16), np.uint8)
        batch = Predictions(records, patients, rng.integers(0, DAY_US, n) + day * DAY_US,
            rng.integers(-1, 2, (4, n)).astype(np.int16), rng.random((12, n), np.float32))
        log.append_predictions(MONITOR, spec, batch, NOW)
        log.append_labels(MONITOR, spec, Labels(batch.records, rng.integers(0, 2, (12, n)).astype(np.int8)), NOW)
else:
    def peak():  # not getrusage: its peak is also of the process that started this one
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

    log.read_window(MONITOR, spec, 5)  # loads the libraries
    before = peak()
    rows = log.read_window(MONITOR, spec, 0)
    assert rows.scores.shape == (12, 1_000_000) and (rows.labels >= 0).all()
    print((peak() - before) / 1024)
"""


def test_a_million_records_with_twelve_labels_are_read_in_two_hundred_mebibytes(tmp_path: Path) -> None:
    for step in ("write", "read"):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(tmp_path), step],
            check=False,
            capture_output=True,
            text=True,
            timeout=250,
        )
        assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 200


@pytest.mark.parametrize("body", [BODY, {"spec": {"window": {"records": "25"}}}])
def test_the_spec_is_read_off_a_monitors_body(body: dict[str, object]) -> None:
    spec = WatchSpec.of(body)
    if body is BODY:
        assert (spec.length, spec.delay, spec.records) == (DAY_US, 3_600_500_000, 0)
        assert spec.labels == ("Edema", "Mass")
        assert spec.attributes == (("sex", ("Female", "Male")), ("age", ("young", "middle", "old")))
    else:
        assert (spec.length, spec.records, spec.labels) == (0, 25, ())


def test_a_window_of_the_past_waits_until_nothing_more_of_it_comes(tmp_path: Path) -> None:
    (log,) = new_logs(str(tmp_path), 1)
    half = COUNT // 2
    later = datetime.now(UTC)  # segments are dated by the ledger's own clock
    assert log.closable(MONITOR, SPEC, later, 0, quiet_s=60)[0] == 0, "nothing was recorded, so nothing is under way"
    log.append_predictions(MONITOR, SPEC, PREDICTIONS.take(np.arange(half)), NOW)
    came = datetime.now(UTC)
    assert log.closable(MONITOR, SPEC, came, 0, quiet_s=60) == []
    assert log.closable(MONITOR, SPEC, came, 0)[0] == 0
    assert log.closable(MONITOR, SPEC, came + timedelta(seconds=61), 0, quiet_s=60)[0] == 0
    log.append_labels(MONITOR, SPEC, LABELS.take(np.arange(half)), NOW)
    assert log.closable(MONITOR, SPEC, came + timedelta(seconds=59), 0, quiet_s=60) == []
    assert log.closable(MONITOR, SPEC, datetime.now(UTC) + timedelta(seconds=61), 0, quiet_s=60)[0] == 0


def test_labels_of_other_records_do_not_keep_a_window_of_the_past_open(tmp_path: Path) -> None:
    (log,) = new_logs(str(tmp_path), 1)
    days = SPEC.window_of(PREDICTIONS.time)
    log.append_predictions(MONITOR, SPEC, PREDICTIONS, NOW)
    came, quiet_s = datetime.now(UTC), 0.2
    time.sleep(quiet_s)
    log.append_labels(MONITOR, SPEC, made(5, seed=8)[1], NOW)  # of records that nobody recorded
    log.append_labels(MONITOR, SPEC, LABELS.take(days == 2), NOW)
    assert log.closable(MONITOR, SPEC, datetime.now(UTC), 0, quiet_s=quiet_s)[0] == 0
    log.append_labels(MONITOR, SPEC, LABELS.take(days == 0), NOW)
    assert log.closable(MONITOR, SPEC, datetime.now(UTC), 0, quiet_s=quiet_s) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.adapters.arrivals.windows.PATIENCE", 1)  # labels came last, but that is long enough
        assert log.closable(MONITOR, SPEC, came + timedelta(seconds=2 * quiet_s), 0, quiet_s=quiet_s)[0] == 0
