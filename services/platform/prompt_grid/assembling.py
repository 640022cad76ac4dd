"""From a grid to report.json and grid.parquet."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from services.maths.canonical import canonical_json, digest
from services.platform.prompt_grid import measures
from services.platform.prompt_grid.auditing import AFTER, BEFORE, Grid
from services.platform.prompt_grid.others import other_rows
from services.platform.prompt_grid.wording import findings_of, headline, unfound

SCHEMA = "1.0"


def report_of(grid: Grid) -> dict[str, Any]:
    """The report as plain data, with its digest; NaN is null."""
    order = grid.order
    report: dict[str, Any] = {
        "schema_version": SCHEMA,
        "kind": "prompt-grid",
        "attribute": order.attribute,
        "groups": list(grid.levels),
        "targets": [dict(target) for target in grid.targets],
        "models": {
            role: {
                "name": model.name,
                "version": model.version,
                "digest": model.digest,
                "images_from": grid.sources[role],
            }
            for role, model in grid.models.items()
        },
        "settings": {
            "images_per_prompt": len(grid.of(AFTER)) / len(grid.prompts),
            "seed": order.seed,
            "sampling": dict(order.sampling),
        },
        "prompts": [{"text": one.text, "kind": one.kind, "named": dict(one.named)} for one in grid.prompts],
        "judges": measures.judge_rows(grid),
        "bias": measures.bias_rows(grid),
        "by_prompt": measures.prompt_rows(grid),
        "changes": measures.change_rows(grid),
        "flips": measures.flip_rows(grid),
        "agreement": measures.agreement_rows(grid),
        "others": other_rows(grid),
        "noise": _noise(grid),
        "platform_version": version("evenhand-platform"),
    }
    report |= {"headline": headline(report), "findings": findings_of(report), "not_found": unfound(report)}
    plain: dict[str, Any] = json.loads(canonical_json(report))
    return {**plain, "digest": digest(plain)}


def report_bytes(report: Mapping[str, Any]) -> bytes:
    """report.json as it is written."""
    return (json.dumps(report, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n").encode()


def grid_bytes(grid: Grid) -> bytes:
    """grid.parquet: a row for each image."""
    file = io.BytesIO()
    grid.images.to_parquet(file, index=False)
    return file.getvalue()


def _noise(grid: Grid) -> dict[str, Any]:
    """Different noises of one model, and whether both models drew from the same; None where nobody knows."""
    after = grid.of(AFTER)["noise_digest"]
    known = bool((after != "").all())
    shared = None
    if BEFORE in grid.models and known:
        shared = bool((after == grid.of(BEFORE)["noise_digest"]).all())
    return {"distinct": int(after.nunique()) if known else None, "images": len(after), "shared": shared}
