"""The Ray Serve class of the reconstruction application: a model host behind handle methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ray import serve

from services.hosting.calls import run_degradation
from services.hosting.envelope import Reply, seal
from services.hosting.replica import HostReplica
from services.reconstruction.settings import Settings
from services.reconstruction.wire import read_request, write_reply

TASKS = ("reconstruction",)


@serve.deployment
class Reconstructor(HostReplica):
    """Hosts the models of its tasks and answers sealed replies."""

    async def __init__(self, settings: dict[str, Any]) -> None:  # type: ignore[misc]
        await self.open(Settings.model_validate(settings), TASKS, app="reconstruction")

    async def degrade(
        self, images: np.ndarray, record_ids: Sequence[str], seed: int, parameters: Mapping[str, Any]
    ) -> Reply:
        return await seal(run_degradation(images, record_ids, seed, parameters))

    async def CreateReconstruction(self, request: bytes, context: Mapping[str, Any]) -> Reply:
        return await self.answer_one(lambda: read_request(request), write_reply)
