"""Where the records of a study come from: a folder of images, phantoms, the shards of a synthetic cohort."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from services.adapters.object_store import DirectoryStore
from services.audit.cohort.demographics import join_demographics
from services.audit.cohort.ingest import ingest, table_text
from services.audit.cohort.schema import load_schema
from services.errors import FailedPrecondition, InvalidInput, NotFound
from services.hosting.shards import Shard, ShardRef, read_shard
from services.maths.pixels import PixelSpec, resize_masks, to_model
from services.platform.augmentation import phantoms
from services.platform.augmentation.fidelity import fidelity
from services.platform.augmentation.orders import Order
from services.platform.augmentation.records import Records

Progress = Callable[[str, int, int], None]
READ_AT = 64
"""Pixels a side at which phantom readers look at images: walls of the heart are too thin for them at 32."""


@dataclass(frozen=True)
class Gathered:
    """Real and synthetic records at the classifier's size, levels of each attribute in order, what is said of them."""

    real: Records
    synthetic: dict[str, Records]
    names: dict[str, list[str]]
    facts: dict[str, Any]
    fidelity: dict[str, dict[str, Any]]


def gather(order: Order, sources: Mapping[str, Any], folder: Path, progress: Progress) -> Gathered:
    """All records that ``order`` needs, and the fidelity of each synthetic source.

    FailedPrecondition SYNTHETIC_INFIDELITY where a synthetic cohort does not show what was asked for and
    ``on_infidelity`` is "refuse".
    """
    reader = _Reader(order, folder, progress)
    real, names = reader.real(sources["real"])
    synthetic, found, facts = {}, {}, {"real": _facts(real)}
    for name, source in sources.get("synthetic", {}).items():
        records = reader.synthetic(source)
        facts[name] = _facts(records) | {"source": dict(source)}
        if _are_hearts(sources["real"]):
            progress(f"reading {name} back", 0, 1)
            found[name] = fidelity(_sized(records, READ_AT), _sized(real, READ_AT))
            progress(f"reading {name} back", 1, 1)
            refuse_infidelity(name, found[name], sources.get("on_infidelity", "refuse"))
        synthetic[name] = _sized(records, order.size)
    return Gathered(_sized(real, order.size), synthetic, names, facts, found)


def refuse_infidelity(name: str, found: Mapping[str, Any], policy: str) -> None:
    """FailedPrecondition where the readers found problems, unless the policy is to flag them."""
    if policy not in ("refuse", "flag"):
        raise InvalidInput("on_infidelity is refuse or flag", field="on_infidelity")
    if found["problems"] and policy == "refuse":
        raise FailedPrecondition(
            f"{name} does not show what was asked for: {'; '.join(found['problems'])}. "
            "on_infidelity: flag goes on all the same, and the report says so",
            field=name,
            reason="SYNTHETIC_INFIDELITY",
        )


def _are_hearts(source: Mapping[str, Any]) -> bool:
    """Phantom readers read phantoms only: whether the study says that its images are such."""
    return bool(source.get("phantoms"))


def _facts(records: Records) -> dict[str, Any]:
    return {
        "images": len(records),
        "patients": len(np.unique(records.patient)),
        "positives": int(records.label.sum()),
    }


class _Reader:
    """Reads at the larger of the classifier's and the readers' size; :func:`_sized` makes it smaller."""

    def __init__(self, order: Order, folder: Path, progress: Progress) -> None:
        self.order, self.folder, self.progress = order, folder, progress
        self.size = max(order.size, READ_AT)

    def real(self, source: Mapping[str, Any]) -> tuple[Records, dict[str, list[str]]]:
        if "images" in source:
            return self._folder(source)
        drawn = source["phantoms"]
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            self.progress("drawing patients", done, drawn["patients"])

        records = phantoms.drawn_records(drawn["world"], drawn["patients"], drawn["seed"], self.size, on_patient=tick)
        return records, {name: list(levels) for name, levels in phantoms.LEVELS.items()}

    def synthetic(self, source: Mapping[str, Any]) -> Records:
        if "oracle" in source:
            drawn = source["oracle"]
            self.progress("drawing the oracle", 0, 1)
            balance = tuple(drawn.get("balance", ("sex", "bmi")))
            records = phantoms.oracle_records(
                drawn["world"], drawn["images"], drawn["seed"], self.size, balance=balance
            )
            self.progress("drawing the oracle", 1, 1)
            return records
        return self._shards(Path(source["shards"]))

    def _folder(self, source: Mapping[str, Any]) -> tuple[Records, dict[str, list[str]]]:
        """The cohort as the platform ingests it; done once, its shards stay in the study's folder."""
        schema_file = Path(source["schema"])
        schema = load_schema(schema_file.read_text("utf-8") if schema_file.is_file() else str(source["schema"]))
        if source.get("table"):
            text = Path(source["table"]).read_text("utf-8-sig")
        else:
            text = table_text(Path(source["images"]), schema)
        if source.get("demographics"):
            joined = join_demographics(text, Path(source["demographics"]).read_text("utf-8-sig"), schema)
            text, schema = joined.table, joined.schema
        store, manifest_file = DirectoryStore(self.folder / "cohort"), self.folder / "cohort.json"
        if manifest_file.is_file():
            manifest = json.loads(manifest_file.read_text("utf-8"))
        else:
            manifest = ingest(
                Path(source["images"]),
                text,
                schema,
                store,
                on_progress=lambda at: self.progress("reading images", at["rows_done"], at["rows_total"]),
            )
            manifest_file.write_text(json.dumps(manifest), "utf-8")
        records = self._records(store, manifest)
        names = {entry["name"]: [level["level"] for level in entry["levels"]] for entry in manifest["attributes"]}
        return records, names

    def _records(self, store: DirectoryStore, manifest: Mapping[str, Any]) -> Records:
        """The labelled records of all shards, one shard in memory at a time beside them."""
        shards = (read_shard(store, ShardRef.from_dict(ref)) for ref in manifest["shards"])
        return _concatenated([_of_shard(shard, self.order.label, self.size) for shard in shards])

    def _shards(self, folder: Path) -> Records:
        """A synthetic cohort that was downloaded: manifest.json, and its shards as objects of a store."""
        file = folder / "manifest.json"
        if not file.is_file():
            raise NotFound(
                "there is no manifest.json of a synthetic cohort", field=str(folder), reason="FILE_NOT_FOUND"
            )
        manifest = json.loads(file.read_text("utf-8"))
        records = self._records(DirectoryStore(folder), manifest)
        return replace(records, split=np.full(len(records), ""))


def _of_shard(shard: Shard, label: str, size: int) -> Records:
    """The labelled records of a shard at ``size``. InvalidInput where the cohort has no such label."""
    table = shard.records
    if f"label_{label}" not in table:
        have = ", ".join(str(name)[6:] for name in table if str(name).startswith("label_")) or "none"
        raise InvalidInput(f"the cohort has no label {label!r}; it has {have}", field="label", reason="LABEL_UNKNOWN")
    rows = np.flatnonzero(table[f"label_{label}"].notna().to_numpy())
    kept = table.iloc[rows].reset_index(drop=True)
    pixels = [to_model(shard.images[row][None], PixelSpec(3, size, size))[0] for row in rows]
    masks = [shard.masks[row] for row in rows]
    planes = [resize_masks(mask, size, size) for mask in masks if mask is not None and mask.ndim == 3]
    attributes = [str(name) for name in table if str(name).startswith("attribute_")]
    levels = {name.removeprefix("attribute_"): kept[name].astype(object) for name in attributes}
    return Records(
        np.stack(pixels) if pixels else np.zeros((0, 3, size, size), np.float32),
        kept[f"label_{label}"].to_numpy(np.int64),
        kept["patient_id"].to_numpy(str),
        kept["record_id"].to_numpy(str),
        kept["split"].fillna("").to_numpy(str),
        pd.DataFrame(levels).where(lambda frame: frame.notna(), None),
        np.stack(planes) if planes and len(planes) == len(rows) else None,
    )


def _concatenated(parts: list[Records]) -> Records:
    masks = [part.masks for part in parts if part.masks is not None]
    return Records(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.patient for part in parts]),
        np.concatenate([part.record for part in parts]),
        np.concatenate([part.split for part in parts]),
        pd.concat([part.levels for part in parts], ignore_index=True),
        np.concatenate(masks) if len(masks) == len(parts) else None,
    )


def _sized(records: Records, size: int) -> Records:
    if records.pixels.shape[-1] == size:
        return records
    return replace(
        records,
        pixels=to_model(records.pixels, PixelSpec(3, size, size)),
        masks=None if records.masks is None else np.stack([resize_masks(m, size, size) for m in records.masks]),
    )
