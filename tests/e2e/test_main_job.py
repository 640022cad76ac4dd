"""The main job through the command line: DICOM files and a table in, a report of really served models out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.e2e.conftest import MainJob, Platform

pytestmark = pytest.mark.ray


def report(job: MainJob) -> dict:
    return json.loads((job.artifacts / "report.json").read_text())


def test_every_row_of_the_table_is_ingested_or_refused(main_job: MainJob) -> None:
    table = pd.read_csv(main_job.phantoms / "rows.csv")
    refused = report(main_job)["provenance"]["cohort"]["refused"]
    assert sum(refused.values()) == int(main_job.cohort.get("refusedCount", 0))
    assert int(main_job.cohort["records"]) + sum(refused.values()) <= len(table)
    assert report(main_job)["cohort"]["records"] == int(main_job.cohort["records"])
    assert report(main_job)["cohort"]["patients"] == int(main_job.cohort["patients"])


def test_there_is_one_prediction_a_record_pipeline_and_label(main_job: MainJob) -> None:
    predictions = pd.read_parquet(main_job.artifacts / "predictions.parquet")
    records = int(main_job.cohort["records"])
    counts = predictions.groupby(["pipeline", "label"]).size()
    assert set(counts) == {records}
    assert len(counts) == 2 * 12
    assert not predictions.duplicated(["record_id", "pipeline", "label"]).any()
    assert {"attribute_sex", "attribute_age"} <= set(predictions.columns)


def test_the_reports_auroc_is_that_of_its_own_rows(main_job: MainJob) -> None:
    predictions = pd.read_parquet(main_job.artifacts / "predictions.parquet")
    cells = [c for c in report(main_job)["cells"] if c["metric"] == "auroc" and c["attribute"] == "sex"]
    checked = 0
    for cell in cells:
        rows = predictions[
            (predictions.pipeline == cell["pipeline"])
            & (predictions.label == cell["label"])
            & (predictions.attribute_sex == cell["group"])
            & predictions.y_true.notna()
        ]
        if cell["estimate"] is not None:
            expected = roc_auc_score(rows.y_true.astype(int), rows.y_score)
            assert cell["estimate"] == pytest.approx(expected, rel=1e-9)  # ten digits are reported
            checked += 1
    assert checked > 10


def test_the_reconstruction_is_better_than_what_it_was_given(main_job: MainJob) -> None:
    quality = pd.read_parquet(main_job.artifacts / "quality.parquet")
    psnr = quality[(quality.metric == "psnr") & (quality.pipeline == "reconstructed")].value
    assert np.isfinite(psnr).all()
    assert psnr.mean() > 20


def test_the_classifier_is_good_on_originals(main_job: MainJob) -> None:
    overall = [
        c["estimate"]
        for c in report(main_job)["cells"]
        if (c["metric"], c["pipeline"], c["group"]) == ("auroc", "original", "overall") and c["estimate"] is not None
    ]
    assert np.mean(overall) >= 0.8


def test_the_digest_is_that_of_the_report_without_its_envelope(main_job: MainJob, platform: Platform) -> None:
    document = report(main_job)
    assert document["digest"] == main_job.audit["reportDigest"]
    verified = platform.run("reports", "verify", str(main_job.artifacts / "report.json"))
    assert verified.returncode == 0
    assert "follow exactly from the evidence" in verified.stdout
    changed = main_job.artifacts / "changed.json"
    document["cells"][0]["records"] += 1
    changed.write_text(json.dumps(document))
    assert platform.run("reports", "verify", str(changed), check=False).returncode != 0


def test_the_plan_foretold_the_audit(main_job: MainJob, platform: Platform) -> None:
    spec = str(main_job.phantoms.parent / "spec.yaml")
    planned = platform.run("audits", "plan", spec, "--cohort", main_job.cohort["name"], "--json")
    plan = json.loads(planned.stdout)
    assert plan["digest"] == main_job.audit["digest"]
    assert plan["warnings"] == report(main_job)["provenance"]["warnings"]
    states = {
        (cell["label"], cell["metric"], cell["attribute"], cell["group"]): cell["state"]
        for cell in report(main_job)["cells"]
        if cell["pipeline"] == "original"
    }
    compared = [cell for cell in plan["cells"] if cell["task"] == "classification"]
    for cell in compared:
        where = (cell["label"], cell["metric"], cell["attribute"], cell["group"])
        assert cell["state"] == f"STATE_{states[where].upper()}", where
    assert len(compared) == 12 * 4 * (1 + 2 + 4 + 8)
    assert "Smallest gap" in platform.run("audits", "plan", spec, "--cohort", main_job.cohort["name"]).stdout


def test_artifacts_are_the_same_over_http_and_named_by_their_digest(main_job: MainJob, platform: Platform) -> None:
    import httpx

    for artifact in main_job.audit["artifacts"]:
        reply = httpx.get(f"{platform.http}/v1/{main_job.audit['name']}/artifacts/{artifact['filename']}")
        assert reply.status_code == 200
        assert hashlib.sha256(reply.content).hexdigest() == artifact["sha256"]
        assert (main_job.artifacts / artifact["filename"]).read_bytes() == reply.content


def test_the_same_cohort_and_audit_again_have_the_same_digests(main_job: MainJob, platform: Platform) -> None:
    phantoms = main_job.phantoms
    again = platform.run(
        "cohorts", "create", "--images", str(phantoms), "--table", str(phantoms / "rows.csv"),
        "--schema", str(phantoms / "schema.yaml"), "--name", "again", "--watch", "--json",
    )  # fmt: skip
    cohort = json.loads(again.stdout)
    assert cohort["digest"] == main_job.cohort["digest"]
    spec = phantoms.parent / "spec.yaml"
    done = platform.run("audits", "create", str(spec), "--cohort", cohort["name"], "--watch", "--json")
    audit = json.loads(done.stdout)
    assert audit["reportDigest"] == main_job.audit["reportDigest"]


def test_nothing_about_patients_is_in_the_logs(main_job: MainJob, platform: Platform) -> None:
    patient = str(pd.read_csv(main_job.phantoms / "rows.csv").patient_id.iloc[0])
    logs = [platform.data_dir / "platform.log"]
    assert all(patient not in log.read_text(errors="replace") for log in logs)


BRAIN_SPEC = """
attributes: [sex]
pipelines:
- name: original
  stages: [{classify: tumour-type-classifier}, {segment: tumour-segmenter}]
- name: undersampled
  stages:
  - degrade: {operator: radial-kspace, acceleration: 8}
  - classify: tumour-type-classifier
  - segment: tumour-segmenter
- name: reconstructed
  stages:
  - degrade: {operator: radial-kspace, acceleration: 8}
  - reconstruct: mri-unet
  - classify: tumour-type-classifier
  - segment: tumour-segmenter
"""


def test_brain_volumes_are_segmented_and_the_reconstruction_brings_dice_back(
    platform: Platform, tmp_path: Path
) -> None:
    phantoms = tmp_path / "brain"
    platform.run(
        "phantoms", "write", "--kind", "brain", "--world", "null", "--patients", "60", "--seed", "7",
        "--out", str(phantoms),
    )  # fmt: skip
    created = platform.run(
        "cohorts", "create", "--images", str(phantoms), "--table", str(phantoms / "rows.csv"),
        "--schema", str(phantoms / "schema.yaml"), "--watch", "--json",
    )  # fmt: skip
    (tmp_path / "spec.yaml").write_text(BRAIN_SPEC)
    audit = platform.run(
        "audits",
        "create",
        str(tmp_path / "spec.yaml"),
        "--cohort",
        json.loads(created.stdout)["name"],
        "--watch",
        "--json",
    )
    platform.run("audits", "download", json.loads(audit.stdout)["name"], "--out", str(tmp_path / "out"))
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    dice = {
        cell["pipeline"]: cell["estimate"]
        for cell in document["cells"]
        if cell["metric"] == "dice" and cell["group"] == "overall"
    }
    assert dice["original"] > 0.8
    assert dice["reconstructed"] > dice["undersampled"] + 0.05
    definitions = {gap["definition"] for gap in document["gaps"]}
    assert {"delta_dice", "ser", "eodd_half", "eodd_worst", "eop"} <= definitions
