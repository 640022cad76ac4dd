"""The chunks of a synthetic cohort: images that become a shard, then one chunk that publishes them all.

**Whose images these are.** A synthetic record has the patient id and the split of the record that lent its mask and
prompt. So splits never tear a patient's masks apart: whoever deals patients out deals the synthetic images with them,
a model that learned from these images lists their source patients, and its audit of those patients is refused
(COHORTS_OVERLAP). Intervals over patients are right too, since images of one mask are not independent. That no image
is the patient's own says the record's id (``synthetic-…``), the manifest and the cohort itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from services.adapters.ledger import Lease, Operation
from services.adapters.object_store import ObjectStore
from services.audit.chunks import Tools, in_thread, patiently
from services.audit.synthesis.maker import ImageMaker
from services.audit.synthesis.planning import read_draws
from services.hosting.progress import Pace, Progress
from services.hosting.shards import Record, Shard, ShardRef, read_shard, write_shard
from services.maths.pixels import resize_masks

IMAGES, PUBLISH = "synthetic-images", "synthetic-publish"
KINDS = (IMAGES, PUBLISH)

_PROVENANCE = pa.schema(
    [
        ("record_id", pa.string()),
        ("source_record", pa.string()),
        ("source_patient", pa.string()),
        ("group", pa.string()),
        ("prompt", pa.string()),
        ("seed", pa.int64()),
        ("index", pa.int64()),
        ("noise_digest", pa.string()),
        ("pixels_digest", pa.string()),
        ("mask_digest", pa.string()),
        ("model", pa.string()),
        ("model_digest", pa.string()),
    ]
)
"""One row an image. ``seed`` and ``index`` key its noise; digests are sha256 of little-endian values, row-major."""


async def make_shard(
    lease: Lease, tools: Tools, maker: ImageMaker, progress: Progress, all_sent: asyncio.Event
) -> None:
    """The images of one chunk. The next one starts at once beside it, so that the model's calls are always full."""
    operation = await in_thread(tools, tools.ledger.get_operation, lease.operation)
    first, count = lease.payload["first"], lease.payload["count"]
    request = operation.request
    draws = read_draws(await in_thread(tools, tools.store.get, request["draws"]), first, count)
    sources = await in_thread(tools, _read_sources, tools.store, request, draws)
    planes = np.stack([one["planes"] for one in sources]) if request["resolved"]["mask"] else None
    all_sent.set()

    async def made() -> dict[int, dict[str, Any]]:
        done: dict[int, dict[str, Any]] = {}
        async with aclosing(maker.make(request["resolved"], list(draws["prompt"]), planes, first)) as images:
            async for image in images:
                done[image["index"]] = image
                await progress.tell(lease, "sampling", Pace("images", 1), done=len(done), steps=len(done))
        return done

    try:
        images = await patiently(tools, made)
    finally:
        progress.ended(lease)
    ordered = [images[first + place] for place in range(count)]
    result = await in_thread(tools, _store, tools.store, operation, draws, sources, ordered)
    await in_thread(tools, tools.ledger.commit_chunk, lease, result)


def _read_sources(store: ObjectStore, request: Mapping[str, Any], draws: pd.DataFrame) -> list[dict[str, Any]]:
    """What each drawn record lends: its row of the table, its size, and its mask's planes at the model's size.

    Draws come in the source's order, so a chunk reads few shards and holds one at a time.
    """
    resolved = request["resolved"]
    found: list[dict[str, Any]] = []
    for place, rows in draws.groupby("shard", sort=True)["row"]:
        shard = read_shard(store, ShardRef.from_dict(request["shards"][str(place)]))
        found += [_lent(shard, int(row), resolved) for row in rows]
    return found


def _lent(shard: Shard, row: int, resolved: Mapping[str, Any]) -> dict[str, Any]:
    planes = None
    mask = shard.masks[row]
    if resolved["mask"] and mask is not None:
        planes = resize_masks(mask if mask.ndim == 3 else mask[None], resolved["height"], resolved["width"])
    return {"row": shard.records.iloc[row], "shape": shard.images[row].shape[1:], "planes": planes}


def _store(
    store: ObjectStore,
    operation: Operation,
    draws: pd.DataFrame,
    sources: list[dict[str, Any]],
    images: list[dict[str, Any]],
) -> dict[str, Any]:
    """Write the shard and its provenance. The same images give the same bytes, hence the same keys."""
    request, resolved = operation.request, operation.request["resolved"]
    records = [_record(request, source, image) for source, image in zip(sources, images, strict=True)]
    rows = [
        {
            "record_id": record.record_id,
            "source_record": source["row"]["record_id"],
            "source_patient": source["row"]["patient_id"],
            "group": request["groups"][int(group)]["name"],
            "prompt": prompt,
            "seed": resolved["seed"],
            "index": image["index"],
            "noise_digest": image["noise"],
            "pixels_digest": image["digest"],
            "mask_digest": "" if record.mask is None else hashlib.sha256(record.mask.tobytes()).hexdigest(),
            "model": f"{resolved['model']}@{resolved['version']}",
            "model_digest": resolved["digest"],
        }
        for record, source, image, group, prompt in zip(
            records, sources, images, draws["group"], draws["prompt"], strict=True
        )
    ]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=_PROVENANCE), file, compression="zstd")
    number = images[0]["index"] // request["images_per_chunk"]
    shard = write_shard(store, records, index=number)
    provenance = store.put(file.getvalue(), media_type="application/vnd.apache.parquet")
    return {"shard": shard.to_dict(), "provenance": asdict(provenance)}


def _record(request: Mapping[str, Any], source: Mapping[str, Any], image: Mapping[str, Any]) -> Record:
    """What was balanced on or said in the prompt is known of a synthetic image; all else of its source is not."""
    row, said = source["row"], set(request["said"])

    def known(prefix: str, name: str) -> Any:
        value = row[prefix + name]
        return None if name not in said or pd.isna(value) else value

    names = {
        prefix: [column.removeprefix(prefix) for column in row.index if column.startswith(prefix)]
        for prefix in ("attribute_", "label_")
    }
    return Record(
        record_id=f"synthetic-{image['index']:06d}-of-{row['record_id']}",
        patient_id=row["patient_id"],
        image=np.ascontiguousarray(image["pixels"], np.float32),
        mask=source["planes"],
        attributes={name: known("attribute_", name) for name in names["attribute_"]},
        labels={name: None if (value := known("label_", name)) is None else int(value) for name in names["label_"]},
        split=None if pd.isna(row["split"]) else row["split"],
        spacing=_spacing(row, source, image),
        modality=row["modality"],
    )


def _spacing(row: pd.Series, source: Mapping[str, Any], image: Mapping[str, Any]) -> tuple[float, float] | None:
    """An image that follows a mask has the mask's field of view; one from words alone has none."""
    if source["planes"] is None or pd.isna(row["spacing_row_mm"]):
        return None
    (height, width), made = source["shape"], image["pixels"].shape[1:]
    return float(row["spacing_row_mm"] * height / made[0]), float(row["spacing_column_mm"] * width / made[1])
