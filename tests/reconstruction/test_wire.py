from __future__ import annotations

from pathlib import Path

import numpy as np
from evenhand.reconstruction.v1 import reconstruction_service_pb2 as pb

from services.adapters.weights import load_record
from services.reconstruction.wire import read_request, write_reply
from tests.packages import write_package


def test_a_reply_carries_the_pixels_and_the_package_that_made_them(tmp_path: Path) -> None:
    record = load_record(write_package(tmp_path))
    pixels = np.random.default_rng(0).random((1, 8, 8), np.float32)
    reply = pb.Reconstruction.FromString(write_reply(record, pixels))
    np.testing.assert_array_equal(np.frombuffer(reply.image.data, "<f4").reshape(1, 8, 8), pixels)
    assert (reply.model, reply.model_digest) == ("models/affine", record.digest)


def test_a_request_names_its_model_with_or_without_its_collection() -> None:
    assert read_request(pb.CreateReconstructionRequest(model="models/x").SerializeToString())[0] == "x"


def test_the_pixels_are_canonical_whatever_range_the_model_gives(tmp_path: Path) -> None:
    record = load_record(write_package(tmp_path))
    assert record.output is not None
    signed = record.model_copy(update={"output": record.output.model_copy(update={"low": -1.0, "high": 1.0})})
    row = np.full((1, record.output.height, record.output.width), -0.5, np.float32)
    reply = pb.Reconstruction.FromString(write_reply(signed, row))
    assert set(np.frombuffer(reply.image.data, "<f4").tolist()) == {0.25}
