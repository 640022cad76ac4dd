"""The chunks of a generation: images sampled, written to the store and committed; then one that publishes them all."""

from __future__ import annotations

import asyncio
import io
from contextlib import aclosing
from typing import Any

import numpy as np
from google.protobuf.json_format import ParseDict

from services.adapters.ledger import Lease, Operation
from services.adapters.object_store import ObjectStore
from services.generator.generations import IMAGES, KIND, generation_fields, stored_generations
from services.generator.images import Job, Made
from services.generator.masks import planes_of
from services.generator.steps import GenerationSpec
from services.generator.tools import Tools
from services.hosting.diffusion.files import Artifact, put_file, put_image
from services.hosting.diffusion.records import joint_digest
from services.hosting.operations import stored_response
from services.hosting.progress import Pace
from services.maths.canonical import canonical_json


def job_of(operation: Operation) -> Job:
    """The job of a generation's operation."""
    return Job(ParseDict(operation.request["spec"], GenerationSpec()), operation.request["upscale_version"], True)


async def make_images(lease: Lease, tools: Tools, all_sent: asyncio.Event) -> None:
    """The images of one chunk. The next chunk may start once this one no longer fills a network call."""
    operation = await tools.in_thread(tools.ledger.get_operation, lease.operation)
    job = job_of(operation)
    first, count = lease.payload["first"], lease.payload["count"]
    await tools.maker.host.meet(job.spec.model, digest=job.spec.model_digest)
    record = tools.maker.host.find(job.spec.model, digest=job.spec.model_digest)
    pace = Pace("images", tools.maker.host.plan(record, job.spec.sampler, job.spec.steps).evaluations)
    writing: list[asyncio.Task[dict[str, Any]]] = []
    steps = 0
    try:
        async with aclosing(tools.maker.make(job, range(first, first + count))) as news:
            async for item in news:
                if isinstance(item, Made):
                    put = tools.in_thread(_put, tools.store, job, item, record.modality)
                    writing.append(asyncio.create_task(put))
                else:
                    steps += 1
                if count - len(writing) < tools.maker.host.engine.batch:
                    all_sent.set()
                await tools.progress.tell(
                    lease, "sampling", pace, done=len(writing), steps=min(steps, count * pace.steps)
                )
        written = await asyncio.gather(*writing)
    finally:
        for task in writing:
            task.cancel()
        tools.progress.ended(lease)
    images = sorted(written, key=lambda image: int(image["index"]))
    await tools.in_thread(tools.ledger.commit_chunk, lease, {"images": images})


def _put(store: ObjectStore, job: Job, made: Made, modality: str) -> dict[str, Any]:
    """The image's files, and what its generation needs to know of it."""
    files = put_image(
        store, f"image-{made.index:04d}", made.pixels, made.record, job.spec.formats, modality=modality, number=1
    )
    return {"index": made.index, "noise": made.noise_digest, "record": made.record, "artifacts": files}


async def publish_images(lease: Lease, tools: Tools) -> None:
    """All committed images → records.jsonl, the generation's resource, and the end of the operation."""
    ledger = tools.ledger
    operation = await tools.in_thread(ledger.get_operation, lease.operation)
    chunks = await tools.in_thread(ledger.chunk_results, lease.operation)
    images = [image for chunk in chunks if chunk["kind"] == IMAGES for image in chunk["result"]["images"]]
    artifacts = [artifact for image in images for artifact in image["artifacts"]]
    artifacts += await tools.in_thread(_put_lists, tools.store, job_of(operation), images)
    known = images[0]["record"]
    stored = stored_generations(ledger)
    fields = generation_fields(operation.request) | {
        "state": "STATE_SUCCEEDED",
        "model_version": known["model_version"],
        "batch_shape": known["batch_shape"],
        "device": known["device"],
        "noise_digest": joint_digest([image["noise"] for image in images]),
        "images_done": len(images),
        "artifacts": artifacts,
    }
    body = stored.body(operation, fields)
    # put_resource is not fenced, so make sure at the last moment that this worker still holds the chunk.
    done = {"images_done": len(images), "images_total": len(images)}
    await tools.in_thread(ledger.report_progress, lease, {**operation.progress, **done, "stage": "encoding"})
    await tools.in_thread(ledger.put_resource, operation.resource, KIND, body)
    response = stored_response(stored.message(body))
    await tools.in_thread(ledger.commit_chunk, lease, {"images": len(images)}, response=response)


def _put_lists(store: ObjectStore, job: Job, images: list[dict[str, Any]]) -> list[Artifact]:
    """records.jsonl, and the mask that all images share."""
    lines = b"".join(canonical_json(image["record"]) + b"\n" for image in images)
    found = [put_file(store, "records.jsonl", lines)]
    if job.spec.HasField("mask"):
        found.append(put_file(store, "mask.npy", _labels_npy(planes_of(job.spec.mask))))
    return found


def _labels_npy(planes: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, planes, version=(1, 0), allow_pickle=False)
    return file.getvalue()
