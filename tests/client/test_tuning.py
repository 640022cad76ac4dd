"""Fine-tunings asked for in Python and on the command line."""

from __future__ import annotations

import json

import pytest
from evenhand import FineTuning
from evenhand.tuning import model_version


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("xray-unet@2", ("models/xray-unet", "2")),
        ("models/xray-unet@2", ("models/xray-unet", "2")),
        ("xray-unet", ("models/xray-unet", "")),
        ("", ("", "")),
    ],
)
def test_a_model_is_named_with_or_without_its_version(text, expected):
    assert model_version(text) == expected


def test_a_sweep_gives_a_version_for_each_lambda(client):
    tuning = FineTuning(base="xray-unet@1", method="adversarial", attributes=["sex", "race"], weights=[0.5, 2.0])
    training = client.trainings.create("xray-unet", seed=3, tuning=tuning).result(10)
    assert [(one["version"], one["weight"], one["chosen"]) for one in training.versions] == [
        ("2", 0.5, True),
        ("3", 2.0, False),
    ]
    assert training.to_dict()["base"] == "models/xray-unet@1"
    assert list(training.proto.mitigation.attributes) == ["sex", "race"]


def test_a_training_from_scratch_sends_no_fine_tuning(client, twin):
    client.trainings.create("chest-classifier").result(10)
    request = next(request for method, request in twin.calls if method == "CreateTraining")
    assert not request.base
    assert not request.HasField("mitigation")
    assert not request.HasField("data")


COMMAND = (
    "trainings", "create", "--base", "xray-unet@1", "--mitigation", "equalised-odds", "--attribute", "sex",
    "--attribute", "sex,age", "--lambda", "0.3", "--lambda", "1", "--temperature", "0.25", "--missing", "own-group",
    "--predictor", "chest-classifier@4", "--label", "Edema", "--cohort", "7", "--audit-cohort", "cohorts/8",
    "--label-conditional", "--allow-synthetic", "--json",
)  # fmt: skip


def test_the_command_sends_all_that_it_was_told(run, twin):
    code, out, _ = run(*COMMAND)
    assert code == 0
    assert json.loads(out)["name"].startswith("operations/")
    request = next(request for method, request in twin.calls if method == "CreateTraining")
    assert (request.recipe, request.base, request.base_version) == ("xray-unet", "models/xray-unet", "1")
    wanted = request.mitigation
    assert (wanted.method, list(wanted.attributes), list(wanted.weights)) == (
        "equalised-odds",
        ["sex", "sex,age"],
        [0.3, 1.0],
    )
    assert (wanted.temperature, wanted.label_conditional, wanted.missing) == (0.25, True, "own-group")
    assert (wanted.predictor, wanted.predictor_version) == ("models/chest-classifier", "4")
    assert list(wanted.labels) == ["Edema"]
    assert (request.data.cohort, request.data.audit_cohort) == ("cohorts/7", "cohorts/8")
    assert request.data.allow_synthetic


@pytest.mark.parametrize(
    "arguments",
    [
        ("trainings", "create"),
        ("trainings", "create", "xray-unet", "--lambda", "1"),
        ("trainings", "create", "xray-unet", "--mitigation", "adversarial"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_an_error_of_usage(run, arguments):
    assert run(*arguments)[0] == 2
