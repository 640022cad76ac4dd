"""A downstream study of synthetic hearts by one command: on phantoms, and on a folder of cines with a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.e2e.conftest import ROOT, Platform

pytestmark = pytest.mark.timeout(900)  # the first test also waits for the platform
IMAGES = 16
ARMS = (
    {"name": "real", "real": True, "synthetic": 0},
    {"name": f"real + {IMAGES}", "real": True, "synthetic": IMAGES, "source": "controlnet"},
    {"name": f"real + {IMAGES} drawn", "real": True, "synthetic": IMAGES, "source": "oracle"},
)


def small_study(folder: Path) -> Path:
    """The shipped study with 60 patients, 16 images a synthetic cohort, two repeats and hardly any learning."""
    study = yaml.safe_load((ROOT / "deploy/studies/augmentation.yaml").read_text())
    asked = study["augmentation"]
    asked |= {"schema": "phantom-cardiac", "phantoms": {**asked["phantoms"], "patients": 60}}
    asked["synthetic"]["controlnet"] |= {"images": IMAGES, "steps": 2, "attributes": ["sex"]}
    asked["synthetic"]["oracle"]["oracle"] |= {"images": IMAGES, "balance": ["sex"]}
    asked["order"] |= {
        "attributes": ["sex"],
        "balance": ["sex"],
        "gaps": [{"attribute": "sex", "better": "Male", "worse": "Female"}],
        "arms": list(ARMS),
        "repeats": 2,
        "fit": {"width": 4, "steps": 4, "batch": 8},
        "distances": {"attributes": ["sex"], "records": 8, "draws": 1, "permutations": 19},
        "workers": 1,
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def ran(platform: Platform, study: Path, out: Path, *options: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(
        platform.run("studies", "run", str(study), "--out", str(out), *options, "--json").stdout
    )
    return report


def cohorts(platform: Platform) -> list[str]:
    return sorted(cohort["name"] for cohort in json.loads(platform.run("cohorts", "list", "--json").stdout))


def test_phantoms_and_generated_hearts_become_a_report_and_again_repeat_nothing(
    platform: Platform, tmp_path: Path
) -> None:
    study, out = small_study(tmp_path), tmp_path / "out"
    report = ran(platform, study, out)
    assert [arm["arm"] for arm in report["arms"]] == [arm["name"] for arm in ARMS]
    assert [arm["synthetic_images"] for arm in report["arms"]] == [0, IMAGES, IMAGES]
    assert report["cohorts"]["controlnet"]["images"] == report["cohorts"]["oracle"]["images"] == IMAGES
    assert set(report["fidelity"]) == {"controlnet", "oracle"}
    told = pd.read_parquet(out / "predictions.parquet")
    assert set(told["arm"]) == {arm["name"] for arm in ARMS}
    assert "real + 16 drawn" in (out / "index.html").read_text()
    card = json.loads((out / "synthetic" / "controlnet" / "card.json").read_text())
    assert card["quality"]["recipe"]["encoder"] == "models/phantom-clip@1"

    there = cohorts(platform)
    assert ran(platform, study, out)["digest"] == report["digest"]
    assert cohorts(platform) == there


def test_a_folder_of_cines_with_a_table_is_studied_as_patients_are(platform: Platform, tmp_path: Path) -> None:
    hearts = tmp_path / "hearts"
    platform.run(
        "phantoms", "write", "--kind", "cardiac", "--world", "shortcut", "--patients", "60", "--seed", "9",
        "--out", str(hearts),
    )  # fmt: skip
    (hearts / "schema.yaml").unlink()  # a hospital's folder has none: the study says how to read it
    report = ran(platform, small_study(tmp_path), tmp_path / "out", "--cardiac", str(hearts))
    assert [arm["arm"] for arm in report["arms"]] == ["real", f"real + {IMAGES}"]  # no patient can be drawn anew
    assert report["fidelity"] == {}  # and no reader of phantoms reads patients
    rows = pd.read_csv(hearts / "rows.csv")
    labelled = rows.dropna(subset="heart_failure")
    assert report["cohorts"]["real"] == {
        "images": len(labelled),
        "patients": labelled["patient_id"].nunique(),
        "positives": int(labelled["heart_failure"].sum()),
    }
    by_split = {split["split"]: split["records"] for split in report["splits"]}
    assert by_split == labelled.groupby("split").size().to_dict()


def test_a_folder_whose_table_lacks_a_column_is_refused_by_the_name_of_the_column(
    platform: Platform, tmp_path: Path
) -> None:
    hearts = tmp_path / "hearts"
    platform.run(
        "phantoms", "write", "--kind", "cardiac", "--world", "shortcut", "--patients", "4", "--out", str(hearts)
    )
    (hearts / "schema.yaml").unlink()
    pd.read_csv(hearts / "rows.csv").drop(columns="bmi").to_csv(hearts / "rows.csv", index=False)
    refused = platform.run(
        "studies", "run", str(small_study(tmp_path)), "--cardiac", str(hearts), "--out", str(tmp_path / "out"),
        check=False,
    )  # fmt: skip
    assert refused.returncode == 4, refused.stderr
    assert "bmi" in refused.stderr
