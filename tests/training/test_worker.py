"""Training runs in the ledger: asked for, watched, cancelled, taken up again. They run in this process, without Ray."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import torch
from evenhand.training.v1 import training_service_pb2

from services.adapters.learned import read_learned
from services.adapters.ledger import open_ledger
from services.adapters.weights import DirectoryRegistry
from services.errors import Conflict, InvalidInput, NotFound, OutOfRange
from services.training import runs
from services.training.folders import RunFolder
from services.training.recipes import RECIPES
from services.training.trainings import TRAIN
from tests.training.room import opened

torch.set_num_threads(1)


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "FEWEST_OTHERS", 6)
    with opened(tmp_path) as room:
        yield room


async def test_a_training_leaves_a_package_that_the_registry_reads(room):
    operation = room.create(recipe="tumour-type-classifier", seed=3, epochs=1, patients=40)
    async with room.working():
        finished = await room.state_within(operation.name, 120, "succeeded", "failed")
        await _cleared(room)
    assert finished.state == "succeeded", finished.error
    training = room.get(finished.resource)
    assert (training.model, training.model_version) == ("models/tumour-type-classifier", "1")
    record = DirectoryRegistry([room.settings.models]).find("tumour-type-classifier")
    assert dict(training.scores) == pytest.approx(record.scores)
    assert record.training["seed"] == 3
    assert record.threshold_source is not None and record.threshold_source.split == "validation"
    (own,) = read_learned(DirectoryRegistry([room.settings.models]).learned_from(record))
    drawn = {f"brain-{seed}-{number:05d}" for seed in (9, 10, 11) for number in range(60)}
    expected = {f"brain-9-{number:05d}" for number in range(40)} | {f"brain-10-{number:05d}" for number in range(10)}
    assert own.shared(drawn) == expected  # 11 are the held-out patients
    assert finished.response["value"]["name"] == finished.resource


async def test_a_second_training_gets_the_next_version(room):
    for _ in range(2):
        operation = room.create(recipe="sex-classifier", epochs=1, patients=30)
        async with room.working():
            await room.state_within(operation.name, 120, "succeeded")
    versions = [record.version for record in DirectoryRegistry([room.settings.models]).models()]
    assert versions == ["1", "2"]


async def test_cancelling_works_within_a_second_and_publishes_nothing(room):
    operation = room.create(recipe="sex-classifier", epochs=500, patients=60)
    async with room.working():
        await room.state_within(operation.name, 60, "running")
        room.ledger.request_cancel(operation.name)
        await room.state_within(operation.name, 5, "cancelled")
        await _cleared(room)
    assert not list(room.settings.models.glob("*/*"))


async def test_another_worker_takes_up_a_run_whose_worker_died_and_finds_its_folder(room):
    operation = room.create(recipe="sex-classifier", epochs=1, patients=30)
    async with room.working(launch=_hang):
        await room.state_within(operation.name, 30, "running")
        while not list(room.settings.runs.glob("*/order.json")):
            await asyncio.sleep(0.02)
    order = RunFolder(next(room.settings.runs.iterdir())).order()
    later = open_ledger(room.settings.ledger, clock=lambda: datetime.now(UTC) + timedelta(minutes=5))
    room.ledger = later
    async with room.working(name="two"):
        finished = await room.state_within(operation.name, 120, "succeeded")
    assert finished.retries >= 1
    assert finished.response["value"]["model_version"] == order[2]
    later.close()


async def test_a_run_whose_lease_was_lost_has_ended_before_its_worker_takes_up_another(room):
    events = []

    async def launch(folder):
        events.append("started")
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.3)  # as long as processes elsewhere take to die
            events.append("ended")

    room.settings = room.settings.model_copy(update={"renew_every_s": 0.05})
    first = room.create(recipe="sex-classifier", epochs=1, patients=30)
    later = open_ledger(room.settings.ledger, clock=lambda: datetime.now(UTC) + timedelta(minutes=5))
    async with room.working(launch=launch):
        await room.state_within(first.name, 30, "running")
        assert later.lease_chunk("two", 600, [TRAIN]).operation == first.name
        second = room.create(recipe="sex-classifier", epochs=1, patients=30)
        await room.state_within(second.name, 30, "running")
        while len(events) < 3:
            await asyncio.sleep(0.02)
        assert events == ["started", "ended", "started"]
    later.close()


async def test_a_result_that_was_written_before_the_crash_is_not_trained_again(room):
    operation = room.create(recipe="sex-classifier", epochs=1, patients=30)
    resource = room.ledger.get_operation(operation.name).resource
    folder = RunFolder(room.settings.runs / resource.rpartition("/")[2])
    folder.place_order(runs.own_run(RECIPES["sex-classifier"]), room.settings.models, "4")
    folder.finish({"mean_auroc": 0.75})
    async with room.working(launch=_explode):
        finished = await room.state_within(operation.name, 30, "succeeded", "failed")
    assert finished.state == "succeeded"
    assert room.get(resource).model_version == "4"


async def test_a_run_that_fails_fails_its_operation_without_a_traceback(room):
    operation = room.create(recipe="sex-classifier", epochs=1, patients=30)
    async with room.working(launch=_explode):
        finished = await room.state_within(operation.name, 30, "succeeded", "failed")
    assert finished.state == "failed"
    assert finished.error["class"] == "Internal"
    assert "boom" not in str(finished.error)


async def _cleared(room):
    """Returns once no run's folder is left: a worker removes it just after its operation has ended."""
    async with asyncio.timeout(10):
        while room.settings.runs.exists() and any(room.settings.runs.iterdir()):
            await asyncio.sleep(0.05)


async def _hang(folder):
    await asyncio.sleep(3600)


async def _explode(folder):
    raise RuntimeError("boom")


def test_a_request_id_makes_one_operation_and_another_body_is_a_conflict(room):
    request_id = str(uuid.uuid4())
    first = room.create(recipe="mri-unet", request_id=request_id)
    assert room.create(recipe="mri-unet", request_id=request_id).name == first.name
    with pytest.raises(Conflict):
        room.create(recipe="xray-unet", request_id=request_id)


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"recipe": "alchemy"}, NotFound, "recipe"),
        ({"recipe": "mri-unet", "epochs": -1}, OutOfRange, "epochs"),
        ({"recipe": "mri-unet", "patients": 10**6}, OutOfRange, "patients"),
        ({"recipe": "mri-unet", "seed": -4}, OutOfRange, "seed"),
        ({"recipe": "mri-unet", "request_id": "seven"}, InvalidInput, "request_id"),
    ],
)
def test_bad_requests_are_refused_with_the_field(room, fields, error, field):
    with pytest.raises(error) as refusal:
        room.create(**fields)
    assert refusal.value.field == field


def test_trainings_are_listed_newest_first_in_pages(room):
    names = [room.ledger.get_operation(room.create(recipe="mri-unet", seed=s).name).resource for s in range(3)]
    request = training_service_pb2.ListTrainingsRequest(page_size=2)
    page = training_service_pb2.ListTrainingsResponse.FromString(room.trainings.list(request.SerializeToString()))
    request.page_token = page.next_page_token
    rest = training_service_pb2.ListTrainingsResponse.FromString(room.trainings.list(request.SerializeToString()))
    assert [t.name for t in [*page.trainings, *rest.trainings]] == names[::-1]
    assert [t.seed for t in page.trainings] == [2, 1]


def test_an_unknown_training_is_not_found(room):
    with pytest.raises(NotFound) as refusal:
        room.get("trainings/none")
    assert refusal.value.reason == "TRAINING_NOT_FOUND"
