"""The cohorts that a training reads: found in the ledger, read from the object store, never written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from services.adapters.ledger import Ledger
from services.adapters.object_store import ObjectStore
from services.errors import FailedPrecondition, NotFound
from services.hosting.shards import ShardRef, read_shard
from services.maths.pixels import PixelSpec, to_model

Check = Callable[[], None]


def read_manifest(store: ObjectStore, key: str) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(store.get(key))
    return manifest


def find_manifest(ledger: Ledger, store: ObjectStore, cohort: str, at: str) -> tuple[str, dict[str, Any]]:
    """Key and content of the manifest of "cohorts/…". NotFound COHORT_NOT_FOUND with ``at`` as its field."""
    body = ledger.get_resource(cohort)
    if body is None:
        raise NotFound(f"there is no {cohort}", field=at, reason="COHORT_NOT_FOUND")
    return body["manifest_key"], read_manifest(store, body["manifest_key"])


def refuse_synthetic(manifest: Mapping[str, Any], cohort: str, at: str, instead: str) -> None:
    """FailedPrecondition SYNTHETIC_COHORT where a model drew the cohort's images: nobody learns from them unawares.

    ``instead`` says what to do about it.
    """
    if "synthetic" not in manifest:
        return
    spec = manifest["synthetic"]["spec"]
    raise FailedPrecondition(
        f"the images of {cohort} were drawn by {spec['model']} and show no patient; {instead}",
        field=at,
        reason="SYNTHETIC_COHORT",
    )


def record_images(
    store: ObjectStore, manifest: Mapping[str, Any], spec: PixelSpec, check: Check = lambda: None
) -> Iterator[tuple[str, np.ndarray]]:
    """Record id and image (1, C, H, W) at ``spec`` of each record in order. ``check`` is called between shards."""
    for ref in manifest["shards"]:
        check()
        shard = read_shard(store, ShardRef.from_dict(ref))
        for record_id, image in zip(shard.records["record_id"], shard.images, strict=True):
            yield record_id, to_model(image[None], spec)
