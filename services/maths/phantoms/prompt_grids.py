"""Prompts that leave one attribute open, for tuning a text-to-image model and, disjoint from these, for judging it.

Two prompts are different if they say different things, not if they say the same in other words: whoever tunes on
paraphrases of the prompts that judge has tuned on the judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from services.maths.phantoms.captions import caption_attributes, compose
from services.maths.phantoms.worlds import Kind

TRAINING_PROMPTS, TEST_PROMPTS = 100, 20  # as published (Han et al. 2025)
_STREAM = 2406


@dataclass(frozen=True)
class Prompt:
    """``text`` as the model gets it, the organ, and the attributes that it names."""

    text: str
    kind: Kind
    attributes: Mapping[str, str]


def prompt_grid(kind: Kind, free: str) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """100 training and 20 test prompts of ``kind`` that leave ``free`` open, in one fixed random order.

    Raises ValueError for an unknown kind, one without ``free``, or one that has less than 120 different things to say.
    """
    meanings = _meanings(kind, free)
    needed = TRAINING_PROMPTS + TEST_PROMPTS
    if len(meanings) < needed:
        raise ValueError(f"{kind} has {len(meanings)} prompts that leave {free} open; {needed} are needed")
    order = np.random.default_rng(_STREAM).permutation(len(meanings))[:needed]
    prompts = tuple(Prompt(compose(kind, meanings[place]), kind, meanings[place]) for place in order)
    return prompts[:TRAINING_PROMPTS], prompts[TRAINING_PROMPTS:]


def _meanings(kind: Kind, free: str) -> list[dict[str, str]]:
    """Every combination of levels of the other attributes, each of which may also be left unsaid."""
    levels = caption_attributes(kind)
    if free not in levels:
        raise ValueError(f"a caption of {kind} names {', '.join(levels)}, not {free!r}")
    others = {name: (None, *some) for name, some in levels.items() if name != free}
    return [
        {name: level for name, level in zip(others, chosen, strict=True) if level is not None}
        for chosen in product(*others.values())
    ]
