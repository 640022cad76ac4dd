"""The card of a generator: whom it draws, what for, and what its images must not be taken for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenhand.resources.v1 import model_pb2

GENERATORS = ("text-to-image", "mask-to-image", "class-to-image")
INTENDED_USE = (
    "Research: studying generators and what they do to groups of patients, and adding to training data. Not for "
    "judging a diagnostic model, and not for diagnosis."
)
NOTICE = (
    "Synthetic images. A radiologist has to review them before they are used for anything clinical: an alignment "
    "changes who is drawn, and what else it changes shows in the distances above and not to the eye alone."
)


def generator_card(entry: Mapping[str, Any]) -> model_pb2.GeneratorCard | None:
    """Of a catalogue's entry; None for a model that does not make images of nobody."""
    if entry["task"] not in GENERATORS:
        return None
    alignment = (entry.get("training") or {}).get("alignment") or {}
    verdicts = [_verdict(one) for one in alignment.get("verdicts") or ()]
    return model_pb2.GeneratorCard(verdicts=verdicts, intended_use=INTENDED_USE, notice=NOTICE)


def _verdict(told: Mapping[str, Any]) -> model_pb2.BiasVerdict:
    levels, before, after = told["levels"], told["before"], told["after"]
    return model_pb2.BiasVerdict(
        attribute=told["attribute"],
        classifier=f"models/{told['classifier']}",
        guided=told["guided"],
        target=dict(zip(levels, told["target"], strict=True)),
        before=dict(zip(levels, before["shares"], strict=True)),
        after=dict(zip(levels, after["shares"], strict=True)),
        bias_before=_bias(before["bias_to_target"]),
        bias_after=_bias(after["bias_to_target"]),
        kid={level: value for level, value in told["kid"].items() if value is not None},
        prompts=after["prompts"],
        images=after["images"],
    )


def _bias(told: Mapping[str, float]) -> model_pb2.Bias:
    return model_pb2.Bias(**{name: told[name] for name in ("estimate", "noise_floor", "ci_low", "ci_high")})
