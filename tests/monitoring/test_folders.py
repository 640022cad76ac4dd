"""Folders that grow: each row of each table is recorded once, and a bad table holds up no other."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evenhand.monitoring.v1 import monitoring_service_pb2

from services.adapters.arrivals import ArrivalLog
from services.monitoring.folders import Folders, open_table
from services.monitoring.settings import Settings
from services.monitoring.tables import TableFault
from tests.monitoring.traffic import DAY, Traffic, times
from tests.monitoring.world import BEGAN, World, stamp

ORIGIN = BEGAN - 3 * DAY
SPEC: dict[str, Any] = {"window": {"length": "86400s", "origin": stamp(ORIGIN)}}
TRAFFIC = Traffic(0, records=300)
GOOD = "record_id,patient_id,time,sex,Edema\nr1,p1,{time},Female,0.25\n"
TIME = stamp(ORIGIN + DAY / 2)


@pytest.fixture
def folder(world: World) -> Path:
    return world.folder / "imports"


async def _watching(world: World, folder: str, **spec: Any) -> str:
    return (await world.create(source={"folder": folder}, **{**SPEC, **spec})).name


def _look(world: World, name: str, **settings: Any) -> str:
    """What is wrong after one look by a process that has never looked before."""
    ledger, store = world.ledger(), world.store()
    chosen: Settings = world.settings.model_copy(update=settings)
    return Folders(ledger, store, ArrivalLog(ledger, store), chosen).look(world.body(name))


def _tables(traffic: Traffic) -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = traffic.frame()
    truth = [name for name in frame if name.startswith("truth.")]
    labels = frame[["record_id", *truth]].rename(columns={name: name.removeprefix("truth.") for name in truth})
    predictions = frame.drop(columns=[*truth, "offset_s"]).assign(
        time=pd.to_datetime(times(frame, ORIGIN, traffic), unit="us", utc=True), model_version=traffic.version
    )
    return predictions, labels


async def test_tables_give_the_windows_that_posted_rows_give(world: World, folder: Path) -> None:
    posted = await world.create(**SPEC)
    world.record(posted.name, ORIGIN, TRAFFIC)
    predictions, labels = _tables(TRAFFIC)
    name = await _watching(world, str(folder))
    predictions[:100].to_csv(folder / "predictions-1.csv", index=False)
    pq.write_table(pa.Table.from_pandas(predictions[100:200]), folder / "predictions-2.parquet")
    predictions[200:].assign(time=predictions["time"][200:].dt.as_unit("us").astype("int64")).to_csv(
        folder / "predictions-3.csv", index=False
    )
    labels.to_csv(folder / "labels.csv", index=False)
    (folder / "notes.csv").write_text("none of a monitor's business")
    await world.until(lambda: world.body(name)["closed_windows"] == 3, world.worker(quiet_s=3.0))
    assert world.body(name)["trouble"] == ""
    world.close(posted.name, 1)
    window, other = world.ledger().get_window(name, 0), world.ledger().get_window(posted.name, 0)
    assert window is not None
    assert other is not None
    assert {key: window[key] for key in ("records", "labelled", "patients", "model_versions")} == {
        key: other[key] for key in ("records", "labelled", "patients", "model_versions")
    }
    assert world.ledger().points(name, windows=range(1)) == world.ledger().points(posted.name, windows=range(1))


async def test_a_table_that_grows_is_read_from_where_it_grew(world: World, folder: Path) -> None:
    predictions, _ = _tables(TRAFFIC)
    name, file = await _watching(world, str(folder)), folder / "predictions.csv"
    for rows in (50, 51, 300):
        file.write_text(predictions[:rows].to_csv(index=False))
        assert _look(world, name) == ""
        assert world.ledger().arrivals(name)["predictions"] == rows
    assert _look(world, name) == ""
    assert world.ledger().arrivals(name)["duplicates"] == 0
    other = predictions[:200].sample(frac=1, random_state=1)
    file.write_text(other.to_csv(index=False))
    assert _look(world, name) == ""
    assert (world.ledger().arrivals(name)["predictions"], world.ledger().arrivals(name)["duplicates"]) == (300, 200)


async def test_a_line_that_is_still_being_written_waits(world: World, folder: Path) -> None:
    name, file = await _watching(world, str(folder)), folder / "predictions.csv"
    whole = GOOD.format(time=TIME) + f"r2,p2,{TIME},Male,0.875\n"
    file.write_text(whole[:-5])
    assert _look(world, name, settle_s=3600) == ""
    assert world.ledger().arrivals(name)["predictions"] == 1
    file.write_text(whole)
    assert _look(world, name, settle_s=3600) == ""
    assert world.ledger().arrivals(name)["predictions"] == 2
    # Left alone for long, the end of a file is an end.
    file.write_text(whole + f"r3,p3,{TIME},Male,0.5")
    old = file.stat().st_mtime - 100
    os.utime(file, (old, old))
    assert _look(world, name, settle_s=60) == ""
    assert world.ledger().arrivals(name)["predictions"] == 3


async def test_an_unfinished_parquet_file_waits_and_an_old_one_is_at_fault(world: World, folder: Path) -> None:
    predictions, _ = _tables(TRAFFIC)
    name, file = await _watching(world, str(folder)), folder / "predictions.parquet"
    pq.write_table(pa.Table.from_pandas(predictions), file)
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    assert _look(world, name, settle_s=3600) == ""
    assert _look(world, name) == "predictions.parquet: not a readable Parquet file"
    file.write_bytes(content)
    assert _look(world, name) == ""
    assert world.ledger().arrivals(name)["predictions"] == 300


FAULTS = {
    "a level that the monitor lacks": (f"r2,p2,{TIME},Other,0.5", "sex is none of its levels Female, Male"),
    "a score above 1": (f"r2,p2,{TIME},Male,1.5", "the score of Edema is not in [0, 1]"),
    "a score that is no number": (f"r2,p2,{TIME},Male,high", "Edema is not a number"),
    "no time": ("r2,p2,,Male,0.5", "time is blank"),
    "a time of another kind": ("r2,p2,yesterday,Male,0.5", "time is neither ISO 8601 nor"),
    "a clock in the future": ("r2,p2,2999-01-01T00:00:00Z,Male,0.5", "ahead of the platform's clock"),
    "a time before the first window": ("r2,p2,2001-01-01T00:00:00Z,Male,0.5", "before the monitor's first window"),
    "no record": (f",p2,{TIME},Male,0.5", "record_id is blank"),
    "too few columns": (f"r2,p2,{TIME}", "another number of columns"),
}


@pytest.mark.parametrize("case", FAULTS)
async def test_a_bad_row_is_named_by_file_and_line_and_stops_no_other_file(
    world: World, folder: Path, case: str
) -> None:
    row, why = FAULTS[case]
    name = await _watching(world, str(folder))
    (folder / "predictions-1.csv").write_text(GOOD.format(time=TIME) + f"\n{row}\n")
    (folder / "predictions-2.csv").write_text(GOOD.format(time=TIME).replace("r1", "r9"))
    trouble = _look(world, name)
    assert trouble.startswith("predictions-1.csv: line 4: ")
    assert why in trouble
    assert "r2" not in trouble
    assert world.ledger().arrivals(name)["predictions"] == 1
    assert _look(world, name) == trouble
    (folder / "predictions-1.csv").write_text(GOOD.format(time=TIME))
    assert _look(world, name) == ""
    assert world.ledger().arrivals(name)["predictions"] == 2


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (
            "record_id,patient_id,time,sex,Edem",
            "column 5 has an unknown name; there may be record_id, patient_id, time, model_version, Edema",
        ),
        ("record_id,patient_id,time,sex", "no column of any label"),
        ("record_id,time,sex,Edema", "there is no column 'patient_id'"),
        ("record_id,patient_id,time,Edema,score.Edema", "two columns for 'score.Edema'"),
        ("record_id,patient_id,time,Edema,Edema", "two columns have one name"),
    ],
)
async def test_columns_are_checked_before_any_row(world: World, folder: Path, header: str, why: str) -> None:
    name = await _watching(world, str(folder))
    (folder / "predictions.csv").write_text(f"{header}\n{','.join('1' for _ in header.split(','))}\n")
    assert why in _look(world, name)
    assert world.ledger().arrivals(name)["predictions"] == 0


@pytest.mark.parametrize(
    "content",
    [f"MRN-77,MRN-12,{TIME},Female,0.25\n" * 2, f"record_id,patient_id,time,Edema,sex\nr1,p1,{TIME},0.25,MRN-77\n"],
    ids=["no header", "swapped columns"],
)
async def test_what_is_wrong_is_said_without_a_cell(world: World, folder: Path, content: str) -> None:
    name = await _watching(world, str(folder))
    (folder / "predictions.csv").write_text(content)
    trouble = _look(world, name)
    assert "predictions.csv: " in trouble
    assert "MRN" not in trouble
    assert "MRN" not in str(world.ledger().get_resource(f"{name}/files"))


async def test_rows_that_contradict_rows_before_are_left_out_and_counted(world: World, folder: Path) -> None:
    name = await _watching(world, str(folder))
    (folder / "predictions-1.csv").write_text(GOOD.format(time=TIME))
    (folder / "predictions-2.csv").write_text(
        GOOD.format(time=TIME).replace("0.25", "0.75") + f"r2,p2,{TIME},Male,0.5\n"
    )
    assert _look(world, name) == "predictions-2.csv: 1 rows say otherwise than rows before and were left out"
    arrivals = world.ledger().arrivals(name)
    assert (arrivals["predictions"], arrivals["conflicts"]) == (2, 1)


async def test_links_out_of_the_folder_are_not_followed(world: World, folder: Path) -> None:
    secret = world.folder / "secret.csv"
    secret.write_text(GOOD.format(time=TIME))
    (folder / "predictions.csv").symlink_to(secret)
    name = await _watching(world, str(folder))
    assert _look(world, name) == ""
    assert world.ledger().arrivals(name)["predictions"] == 0


async def test_what_takes_the_place_of_a_table_is_not_waited_for(folder: Path) -> None:
    pipe, real = folder / "predictions.csv", folder / "real.csv"
    os.mkfifo(pipe)
    with pytest.raises(TableFault, match="no regular file"):
        open_table(pipe)
    real.write_text("record_id\n")
    with open_table(real) as opened:
        assert opened.read() == b"record_id\n"
    (folder / "link.csv").symlink_to(real)
    with pytest.raises(OSError):
        open_table(folder / "link.csv")


async def test_an_object_that_is_too_large_is_said_and_not_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.monitoring.folders.LARGEST_OBJECT_BYTES", 10)
    name = await _watching(world, "store:site/chest/")
    world.store().put_named("site/chest/predictions-1.csv", GOOD.format(time=TIME).encode())
    trouble = _look(world, name)
    assert trouble == "predictions-1.csv: an object may have 10 bytes; give larger tables in parts"
    assert world.ledger().arrivals(name)["predictions"] == 0
    assert _look(world, name) == trouble


async def test_a_folder_that_goes_away_is_said_and_forgotten_when_it_is_back(world: World, folder: Path) -> None:
    watched = folder / "site"
    watched.mkdir()
    name = await _watching(world, str(watched))
    watched.rmdir()
    worker = world.worker()
    running = asyncio.create_task(worker.run())
    try:
        await _until(lambda: "no such folder" in world.body(name)["trouble"])
        watched.mkdir()
        (watched / "predictions.csv").write_text(GOOD.format(time=TIME))
        await _until(lambda: world.body(name)["trouble"] == "")
        assert world.ledger().arrivals(name)["predictions"] == 1
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_prefix_of_the_object_store_is_watched_alike(world: World) -> None:
    name = await _watching(world, "store:site/chest")
    store = world.store()
    store.put_named("site/chest/predictions-1.csv", GOOD.format(time=TIME).encode())
    for other in ("site/other", "site/chest-adult"):
        store.put_named(f"{other}/predictions-1.csv", GOOD.format(time=TIME).replace("r1", "r9").encode())
    assert _look(world, name) == ""
    store.put_named("site/chest/2026/predictions-2.csv", GOOD.format(time=TIME).replace("r1", "r2").encode())
    store.put_named("site/chest/labels.csv", b"record_id,Edema,Fracture\nr1,1,\nr2,0,-1\n")
    assert _look(world, name) == ""
    arrivals = world.ledger().arrivals(name)
    assert (arrivals["predictions"], arrivals["labels"], arrivals["duplicates"]) == (2, 2, 0)


async def test_a_deleted_monitor_forgets_what_was_read_of_its_folder(world: World, folder: Path) -> None:
    (folder / "predictions.csv").write_text(GOOD.format(time=TIME))
    name = await _watching(world, str(folder))
    _look(world, name)
    assert world.ledger().resource_names("monitor-files") == [f"{name}/files"]
    await world.monitors().delete(monitoring_service_pb2.DeleteMonitorRequest(name=name).SerializeToString())
    assert world.ledger().resource_names("monitor-files") == []


async def _until(done: Any, limit_s: float = 60) -> None:
    async with asyncio.timeout(limit_s):
        while not await asyncio.to_thread(done):
            await asyncio.sleep(0.05)
