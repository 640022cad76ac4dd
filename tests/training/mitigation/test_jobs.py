"""Fine-tunings as operations: a sweep, its packages and their lineage, interruptions, cancelling."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
import torch
from safetensors.torch import load, save

from services.adapters.weights import DirectoryRegistry
from services.training.folders import RunFolder, Stopped
from services.training.mitigation.work import tune
from services.training.runs import run_from_dict
from services.training.zoo import ZOO

torch.set_num_threads(1)


async def finished(room, operation):
    async with room.working():
        return await room.state_within(operation.name, 240, "succeeded", "failed")


async def test_a_sweep_leaves_a_version_for_each_lambda_and_the_chosen_one_is_the_highest(room, asked):
    operation = room.create(**asked(mitigation={"weights": [0.0, 0.5], "labels": ["Edema", "Atelectasis"]}))
    done = await finished(room, operation)
    assert done.state == "succeeded", done.error
    training = room.get(done.resource)
    registry = DirectoryRegistry([room.settings.models, ZOO])
    assert [version.version for version in training.versions] == ["2", "3"]
    assert sorted(version.weight for version in training.versions) == [0.0, 0.5]
    assert [version.chosen for version in training.versions] == [False, True]
    assert (training.model, training.model_version) == ("models/xray-unet", "3")
    assert dict(training.scores) == dict(training.versions[1].scores)
    for version in training.versions:
        record = registry.find("xray-unet", version.version)
        registry.load_tensors(record)
        assert record.digest == version.digest
        assert record.training["mitigation"]["lambda"] == version.weight
        assert {"psnr", "mean_auroc", "eodd sex", "base psnr", "base eodd sex"} <= set(version.scores)
        assert set(version.validation_scores) == set(version.scores)


async def test_the_package_says_where_it_came_from(room, asked):
    operation = room.create(**asked(epochs=1, mitigation={"method": "adversarial", "label_conditional": True}))
    done = await finished(room, operation)
    assert done.state == "succeeded", done.error
    training = room.get(done.resource)
    models = DirectoryRegistry([room.settings.models, ZOO])
    base, classifier = models.find("xray-unet", "1"), models.find("chest-classifier")
    told = models.find("xray-unet", "2").training
    assert told["recipe"] == "xray-unet"
    assert told["base"] == {"name": "xray-unet", "version": "1", "digest": base.digest}
    assert told["mitigation"] == {
        "method": "adversarial",
        "attributes": ["sex"],
        "lambda": 1.0,
        "temperature": 1.0,
        "label_conditional": True,
        "missing": "refuse",
    }
    assert {key: told["predictor"][key] for key in ("name", "version", "digest")} == {
        "name": "chest-classifier",
        "version": classifier.version,
        "digest": classifier.digest,
    }
    assert told["predictor"]["thresholds"] == pytest.approx(classifier.thresholds, abs=1e-5)
    assert told["data"]["digest"] == training.data_digest
    assert told["data"]["world"] == "planted"
    assert told["patients"] == 14
    assert told["selection"]["split"] == "validation"
    assert (training.base, training.base_version, training.base_digest) == ("models/xray-unet", "1", base.digest)
    assert training.mitigation.predictor == "models/chest-classifier"
    assert len(training.data_digest) == 64


async def test_progress_counts_the_epochs_of_all_lambdas(room, asked):
    operation = room.create(**asked(mitigation={"weights": [0.2, 0.4]}))
    seen = []
    async with room.working():
        while not seen or seen[-1].state not in ("succeeded", "failed"):
            seen.append(room.ledger.get_operation(operation.name))
            await asyncio.sleep(0.01)
    told = [state.progress for state in seen if state.progress.get("stage") == "training"]
    assert {progress["epochs_total"] for progress in told} == {4}
    assert {progress["weights_total"] for progress in told} == {2}
    assert [progress["epochs_done"] for progress in told] == sorted(progress["epochs_done"] for progress in told)


async def test_cancelling_a_sweep_works_within_a_second_and_publishes_nothing(room, asked):
    operation = room.create(**asked(epochs=200, mitigation={"weights": [0.5, 1.0]}))
    async with room.working():
        while room.ledger.get_operation(operation.name).progress.get("epochs_done", 0) < 1:
            await asyncio.sleep(0.05)
        room.ledger.request_cancel(operation.name)
        await room.state_within(operation.name, 5, "cancelled")
        while any(room.settings.runs.iterdir()):
            await asyncio.sleep(0.05)
    assert not list(room.settings.models.glob("*/*"))


class Died(Exception):
    """As after kill -9: whatever was not written is gone."""


def placed(room, asked, folder, **mitigation):
    """The folder of a run whose order has come, its operation left alone."""
    operation = room.create(**asked(epochs=2, mitigation={"weights": [0.3, 1.0], **mitigation}))
    payload = room.ledger.get_operation(operation.name).request
    run_folder = RunFolder(folder)
    run_folder.place_order(run_from_dict(payload), folder.parent / f"{folder.name}-models", "2")
    return run_folder


def weights_of(folder):
    """File digests and the result, without what depends on the folder."""
    _, registry, _ = folder.order()
    models = DirectoryRegistry([registry]).models()
    return [record.files for record in models], folder.result()


@pytest.mark.parametrize(
    "mitigation",
    [
        {"method": "equalised-odds"},
        {"method": "adversarial", "attributes": ["sex", "age"]},
        {"method": "reweighting", "attributes": ["sex", "age"]},
    ],
    ids=lambda mitigation: mitigation["method"],
)
def test_a_sweep_that_died_ends_in_the_same_weights_as_an_undisturbed_one(room, asked, tmp_path, mitigation):
    undisturbed = placed(room, asked, tmp_path / "a", **mitigation)
    tune(undisturbed)

    folder = placed(room, asked, tmp_path / "b", **mitigation)
    written = []

    def die_after(epochs):
        def checkpoint(epoch):
            written.append(save(epoch.snapshot()))
            if len(written) in epochs:
                raise Died

        return checkpoint

    checkpoint = die_after({1, 3})  # amid the first λ, and amid the second
    for _ in range(3):
        with contextlib.suppress(Died):
            tune(folder, checkpoint=checkpoint, resume=load(written[-1]) if written else None)
    assert len(written) == 4
    assert weights_of(folder) == weights_of(undisturbed)


def test_a_stop_between_epochs_stops_a_sweep(room, asked, tmp_path):
    folder = placed(room, asked, tmp_path / "a")
    with pytest.raises(Stopped):
        tune(folder, checkpoint=lambda epoch: folder.ask_to_stop())
    assert folder.result() is None


def test_the_order_survives_json(room, asked, tmp_path):
    folder = placed(room, asked, tmp_path / "a", attributes=["sex", "sex,age"])
    run, _, _ = folder.order()
    assert run.tuning.mitigation.attributes == ("sex", "sex,age")
    assert run_from_dict(json.loads(json.dumps(run.to_dict()))) == run
