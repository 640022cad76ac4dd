"""Audits from creation to report, by real workers over a real ledger and store, undisturbed and disturbed."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evenhand.audit.v1 import audit_pb2

from services.adapters.ledger import Operation
from services.audit.chunks import REDUCE, ROWS
from services.audit.pipeline import plan_from_dict
from services.audit.publish import SubprocessPublisher
from services.audit.results.formats import read_predictions, read_quality
from services.audit.steps import Batch, run_batch
from services.errors import Unavailable, UnsupportedFormat
from services.hosting.calls import ModelCalls
from services.hosting.shards import Shard, ShardRef, read_shard
from tests.audit.world import COHORT, LABELS, PIXELS, Fleet, SlowCalls, World, make_world
from tests.packages import IR_SDE, write_classifier, write_sampled
from tests.servers.ceph import ACCESS_KEY, SECRET_KEY, CephS3

RECORDS = 40


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, records=RECORDS)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Operation]:
    """The standard audit by one worker whom nothing happens to."""
    world = make_world(tmp_path_factory.mktemp("undisturbed"), records=RECORDS)

    async def run() -> Operation:
        return await world.finish(await world.create(), world.worker())

    return world, asyncio.run(run())


def fingerprint(world: World, operation: Operation) -> tuple[str, str, str]:
    """What must never differ: the report's digest and both row files, byte for byte."""
    assert operation.state == "succeeded", operation.error
    artifacts = {part["filename"]: part["sha256"] for part in (operation.response or {})["value"]["artifacts"]}
    return world.report(operation)["digest"], artifacts["predictions.parquet"], artifacts["quality.parquet"]


def test_an_audit_leaves_every_row_once(undisturbed: tuple[World, Operation]) -> None:
    world, operation = undisturbed
    assert operation.rows_done == operation.rows_total == 2 * RECORDS
    rows = read_predictions(world.artifact(operation, "predictions.parquet"))
    # original reads two labels and two levels of sex, unet two labels
    assert rows.groupby(["pipeline", "label"], observed=True).size().to_dict() == {
        **{("original", label): RECORDS for label in (*LABELS, "Female", "Male")},
        **{("unet", label): RECORDS for label in LABELS},
    }
    assert not rows.duplicated(["record_id", "pipeline", "label"]).any()
    quality = read_quality(world.artifact(operation, "quality.parquet"))
    assert quality.groupby(["pipeline", "metric"], observed=True).size().to_dict() == {
        ("original", "dice"): RECORDS,
        **{("unet", metric): RECORDS for metric in ("dice", "psnr", "ssim_gaussian11")},
    }


async def test_each_row_has_the_score_that_its_own_image_gets(undisturbed: tuple[World, Operation]) -> None:
    """The oracle: one record at a time, by its id, through the same models. A mix-up of rows cannot pass."""
    world, operation = undisturbed
    rows = read_predictions(world.artifact(operation, "predictions.parquet"))
    plain = rows[rows["pipeline"] == "original"].set_index(["record_id", "label"])["y_score"]
    calls = world.calls()
    plan = plan_from_dict(operation.request["plan"])
    for shard in _shards(world):
        for place, record_id in enumerate(shard.records["record_id"]):
            batch = Batch([record_id], [shard.images[place]], [shard.masks[place]])
            readings = await run_batch(plan.pipelines[0], batch, calls, seed=plan.seed, batch_size=4)
            assert [plain[record_id, label] for label in LABELS] == readings.scores[0][0].tolist()


def _shards(world: World) -> Iterator[Shard]:
    body = world.ledger().get_resource(COHORT)
    assert body is not None
    manifest = json.loads(world.store().get(body["manifest_key"]))
    return (read_shard(world.store(), ShardRef.from_dict(plain)) for plain in manifest["shards"])


def test_the_report_has_every_artifact_and_its_digest(undisturbed: tuple[World, Operation]) -> None:
    world, operation = undisturbed
    assert operation.response is not None
    audit = operation.response["value"]
    assert [part["filename"] for part in audit["artifacts"]] == [
        "report.json",
        "report.html",
        "predictions.parquet",
        "quality.parquet",
    ]
    report = world.report(operation)
    assert report["digest"] == audit["report_digest"]
    assert report["provenance"]["audit_digest"] == audit["digest"]
    assert {"publish_time", "host"} <= set(report["envelope"])
    body = world.ledger().get_resource(operation.resource)
    assert body is not None and body["report_digest"] == report["digest"]
    assert {cell["group"] for cell in body["gauges"]["cells"]} == {"overall", "Female", "Male", "(missing)"}


async def test_two_workers_give_the_same_report(world: World, undisturbed: tuple[World, Operation]) -> None:
    done = await world.finish(await world.create(), world.worker("one"), world.worker("two"))
    assert fingerprint(world, done) == fingerprint(*undisturbed)


class ShuffledCalls(SlowCalls):
    """Each answer takes a time of its own, so batches end in any order."""

    def __init__(self, calls: ModelCalls, seed: int) -> None:
        super().__init__(calls, 0.0)
        self._random = random.Random(seed)

    async def infer(self, *asked: Any, **how: Any) -> np.ndarray:
        await asyncio.sleep(self._random.random() * 0.05)
        return await super().infer(*asked, **how)


@pytest.mark.postgres
@pytest.mark.s3
async def test_a_real_postgresql_and_s3_give_the_same_report(
    tmp_path: Path,
    undisturbed: tuple[World, Operation],
    postgres_url: str,
    s3_server: CephS3,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EVENHAND_S3_ACCESS_KEY", ACCESS_KEY)
    monkeypatch.setenv("EVENHAND_S3_SECRET_KEY", SECRET_KEY)
    store_url = f"s3://{s3_server.endpoint}/audit-{uuid.uuid4().hex[:12]}?secure=0"
    world = make_world(tmp_path, records=RECORDS, ledger_url=postgres_url, store_url=store_url)
    done = await world.finish(await world.create(), world.worker("one"), world.worker("two"))
    assert fingerprint(world, done) == fingerprint(*undisturbed)


async def test_batches_that_end_in_any_order_give_the_same_report(
    world: World, undisturbed: tuple[World, Operation]
) -> None:
    done = await world.finish(await world.create(), world.worker(calls=ShuffledCalls(world.calls(), 5)))
    assert fingerprint(world, done) == fingerprint(*undisturbed)


class SwappingCalls(SlowCalls):
    """Gives every batch's answers to the wrong rows."""

    async def infer(self, *asked: Any, **how: Any) -> np.ndarray:
        return (await super().infer(*asked, **how))[::-1]


async def test_a_mix_up_of_rows_would_change_the_report(world: World, undisturbed: tuple[World, Operation]) -> None:
    """The negative control of every test that compares fingerprints."""
    done = await world.finish(await world.create(), world.worker(calls=SwappingCalls(world.calls(), 0.0)))
    assert fingerprint(world, done)[0] != fingerprint(*undisturbed)[0]


class CountingCalls(SlowCalls):
    def __init__(self, calls: ModelCalls) -> None:
        super().__init__(calls, 0.02)
        self.under_way = self.most = 0

    async def infer(self, *asked: Any, **how: Any) -> np.ndarray:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await super().infer(*asked, **how)
        finally:
            self.under_way -= 1


async def test_several_batches_are_under_way_and_never_more_than_allowed(world: World) -> None:
    calls = CountingCalls(world.calls())
    await world.finish(await world.create(), world.worker(calls=calls))
    assert 2 <= calls.most <= world.settings.in_flight


async def test_publishing_in_a_process_of_its_own_gives_the_same_report(
    world: World, undisturbed: tuple[World, Operation]
) -> None:
    worker = world.worker(publish=SubprocessPublisher(world.settings.store))
    assert fingerprint(world, await world.finish(await world.create(), worker)) == fingerprint(*undisturbed)


async def test_killed_workers_lose_and_double_nothing(world: World, undisturbed: tuple[World, Operation]) -> None:
    moments = random.Random(1)
    operation = await world.create()
    with Fleet(world) as fleet:
        for _ in range(2):
            seen = len(_events(world, operation, "leased", "taken_over"))
            process = fleet.start()
            while len(_events(world, operation, "leased", "taken_over")) == seen:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3 * moments.random())
            process.kill()
            process.wait()
    done = await world.finish(operation, world.worker())
    assert fingerprint(world, done) == fingerprint(*undisturbed)
    assert done.rows_done == done.rows_total and done.retries >= 1
    assert_each_chunk_was_committed_once(world, operation)


def _events(world: World, operation: Operation, *names: str) -> list[dict[str, Any]]:
    return [entry for entry in world.ledger().history(operation.name) if entry["event"] in names]


def assert_each_chunk_was_committed_once(world: World, operation: Operation) -> None:
    chunks = [entry["details"]["chunk"] for entry in _events(world, operation, "committed")]
    assert sorted(chunks) == list(range(len(chunks)))


def freeze(process: subprocess.Popen[bytes], world: World) -> None:
    """SIGSTOP, but not inside a transaction: then SQLite's one write lock would be asleep too."""
    while True:
        process.send_signal(signal.SIGSTOP)
        with closing(sqlite3.connect(world.folder / "ledger.db", timeout=0.05)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)


async def test_a_worker_that_slept_through_its_lease_commits_nothing(
    world: World, undisturbed: tuple[World, Operation]
) -> None:
    operation = await world.create()
    with Fleet(world, pause_s=0.1) as fleet:
        sleeper = fleet.start()
        while not _events(world, operation, "leased"):
            await asyncio.sleep(0.02)
        freeze(sleeper, world)
        done = await world.finish(operation, world.worker("another"))
        sleeper.send_signal(signal.SIGCONT)
        await asyncio.sleep(1.5)
        assert sleeper.poll() is None
    assert fingerprint(world, world.ledger().get_operation(operation.name)) == fingerprint(*undisturbed)
    assert done.retries >= 1
    assert world.ledger().history(operation.name)[-1]["event"] == "succeeded"
    assert_each_chunk_was_committed_once(world, operation)


class EndlessCalls(SlowCalls):
    """Models that start to answer and never do."""

    def __init__(self, calls: ModelCalls) -> None:
        super().__init__(calls, 0.0)
        self.asked = asyncio.Event()

    async def infer(self, *asked: Any, **how: Any) -> np.ndarray:
        self.asked.set()
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


async def test_cancelling_ends_an_audit_whose_models_never_answer(world: World) -> None:
    operation = await world.create()
    calls = EndlessCalls(world.calls())
    running = asyncio.create_task(world.worker(calls=calls).run())
    try:
        await calls.asked.wait()
        world.ledger().request_cancel(operation.name)
        done = await world.wait(operation)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert done.state == "cancelled"


class FailingCalls(SlowCalls):
    """Raises ``error`` the first ``times`` times that an image is inferred after ``spared`` calls."""

    def __init__(self, calls: ModelCalls, error: Exception, *, spared: int, times: int) -> None:
        super().__init__(calls, 0.0)
        self._error = error
        self._spared = spared
        self._times = times

    async def infer(self, *asked: Any, **how: Any) -> np.ndarray:
        self._spared -= 1
        if self._spared < 0 and self._times > 0:
            self._times -= 1
            await asyncio.sleep(0)
            raise self._error
        return await super().infer(*asked, **how)

    def recover(self) -> None:
        self._times = 0


async def test_a_model_that_goes_away_for_a_while_is_waited_for(
    world: World, undisturbed: tuple[World, Operation]
) -> None:
    calls = FailingCalls(world.calls(), Unavailable("away"), spared=7, times=3)
    assert fingerprint(world, await world.finish(await world.create(), world.worker(calls=calls))) == fingerprint(
        *undisturbed
    )


async def test_a_model_that_refuses_the_input_fails_the_audit_with_its_reason(world: World) -> None:
    calls = FailingCalls(world.calls(), UnsupportedFormat("no", field="inputs.image"), spared=7, times=1)
    done = await world.finish(await world.create(), world.worker(calls=calls))
    assert done.state == "failed" and done.error is not None
    assert (done.error["reason"], done.error["field"]) == ("FORMAT_UNSUPPORTED", "inputs.image")


async def test_audits_that_fail_leave_the_worker_able_to_do_the_next(tmp_path: Path) -> None:
    """One batch fails and another is let in at the same moment; each place in the window must come back."""
    world = make_world(tmp_path, records=RECORDS, rows_per_shard=RECORDS)
    failures = world.settings.in_flight
    calls = FailingCalls(world.calls(), UnsupportedFormat("no"), spared=0, times=10**6)
    worker = world.worker(calls=calls)
    running = asyncio.create_task(worker.run())
    try:
        for _ in range(failures):
            assert (await world.wait(await world.create())).state == "failed"
        calls.recover()
        assert (await world.wait(await world.create())).state == "succeeded"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_unexpected_fault_fails_the_audit_without_its_text(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    calls = FailingCalls(world.calls(), RuntimeError("patient Smith"), spared=7, times=1)
    done = await world.finish(await world.create(), world.worker(calls=calls))
    assert done.state == "failed" and done.error is not None
    assert done.error["reason"] == "INTERNAL" and "Smith" not in json.dumps(done.error)
    assert "RuntimeError at " in caplog.text and "Smith" not in caplog.text


def another_chest(world: World) -> None:
    shape = {"input": PIXELS, "output": None, "thresholds": {"Edema": 0.5}}
    write_classifier(world.folder / "models", name="chest", version="2", labels=LABELS, seed=9, **shape)


async def test_two_versions_of_a_model_are_two_pipelines_with_rows_of_their_own(
    world: World, undisturbed: tuple[World, Operation]
) -> None:
    another_chest(world)
    names = {"before": "chest@1", "after": "models/chest@2", "highest": "chest"}
    pipelines = [
        audit_pb2.Pipeline(name=name, stages=[audit_pb2.Stage(classify=model)]) for name, model in names.items()
    ]
    done = await world.finish(await world.create(pipelines=pipelines), world.worker())
    assert done.state == "succeeded", done.error
    rows = scores(world, done)
    assert rows["before"].equals(scores(*undisturbed)["original"][rows["before"].index])
    assert rows["after"].equals(rows["highest"])
    assert (rows["before"] != rows["after"]).all()


def scores(world: World, operation: Operation) -> dict[str, Any]:
    """Per pipeline, its scores by record and label."""
    rows = read_predictions(world.artifact(operation, "predictions.parquet"))
    return {
        str(name): own.astype({"label": str}).set_index(["record_id", "label"])["y_score"]
        for name, own in rows.groupby("pipeline", observed=True)
    }


async def test_how_a_model_samples_reaches_it_from_the_spec(tmp_path: Path) -> None:
    world = make_world(tmp_path, records=8)
    write_sampled(world.folder / "models", IR_SDE, input=PIXELS, output=PIXELS)
    asked: dict[str, dict[str, Any]] = {
        "own": {},
        "stated": {"sampler": IR_SDE["sampler"], "steps": IR_SDE["steps"], "seed": IR_SDE["seed"]},
        "sampler": {"sampler": "ode"},
        "steps": {"steps": 9},
        "seed": {"seed": 0},
    }
    pipelines = [
        audit_pb2.Pipeline(
            name=name,
            stages=[
                audit_pb2.Stage(reconstruct="sampled", sampling=audit_pb2.Sampling(**sampling)),
                audit_pb2.Stage(classify="chest"),
            ],
        )
        for name, sampling in asked.items()
    ]
    done = await world.finish(await world.create(pipelines=pipelines), world.worker())
    assert done.state == "succeeded", done.error
    rows = scores(world, done)
    assert rows["own"].equals(rows["stated"])
    assert all((rows["own"] != rows[name]).mean() > 0.9 for name in ("sampler", "steps", "seed"))
    stages = [pipeline["stages"][0] for pipeline in world.report(done)["provenance"]["pipelines"]]
    assert "sampling" not in stages[0]
    assert stages[3]["sampling"] == {"sampler": IR_SDE["sampler"], "steps": 9, "seed": IR_SDE["seed"]}


async def test_an_audit_goes_on_with_its_version_when_a_higher_one_is_served(
    world: World, undisturbed: tuple[World, Operation]
) -> None:
    operation = await world.create()
    another_chest(world)
    assert fingerprint(world, await world.finish(operation, world.worker())) == fingerprint(*undisturbed)


class RetrainedCalls(SlowCalls):
    async def catalogue(self) -> list[dict[str, Any]]:
        return [{**model, "digest": "other weights"} for model in await super().catalogue()]


async def test_an_audit_does_not_mix_model_versions(world: World) -> None:
    done = await world.finish(await world.create(), world.worker(calls=RetrainedCalls(world.calls(), 0.0)))
    assert done.error is not None and done.error["reason"] == "MODEL_CHANGED"


async def test_a_chunk_that_ends_every_worker_fails_its_audit_in_the_end(world: World) -> None:
    settings = world.settings.model_copy(update={"max_attempts": 2})
    operation = await world.create()
    ledger = world.ledger()
    for attempt in range(2):
        lease = ledger.lease_chunk(f"doomed {attempt}", 10, [ROWS, REDUCE])
        assert lease is not None and lease.token == attempt + 1
        ledger.release(lease)
    done = await world.finish(operation, world.worker(settings=settings))
    assert done.error is not None and done.error["reason"] == "TOO_MANY_ATTEMPTS"


async def test_a_worker_that_is_shut_down_gives_its_chunks_back_at_once(world: World) -> None:
    operation = await world.create()
    calls = EndlessCalls(world.calls())
    running = asyncio.create_task(world.worker(calls=calls).run())
    await calls.asked.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert world.ledger().history(operation.name)[-1]["event"] == "released"
    done = await world.finish(operation, world.worker())
    assert (done.state, done.retries) == ("succeeded", 0)


async def test_what_cannot_be_estimated_is_a_stated_state(world: World) -> None:
    """Groups without enough patients: cells say so, the audit succeeds."""
    done = await world.finish(await world.create(min_patients=15, attributes=["sex,age"]), world.worker())
    states = {cell["state"] for cell in world.report(done)["cells"] if cell["group"] != "overall"}
    assert done.state == "succeeded"
    assert "insufficient" in states and "ok" not in states


async def test_an_audit_may_only_segment(world: World) -> None:
    stages = [audit_pb2.Stage(segment="tumour")]
    done = await world.finish(
        await world.create(pipelines=[audit_pb2.Pipeline(name="plain", stages=stages)]), world.worker()
    )
    assert done.state == "succeeded"
    assert {cell["metric"] for cell in world.report(done)["cells"]} == {"dice"}
