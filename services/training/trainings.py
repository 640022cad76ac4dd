"""Creating, reading and listing training runs: request bytes in, message bytes out. No Ray in here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evenhand.training.v1 import training_service_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.adapters.ledger import ChunkSpec, Ledger, Operation
from services.errors import NotFound
from services.hosting.operations import operation_proto
from services.hosting.requests import page_size, parsed, resource_name
from services.training import wire
from services.training.alignment.resolution import resolve_alignment
from services.training.mitigation.resolution import resolve
from services.training.runs import AlignmentRun, Run
from services.training.settings import Settings

KIND = "training"
TRAIN = "train"


class Trainings:
    """The calls of TrainingService, blocking."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._settings = settings

    def create(self, data: bytes) -> bytes:
        """CreateTrainingRequest → Operation, whose one chunk is the run."""
        asked = wire.training_request(parsed(training_service_pb2.CreateTrainingRequest, data))
        repeated = self._ledger.repeated_operation(KIND, asked.request_id, asked.body_digest)
        operation = repeated or self._begin(asked)
        # Also on a repeat: the first attempt may have died between the two writes.
        if self._ledger.get_resource(operation.resource) is None:
            self._ledger.put_resource(operation.resource, KIND, training_body(operation))
        return bytes(operation_proto(operation, self._ledger).SerializeToString())

    def _begin(self, asked: wire.TrainingRequest) -> Operation:
        order = self._run(asked).to_dict()
        operation, _ = self._ledger.create_operation(
            KIND,
            f"trainings/{uuid.uuid4()}",
            order,
            [ChunkSpec(TRAIN, order)],
            request_id=asked.request_id,
            body_digest=asked.body_digest,
        )
        return operation

    def _run(self, asked: wire.TrainingRequest) -> Run | AlignmentRun:
        """The run with everything found that the request names."""
        if asked.alignment is not None:
            return resolve_alignment(asked.alignment, asked.seed, self._ledger, self._settings)
        assert asked.run is not None
        if asked.tuning is None:
            return asked.run
        return replace(asked.run, tuning=resolve(asked.tuning, asked.run, self._ledger, self._settings))

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
        **(tuning_fields(operation.request["tuning"]) if operation.request.get("tuning") else {}),
        **(alignment_fields(operation.request["alignment"]) if operation.request.get("alignment") else {}),
    }


def tuning_fields(tuning: Mapping[str, Any]) -> dict[str, Any]:
    """What the Training message says of a fine-tuning, resolved: its base, its term and its data."""
    base, predictor, source = tuning["base"], tuning["predictor"], tuning["source"]
    return {
        "base": f"models/{base['name']}",
        "base_version": base["version"],
        "base_digest": base["digest"],
        "mitigation": {
            **tuning["mitigation"],
            "predictor": f"models/{predictor['name']}",
            "predictor_version": predictor["version"],
        },
        "data": {
            **{key: source[key] for key in ("cohort", "world", "audit_cohort")},
            "allow_synthetic": source.get("synthetic", False),
        },
    }


def alignment_fields(alignment: Mapping[str, Any]) -> dict[str, Any]:
    """What the Training message says of an alignment, resolved."""
    base, encoder, batches = alignment["base"], alignment["encoder"], alignment["batches"]
    return {
        "base": f"models/{base['name']}",
        "base_version": base["version"],
        "base_digest": base["digest"],
        "alignment": {
            "shares": [_shares_fields(one) for one in alignment["shares"]],
            "joint": alignment["joint"],
            "prompts": alignment["prompts"],
            "test_prompts": alignment["test_prompts"],
            "confidence": alignment["threshold"],
            **{name: alignment[name] for name in ("preservation", "flipped_weight", "holding")},
            "encoder": f"models/{encoder['name']}",
            "encoder_version": encoder["version"],
            **alignment["adapter"],
            "batch_prompts": batches["prompts"],
            "batch_images": batches["images"],
            "least_steps": batches["steps"][0],
            "most_steps": batches["steps"][1],
            "guidance_scale": batches["guidance"],
            **{
                name: batches[name]
                for name in ("sampler", "evaluations", "least_noise", "learning_rate", "test_images")
            },
        },
    }


def _shares_fields(shares: Mapping[str, Any]) -> dict[str, Any]:
    judge = shares["judge"] or {"name": "", "version": ""}
    return {
        "attribute": shares["attribute"],
        "target": dict(zip(shares["levels"], shares["target"], strict=False)),  # a cohort has them, not the request
        "classifier": f"models/{shares['guide']['name']}",
        "classifier_version": shares["guide"]["version"],
        "judge": f"models/{judge['name']}" if judge["name"] else "",
        "judge_version": judge["version"],
        "cohort": shares["cohort"],
    }
