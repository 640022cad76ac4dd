"""The last chunk of a counterfactual: everything that is made of its committed frames."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from services.adapters.ledger import Lease, Operation
from services.generator.counterfactuals import (
    FRAMES,
    KIND,
    UNGUIDED,
    counterfactual_fields,
    stored_counterfactuals,
)
from services.generator.frame_chunks import counterfactual_record, spec_of
from services.generator.paths import free_attributes
from services.generator.publication import Publication, publish
from services.generator.tools import Tools
from services.hosting.diffusion.files import Artifact
from services.hosting.operations import stored_response


async def publish_counterfactual(lease: Lease, tools: Tools) -> None:
    """Artifacts, the counterfactual's resource, and the end of the operation."""
    ledger = tools.ledger
    operation = await tools.in_thread(ledger.get_operation, lease.operation)
    progress = {**operation.progress, "frames_done": operation.rows_done, "frames_total": operation.rows_total}
    await tools.in_thread(ledger.report_progress, lease, {**progress, "stage": "encoding"})
    chunks = await tools.in_thread(ledger.chunk_results, lease.operation)
    spec = spec_of(operation)
    await tools.maker.host.meet(spec.model, digest=spec.model_digest)
    work = publication_of(tools, operation, chunks)
    artifacts, warnings = await _published(tools, work)
    for frame in work.frames:
        artifacts += frame["artifacts"]
    stored = stored_counterfactuals(ledger)
    made_with = ("model_version", "batch_shape", "device", "noise_digest")
    fields = counterfactual_fields(operation.request) | {
        "state": "STATE_SUCCEEDED",
        **{key: work.record[key] for key in made_with},
        "frames_done": len(work.frames),
        "artifacts": artifacts,
        "warnings": warnings,
    }
    body = stored.body(operation, fields)
    # put_resource is not fenced, so make sure at the last moment that this worker still holds the chunk.
    await tools.in_thread(ledger.report_progress, lease, {**progress, "stage": "encoding"})
    await tools.in_thread(ledger.put_resource, operation.resource, KIND, body)
    response = stored_response(stored.message(body))
    await tools.in_thread(ledger.commit_chunk, lease, {"artifacts": len(artifacts)}, response=response)


def publication_of(tools: Tools, operation: Operation, chunks: list[dict[str, Any]]) -> Publication:
    """What the committed chunks give the publication to work on."""
    frames = [frame for chunk in chunks if chunk["kind"] == FRAMES for frame in chunk["result"]["frames"]]
    unguided = [frame for chunk in chunks if chunk["kind"] == UNGUIDED for frame in chunk["result"]["frames"]]
    spec, host = spec_of(operation), tools.maker.host
    return Publication(
        record=counterfactual_record(tools, operation, frames[0]["noise"]),
        frames=sorted(frames, key=lambda frame: int(frame["frame"])),
        unguided=unguided,
        display_name=operation.request["display_name"],
        free=free_attributes(host, spec),
        known=host.find(spec.model, digest=spec.model_digest).training,
        frames_per_s=tools.settings.frames_per_s,
        largest_embedded_video=tools.settings.largest_embedded_video,
    )


# Always the same thread: an encoder's buffers stay with the thread that had them, some 40 MiB each.
_ENCODING = ThreadPoolExecutor(1, thread_name_prefix="encoding")


async def _published(tools: Tools, work: Publication) -> tuple[list[Artifact], list[str]]:
    """``publish`` in its thread, which ends soon after this is cancelled."""
    stop = threading.Event()
    loop = asyncio.get_running_loop()
    try:
        return await tools.patiently(lambda: loop.run_in_executor(_ENCODING, publish, tools.store, work, stop.is_set))
    finally:
        stop.set()
