"""A study by one command: the shipped document, cut down to the families that are served, on phantoms of both kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.e2e.conftest import ROOT, Platform

pytestmark = pytest.mark.ray
SMALL = ("original", "degraded", "unet")


def small_study(folder: Path) -> Path:
    """The shipped study with 24 patients a cohort, the pipelines of ``SMALL``, and a quarter of the chest's labels."""
    study = yaml.safe_load((ROOT / "deploy/studies/reconstruction.yaml").read_text())
    for audit in study["audits"]:
        audit["phantoms"]["patients"] = 24
        audit["spec"]["pipelines"] = [part for part in audit["spec"]["pipelines"] if part["name"] in SMALL]
    study["audits"][0]["spec"]["labels"] = ["Cardiomegaly", "Edema", "Pleural Effusion"]
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def test_one_command_audits_chest_and_brain_and_again_repeats_nothing(platform: Platform, tmp_path: Path) -> None:
    study, out = small_study(tmp_path), tmp_path / "out"
    first = json.loads(platform.run("studies", "run", str(study), "--out", str(out), "--json").stdout)
    reports = {name: json.loads((out / name / "report.json").read_text()) for name in ("chest", "brain")}
    for name, report in reports.items():
        assert report["cohort"]["patients"] == 24
        assert {cell["pipeline"] for cell in report["cells"]} == set(SMALL)
        attributes = {cell["attribute"] for cell in report["cells"]}
        assert {"sex", "age", "race", "sex,age", "sex,race", "age,race"} <= attributes
        quality = pd.read_parquet(out / name / "quality.parquet")
        means = quality.groupby(["metric", "pipeline"]).value.mean()
        assert means["psnr", "unet"] > means["psnr", "degraded"] + 3
        assert means["perceptual/phantom-clip", "unet"] < 0.7 * means["perceptual/phantom-clip", "degraded"]
        assert (out / name / "report.html").is_file()
    assert any(cell["metric"] == "dice" for cell in reports["brain"]["cells"])
    assert {"glioblastoma", "tumour_grade_4"} <= {cell["label"] for cell in reports["brain"]["cells"]}
    page = (out / "index.html").read_text()
    assert page.count("distance in phantom-clip") == 2
    assert all(f'href="{name}/report.html"' in page for name in reports)

    again = json.loads(platform.run("studies", "run", str(study), "--out", str(out), "--json").stdout)
    for name, report in reports.items():
        assert again[name]["name"] == first[name]["name"]
        assert again[name]["reportDigest"] == report["digest"]


def test_a_family_that_is_not_served_is_named_before_anything_begins(platform: Platform, tmp_path: Path) -> None:
    study = tmp_path / "small.yaml"
    study.write_text(small_study(tmp_path).read_text().replace("xray-unet", "xray-absent"))
    cohorts = platform.run("cohorts", "list", "--json").stdout
    refused = platform.run("studies", "run", str(study), "--out", str(tmp_path / "out"), check=False)
    assert refused.returncode == 3
    assert "xray-absent" in refused.stderr
    assert "xray-unet" in refused.stderr  # what there is of its task
    assert platform.run("cohorts", "list", "--json").stdout == cohorts
