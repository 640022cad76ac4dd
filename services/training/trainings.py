"""Creating, reading and listing training runs: request bytes in, message bytes out. No Ray in here."""

from __future__ import annotations

import uuid
from typing import Any

from evenhand.training.v1 import training_service_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.adapters.ledger import ChunkSpec, Ledger, Operation
from services.errors import NotFound
from services.hosting.operations import operation_proto
from services.hosting.requests import page_size, parsed, resource_name
from services.training import wire
from services.training.runs import Run

KIND = "training"
TRAIN = "train"


class Trainings:
    """The calls of TrainingService, blocking."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def create(self, data: bytes) -> bytes:
        """CreateTrainingRequest → Operation, whose one chunk is the run."""
        asked = wire.training_request(parsed(training_service_pb2.CreateTrainingRequest, data))
        order = order_of(asked.run)
        operation, _ = self._ledger.create_operation(
            KIND,
            f"trainings/{uuid.uuid4()}",
            order,
            [ChunkSpec(TRAIN, order)],
            request_id=asked.request_id,
            body_digest=asked.body_digest,
        )
        # Also on a repeat: the first attempt may have died between the two writes.
        if self._ledger.get_resource(operation.resource) is None:
            self._ledger.put_resource(operation.resource, KIND, training_body(operation))
        return bytes(operation_proto(operation, self._ledger).SerializeToString())

    def get(self, data: bytes) -> bytes:
        """GetTrainingRequest → Training."""
        name = resource_name(parsed(training_service_pb2.GetTrainingRequest, data).name, "trainings", "name")
        body = self._ledger.get_resource(name)
        if body is None:
            raise NotFound(f"there is no {name}", field="name", reason="TRAINING_NOT_FOUND")
        return wire.training_message(body).SerializeToString()

    def list(self, data: bytes) -> bytes:
        """ListTrainingsRequest → ListTrainingsResponse, newest first."""
        request = parsed(training_service_pb2.ListTrainingsRequest, data)
        bodies, token = self._ledger.list_resources(
            KIND, page_size=page_size(request.page_size), page_token=request.page_token
        )
        trainings = [wire.training_message(body) for body in bodies]
        return training_service_pb2.ListTrainingsResponse(
            trainings=trainings, next_page_token=token
        ).SerializeToString()


def order_of(run: Run) -> dict[str, Any]:
    """A run as the ledger keeps it."""
    return {"recipe": run.recipe.name, "seed": run.seed, "epochs": run.epochs, "patients": run.patients}


def training_body(operation: Operation) -> dict[str, Any]:
    """What the ledger keeps of a training before it has results: fields of the Training message."""
    created = Timestamp()
    created.FromDatetime(operation.create_time)
    return {
        "name": operation.resource,
        "recipe": operation.request["recipe"],
        "operation": operation.name,
        "seed": operation.request["seed"],
        "epochs": operation.request["epochs"],
        "create_time": created.ToJsonString(),
    }
