from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evenhand.classification.v1 import classification_service_pb2 as pb

from services.adapters.weights import load_record
from services.classifiers.wire import read_request, write_reply
from services.errors import InvalidInput
from tests.packages import write_classifier


@pytest.mark.parametrize("name", ["classifier", "models/classifier"])
def test_a_model_is_named_with_or_without_its_collection(name: str) -> None:
    request = pb.CreateClassificationRequest(model=name).SerializeToString()
    assert read_request(request)[0] == "classifier"


def test_a_score_at_its_threshold_is_positive_and_one_without_threshold_uses_a_half(tmp_path: Path) -> None:
    record = load_record(write_classifier(tmp_path, labels=("a", "b", "c"), thresholds={"a": 0.25, "b": 0.75}))
    reply = pb.Classification.FromString(write_reply(record, np.array([0.25, 0.5, 0.5], np.float32)))
    assert [(s.label, s.positive) for s in reply.labels] == [("a", True), ("b", False), ("c", True)]
    assert (reply.model, reply.model_version, reply.model_digest) == ("models/classifier", "1", record.digest)


def test_a_segmenter_answers_a_mask_and_no_labels(tmp_path: Path) -> None:
    record = load_record(write_classifier(tmp_path, task="segmentation"))
    mask = np.random.default_rng(0).random((2, 8, 8), np.float32)
    reply = pb.Classification.FromString(write_reply(record, mask))
    assert not reply.labels
    assert list(reply.mask.shape) == [2, 8, 8]
    np.testing.assert_array_equal(np.frombuffer(reply.mask.data, "<f4").reshape(2, 8, 8), mask)


def test_an_embedding_is_no_classification(tmp_path: Path) -> None:
    record = load_record(write_classifier(tmp_path)).model_copy(update={"task": "image-embedding"})
    with pytest.raises(InvalidInput, match="embeddings, not classes") as caught:
        write_reply(record, np.zeros(3, np.float32))
    assert (caught.value.field, caught.value.reason) == ("model", "MODEL_TASK_MISMATCH")
