"""Asking for a balanced synthetic cohort, and being told at every turn that it is one."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest
from evenhand.client import AsyncClient
from evenhand.errors import InvalidInput, NotFound, OutOfRange

TEMPLATE = "Short-axis cardiac MRI. {sex}, {bmi} BMI, {heart_failure}"


@pytest.fixture
def real(client, folder):
    made = client.cohorts.create(
        folder / "images", schema=folder / "schema.yaml", table=folder / "rows.csv", progress=False
    )
    return made.result(20).name


def synthesise(client, cohort, **more):
    settings = {"attributes": ["sex", "bmi"], "labels": ["heart_failure"], "cap": 5, "seed": 3, **more}
    return client.cohorts.synthesise(
        cohort, model="phantom-controlnet", template=TEMPLATE, images=20, display_name="balanced", **settings
    )


def test_what_was_asked_reaches_the_platform(client, twin, real):
    synthesise(client, real, words={"bmi": {"normal": "slim"}}, guidance_scale=4.0)
    request = twin.called("CreateSyntheticCohort")[0]
    spec = request.spec
    assert (spec.cohort, spec.model, spec.template, spec.images) == (real, "models/phantom-controlnet", TEMPLATE, 20)
    assert (list(spec.attributes), list(spec.labels), spec.cap) == (["sex", "bmi"], ["heart_failure"], 5)
    assert dict(spec.words["bmi"].of_level) == {"normal": "slim"}
    assert (spec.guidance_scale, spec.seed, request.display_name) == (4.0, 3, "balanced")


def test_without_a_cap_none_is_sent(client, twin, real):
    client.cohorts.synthesise(real, model="m", template="x", images=1, labels=["Edema"])
    assert not twin.called("CreateSyntheticCohort")[0].spec.HasField("cap")


def test_the_result_says_that_it_is_synthetic_and_of_whom(client, real):
    operation = synthesise(client, real)
    assert (operation.metadata.unit, operation.metadata.total) == ("images", 20)
    cohort = operation.result(20)
    origin = cohort.synthetic
    assert (origin.source, origin.model, origin.cap) == (real, "models/phantom-controlnet@1", 5)
    assert list(origin.groups()["images"]) == [10, 10]
    assert "synthetic" in repr(cohort) and "synthetic" in cohort._repr_html_()
    assert cohort.to_json()["synthetic"]["distinctNoise"] == "20"
    assert client.cohorts.get(real).synthetic is None


async def test_the_asynchronous_client_does_the_same(twin, real):
    async with AsyncClient(twin.address) as client:
        operation = await client.cohorts.synthesise(
            real, model="phantom-controlnet", template=TEMPLATE, images=4, labels=["heart_failure"]
        )
        assert (await operation.result(20)).synthetic.distinct_noise == 4


def test_card_and_provenance_are_read_from_the_cohorts_files(client, twin, run):
    file = io.BytesIO()
    pd.DataFrame({"record_id": ["synthetic-000000-of-r1"]}).to_parquet(file)
    twin.artifacts |= {
        "card.md": b"# Synthetic cohort\n",
        "card.json": b'{"synthetic": true}',
        "provenance.parquet": file.getvalue(),
    }
    assert client.cohorts.card("3").startswith("# Synthetic")
    assert list(client.cohorts.provenance("cohorts/3")["record_id"]) == ["synthetic-000000-of-r1"]
    assert twin.called("ReadArtifact")[0].name == "cohorts/3"
    assert json.loads(run("cohorts", "card", "3", "--json")[1]) == {"synthetic": True}
    assert run("cohorts", "card", "3")[1] == "# Synthetic cohort\n"


@pytest.mark.parametrize(
    ("more", "kind", "field"),
    [({"cap": -(2**40)}, OutOfRange, "cap"), ({"steps": "many"}, InvalidInput, "steps"), ({"x": 1}, InvalidInput, "x")],
)
def test_a_setting_that_does_not_fit_is_named(client, real, more, kind, field):
    with pytest.raises(kind) as caught:
        synthesise(client, real, **more)
    assert caught.value.field == field


def test_the_command_follows_the_work_and_shows_every_group(run, real):
    asked = ("cohorts", "synthesise", real, "--model", "phantom-controlnet", "--template", TEMPLATE, "--images", 20)
    code, out, err = run(*asked, "-a", "sex", "-l", "heart_failure", "--word", "sex:Female=a woman", "--cap", 5, "-w")
    assert code == 0, err
    assert "no image shows a patient" in out
    assert "heart_failure=1" in out and "50.0%" in out
    assert "│ yes " in run("cohorts", "list")[1]
    shown = run("cohorts", "show", "cohorts/2")[1]
    assert real in shown and "from 20 distinct noises" in shown


def test_a_word_without_its_level_is_refused(run, twin, real):
    asked = ("cohorts", "synthesise", real, "--model", "m", "--template", "x", "--images", 1)
    assert run(*asked, "--word", "sex=a woman")[0] == 2
    assert not twin.called("CreateSyntheticCohort")


def test_a_cohort_that_is_not_there_is_named(client):
    with pytest.raises(NotFound):
        synthesise(client, "cohorts/9")
