"""Request parameters of the Open Inference Protocol that models understand. Others are left aside, as it allows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from services.errors import InvalidInput, OutOfRange

LARGEST_SEED = 2**63 - 1
GENERATIVE = ("text-to-image", "mask-to-image", "class-to-image", "super-resolution")


def passed_on(task: str, parameters: Mapping[str, Any], remaining_s: float) -> dict[str, Any]:
    """What a model of ``task`` is told. Whether a sampler or a number of steps is known is the application's to say.

    Raises InvalidInput PARAMETER_INVALID naming "parameters.…", OutOfRange for a seed that is none.
    """
    if parameters.get("sequence_id"):
        raise InvalidInput(
            "the models keep no state between requests", field="parameters.sequence_id", reason="PARAMETER_UNSUPPORTED"
        )
    found = _given(parameters, _READERS_OF.get(task, {"batch": _whole}))
    if not 0 <= found.get("seed", 0) <= LARGEST_SEED:
        raise OutOfRange("a seed lies in 0..2^63 - 1", field="parameters.seed")
    if task in GENERATIVE and math.isfinite(remaining_s):
        found["deadline_s"] = remaining_s
    return found


def _given(parameters: Mapping[str, Any], readers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: read(name, parameters[name]) for name, read in readers.items() if parameters.get(name) is not None}


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _invalid(name, "a whole number")
    return value


def _number(name: str, value: Any) -> float:
    """A decimal number may be written as text: older clients have no other way to send one."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise _invalid(name, "a number")
    return number


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _invalid(name, "a text")
    return value


def _invalid(name: str, wanted: str) -> InvalidInput:
    return InvalidInput(f"{name} takes {wanted}", field=f"parameters.{name}", reason="PARAMETER_INVALID")


_SAMPLING = {"seed": _whole, "steps": _whole, "sampler": _text}
_READERS_OF = {task: {**_SAMPLING, "guidance_scale": _number, "negative_prompt": _text} for task in GENERATIVE}
_READERS_OF["reconstruction"] = {**_SAMPLING, "batch": _whole}  # some sample; the others leave it aside
