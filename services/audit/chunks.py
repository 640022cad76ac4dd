"""What a worker does with each kind of chunk. Collaborators arrive in :class:`Tools`; leasing is the worker's affair.

A chunk's results are objects named by their content, then one ledger transaction. A crash anywhere before that
transaction leaves at most objects that nobody refers to; a crash after it leaves nothing to do.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from services.adapters.ledger import Lease, Ledger
from services.adapters.object_store import ObjectStore
from services.audit import resources
from services.audit.cohort.ingest import ingest
from services.audit.cohort.schema import CohortSchema
from services.audit.perceptual import Perceptual
from services.audit.pipeline import ModelStage, ResolvedAudit, ResolvedPipeline, plan_from_dict
from services.audit.publish import PublishTask
from services.audit.results.formats import predictions_table, quality_table
from services.audit.settings import Settings
from services.audit.steps import (
    MEASURES,
    Batch,
    Measure,
    Readings,
    batches,
    predictions_frame,
    quality_frame,
    run_batch,
)
from services.errors import DeadlineExceeded, FailedPrecondition, Overloaded, Unavailable
from services.hosting.calls import ModelCalls
from services.hosting.operations import stored_response
from services.hosting.shards import Shard, ShardRef, read_shard
from services.maths.canonical import canonical_json

log = logging.getLogger(__name__)

T = TypeVar("T")

ROWS, REDUCE, INGEST = "audit-rows", "audit-reduce", "cohort-ingest"
TRANSIENT = (Unavailable, Overloaded, DeadlineExceeded)
LONGEST_PAUSE_S = 5.0
PROGRESS_EVERY_S = 0.5
CACHED_SHARDS = 2

Publish = Callable[[PublishTask], Awaitable[dict[str, Any]]]


class ShardCache:
    """The last shards read, so that the pipelines of an audit share one read, and the next one comes early."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._reads: dict[str, asyncio.Task[Shard]] = {}

    async def get(self, ref: Mapping[str, Any]) -> Shard:
        read = self.prefetch(ref)
        try:
            return await asyncio.shield(read)
        except BaseException:
            if read.done():
                self._forget(read)
            raise

    def prefetch(self, ref: Mapping[str, Any]) -> asyncio.Task[Shard]:
        key = ref["pixels"]["key"] + ref["table"]["key"]
        read = self._reads.pop(key, None)
        if read is None:
            read = asyncio.create_task(asyncio.to_thread(read_shard, self._store, ShardRef.from_dict(ref)))
            # A failed read is met again by whoever needs the shard; here it must only not be reported as unheard.
            read.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._reads[key] = read
        while len(self._reads) > CACHED_SHARDS:
            del self._reads[next(iter(self._reads))]
        return read

    def _forget(self, read: asyncio.Task[Shard]) -> None:
        self._reads = {key: other for key, other in self._reads.items() if other is not read}


@dataclass(frozen=True)
class Tools:
    """What chunks work with. ``window`` bounds the batches under way in the whole worker."""

    ledger: Ledger
    store: ObjectStore
    calls: ModelCalls
    publish: Publish
    settings: Settings
    shards: ShardCache
    window: asyncio.Semaphore
    perceptual: Perceptual


async def perform(lease: Lease, tools: Tools, all_sent: asyncio.Event) -> None:
    """Do the leased chunk and commit it. ``all_sent`` is set once another chunk may start beside its last batches."""
    if lease.kind == ROWS:
        await compute_rows(lease, tools, all_sent)
    elif lease.kind == REDUCE:
        await reduce_rows(lease, tools)
    else:
        await ingest_cohort(lease, tools)


async def patiently(tools: Tools, work: Callable[[], Awaitable[T]]) -> T:
    """``work()``, again and again while a part of the platform is away, for at most the settings' patience."""
    deadline = time.monotonic() + tools.settings.patience_s
    pause = 0.1
    while True:
        try:
            return await work()
        except TRANSIENT as error:
            if time.monotonic() + pause > deadline:
                raise
            log.info("waiting %.1f s: %s", pause, error.reason)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


async def in_thread(tools: Tools, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """``function`` off the event loop, patiently."""
    return await patiently(tools, lambda: asyncio.to_thread(function, *arguments, **named))


async def compute_rows(lease: Lease, tools: Tools, all_sent: asyncio.Event) -> None:
    """One shard through one pipeline."""
    operation = await in_thread(tools, tools.ledger.get_operation, lease.operation)
    plan = plan_from_dict(operation.request["plan"])
    pipeline = plan.pipelines[lease.payload["pipeline"]]
    shard, _ = await asyncio.gather(
        patiently(tools, lambda: tools.shards.get(lease.payload["shard"])), check_models(pipeline, tools)
    )
    if lease.payload.get("next_shard"):
        tools.shards.prefetch(lease.payload["next_shard"])
    readings = await _read_batches(plan, pipeline, shard, tools, all_sent)
    result = await in_thread(tools, _store_rows, tools.store, pipeline, shard.records, readings)
    await in_thread(tools, tools.ledger.commit_chunk, lease, result)


async def check_models(pipeline: ResolvedPipeline, tools: Tools) -> None:
    """An audit never mixes models: each version that the plan pinned must be served, and be what it was then."""
    catalogue = await patiently(tools, tools.calls.catalogue)
    served = {(model["name"], model["version"]): model["digest"] for model in catalogue}
    for stage in pipeline.stages:
        if isinstance(stage, ModelStage) and served.get((stage.model, stage.version)) != stage.digest:
            raise FailedPrecondition(
                f"version {stage.version} of {stage.model} is no longer served as it was when this audit was created; "
                "create the audit again",
                field=stage.model,
                reason="MODEL_CHANGED",
            )


async def _read_batches(
    plan: ResolvedAudit, pipeline: ResolvedPipeline, shard: Shard, tools: Tools, all_sent: asyncio.Event
) -> list[Readings]:
    """Readings of the shard's batches in order; at most ``settings.in_flight`` are under way in the worker."""

    measures = await asyncio.to_thread(_measures, plan, tools.perceptual)

    async def one(batch: Batch) -> Readings:
        return await patiently(
            tools,
            lambda: run_batch(
                pipeline, batch, tools.calls, seed=plan.seed, batch_size=plan.batch_size, measures=measures
            ),
        )

    record_ids = list(shard.records["record_id"])
    under_way: list[asyncio.Task[Readings]] = []
    try:
        for batch in batches(record_ids, shard.images, shard.masks, plan.batch_size):
            await tools.window.acquire()
            task = asyncio.create_task(one(batch))
            # Not in a finally of its own: a task that is cancelled before its first step never gets there.
            task.add_done_callback(lambda _: tools.window.release())
            under_way.append(task)
            _raise_early(under_way)
        all_sent.set()
        return await asyncio.gather(*under_way)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def _measures(plan: ResolvedAudit, perceptual: Perceptual) -> dict[str, Measure]:
    """The plan's quality metrics; the weights of those that have some must be the ones that it pinned."""
    return {
        name: MEASURES[name] if name in MEASURES else perceptual.measure(name, plan.perceptual[name])
        for name in plan.quality_metrics
    }


def _raise_early(under_way: list[asyncio.Task[Readings]]) -> None:
    """Do not send the rest of a shard after a batch that failed for good."""
    for task in under_way:
        if task.done():
            task.result()


def _store_rows(
    store: ObjectStore, pipeline: ResolvedPipeline, table: pd.DataFrame, readings: list[Readings]
) -> dict[str, Any]:
    """Write the chunk's rows as Parquet. The same rows give the same bytes, hence the same key."""
    predictions = predictions_frame(pipeline, table, readings)
    quality = quality_frame(pipeline, table, readings)
    result: dict[str, Any] = {"rows": len(table), "predictions": None, "quality": None}
    if len(predictions):
        result["predictions"] = asdict(store.put(predictions_table(predictions)))
    if len(quality):
        result["quality"] = asdict(store.put(quality_table(quality)))
    return result


async def reduce_rows(lease: Lease, tools: Tools) -> None:
    """All committed rows → artifacts, the audit's resource, and the end of the operation."""
    ledger = tools.ledger
    operation = await in_thread(tools, ledger.get_operation, lease.operation)
    await in_thread(tools, ledger.report_progress, lease, {"stage": "reducing"})
    chunks = [
        entry["result"]
        for entry in await in_thread(tools, ledger.chunk_results, lease.operation)
        if entry["kind"] == ROWS
    ]
    task = PublishTask(operation.resource, operation.name, operation.create_time.isoformat(), operation.request, chunks)
    published = await patiently(tools, lambda: tools.publish(task))
    body = {**resources.audit_body(operation.resource, operation), **published, "state": "STATE_SUCCEEDED"}
    # put_resource is not fenced, so make sure at the last moment that this worker still holds the chunk.
    await in_thread(tools, ledger.report_progress, lease, {"stage": "publishing"})
    await in_thread(tools, ledger.put_resource, operation.resource, "audit", body)
    response = stored_response(resources.audit_message(body, None))
    await in_thread(tools, ledger.commit_chunk, lease, {"report_digest": published["report_digest"]}, response=response)


async def ingest_cohort(lease: Lease, tools: Tools) -> None:
    """Files and a table → shards, a manifest, and the cohort's resource."""
    operation = await in_thread(tools, tools.ledger.get_operation, lease.operation)
    manifest = await _run_ingest(lease, tools)
    manifest_ref = await in_thread(tools, tools.store.put, canonical_json(manifest), media_type="application/json")
    body = resources.cohort_body(
        operation.resource,
        str(lease.payload["display_name"]),
        manifest,
        manifest_ref.key,
        operation.create_time,
    )
    await in_thread(tools, tools.ledger.report_progress, lease, _ingest_progress("writing", manifest))
    await in_thread(tools, tools.ledger.put_resource, operation.resource, "cohort", body)
    response = stored_response(resources.cohort_message(body))
    await in_thread(tools, tools.ledger.commit_chunk, lease, {"digest": manifest["digest"]}, response=response)


def _ingest_progress(stage: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    refused = len(manifest["refused"])
    rows = manifest["records"] + refused
    return {"stage": stage, "rows_done": rows, "rows_total": rows, "rows_refused": refused}


async def _run_ingest(lease: Lease, tools: Tools) -> dict[str, Any]:
    """INGEST in a thread; its progress goes to the ledger every half second, its cancellation comes from here."""
    payload = lease.payload
    table = (await in_thread(tools, tools.store.get, payload["table"])).decode("utf-8")
    stop = threading.Event()
    latest: dict[str, Any] = {}

    async def report() -> None:
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            if latest:
                await asyncio.to_thread(tools.ledger.report_progress, lease, dict(latest))

    reporter = asyncio.create_task(report())
    try:
        return await asyncio.to_thread(
            ingest,
            Path(payload["source"]),
            table,
            CohortSchema.model_validate(payload["schema"]),
            tools.store,
            on_progress=latest.update,
            cancelled=stop.is_set,
            rows_per_shard=payload["rows_per_shard"],
            demographics=payload.get("demographics"),
        )
    finally:
        stop.set()
        reporter.cancel()
        await asyncio.gather(reporter, return_exceptions=True)
