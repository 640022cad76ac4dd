"""CreateClassification's messages ↔ arrays."""

from __future__ import annotations

import numpy as np
from evenhand.classification.v1 import classification_service_pb2 as pb
from evenhand.resources.v1 import image_pb2

from services.adapters.weights import ModelRecord
from services.errors import InvalidInput
from services.hosting.images import image_message, model_name
from services.hosting.requests import parsed


def read_request(request: bytes) -> tuple[str, image_pb2.Image]:
    """(model name without its collection, image)."""
    message = parsed(pb.CreateClassificationRequest, request)
    return model_name(message.model), message.image


def write_reply(record: ModelRecord, row: np.ndarray) -> bytes:
    """``row``: (K,) probabilities of a classifier, or (S, H, W) of a segmenter; InvalidInput for an embedding's."""
    if record.task == "image-embedding":
        raise InvalidInput(
            f"{record.name} gives embeddings, not classes; read them over the Open Inference Protocol",
            field="model",
            reason="MODEL_TASK_MISMATCH",
        )
    reply = pb.Classification(model=f"models/{record.name}", model_version=record.version, model_digest=record.digest)
    if record.task == "segmentation":
        reply.mask.CopyFrom(image_message(row))
        return reply.SerializeToString()
    for label, probability in zip(record.labels, row.tolist(), strict=True):
        threshold = record.thresholds.get(label, 0.5)
        reply.labels.add(
            label=label, probability=probability, threshold=threshold, positive=bool(probability >= threshold)
        )
    return reply.SerializeToString()
