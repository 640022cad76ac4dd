"""Counterfactuals: the list, and the player of one: its frames, its trace and where they came from."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from evenhand.generation.v1 import counterfactual_pb2
from evenhand.resources.v1 import state_pb2

from services.errors import FailedPrecondition, NotFound
from services.gateway.console.asking import PAGE_SIZE, Ask
from services.gateway.console.views.audits import progress
from services.gateway.console.views.files import listed_files
from services.gateway.console.words import moment, state_of, title

LIST = "evenhand.generation.v1.GenerationService/ListCounterfactuals"
GET = "evenhand.generation.v1.GenerationService/GetCounterfactual"

_PROBABILITY = "probability: "
_TABLE_ROWS = 13  # of the trace's text form; all of it is in trace.csv


def counterfactual_row(found: counterfactual_pb2.Counterfactual) -> dict[str, Any]:
    """A counterfactual in a list."""
    spec = found.spec
    return {
        "name": found.name,
        "title": title(found.display_name, found.name),
        "state": state_of(state_pb2.State.Name(found.state)),
        "change": [(key, value, spec.target_attributes.get(key, "")) for key, value in _sorted(spec.source_attributes)],
        "model": f"{spec.model}@{found.model_version}" if found.model_version else spec.model,
        "frames": spec.frames,
        "created": moment(found.create_time),
        "operation": found.operation,
    }


async def counterfactuals(ask: Ask, query: Mapping[str, str]) -> dict[str, Any]:
    reply = await ask(LIST, page_size=PAGE_SIZE, page_token=query.get("page_token", ""))
    rows = [counterfactual_row(found) for found in reply.counterfactuals]
    return {"counterfactuals": rows, "next_page": reply.next_page_token}


async def counterfactual(ask: Ask, name: str) -> dict[str, Any]:
    """One counterfactual and all that its player needs."""
    found = await ask(GET, name=name)
    spec, names = found.spec, {artifact.filename for artifact in found.artifacts}
    frames = sorted(file for file in names if file.startswith("frame-") and file.endswith(".png"))
    row = counterfactual_row(found)
    files = [artifact for artifact in found.artifacts if not artifact.filename.startswith("frame-")]
    source, target = (", ".join(ends) for ends in zip(*((a, b) for _, a, b in row["change"]), strict=True))
    return {
        **row,
        "ends": (source, target),
        "held": _sorted(spec.held_attributes),
        "warnings": list(found.warnings),
        "progress": await progress(ask, found.operation) if row["state"] in ("pending", "running") else None,
        "player": {"frames": [f"/{name}/files/{file}" for file in frames]} if len(frames) > 1 else None,
        "trace": await _trace(ask, name) if "trace.csv" in names else None,
        "video": f"/{name}/files/video.mp4" if "video.mp4" in names else "",
        "film": f"/{name}/files/filmstrip.png" if "filmstrip.png" in names else "",
        "difference": f"/{name}/files/difference.png" if "difference.png" in names else "",
        "facts": _facts(found),
        "frame_files": len(found.artifacts) - len(files),
        "files": listed_files(name, files),
        "allow": {"media_src": "'self'"},
    }


def _sorted(attributes: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(attributes.items())


def _facts(found: counterfactual_pb2.Counterfactual) -> list[tuple[str, str]]:
    spec = found.spec
    told = [
        ("Model digest", found.model_digest),
        ("Enlarged by", f"{spec.upscale_model}@{found.upscale_model_version}" if spec.upscale_model else ""),
        ("Read by", f"{spec.classifier_model}@{found.classifier_model_version}" if spec.classifier_model else ""),
        ("Frames", f"{spec.frames}, {spec.path or 'linear'} path"),
        ("Sampler", f"{spec.sampler}, {spec.steps} steps, guidance {spec.guidance.scale:g}"),
        ("Seed", str(spec.seed)),
        ("Noise digest", found.noise_digest),
        ("Device", found.device),
    ]
    return [(name, text) for name, text in told if text]


async def _trace(ask: Ask, name: str) -> dict[str, Any] | None:
    try:
        stored = await ask.edge.artifacts.find(name, "trace.csv")
    except (FailedPrecondition, NotFound):
        return None
    return trace_of((await ask.edge.artifacts.read(stored)).decode())


def trace_of(text: str) -> dict[str, Any] | None:
    """``series``: name, kind and one number a frame (None where it could not be measured) of each column of trace.csv.

    ``rows`` are some of its frames, ends included, for a table.
    """
    header, *lines = csv.reader(io.StringIO(text))
    columns = list(zip(*lines, strict=True))
    if len(columns) < 3:
        return None
    series = [
        {
            "name": name.removeprefix(_PROBABILITY),
            "kind": "probability" if name.startswith(_PROBABILITY) else "feature",
            "values": [_value(cell) for cell in column],
        }
        for name, column in zip(header[2:], columns[2:], strict=True)
    ]
    picked = _spread(len(lines), _TABLE_ROWS)
    rows = [(frame, [one["values"][frame] for one in series]) for frame in picked]
    return {"series": series, "rows": rows, "frames": len(lines)}


def _value(cell: str) -> float | None:
    value = float(cell) if cell else math.nan
    return value if math.isfinite(value) else None


def _spread(length: int, most: int) -> Sequence[int]:
    """At most ``most`` places from 0 to ``length`` − 1, ends included."""
    if length <= most:
        return range(length)
    return [round(place * (length - 1) / (most - 1)) for place in range(most)]
