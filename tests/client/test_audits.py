import pandas as pd
import pytest
from evenhand import AsyncClient, AuditSpec, Pipeline, classify, degrade, reconstruct
from evenhand.artifacts import write_whole
from evenhand.calls import Retry
from evenhand.client import Client
from evenhand.errors import IncompleteStream, InvalidInput, NotFound
from evenhand.plans import PLAN_COLUMNS
from evenhand.spec import spec_proto

from services import errors as platform


@pytest.fixture
def audit(client, spec):
    return client.audits.create(spec).result(10)


def messages_of(twin, filename):
    return -(-len(twin.artifacts[filename]) // 1000)


def test_a_stream_cut_before_any_of_its_messages_is_incomplete(twin, audit):
    count = messages_of(twin, "report.json")
    assert count >= 3
    for before in range(count):
        twin.cut_after = before
        with pytest.raises(IncompleteStream):
            audit.read("report.json")
    twin.cut_after = None
    assert audit.read("report.json") == twin.artifacts["report.json"]


async def test_the_async_stream_is_judged_alike(twin, audit):
    async with AsyncClient(twin.address) as client:
        same = await client.audits.get(audit.name)
        for before in range(messages_of(twin, "report.json")):
            twin.cut_after = before
            with pytest.raises(IncompleteStream):
                await same.read("report.json")
        twin.cut_after = None
        assert await same.read("report.json") == twin.artifacts["report.json"]
        assert len(await same.predictions()) == len(await same.quality()) == 400


def test_a_connection_that_breaks_in_the_stream_is_met_by_beginning_again(twin, audit):
    import grpc

    twin.cut_after, twin.cut_status = 1, grpc.StatusCode.UNAVAILABLE
    with Client(twin.address, retry=Retry(attempts=3, first_s=0.001)) as client:
        same = client.audits.get(audit.name)
        with pytest.raises(IncompleteStream):
            same.read("report.json")
        assert len(twin.called("ReadArtifact")) == 3


def test_bytes_with_another_sha256_are_refused(twin, audit):
    twin.wrong_sha256 = True
    with pytest.raises(IncompleteStream, match="sha256"):
        audit.read("report.json")


def test_an_unknown_artifact_is_not_found(audit):
    with pytest.raises(NotFound) as caught:
        audit.read("weights.pkl")
    assert caught.value.field == "weights.pkl"


def test_download_writes_all_artifacts_and_leaves_no_partial_files(twin, audit, tmp_path):
    paths = audit.download(tmp_path / "results")
    assert {path.name: path.read_bytes() for path in paths} == twin.artifacts
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == sorted(twin.artifacts)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    write_whole(tmp_path / "a", b"old")
    with pytest.raises(TypeError):
        write_whole(tmp_path / "a", "not bytes")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_rows_are_typed_frames(audit):
    assert audit.predictions()["y_score"].dtype == "float64"
    assert isinstance(audit.quality(), pd.DataFrame)


def test_audits_are_listed_described_and_deleted(client, audit):
    assert [found.name for found in client.audits.list(cohort="1")] == [audit.name]
    plain = client.audits.get(audit.name.removeprefix("audits/")).to_dict()
    assert plain["pipelines"] == ["original", "degraded"]
    assert {artifact["filename"] for artifact in plain["artifacts"]} >= {"report.json", "report.html"}
    client.audits.delete(audit.name)
    assert client.audits.list().to_pandas().empty


def test_a_plan_is_a_table_with_what_it_rests_on(client, spec, twin):
    plan = client.audits.plan(spec)
    assert twin.called("PlanAudit")[0].spec.cohort == "cohorts/1"
    frame = plan.to_pandas()
    assert dict(frame.dtypes.astype(str)) == PLAN_COLUMNS
    assert list(frame["state"].unique()) == ["ok", "insufficient", "wide"]
    assert frame["minimum_detectable_gap"].isna().sum() == 4  # absent in the message: unknown, and not 0
    assert (plan.tests, plan.alpha, plan.target_power, plan.digest) == (3, 0.05, 0.8, "a" * 64)
    assert plan.warnings and plan.assumptions and plan.acquisitions
    assert plan.to_json()["cells"][1]["minimumDetectableGap"] == 0.125
    assert "3 tests" in repr(plan)
    assert "<table" in plan._repr_html_()


def test_a_plan_names_the_detectable_gaps_and_the_groups_that_say_nothing(client, spec):
    plan = client.audits.plan(spec)
    assert plan.detectable().to_dict("list") == {
        "label": ["Edema"] * 3,
        "metric": ["tpr", "auroc", "prevalence"],
        "sex": ["0.12, 1 silent", "silent", "0.062 to 0.25"],
    }
    assert plan.silent().to_dict("records") == [
        {"attribute": "sex", "group": "Female", "untestable": 1, "cells": 3},
        {"attribute": "sex", "group": "Male", "untestable": 2, "cells": 3},
    ]


async def test_the_async_plan_is_the_same(client, spec, twin):
    async with AsyncClient(twin.address) as same:
        plan = await same.audits.plan(spec)
        assert plan.to_pandas().equals(client.audits.plan(spec).to_pandas())


def test_a_plan_is_asked_for_again_after_a_failure_and_refused_like_an_audit(client, spec, twin):
    twin.failures["PlanAudit"] = [platform.Unavailable("restarting")]
    assert client.audits.plan(spec).tests == 3
    with pytest.raises(InvalidInput) as caught:
        client.audits.plan({**spec, "pipelines": []})
    assert caught.value.field == "spec.pipelines"


PYTHON_SPEC = AuditSpec(
    cohort="1",
    pipelines=[
        Pipeline("original", [classify("chest-classifier")]),
        Pipeline(
            "reconstructed",
            [degrade("low-dose-xray", photons=3000), reconstruct("xray-unet@2"), classify("models/chest-classifier")],
        ),
    ],
    attributes=["sex", "sex,age"],
    seed=3,
    reference_groups={"sex": "Male"},
    quality_metrics=["psnr", "lpips_alex"],
    allow_test_thresholds=True,
)
YAML_SPEC = """
cohort: cohorts/1
pipelines:
- name: original
  stages: [{classify: chest-classifier}]
- name: reconstructed
  stages:
  - degrade: {operator: low-dose-xray, photons: 3000}
  - reconstruct: xray-unet@2
  - classify: chest-classifier
attributes: [sex, "sex,age"]
seed: 3
reference_groups: {sex: Male}
quality_metrics: [psnr, lpips_alex]
allow_test_thresholds: true
"""


def test_a_spec_is_the_same_from_python_from_a_dict_and_from_yaml(tmp_path):
    import yaml

    (tmp_path / "audit.yaml").write_text(YAML_SPEC)
    from_python = spec_proto(PYTHON_SPEC)
    assert from_python == spec_proto(tmp_path / "audit.yaml") == spec_proto(yaml.safe_load(YAML_SPEC))
    assert from_python.cohort == "cohorts/1"
    assert from_python.pipelines[1].stages[0].degrade.photons == 3000
    assert dict(from_python.reference_groups) == {"sex": "Male"}
    assert list(from_python.quality_metrics) == ["psnr", "lpips_alex"]
    assert from_python.allow_test_thresholds
    assert from_python.pipelines[1].stages[1].reconstruct == "models/xray-unet@2"
    assert spec_proto(from_python, cohort="2").cohort == "cohorts/2"
    assert from_python.cohort == "cohorts/1"


def test_how_a_model_samples_is_the_same_from_python_and_from_yaml(tmp_path):
    (tmp_path / "audit.yaml").write_text(
        "pipelines: [{name: a, stages: [{reconstruct: irsde, sampling: {sampler: ode, steps: 20, seed: 0}}]}]"
    )
    stage = reconstruct("irsde", sampler="ode", steps=20, seed=0)
    from_python = spec_proto(AuditSpec("", [Pipeline("a", [stage])], []))
    assert from_python == spec_proto(tmp_path / "audit.yaml")
    assert from_python.pipelines[0].stages[0].sampling.HasField("seed")
    assert reconstruct("irsde") == {"reconstruct": "models/irsde"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pipelines: [", "not YAML"),
        ("- a\n- b", "mapping"),
        ("cohort: cohorts/1\nmetrics: [auroc]", "metrics"),
        ("pipelines: [{name: a, stages: [{classify: a, segment: b}]}]", "kind"),
        ("seed: many", "seed"),
    ],
)
def test_a_wrong_spec_is_refused_by_naming_file_and_trouble(tmp_path, text, said):
    path = tmp_path / "audit.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=said) as caught:
        spec_proto(path)
    assert caught.value.field == str(path)


def test_a_spec_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        spec_proto(tmp_path / "none.yaml")
    assert "none.yaml" in caught.value.field
