"""A room with the shipped models, and alignments of the skewed generator that are over in a second."""

from __future__ import annotations

import pytest
import torch
from evenhand.training.v1 import training_service_pb2

from services.training.alignment.bench import set_up
from services.training.alignment.resolution import resolve_alignment
from services.training.wire import training_request
from services.training.zoo import ZOO
from tests.training.room import opened

torch.set_num_threads(1)

PROMPTS = [
    "Short-axis cardiac MRI. age in 60s",
    "Short-axis cardiac MRI. age in 70s, obese BMI",
    "Cardiac MRI in short axis",
]
TEST_PROMPTS = [
    "Short-axis cardiac MRI",
    "Short-axis cardiac MRI. heart failure",
    "Short-axis cardiac MRI. healthy",
    "Short-axis cardiac MRI. obese BMI",
    "Short-axis cardiac MRI. normal BMI, healthy",
]


@pytest.fixture
def room(tmp_path):
    with opened(tmp_path, (ZOO,)) as room:
        yield room


@pytest.fixture
def settings(room):
    return room.settings


@pytest.fixture
def asked():
    """Fields of a CreateTrainingRequest for a small alignment, some changed; of its alignment, or of its one share."""

    def fields(**changes):
        shares = {
            "attribute": "sex",
            "target": {"Female": 0.3, "Male": 0.7},
            "classifier": "models/cardiac-sex-classifier",
            "judge": "models/cardiac-sex-judge",
            **changes.pop("shares", {}),
        }
        alignment = {
            "shares": [shares],
            "prompts": PROMPTS,
            "test_prompts": TEST_PROMPTS,
            "batch_prompts": 2,
            "batch_images": 4,
            "least_steps": 2,
            "most_steps": 3,
            "evaluations": 1,
            "confidence": 0.6,
            "test_images": 2,
            **changes.pop("alignment", {}),
        }
        return {"base": "models/cardiac-skewed-diffusion", "seed": 5, "epochs": 2, "alignment": alignment} | changes

    return fields


@pytest.fixture
def run_of(asked, room):
    """The resolved run of a request."""

    def run(**changes):
        request = training_request(training_service_pb2.CreateTrainingRequest(**asked(**changes)))
        return resolve_alignment(request.alignment, request.seed, room.ledger, room.settings)

    return run


@pytest.fixture
def bench_of(run_of):
    def bench(**changes):
        return set_up(run_of(**changes).alignment, lambda network: network)

    return bench
