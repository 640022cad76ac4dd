"""What --json prints is the same in every process."""

from __future__ import annotations

from evenhand.listing import api_json
from evenhand.training.v1 import training_pb2
from google.protobuf.json_format import MessageToDict


def test_maps_are_sorted_wherever_they_are_and_fields_keep_their_order():
    levels = dict.fromkeys((f"level {number:02d}" for number in range(39, -1, -1)), 1.0 / 40)
    training = training_pb2.Training(
        scores=levels, alignment=training_pb2.Alignment(shares=[training_pb2.AlignedShares(target=levels)])
    )
    found = api_json(training)
    for shown in (found["scores"], found["alignment"]["shares"][0]["target"]):
        assert list(shown) == sorted(levels)
    assert list(found) == list(MessageToDict(training, always_print_fields_with_no_presence=True))
