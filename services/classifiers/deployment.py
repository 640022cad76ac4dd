"""The Ray Serve class of the classifiers application: a model host behind handle methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import serve

from services.classifiers.settings import Settings
from services.classifiers.wire import read_request, write_reply
from services.hosting.envelope import Reply
from services.hosting.replica import HostReplica

TASKS = ("classification", "segmentation", "attribute-classification", "image-embedding")


@serve.deployment
class Classifier(HostReplica):
    """Hosts the models of its tasks and answers sealed replies."""

    async def __init__(self, settings: dict[str, Any]) -> None:  # type: ignore[misc]
        await self.open(Settings.model_validate(settings), TASKS, app="classifiers")

    async def CreateClassification(self, request: bytes, context: Mapping[str, Any]) -> Reply:
        return await self.answer_one(lambda: read_request(request), write_reply)
