"""What is measured of a synthetic cohort's images for its card: their distance to their sources, and nearness to them.

Everything compares images with the real records that lent their prompts and masks, so that both show the same people.
A sample of whole shards is read, one at a time: what is in memory does not grow with the cohort.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from services.adapters.object_store import ObjectStore
from services.audit.encoders import Encoders, Encoding
from services.errors import ServiceError
from services.hosting.shards import ShardRef, read_shard
from services.maths.fairness.distributions.kernel import MINIMUM_PATIENTS, kid
from services.maths.fairness.generator_quality import source_nearness
from services.maths.fairness.limits import normal_critical
from services.maths.pixels import PixelSpec, to_model

MOST_SHARDS = 128
PER_GROUP = 200
MOST_IMAGES = 8000
SMALL = 16
DIGITS = 6  # an encoder's last bits depend on the machine, what they say does not
_AT_ONCE = 64

Refs = Sequence[Mapping[str, Any]]


class _UnmeasuredError(Exception):
    """Nothing can be measured; the message says why."""


@dataclass(frozen=True)
class _Seen:
    """Features of N images: the encoder's (N, d) and the pixels at a small size (N, p)."""

    features: np.ndarray
    small: np.ndarray


def measured_quality(
    store: ObjectStore,
    registries: Sequence[Path],
    request: Mapping[str, Any],
    *,
    shards: Refs,
    draws: pd.DataFrame,
    provenance: pd.DataFrame,
) -> dict[str, Any]:
    """The card's ``quality``, as plain data. ``draws`` and ``provenance`` have a row an image, in record order.

    Where nothing can be measured ``state`` is "not measured" and ``why`` says what is missing: a cohort without an
    encoder of its images is a cohort all the same. Raises what the store raises.
    """
    try:
        encoding = _encoding(registries, request["resolved"])
        chosen = _chosen(request, shards, draws, provenance)
        sources = chosen.drop_duplicates(["shard", "row"]).sort_values(["shard", "row"])
        own = {str(place): shard for place, shard in enumerate(shards)}
        made = _look(store, own, chosen, encoding, request["resolved"], at=("made_shard", "made_row"))
        true = _look(store, request["shards"], sources, encoding, request["resolved"], at=("shard", "row"))
    except _UnmeasuredError as error:
        return {"state": "not measured", "why": str(error)}
    seed = int(request["resolved"]["seed"])
    whose, lent = (frame["patient"].to_numpy() for frame in (chosen, sources))
    spaces = {
        f"{encoding.record.name} features": (made.features, true.features),
        f"pixels {SMALL} x {SMALL}": (made.small, true.small),
    }
    return {
        "state": "measured",
        "recipe": _recipe(encoding, len(chosen), len(sources)),
        "groups": _groups(request["groups"], chosen, sources, made.features, true.features, seed=seed),
        "nearness": [
            {"space": space, **_nearness(*features, whose, lent, seed=seed)} for space, features in spaces.items()
        ],
    }


def _encoding(registries: Sequence[Path], resolved: Mapping[str, Any]) -> Encoding:
    shape = tuple(int(resolved[side]) for side in ("channels", "height", "width"))
    try:
        found = Encoders(registries).encoding(shape, str(resolved.get("modality") or ""))  # type: ignore[arg-type]
    except ServiceError as error:
        raise _UnmeasuredError(f"the image encoder cannot be used: {error.message}") from error
    if found is None:
        raise _UnmeasuredError(
            f"no registry has an image encoder (image-embedding, resnet18) of {' x '.join(map(str, shape))} images"
        )
    return found


def _chosen(request: Mapping[str, Any], shards: Refs, draws: pd.DataFrame, provenance: pd.DataFrame) -> pd.DataFrame:
    """The images that are looked at, with where they and their sources lie: at random, and as many of each group."""
    frame = draws[["shard", "row", "group"]].reset_index(drop=True)
    rows = [int(shard["rows"]) for shard in shards]
    frame["made_shard"] = np.repeat(np.arange(len(rows)), rows)
    frame["made_row"] = np.concatenate([np.arange(count) for count in rows])
    frame["patient"] = provenance["source_patient"].to_numpy()
    key = hashlib.sha256(f"synthetic-cohort-quality:{request['resolved']['seed']}".encode()).digest()[:16]
    rng = np.random.Generator(np.random.Philox(key=int.from_bytes(key)))
    read = rng.permutation(len(rows))[:MOST_SHARDS]
    frame = frame[frame["made_shard"].isin(read)]
    most = max(1, min(PER_GROUP, MOST_IMAGES // len(request["groups"])))
    shuffled = frame.iloc[rng.permutation(len(frame))]
    return shuffled.groupby("group").head(most).sort_values(["made_shard", "made_row"])


def _look(
    store: ObjectStore,
    shards: Mapping[str, Any],
    frame: pd.DataFrame,
    encoding: Encoding,
    resolved: Mapping[str, Any],
    *,
    at: tuple[str, str],
) -> _Seen:
    """Features of the frame's images, in its order.

    ``shards`` are by their place; ``at`` names the columns with shard and row.
    """
    size = PixelSpec(*(int(resolved[side]) for side in ("channels", "height", "width")))
    features: list[np.ndarray] = []
    small: list[np.ndarray] = []
    for place, rows in frame.groupby(at[0], sort=True)[at[1]]:
        images = read_shard(store, ShardRef.from_dict(shards[str(place)])).images
        wanted = [images[int(row)] for row in rows]
        for start in range(0, len(wanted), _AT_ONCE):
            same = np.concatenate([_sized(image, size) for image in wanted[start : start + _AT_ONCE]])
            features.append(encoding.encode(same))
            small.append(to_model(same, PixelSpec(size.channels, SMALL, SMALL)).reshape(len(same), -1))
    return _Seen(np.concatenate(features), np.concatenate(small))


def _sized(image: np.ndarray, size: PixelSpec) -> np.ndarray:
    """(1, C, H, W) of a record's image as the model draws them."""
    if image.shape[0] not in (1, size.channels):
        raise _UnmeasuredError(
            f"the source's images have {image.shape[0]} channels and the generated ones {size.channels}"
        )
    return to_model(image[None], size)


def _groups(
    groups: Sequence[Mapping[str, Any]],
    chosen: pd.DataFrame,
    sources: pd.DataFrame,
    made: np.ndarray,
    true: np.ndarray,
    *,
    seed: int,
) -> list[dict[str, Any]]:
    told = []
    for place, group in enumerate(groups):
        drawn, lent = ((frame["group"] == place).to_numpy() for frame in (chosen, sources))
        patients = sources["patient"][lent].nunique()
        row = {"name": group["name"], "images": int(drawn.sum()), "sources": int(lent.sum()), "patients": patients}
        if patients < MINIMUM_PATIENTS:
            told.append({**row, "kid": None, "limits": None})
            continue
        found = kid(
            made[drawn],
            true[lent],
            first_cluster=chosen["patient"][drawn].to_numpy(),
            second_cluster=sources["patient"][lent].to_numpy(),
            permutations=1,
            seed=seed,
        )
        reach = normal_critical() * found.standard_error
        limits = [_rounded(found.value - reach), _rounded(found.value + reach)]
        told.append({**row, "kid": _rounded(found.value), "limits": limits})
    return told


def _nearness(made: np.ndarray, true: np.ndarray, whose: np.ndarray, lent: np.ndarray, *, seed: int) -> dict[str, Any]:
    found = source_nearness(made, whose, true, lent, seed=seed)
    if found is None:
        return {"state": "too few patients", "patients": len(np.unique(lent))}
    plain = {name: _rounded(value) if isinstance(value, float) else value for name, value in asdict(found).items()}
    return {"state": "measured", **plain, "limits": [_rounded(value) for value in found.limits]}


def _recipe(encoding: Encoding, images: int, sources: int) -> dict[str, Any]:
    record = encoding.record
    return {
        "encoder": f"models/{record.name}@{record.version}",
        "encoder_digest": record.digest,
        "encoder_learned_from": str(record.training.get("recipe") or record.modality or "not stated"),
        "layer": "pooled features before the last layer",
        "distance": "KID: unbiased, kernel (x.y / d + 1)^3, pairs of one patient left out; limits 95 % by jackknife",
        "images": images,
        "sources": sources,
        "most_images_of_a_group": PER_GROUP,
        "most_shards": MOST_SHARDS,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
