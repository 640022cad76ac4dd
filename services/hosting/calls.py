"""How a pipeline reaches models: over Ray Serve handles, or in the same process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from services.adapters.weights import DirectoryRegistry
from services.errors import InvalidInput, NotFound, Overloaded, Unavailable
from services.hosting.envelope import unseal
from services.hosting.handles import NOT_DEPLOYED, Handles, models_of_apps
from services.hosting.host import OUTPUT_NAME, ModelHost
from services.maths.imaging.degradation import ParameterError, degrade

APP_OF_TASK = {
    "reconstruction": "reconstruction",
    "classification": "classifiers",
    "attribute-classification": "classifiers",
    "segmentation": "classifiers",
    "image-embedding": "classifiers",
    "class-to-image": "generator",
    "mask-to-image": "generator",
    "text-to-image": "generator",
    "super-resolution": "upscaler",
}
NETWORK_TASKS = tuple(task for task, app in APP_OF_TASK.items() if app in ("classifiers", "reconstruction"))
"""What one pass of a network answers; the others are sampled, by hosts of their own."""

NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


class ModelCalls(Protocol):
    """The models of the platform, as a pipeline sees them."""

    async def catalogue(self) -> list[dict[str, Any]]:
        """Every served version: model.yaml as plain data, with ``digest``, ``output_name`` and ``app``."""
        ...

    async def learned_from(self, model: str, version: str) -> bytes:
        """The file that lists whom a served version learned from (``services.adapters.learned``); empty for none."""
        ...

    async def infer(
        self,
        model: str,
        images: np.ndarray,
        parameters: Mapping[str, Any] = NO_PARAMETERS,
        *,
        batch: int,
        version: str = "",
    ) -> np.ndarray:
        """(N, C, H, W) float32 in the model's input range → its output rows; network calls padded to ``batch``.

        Without a version, the highest that is served. A model that samples takes "sampler", "steps" and "seed" as
        ``parameters``.
        """
        ...

    async def degrade(
        self, images: np.ndarray, record_ids: Sequence[str], seed: int, parameters: Mapping[str, Any]
    ) -> np.ndarray:
        """(N, 1, H, W) float32 canonical → the same, degraded; noise depends on (seed, record id) only."""
        ...


async def run_degradation(
    images: np.ndarray, record_ids: Sequence[str], seed: int, parameters: Mapping[str, Any]
) -> np.ndarray:
    """``degrade`` off the event loop, with its complaints about parameters as InvalidInput."""
    try:
        return await asyncio.to_thread(degrade, images, list(record_ids), seed=seed, **parameters)
    except (TypeError, ValueError) as error:
        at = f"degrade.{error.parameter}" if isinstance(error, ParameterError) else "degrade"
        raise InvalidInput(str(error), field=at, reason="DEGRADATION_INVALID") from error


class LocalModelCalls:
    """Models in this process: for tests, load tests' bare loops, and recipes."""

    def __init__(self, registry: DirectoryRegistry, *, threads: int = 1) -> None:
        self._host = ModelHost(registry, NETWORK_TASKS, threads=threads)

    async def catalogue(self) -> list[dict[str, Any]]:
        return [{**model, "app": APP_OF_TASK[model["task"]]} for model in self._host.catalogue()]

    async def learned_from(self, model: str, version: str) -> bytes:
        return await asyncio.to_thread(self._host.learned_from, model, version)

    async def infer(
        self,
        model: str,
        images: np.ndarray,
        parameters: Mapping[str, Any] = NO_PARAMETERS,
        *,
        batch: int,
        version: str = "",
    ) -> np.ndarray:
        record = self._host.find(model, version)
        outputs = await self._host.infer(model, version, {"image": images}, {**parameters, "batch": batch})
        return outputs[OUTPUT_NAME[record.task]]

    async def degrade(
        self, images: np.ndarray, record_ids: Sequence[str], seed: int, parameters: Mapping[str, Any]
    ) -> np.ndarray:
        return await run_degradation(images, record_ids, seed, parameters)


class RayModelCalls:
    """Models behind Serve handles. What a dying or busy replica leaves undone is asked for anew, for ``patience_s``."""

    def __init__(self, *, patience_s: float = 120.0) -> None:
        self._patience_s = patience_s
        self._app_of: dict[str, str] = {}
        self._handles = Handles()

    async def catalogue(self) -> list[dict[str, Any]]:
        models = await models_of_apps(lambda app: self._call(app, "catalogue"))
        self._app_of = {model["name"]: model["app"] for model in models}
        return models

    async def learned_from(self, model: str, version: str) -> bytes:
        return bytes(await self._call(await self._app(model), "learned_from", model, version))

    async def infer(
        self,
        model: str,
        images: np.ndarray,
        parameters: Mapping[str, Any] = NO_PARAMETERS,
        *,
        batch: int,
        version: str = "",
    ) -> np.ndarray:
        asked = {**parameters, "batch": batch}
        outputs = await self._call(await self._app(model), "infer", model, version, {"image": images}, asked)
        return np.asarray(next(iter(outputs.values())))

    async def degrade(
        self, images: np.ndarray, record_ids: Sequence[str], seed: int, parameters: Mapping[str, Any]
    ) -> np.ndarray:
        degraded = await self._call("reconstruction", "degrade", images, list(record_ids), seed, dict(parameters))
        return np.asarray(degraded)

    async def _app(self, model: str) -> str:
        if model not in self._app_of:
            await self.catalogue()
        if model not in self._app_of:
            raise NotFound(f"no model {model!r} is served", field="model", reason="MODEL_NOT_FOUND")
        return self._app_of[model]

    async def _call(self, app: str, method: str, *arguments: Any) -> Any:
        deadline = time.monotonic() + self._patience_s
        pause = 0.1
        while True:
            try:
                return unseal(await self._handles.call(app, method, *arguments))
            except (Overloaded, Unavailable) as error:
                # Every method here is a pure function of its arguments, so asking twice is safe.
                if error.reason == NOT_DEPLOYED or time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2.0)
