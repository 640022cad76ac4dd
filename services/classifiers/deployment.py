"""The Ray Serve class of the classifiers application: a model host behind handle methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ray import serve

from services.adapters.decoder import Decoder
from services.classifiers.settings import Settings
from services.classifiers.wire import read_request, write_reply
from services.hosting.envelope import Reply, seal
from services.hosting.images import answer_image
from services.hosting.nearby import NearbyListener
from services.hosting.replica import open_host

TASKS = (
    "classification",
    "segmentation",
    "attribute-classification",
)


@serve.deployment
class Classifier:
    """Loads every model of its tasks once, warms them up, and answers sealed replies."""

    async def __init__(self, settings: dict[str, Any]) -> None:  # type: ignore[misc]
        self._host = open_host(Settings.model_validate(settings), TASKS, app="classifiers")
        await self._host.warm_up()
        self._decoder = Decoder(workers=1)
        self._nearby = NearbyListener(self._host, "classifiers")
        await self._nearby.start()

    async def catalogue(self) -> Reply:
        async def answer() -> list[dict[str, Any]]:
            return self._host.catalogue()

        return await seal(answer())

    async def infer(
        self, model: str, version: str, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any]
    ) -> Reply:
        return await seal(self._host.infer(model, version, inputs, parameters))

    async def CreateClassification(self, request: bytes, context: Mapping[str, Any]) -> Reply:
        async def answer() -> bytes:
            model, message = read_request(request)
            return write_reply(*await answer_image(self._host, self._decoder, model, message.image))

        return await seal(answer())
