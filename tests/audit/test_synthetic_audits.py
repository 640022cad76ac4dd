"""An audit of a synthetic cohort says so in every place, and nobody's masks are met on both sides of a split."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest
from evenhand.audit.v1 import audit_pb2, audit_service_pb2, plan_pb2
from evenhand.cohort.v1 import cohort_pb2
from google.longrunning import operations_pb2

from services.adapters.learned import FILENAME, learned, learned_json
from services.adapters.ledger import Operation
from services.audit.audits import Audits
from services.audit.cohort.counts import read_patients
from services.audit.results.merging import Site, merge_reports
from services.audit.results.verification import verify_report
from services.errors import FailedPrecondition, InvalidInput
from tests.audit.studio import COHORT, Studio, make_studio
from tests.packages import write_classifier

HEART: dict[str, Any] = {
    "labels": ("heart_failure",),
    "architecture": {"in_channels": 3, "outputs": 1, "width": 2},
    "thresholds": {"heart_failure": 0.5},
    "input": {"channels": 3, "height": 64, "width": 64},
    "output": None,
}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return make_studio(tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def synthetic(studio: Studio) -> cohort_pb2.Cohort:
    return asyncio.run(studio.made(images=16))


def audits(studio: Studio) -> Audits:
    # Models that a test added are found by a catalogue of their own.
    calls: Any = studio.world.calls()
    return Audits(studio.world.ledger(), studio.world.store(), calls, studio.settings)


def spec(cohort: str, model: str = "heart") -> audit_pb2.AuditSpec:
    reading = audit_pb2.Pipeline(name="original", stages=[audit_pb2.Stage(classify=model)])
    return audit_pb2.AuditSpec(cohort=cohort, pipelines=[reading], attributes=["sex"], min_patients=2, min_cases=1)


async def planned(studio: Studio, *asked: str) -> plan_pb2.AuditPlan:
    request = audit_service_pb2.PlanAuditRequest(spec=spec(*asked))
    return plan_pb2.AuditPlan.FromString(await audits(studio).plan(request.SerializeToString()))


async def audited(studio: Studio, cohort: str) -> Operation:
    request = audit_service_pb2.CreateAuditRequest(spec=spec(cohort)).SerializeToString()
    name = operations_pb2.Operation.FromString(await audits(studio).create(request)).name
    done = await studio.world.finish(studio.world.ledger().get_operation(name), studio.worker(), limit_s=180)
    assert done.state == "succeeded", done.error
    return done


async def test_plan_report_page_and_methods_say_that_the_images_are_synthetic(
    studio: Studio, synthetic: cohort_pb2.Cohort
) -> None:
    plan = await planned(studio, synthetic.name)
    assert plan.warnings[0].startswith("the cohort is synthetic")
    done = await audited(studio, synthetic.name)
    report = studio.world.report(done)
    told = report["provenance"]["cohort"]["synthetic"]
    assert (told["model"], told["images"]) == ("models/phantom-controlnet@1", 16)
    assert told["source_digest"] == synthetic.synthetic.source_digest
    assert any("images are synthetic" in text for text in report["methods"]["text"])
    page = studio.world.artifact(done, "report.html").decode()
    assert "None shows a patient" in page and "synthetic: 16 generated images" in page
    files = [studio.world.artifact(done, name) for name in ("report.json", "predictions.parquet", "quality.parquet")]
    verify_report(*files)
    with pytest.raises(InvalidInput) as caught:
        merge_reports([Site("north", *files), Site("south", *files)])
    assert caught.value.reason == "COHORT_SYNTHETIC"


async def test_an_audit_of_patients_says_nothing_of_the_kind(studio: Studio) -> None:
    done = await audited(studio, COHORT)
    report = studio.world.report(done)
    assert "synthetic" not in report["provenance"]["cohort"]
    assert "synthetic" not in studio.world.artifact(done, "report.html").decode()
    assert not any("synthetic" in warning for warning in (await planned(studio, COHORT)).warnings)


async def test_a_model_that_learned_from_synthetic_images_may_not_judge_those_who_lent_their_masks(
    studio: Studio, synthetic: cohort_pb2.Cohort
) -> None:
    manifest = json.loads(studio.world.store().get(synthetic.manifest_key))
    patients = read_patients(studio.world.store(), manifest)
    _write_learner(studio, "learner", patients, manifest["digest"])
    for cohort in (COHORT, synthetic.name):
        with pytest.raises(FailedPrecondition) as caught:
            await planned(studio, cohort, "learner")
        assert caught.value.reason == "COHORTS_OVERLAP"
        assert caught.value.details["patients"] == str(len(patients))


async def test_a_model_that_learned_from_others_may(studio: Studio, synthetic: cohort_pb2.Cohort) -> None:
    _write_learner(studio, "stranger", {"q1", "q2"}, "a" * 64)
    await planned(studio, synthetic.name, "stranger")


def _write_learner(studio: Studio, name: str, patients: set[str], salt: str) -> None:
    data = learned_json([learned(f"{name}@1", patients, salt=salt)])
    stated = {"file": FILENAME, "sha256": hashlib.sha256(data).hexdigest(), "patients": len(patients)}
    folder = write_classifier(studio.folder / "models", name=name, learned_from=stated, **HEART)
    (folder / FILENAME).write_bytes(data)
