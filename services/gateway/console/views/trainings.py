"""Training runs, as a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenhand.training.v1 import training_pb2

from services.gateway.console.asking import PAGE_SIZE, Ask
from services.gateway.console.words import moment

LIST = "evenhand.training.v1.TrainingService/ListTrainings"


async def trainings(ask: Ask, query: Mapping[str, str]) -> dict[str, Any]:
    reply = await ask(LIST, page_size=PAGE_SIZE, page_token=query.get("page_token", ""))
    return {"trainings": [_row(training) for training in reply.trainings], "next_page": reply.next_page_token}


def _row(training: training_pb2.Training) -> dict[str, Any]:
    model = f"{training.model}@{training.model_version}" if training.model_version else ""
    return {
        "name": training.name,
        "recipe": training.recipe,
        "model": model,
        "base": f"{training.base}@{training.base_version}" if training.base else "",
        "scores": sorted(training.scores.items())[:4],
        "operation": training.operation,
        "created": moment(training.create_time),
    }
