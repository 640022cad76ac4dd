"""Reconstruction models that sample: what a request may ask of them, and the runner that does it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from services.adapters.restoration import Restoration, SampledRestoration
from services.adapters.weights import ModelRecord
from services.errors import InvalidInput, OutOfRange
from services.hosting.networks import on_device
from services.maths.restoration.keyed import keyed_noise
from services.maths.restoration.noise import LARGEST_SEED
from services.maths.restoration.plans import Plan, State, advance, first_state


@dataclass(frozen=True)
class Asked:
    """How a request wants its images sampled; rows of requests that ask alike share network calls."""

    sampler: str
    steps: int
    seed: int


def asked_of(record: ModelRecord, parameters: Mapping[str, Any]) -> Asked | None:
    """``sampler``, ``steps`` and ``seed`` of the parameters, the record's own where one is missing.

    None for a model that does not sample, which leaves such parameters aside. Raises InvalidInput SAMPLER_UNKNOWN, or
    OutOfRange, with the field "parameters.…".
    """
    return asked_as(record.name, record.restoration, parameters, "parameters")


def asked_as(name: str, stated: Restoration | None, parameters: Mapping[str, Any], at: str) -> Asked | None:
    """:func:`asked_of` the model ``name`` that states its restoration so; errors have the field "``at``.…"."""
    if not isinstance(stated, SampledRestoration):
        return None
    process = stated.process()
    sampler = str(parameters.get("sampler") or stated.sampler)
    if sampler not in process.samplers:
        raise InvalidInput(
            f"{name} samples by {', '.join(process.samplers)}, not {sampler[:40]!r}",
            field=f"{at}.sampler",
            reason="SAMPLER_UNKNOWN",
        )
    fewest, most = process.step_range(sampler)
    steps = int(parameters.get("steps") or stated.steps)
    if not fewest <= steps <= most:
        raise OutOfRange(
            f"steps of {sampler} must lie in {fewest}..{most}, or be 0 for the default, got {steps}",
            field=f"{at}.steps",
        )
    seed = int(parameters.get("seed", stated.seed))
    if not 0 <= seed <= LARGEST_SEED:
        raise OutOfRange(f"seed must lie in 0..2^63 - 1, got {seed}", field=f"{at}.seed")
    return Asked(sampler, steps, seed)


def sampling(record: ModelRecord) -> dict[str, Any]:
    """What a catalogue says of a model that samples: its samplers, the default first, and the default steps."""
    stated = record.restoration
    if not isinstance(stated, SampledRestoration):
        return {}
    others = (name for name in stated.process().samplers if name != stated.sampler)
    return {"samplers": [stated.sampler, *others], "default_steps": stated.steps}


def quickest(record: ModelRecord) -> Asked | None:
    """As few steps as the model takes: enough to warm a network up."""
    stated = record.restoration
    if not isinstance(stated, SampledRestoration):
        return None
    return Asked(stated.sampler, stated.process().step_range(stated.sampler)[0], stated.seed)


class SampledRunner:
    """A network that is asked once a step. Between two steps the other models of the replica get their turn.

    A row's result is a function of its pixels and what was asked: its noise is keyed by both.
    """

    def __init__(self, stated: SampledRestoration, network: torch.nn.Module, executor: ThreadPoolExecutor) -> None:
        self._network = network
        self._executor = executor
        self._default = Asked(stated.sampler, stated.steps, stated.seed)
        self._plan = lru_cache(maxsize=64)(stated.process().plan)

    async def run(self, images: np.ndarray, asked: Asked | None = None) -> np.ndarray:
        asked = asked or self._default
        plan = self._plan(asked.sampler, asked.steps)
        loop = asyncio.get_running_loop()
        degraded = on_device(self._network, images)
        state: State | None = None
        for k in range(plan.evaluations):
            state = await loop.run_in_executor(self._executor, self._step, plan, k, state, degraded, asked.seed)
        assert state is not None
        return np.ascontiguousarray(state.x.cpu().numpy())

    @torch.inference_mode()
    def _step(self, plan: Plan, k: int, state: State | None, degraded: torch.Tensor, seed: int) -> State:
        noise = keyed_noise(degraded, seed)
        state = state or first_state(plan, degraded, noise(0))
        return advance(plan, k, state, degraded, self._network, z=noise(k + 1) if plan.draws(k) else None)

    async def close(self) -> None:
        return None
