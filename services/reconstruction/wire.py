"""CreateReconstruction's messages ↔ arrays."""

from __future__ import annotations

import numpy as np
from evenhand.reconstruction.v1 import reconstruction_service_pb2 as pb
from evenhand.resources.v1 import image_pb2

from services.adapters.weights import ModelRecord
from services.hosting.images import image_message, model_name
from services.hosting.requests import parsed
from services.maths.pixels import from_model


def read_request(request: bytes) -> tuple[str, image_pb2.Image]:
    """(model name without its collection, image)."""
    message = parsed(pb.CreateReconstructionRequest, request)
    return model_name(message.model), message.image


def write_reply(record: ModelRecord, row: np.ndarray) -> bytes:
    """``row``: (C, H, W) in the model's output range; callers get canonical pixels."""
    assert record.output is not None  # ModelRecord checks it
    pixels = from_model(row[None], record.output.spec())[0]
    return pb.Reconstruction(
        model=f"models/{record.name}",
        model_version=record.version,
        model_digest=record.digest,
        image=image_message(pixels),
    ).SerializeToString()
