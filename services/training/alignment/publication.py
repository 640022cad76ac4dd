"""A new version of the base: its folder with another U-Net, what that was aligned to, and what came of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.adapters.learned import FILENAME
from services.adapters.weights import ModelRecord
from services.maths.canonical import digest
from services.training.alignment.bench import Bench
from services.training.packages import file_digests, write_record
from services.training.tuning import Alignment

_COPIED = ("scheduler", "text_encoder", "tokenizer", "vae")


def publish(
    bench: Bench,
    unet: Any,
    verdicts: Sequence[Mapping[str, Any]],
    *,
    registry: Path,
    version: str,
    seed: int,
) -> ModelRecord:
    """Write the package; model.yaml last and by rename. ``unet`` is a plain one, on the CPU, and becomes half."""
    folder = registry / bench.base.name / version
    folder.mkdir(parents=True, exist_ok=True)
    for part in _COPIED:
        shutil.copytree(bench.folder / part, folder / part, dirs_exist_ok=True)
    if bench.base.learned_from is not None:
        shutil.copy(bench.folder / FILENAME, folder / FILENAME)
    unet.half().save_pretrained(folder / "unet")
    plain = bench.base.model_dump(mode="json", exclude_defaults=True) | {
        "version": version,
        "files": file_digests(folder, apart=(FILENAME,)),
        "training": lineage(bench.alignment, verdicts, seed=seed),
        "scores": scores(verdicts),
    }
    record = ModelRecord.model_validate(plain)
    write_record(folder, record)
    return record


def lineage(alignment: Alignment, verdicts: Sequence[Mapping[str, Any]], *, seed: int) -> dict[str, Any]:
    """What ``model.yaml`` says under ``training``: enough to make the model again, and what it came to."""
    told = alignment.to_dict()
    return {
        "base": told["base"],
        "alignment": {
            "method": "sdat",
            "seed": seed,
            "shares": [_plain(one) for one in told["shares"]],
            **{
                key: told[key] for key in ("joint", "threshold", "preservation", "flipped_weight", "holding", "encoder")
            },
            "adapter": asdict(alignment.adapter),
            "batches": _plain(asdict(alignment.batches)),
            "prompts": {"count": len(alignment.prompts), "digest": digest(list(alignment.prompts))},
            "test_prompts": {"count": len(alignment.test_prompts), "digest": digest(list(alignment.test_prompts))},
            "verdicts": [dict(verdict) for verdict in verdicts],
        },
    }


def scores(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """bias(T) to the target per prompt before and after, by each judge: what a list of models shows."""
    found: dict[str, float] = {}
    for verdict in verdicts:
        for when in ("before", "after"):
            name = f"bias {verdict['attribute']} {when}, {verdict['classifier']}"
            found[name] = float(verdict[when]["bias_to_target"]["estimate"])
    return found


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Lists for tuples: YAML has no others."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}
