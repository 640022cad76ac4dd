"""From a checked request to what leaves nothing open: which record each image is drawn from, and with which prompt."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from evenhand.cohort.v1 import synthetic_pb2

from services.audit.synthesis.sources import Sources
from services.errors import FailedPrecondition, InvalidInput, NotFound
from services.maths.synthesis.draws import draw_records, expected_shares
from services.maths.synthesis.prompts import fill_template

MASKED, PROMPTED = "mask-to-image", "text-to-image"


@dataclass(frozen=True)
class Plan:
    """``draws``: one row an image in order of the source's records: shard, row, group, prompt.

    ``groups`` are fields of SyntheticGroup that are known before any image is made.
    """

    draws: pd.DataFrame
    groups: tuple[dict[str, Any], ...]

    @property
    def prompts(self) -> list[str]:
        """Every prompt once."""
        return list(dict.fromkeys(self.draws["prompt"]))


def find_model(catalogue: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """The version behind an @, else the highest that is served.

    NotFound MODEL_NOT_FOUND, InvalidInput MODEL_TASK_MISMATCH.
    """
    bare, _, version = name.removeprefix("models/").partition("@")
    versions = [model for model in catalogue if model["name"] == bare and version in ("", model["version"])]
    if not versions:
        wanted = f"{bare[:64]!r}{f' version {version[:16]}' if version else ''}"
        raise NotFound(f"no model {wanted} is served", field="spec.model", reason="MODEL_NOT_FOUND")
    model = max(versions, key=lambda one: int(one["version"]))
    if model["task"] not in (MASKED, PROMPTED):
        raise InvalidInput(
            f"{bare} is a {model['task']} model; a synthetic cohort takes {MASKED} or {PROMPTED}",
            field="spec.model",
            reason="MODEL_TASK_MISMATCH",
        )
    return model


def check_masks(manifest: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """A model that takes masks takes the cohort's: FailedPrecondition COHORT_WITHOUT_MASKS, MASKS_DIFFER."""
    if model["task"] != MASKED:
        return
    if not manifest["has_masks"]:
        raise FailedPrecondition(
            f"{model['name']} draws by masks, and not every record of the cohort has one; use a {PROMPTED} model, or "
            "a cohort with masks",
            field="spec.cohort",
            reason="COHORT_WITHOUT_MASKS",
        )
    for what, key, taken in (
        ("labels", "mask_labels", model["mask_labels"]),
        ("planes", "mask_planes", model["mask_phases"]),
    ):
        given = manifest.get(key) or []
        if list(given) != list(taken):
            raise FailedPrecondition(
                f"{model['name']} takes masks with the {what} {', '.join(taken)}; the cohort's have "
                f"{', '.join(given) or 'none that are named'}. Declare them in the schema ({key}) and ingest again",
                field="spec.cohort",
                reason="MASKS_DIFFER",
            )


def draw(sources: Sources, spec: synthetic_pb2.SyntheticSpec, fields: Sequence[str], labels: Sequence[str]) -> Plan:
    """Draw ``spec.images`` records. The same sources and spec give the same plan."""
    patients, records = sources.counts()
    rows = sources.rows
    cap = spec.cap if spec.HasField("cap") else 0
    chosen = draw_records(rows["group"], rows["patient"], spec.images, _stream(spec.seed), cap=cap)
    drawn = rows.iloc[chosen].reset_index(drop=True)
    words = {name: _words(name, spec, is_label=name in labels) for name in fields}
    said = {name: drawn[name].map(lambda level, name=name: words[name](level)) for name in fields}
    prompts = [
        fill_template(spec.template, dict(zip(said, one, strict=True)))
        for one in (zip(*said.values(), strict=True) if said else [()] * len(drawn))
    ]
    without, expected = expected_shares(patients), expected_shares(patients, cap)
    uncapped = draw_records(rows["group"], rows["patient"], spec.images, _stream(spec.seed)) if cap else chosen
    images = np.bincount(rows["group"].to_numpy()[uncapped], minlength=len(patients))
    groups = tuple(
        {
            **group,
            "patients": int(patients[place]),
            "records": int(records[place]),
            "share_without_cap": float(without[place]),
            "images_without_cap": int(images[place]),
            "expected_share": float(expected[place]),
        }
        for place, group in enumerate(sources.groups)
    )
    return Plan(drawn[["shard", "row", "group"]].assign(prompt=prompts), groups)


def _stream(seed: int) -> np.random.Generator:
    """The draws' own stream: never that of any image's noise."""
    key = hashlib.sha256(f"synthetic-cohort-draws:{seed}".encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key)))


def _words(name: str, spec: synthetic_pb2.SyntheticSpec, *, is_label: bool) -> Any:
    """What the template says for a level of the field ``name``."""
    given = dict(spec.words[name].of_level) if name in spec.words else {}
    plain = name.replace("_", " ")
    own = {"1": plain, "0": f"no {plain}"} if is_label else {}
    return lambda level: given.get(level, own.get(level, level))


def draws_file(plan: Plan) -> bytes:
    """Parquet of the draws; the same plan gives the same bytes."""
    draws = plan.draws
    table = pa.table(
        {
            "shard": pa.array(draws["shard"], pa.int32()),
            "row": pa.array(draws["row"], pa.int32()),
            "group": pa.array(draws["group"], pa.int32()),
            "prompt": pa.array(draws["prompt"], pa.string()),
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def read_draws(data: bytes, first: int, count: int) -> pd.DataFrame:
    """``count`` rows of :func:`draws_file` from ``first``."""
    frame: pd.DataFrame = pq.read_table(io.BytesIO(data), use_threads=False).slice(first, count).to_pandas()
    return frame
