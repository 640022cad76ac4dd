"""The manifest of a synthetic cohort: a cohort's, with ``synthetic`` beside it.

``synthetic`` has the fields of the API's Synthetic but for the source's resource name, which the digest does not depend
on: the same source, model and request give the same cohort, whatever it is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from services.errors import Internal
from services.maths.canonical import digest
from services.maths.synthesis.noise import distinct_noises

SCHEMA_VERSION = 1
_KEPT = ("schema", "mask_labels", "mask_planes")


def synthetic_manifest(
    request: Mapping[str, Any], shards: Sequence[Mapping[str, Any]], table: pd.DataFrame, provenance: pd.DataFrame
) -> dict[str, Any]:
    """``table`` is that of all shards, ``provenance`` has a row an image; both in record order.

    Internal NOISE_REPEATED where two images began from the same noise.
    """
    masked = request["resolved"]["mask"] is not None
    kept = {key: value for key, value in request["source"].items() if key in _KEPT}
    if not masked:
        kept.pop("mask_labels", None)
        kept.pop("mask_planes", None)
    modalities = set(table["modality"])
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "records": len(table),
        "patients": int(table["patient_id"].nunique()),
        "modality": modalities.pop() if len(modalities) == 1 else "mixed",
        "has_masks": masked,
        "rows_per_shard": request["images_per_chunk"],
        "shards": list(shards),
        **kept,
        "attributes": [_attribute(entry, table) for entry in request["source"]["attributes"]],
        "labels": [_label(name, table) for name in request["source"]["labels"]],
        "refused": [],
        "filtered": 0,
        "synthetic": _synthetic(request, provenance),
    }
    return {**manifest, "digest": digest(manifest)}


def _attribute(entry: Mapping[str, Any], table: pd.DataFrame) -> dict[str, Any]:
    column = table[f"attribute_{entry['name']}"]
    levels = [
        {
            "level": level,
            "records": int((column == level).sum()),
            "patients": int(table.loc[column == level, "patient_id"].nunique()),
        }
        for level in (known["level"] for known in entry["levels"])
    ]
    missing = int(column.isna().sum())
    assigned_by = f"{entry['assigned_by']} of the source, asked of the model"
    return {"name": entry["name"], "levels": levels, "missing": missing, "assigned_by": assigned_by}


def _label(name: str, table: pd.DataFrame) -> dict[str, Any]:
    column = table[f"label_{name}"]
    return {
        "name": name,
        "positives": int((column == 1).sum()),
        "negatives": int((column == 0).sum()),
        "missing": int(column.isna().sum()),
    }


def _synthetic(request: Mapping[str, Any], provenance: pd.DataFrame) -> dict[str, Any]:
    images, distinct = len(provenance), distinct_noises(provenance["noise_digest"])
    if distinct != images:
        raise Internal(
            f"{images} images share {distinct} initial noises; each must have its own", reason="NOISE_REPEATED"
        )
    resolved = request["resolved"]
    return {
        "spec": {key: value for key, value in request["spec"].items() if key != "cohort"},
        "source_digest": request["source"]["digest"],
        "model_version": resolved["version"],
        "model_digest": resolved["digest"],
        "groups": _groups(request["groups"], provenance),
        "images": images,
        "distinct_noise": distinct,
        "left_out": request["left_out"],
        "empty_groups": list(request["empty_groups"]),
        **{key: resolved[key] for key in ("batch_shape", "device", "platform_version")},
    }


def _groups(groups: Sequence[Mapping[str, Any]], provenance: pd.DataFrame) -> list[dict[str, Any]]:
    made = provenance["group"].value_counts()
    counts = np.array([int(made.get(group["name"], 0)) for group in groups])
    return [
        {
            **group,
            "images": int(count),
            "share": float(count / counts.sum()),
            "images_per_patient": float(count / group["patients"]),
        }
        for group, count in zip(groups, counts, strict=True)
    ]
