"""The last chunk of a synthetic cohort: shards and provenance → manifest, card, the cohort, and the operation's end."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from services.adapters.ledger import Lease
from services.adapters.object_store import ObjectStore
from services.audit import resources
from services.audit.chunks import Tools, in_thread
from services.audit.synthesis.card import card_json, card_text
from services.audit.synthesis.chunks import IMAGES
from services.audit.synthesis.manifest import synthetic_manifest
from services.audit.synthesis.planning import read_draws
from services.audit.synthesis.quality import measured_quality
from services.hosting.operations import stored_response
from services.maths.canonical import canonical_json

JSON, MARKDOWN, PARQUET = "application/json", "text/markdown", "application/vnd.apache.parquet"


async def publish_cohort(lease: Lease, tools: Tools) -> None:
    """All committed shards → the cohort's resource."""
    ledger = tools.ledger
    operation = await in_thread(tools, ledger.get_operation, lease.operation)
    chunks = [
        entry["result"]
        for entry in await in_thread(tools, ledger.chunk_results, lease.operation)
        if entry["kind"] == IMAGES
    ]
    written = await in_thread(tools, _write, tools.store, tools.settings.models, operation.request, chunks)
    body = {
        **resources.cohort_body(
            operation.resource,
            operation.request["display_name"],
            written["manifest"],
            written["manifest_key"],
            operation.create_time,
        ),
        "artifacts": written["artifacts"],
    }
    body["synthetic"] = {**body["synthetic"], "spec": operation.request["spec"]}
    # put_resource is not fenced, so make sure at the last moment that this worker still holds the chunk.
    done = {"images_done": operation.rows_total, "images_total": operation.rows_total}
    await in_thread(tools, ledger.report_progress, lease, {"stage": "writing", **done})
    await in_thread(tools, ledger.put_resource, operation.resource, "cohort", body)
    response = stored_response(resources.cohort_message(body))
    digest = written["manifest"]["digest"]
    await in_thread(tools, ledger.commit_chunk, lease, {"digest": digest}, response=response)


def _write(
    store: ObjectStore, registries: Sequence[Path], request: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    ordered = sorted((chunk for chunk in chunks), key=lambda chunk: int(chunk["shard"]["index"]))
    shards = [chunk["shard"] for chunk in ordered]
    table = _tables(store, [shard["table"] for shard in shards]).to_pandas(types_mapper={pa.int8(): pd.Int8Dtype()}.get)
    provenance = _tables(store, [chunk["provenance"] for chunk in ordered])
    origins = provenance.to_pandas()
    manifest = synthetic_manifest(request, shards, table, origins)
    draws = read_draws(store.get(request["draws"]), 0, len(origins))
    quality = measured_quality(store, registries, request, shards=shards, draws=draws, provenance=origins)
    file = io.BytesIO()
    pq.write_table(provenance, file, compression="zstd")
    card = card_json(manifest, quality)
    files = {
        "card.md": (card_text(card).encode(), MARKDOWN),
        "card.json": (canonical_json(card), JSON),
        "provenance.parquet": (file.getvalue(), PARQUET),
    }
    kept = store.put(canonical_json(manifest), media_type=JSON)
    return {
        "manifest": manifest,
        "manifest_key": kept.key,
        "artifacts": [
            *(
                {"filename": name, **asdict(store.put(data, media_type=media)), "media_type": media}
                for name, (data, media) in files.items()
            ),
            {"filename": "manifest.json", **asdict(kept), "media_type": JSON},
            *_shard_files(shards),
        ],
    }


def _shard_files(shards: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The shards as files to download: whoever trains elsewhere needs the images themselves, and they are of nobody."""
    parts = {"pixels": ("safetensors", "application/octet-stream"), "table": ("parquet", PARQUET)}
    return [
        {"filename": f"shard-{shard['index']:05d}.{ending}", **shard[part], "media_type": media}
        for shard in shards
        for part, (ending, media) in parts.items()
    ]


def _tables(store: ObjectStore, refs: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.concat_tables(
        pq.read_table(io.BytesIO(store.get(ref["key"], sha256=ref["sha256"])), use_threads=False) for ref in refs
    )
