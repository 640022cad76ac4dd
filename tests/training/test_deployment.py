"""The training application on a real Ray Serve: a call over the handle, a run on Ray Train, a package."""

from __future__ import annotations

import time

import pytest
from evenhand.training.v1 import training_pb2, training_service_pb2
from google.longrunning import operations_pb2
from ray import serve

from services.adapters.ledger import open_ledger
from services.adapters.weights import DirectoryRegistry
from services.errors import NotFound
from services.hosting.envelope import unseal
from services.training.app import build
from services.training.settings import Settings
from tests.training.ray_cluster import ray_cluster

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(data_dir=tmp_path_factory.mktemp("data"), registries=())


@pytest.fixture(scope="module")
def handle(settings):
    with ray_cluster():
        serve.start(proxy_location="Disabled")
        yield serve.run(build(settings), name="training", route_prefix=None)
        serve.shutdown()


def call(handle, method, request):
    return unseal(handle.options(method_name=method).remote(request.SerializeToString(), {"deadline_s": 60}).result())


def test_a_training_asked_for_over_the_handle_ends_as_a_package(handle, settings):
    request = training_service_pb2.CreateTrainingRequest(recipe="sex-classifier", epochs=1, patients=40)
    operation = operations_pb2.Operation.FromString(call(handle, "CreateTraining", request))
    ledger = open_ledger(settings.ledger)
    end = time.monotonic() + 600
    while not (now := ledger.get_operation(operation.name)).done and time.monotonic() < end:
        time.sleep(0.3)
    ledger.close()
    assert now.state == "succeeded", now.error
    asked = training_service_pb2.GetTrainingRequest(name=now.resource)
    training = training_pb2.Training.FromString(call(handle, "GetTraining", asked))
    assert training.model_version == DirectoryRegistry([settings.models]).find("sex-classifier").version


def test_an_error_keeps_its_class_over_the_handle(handle):
    with pytest.raises(NotFound) as refusal:
        call(handle, "CreateTraining", training_service_pb2.CreateTrainingRequest(recipe="alchemy"))
    assert refusal.value.reason == "RECIPE_NOT_FOUND"
