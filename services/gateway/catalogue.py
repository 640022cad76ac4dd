"""The models that are served now, as the edge needs them: found by name, with shapes and metadata worked out once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.errors import NotFound, ServiceError, Unavailable
from services.gateway.backends import Backends

SHORTEST_AGE_S = 1.0  # an unknown name asks the applications again, but not more often than this


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. ``shape`` is (N, …) with -1 where any extent will do; ``datatype`` is FP32 or BYTES."""

    name: str
    shape: tuple[int, ...]
    datatype: str = "FP32"


@dataclass(frozen=True)
class Served:
    """One served model version."""

    name: str
    version: str
    app: str
    entry: Mapping[str, Any]
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec


def served_from_entry(entry: Mapping[str, Any]) -> Served:
    """Work out the tensors of an entry of a catalogue."""
    return Served(
        name=entry["name"],
        version=entry["version"],
        app=entry["app"],
        entry=entry,
        inputs=_inputs(entry),
        output=TensorSpec(entry["output_name"], _output_shape(entry)),
    )


def _inputs(entry: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    prompt = TensorSpec("prompt", (-1, 1), "BYTES")
    match entry["task"]:
        case "text-to-image":
            return (prompt,)
        case "mask-to-image":
            _, height, width = _extents(entry.get("output") or entry["input"])
            return prompt, TensorSpec("mask", (-1, len(entry.get("mask_phases") or ()) or -1, height, width))
        case "class-to-image":
            width = sum(len(condition.get("levels") or ()) or 1 for condition in entry["conditions"])
            return (TensorSpec("attributes", (-1, width)),)
        case "super-resolution":  # of any size: larger ones go through the model in overlapping tiles
            return (TensorSpec("image", (-1, entry["output"]["channels"], -1, -1)),)
        case _:
            return (TensorSpec("image", (-1, *_extents(entry["input"]))),)


def _output_shape(entry: Mapping[str, Any]) -> tuple[int, ...]:
    channels, height, width = _extents(entry.get("output") or entry["input"])
    match entry["task"]:
        case "segmentation":
            return -1, len(entry["labels"]), height, width
        case "classification" | "attribute-classification":
            return -1, len(entry["labels"])
        case "image-embedding":
            return -1, -1
        case "super-resolution":
            return -1, channels, -1, -1
        case _:
            return -1, channels, height, width


def _extents(pixels: Mapping[str, Any]) -> tuple[int, int, int]:
    return pixels["channels"], pixels["height"], pixels["width"]


class Catalogue:
    """The list of models, asked for again in the background once it is older than ``max_age_s``."""

    def __init__(self, backends: Backends, *, max_age_s: float) -> None:
        self._backends = backends
        self._max_age_s = max_age_s
        self._models: dict[str, list[Served]] | None = None
        self._asked_at = -float("inf")
        self._refresh: asyncio.Task[None] | None = None

    @property
    def loaded(self) -> bool:
        return self._models is not None

    async def models(self) -> dict[str, list[Served]]:
        """By name, versions in ascending order. Unavailable while the applications have never answered."""
        if self._models is None:
            await asyncio.shield(self._ask())
        elif time.monotonic() - self._asked_at > self._max_age_s:
            self._ask()
        assert self._models is not None  # asking either sets it or raises
        return self._models

    async def find(self, name: str, version: str = "") -> Served:
        """The named version, or the highest. NotFound MODEL_NOT_FOUND."""
        found = _pick(await self.models(), name, version)
        if found is None and time.monotonic() - self._asked_at > SHORTEST_AGE_S:
            await asyncio.shield(self._ask())
            found = _pick(await self.models(), name, version)
        if found is None:
            wanted = f"{name[:64]!r} version {version[:16]!r}" if version else f"{name[:64]!r}"
            raise NotFound(f"no model {wanted} is served", field="model", reason="MODEL_NOT_FOUND")
        return found

    def _ask(self) -> asyncio.Task[None]:
        """One question at a time, however many callers want to know."""
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.create_task(self._fetch())
            self._refresh.add_done_callback(_retrieved)
        return self._refresh

    async def _fetch(self) -> None:
        self._asked_at = time.monotonic()
        try:
            entries = await self._backends.catalogue()
        except ServiceError as error:
            if self._models is None:
                raise Unavailable("the models are not loaded yet", reason="MODELS_LOADING") from error
            return  # an application that is away for the moment keeps its models' names
        models: dict[str, list[Served]] = {}
        for served in map(served_from_entry, entries):
            models.setdefault(served.name, []).append(served)
        for versions in models.values():
            versions.sort(key=lambda served: int(served.version))
        self._models = dict(sorted(models.items()))


def _pick(models: Mapping[str, list[Served]], name: str, version: str) -> Served | None:
    matching = [served for served in models.get(name, ()) if version in ("", served.version)]
    return matching[-1] if matching else None


def _retrieved(task: asyncio.Task[None]) -> None:
    """Look at a background question's error, so that asyncio does not complain that nobody did."""
    if not task.cancelled():
        task.exception()
