"""The record of an image: the JSON object from which it can be made again, and what files say of it in words.

A record is what the API calls ImageRecord, or a counterfactual's or an upscaling's own: an object with ``spec`` (the
request that makes this image and no other: ``model``, ``model_digest``, ``sampler``, ``steps`` and ``seed`` at least,
``guidance`` where the model has it) and with what the server knows beside it (``model_version``, ``noise_digest``, …).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.errors import InvalidInput
from services.maths.canonical import canonical_json, digest

Record = Mapping[str, Any]

SOFTWARE = "Evenhand"
SYNTHETIC_KEY, SYNTHETIC_VALUE = "Synthetic", "YES"
NOT_A_PATIENT = "SYNTHETIC image made by a model. It shows no patient and must not be used for diagnosis."
_NEEDED = ("model", "model_digest", "sampler", "steps", "seed")


def record_text(record: Record) -> str:
    """The record as canonical JSON. Raises InvalidInput for what JSON has no form for."""
    try:
        return canonical_json(dict(record)).decode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"a record is a JSON object: {error}", field="record", reason="RECORD_INVALID") from error


def record_digest(record: Record) -> str:
    """sha256 of the record's canonical JSON, 64 hex digits."""
    record_text(record)
    return digest(dict(record))


def derivation(record: Record) -> str:
    """How the image was made, in one line. Raises InvalidInput naming what the record lacks."""
    spec = record.get("spec")
    if not isinstance(spec, Mapping):
        raise _lacks("spec")
    for key in _NEEDED:
        if spec.get(key) in (None, ""):
            raise _lacks(f"spec.{key}")
    version = f" version {record['model_version']}" if record.get("model_version") else ""
    parts = [
        f"SYNTHETIC. {_model(spec['model'])}{version}, sha256:{spec['model_digest']}",
        f"sampler {spec['sampler']}",
        f"steps {spec['steps']}",
        f"seed {spec['seed']}" + (f" index {spec['first_index']}" if spec.get("first_index") else ""),
        _guidance(spec.get("guidance")),
        *_upscaling(record, spec),
        *([f"noise sha256:{record['noise_digest']}"] if record.get("noise_digest") else []),
    ]
    return "; ".join(parts)


def _model(name: Any) -> str:
    return "model " + str(name).removeprefix("models/")


def _guidance(guidance: Any) -> str:
    """Guidance with its interval and its rescale where they are not the usual ones."""
    if not isinstance(guidance, Mapping) or not guidance.get("scale"):
        return "guidance none"
    words = f"guidance scale {guidance['scale']:g}"
    low, high = float(guidance.get("low") or 0.0), float(guidance.get("high") or 1.0)
    if (low, high) != (0.0, 1.0):
        words += f" within {low:g} to {high:g} of the noise levels"
    return words + (f" rescale {guidance['rescale']:g}" if guidance.get("rescale") else "")


def _upscaling(record: Record, spec: Mapping[str, Any]) -> list[str]:
    if not spec.get("upscale_model"):
        return []
    version = f" version {record['upscale_model_version']}" if record.get("upscale_model_version") else ""
    known = f", sha256:{spec['upscale_model_digest']}" if spec.get("upscale_model_digest") else ""
    sampler = f", sampler {spec['upscale_sampler']}" if spec.get("upscale_sampler") else ""
    steps = f", steps {spec['upscale_steps']}" if spec.get("upscale_steps") else ""
    return [f"super-resolution {_model(spec['upscale_model'])}{version}{known}{sampler}{steps}"]


def _lacks(key: str) -> InvalidInput:
    return InvalidInput(
        "the record must say which model, sampler, steps and seed made the image",
        field=f"record.{key}",
        reason="RECORD_INCOMPLETE",
    )
