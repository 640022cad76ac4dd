"""A fine-tuning's audit by one command, and the card that it lands in."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from evenhand.audit.v1 import audit_pb2
from evenhand.before_after import before_after_spec
from evenhand.errors import FailedPrecondition, InvalidInput
from evenhand.resources.v1 import model_pb2
from evenhand.tuning import FineTuning

BASE = model_pb2.Model(
    name="models/xray-unet",
    version="1",
    task=model_pb2.TASK_RECONSTRUCTION,
    degradation=audit_pb2.Degradation(operator="low-dose-xray", photons=1000),
)


def tuned(version="2", base="models/xray-unet@1"):
    return model_pb2.Model(
        name="models/xray-unet",
        version=version,
        task=model_pb2.TASK_RECONSTRUCTION,
        degradation=BASE.degradation,
        lineage=model_pb2.Lineage(
            base=base,
            method="equalised-odds",
            attributes=["sex", "sex,age"],
            weight=0.5,
            predictor="models/chest-classifier@3",
            data_digest="d" * 64,
            learned_patients=18,
        ),
    )


def change(metric, attribute="", **values):
    ends = {"before": 0.25, "after": 0.125, "change": -0.125, "ci_low": -0.2, "ci_high": -0.05}
    return model_pb2.AuditedChange(
        baseline="xray-unet@1",
        candidate="xray-unet@2",
        metric=metric,
        attribute=attribute,
        **{"labels": 3, "found": 2, **ends, **values},
    )


@pytest.fixture
def sweep(client, twin):
    """A finished sweep of two versions, which are served, and their card once an audit has ended."""
    tuning = FineTuning(base="xray-unet@1", method="equalised-odds", attributes=["sex"], weights=[0.5, 2.0])
    training = client.trainings.create("xray-unet", tuning=tuning).result(10)
    twin.models |= {f"models/xray-unet@{version}": tuned(version) for version in ("2", "3")}
    twin.models["models/xray-unet@1"] = BASE
    for name in ("audits/2", "audits/3"):  # the twin numbers audits by operations
        twin.models["models/xray-unet@2"].audits.add(
            audit=name,
            cohort="cohorts/7",
            patients=120,
            report=f"/v1/{name}/artifacts/report.html",
            pipelines=["xray-unet@2"],
            changes=[change("eodd", "sex"), change("psnr", before=31.0, after=30.5, change=-0.5, labels=1)],
        )
    return training


def stages(pipeline):
    return [(stage.WhichOneof("kind"), getattr(stage, stage.WhichOneof("kind"))) for stage in pipeline.stages]


def test_one_command_sets_before_against_after(run, twin, sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run("trainings", "audit", sweep.name, "--cohort", "7", "--out", tmp_path / "report")
    assert code == 0, err
    (request,) = twin.called("CreateAudit")
    spec = request.spec
    assert [pipeline.name for pipeline in spec.pipelines] == ["xray-unet@1", "xray-unet@2", "xray-unet@3"]
    for pipeline, version in zip(spec.pipelines, "123", strict=True):
        assert stages(pipeline) == [
            ("degrade", BASE.degradation),
            ("reconstruct", f"models/xray-unet@{version}"),
            ("classify", "models/chest-classifier@3"),
        ]
    assert (spec.cohort, list(spec.attributes), spec.baseline) == ("cohorts/7", ["sex", "sex,age"], "")
    assert request.display_name == "xray-unet@1 before and after equalised-odds"
    (row,) = [line for line in out.splitlines() if "EODD by sex" in line]
    assert re.findall(r"[-+]?[0-9.]+", row.split("sex")[-1]) == ["0.25", "0.125", "-0.125", "-0.2", "-0.05", "2", "3"]
    assert any("PSNR" in line and "30.5" in line for line in out.splitlines())
    assert "/v1/audits/2/artifacts/report.html" in out
    assert (tmp_path / "report" / "report.json").is_file()


def test_one_version_may_be_named_itself_and_everything_be_chosen_otherwise(run, twin, sweep):
    code, out, err = run(
        "trainings", "audit", "xray-unet@2", "--cohort", "cohorts/7", "--attribute", "race", "--label", "Edema",
        "--predictor", "chest-classifier", "--preset", "xray-low-dose", "--baseline", "original", "--seed", "4",
        "--name", "mine", "--json",
    )  # fmt: skip
    assert code == 0, err
    (request,) = twin.called("CreateAudit")
    spec = request.spec
    assert [pipeline.name for pipeline in spec.pipelines] == ["original", "xray-unet@1", "xray-unet@2"]
    assert stages(spec.pipelines[0]) == [("classify", "models/chest-classifier")]
    assert spec.pipelines[2].stages[0].degrade == audit_pb2.Degradation(preset="xray-low-dose")
    assert (list(spec.attributes), list(spec.labels), spec.seed) == (["race"], ["Edema"], 4)
    assert request.display_name == "mine"
    told = json.loads(out)
    assert told["audit"]["name"] == told["cards"][0]["audit"] == "audits/2"
    assert told["cards"][0]["changes"][0]["ciHigh"] == -0.05


def test_the_spec_alone_can_be_had_and_changed(run, twin, sweep, tmp_path):
    code, out, _ = run("trainings", "audit", sweep.name, "--cohort", "7", "--version", "3", "--spec")
    assert code == 0
    assert not twin.called("CreateAudit")
    assert [part["name"] for part in yaml.safe_load(out)["pipelines"]] == ["xray-unet@1", "xray-unet@3"]
    (tmp_path / "audit.yaml").write_text(out)
    assert run("audits", "create", tmp_path / "audit.yaml")[0] == 0


def test_what_has_no_before_is_said(run, client, twin, sweep):
    client.trainings.create("chest-classifier").result(10)
    code, _, err = run("trainings", "audit", "trainings/2", "--cohort", "7")
    assert (code, "from scratch" in err) == (5, True)
    assert run("trainings", "audit", "xray-unet@1", "--cohort", "7")[0] == 2
    assert run("trainings", "audit", sweep.name, "--cohort", "7", "--version", "9")[0] == 2
    assert run("trainings", "audit", "xray-unet@9", "--cohort", "7")[0] == 3
    assert not twin.called("CreateAudit")


def test_a_training_that_still_runs_has_left_nothing(client, twin):
    twin.hold.clear()
    tuning = FineTuning(base="xray-unet@1", weights=[])
    client.trainings.create("xray-unet", tuning=tuning)
    with pytest.raises(FailedPrecondition, match="no version yet"):
        _ = client.trainings.get("trainings/1").tuned_models


def test_versions_of_another_base_are_refused():
    with pytest.raises(InvalidInput, match="xray-unet@3 came from mri-unet@1"):
        before_after_spec("cohorts/7", BASE, [tuned(), tuned("3", "models/mri-unet@1")])


def test_the_card_shows_lineage_and_audits(run, sweep):
    code, out, _ = run("models", "show", "xray-unet@2")
    assert code == 0
    assert '"base": "models/xray-unet@1"' in out
    assert "audits/2, cohorts/7, 120 patients" in " ".join(out.split())
    assert "EODD by sex" in out
    told = json.loads(run("models", "show", "xray-unet@2", "--json")[1])
    assert told["lineage"]["learnedPatients"] == 18
    assert told["audits"][0]["changes"][0]["before"] == 0.25


def test_an_audit_of_nothing_is_not_begun():
    silent = model_pb2.Model(name="models/xray-unet", version="1", task=model_pb2.TASK_RECONSTRUCTION)
    with pytest.raises(InvalidInput, match="name a version"):
        before_after_spec("cohorts/7", BASE, [])
    with pytest.raises(InvalidInput, match="give a preset"):
        before_after_spec("cohorts/7", silent, [tuned()])
    assert before_after_spec("cohorts/7", silent, [tuned()], preset="mri-8x").pipelines[0].stages[0].degrade.preset


def test_a_version_that_a_sweep_did_not_leave_is_named_with_those_it_did(run, twin, sweep):
    code, _, err = run("trainings", "audit", sweep.name, "--cohort", "7", "--version", "2", "--version", "9")
    assert code == 2
    assert "versions 2, 3" in err
    assert not twin.called("CreateAudit")
