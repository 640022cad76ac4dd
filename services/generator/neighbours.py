"""What the generator asks other applications for: more pixels, and a classifier's opinion. By handle, or in process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from services.errors import NotFound
from services.hosting.calls import ModelCalls
from services.hosting.envelope import unseal
from services.hosting.handles import Handles

CLASSIFIER_BATCH = 8  # rows of every call of a classifier: a trace's bits depend on it
OF_OTHERS = ("super-resolution", "attribute-classification")

Entry = Mapping[str, Any]


class Neighbours(Protocol):
    """Other applications' models. Every method raises only ServiceErrors, and may be asked again."""

    async def catalogue(self) -> dict[str, Entry]:
        """The highest version of every model that a request may name beside its own, by name."""
        ...

    async def upscale(self, model: str, version: str, images: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        """(N, C, h, w) canonical → (N, C, H, W) canonical; parameters as of the upscaler's ``infer``."""
        ...

    async def classify(self, model: str, images: np.ndarray) -> np.ndarray:
        """(N, C, H, W) in the model's range → (N, K) probabilities."""
        ...


class RayNeighbours:
    """Over Serve handles."""

    def __init__(self, calls: ModelCalls) -> None:
        self._calls = calls
        self._handles = Handles()

    async def catalogue(self) -> dict[str, Entry]:
        return entries(await self._calls.catalogue())

    async def upscale(self, model: str, version: str, images: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        reply = await self._handles.call("upscaler", "infer", model, version, {"image": images}, dict(parameters))
        return np.asarray(unseal(reply)["image"])

    async def classify(self, model: str, images: np.ndarray) -> np.ndarray:
        return await self._calls.infer(model, images, batch=CLASSIFIER_BATCH)


def entries(models: list[dict[str, Any]]) -> dict[str, Entry]:
    """The highest version of each model of the others' tasks."""
    found: dict[str, Entry] = {}
    for model in sorted(models, key=lambda model: int(model["version"])):
        if model["task"] in OF_OTHERS:
            found[model["name"]] = model
    return found


def find(models: Mapping[str, Entry], name: str, field: str) -> Entry:
    """The entry, or NotFound MODEL_NOT_FOUND naming the field."""
    bare = name.removeprefix("models/")
    if bare not in models:
        raise NotFound(f"no model {bare[:64]!r} is served", field=field, reason="MODEL_NOT_FOUND")
    return models[bare]
