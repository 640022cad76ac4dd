"""`evenhand studies run` of a downstream study whose synthetic hearts are drawn, so that only the command runs."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

SHIPPED = Path(__file__).resolve().parents[2] / "deploy/studies/augmentation.yaml"
PATIENTS, IMAGES = 40, 12
ARMS = [
    {"name": "real", "real": True, "synthetic": 0},
    {"name": f"real + {IMAGES} drawn", "real": True, "synthetic": IMAGES, "source": "oracle"},
]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The shipped study with few patients, drawn hearts only, two repeats and hardly any learning."""
    plain = yaml.safe_load(SHIPPED.read_text())
    asked = plain["augmentation"]
    asked |= {"schema": "phantom-cardiac", "phantoms": {**asked["phantoms"], "patients": PATIENTS}}
    oracle = {**asked["synthetic"]["oracle"]["oracle"], "images": IMAGES, "balance": ["sex"]}
    asked["synthetic"] = {"oracle": {"oracle": oracle}}
    asked["order"] |= {
        "attributes": ["sex"],
        "balance": ["sex"],
        "gaps": [{"attribute": "sex", "better": "Male", "worse": "Female"}],
        "arms": ARMS,
        "repeats": 2,
        "fit": {"width": 4, "steps": 2, "batch": 8},
        "distances": {},
        "workers": 1,
    }
    path = tmp_path_factory.mktemp("study") / "small.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path


@pytest.fixture
def ran(run, study, tmp_path):
    def ran(*options):
        code, out, err = run("studies", "run", study, "--out", tmp_path / "out", *options, "--json")
        assert code == 0, err
        return json.loads(out)

    return ran


def test_phantoms_become_a_report_a_page_and_predictions_and_again_repeat_nothing(ran, tmp_path):
    report = ran()
    out = tmp_path / "out"
    assert [(arm["arm"], arm["synthetic_images"]) for arm in report["arms"]] == [
        ("real", 0),
        (f"real + {IMAGES} drawn", IMAGES),
    ]
    assert report["cohorts"]["oracle"]["images"] == IMAGES
    assert json.loads((out / "report.json").read_text())["digest"] == report["digest"]
    assert f"real + {IMAGES} drawn" in (out / "index.html").read_text()
    assert set(pd.read_parquet(out / "predictions.parquet")["arm"]) == {arm["name"] for arm in ARMS}
    kept = {path: path.stat().st_mtime_ns for path in (out / "repeats").iterdir()}
    assert len(kept) >= 2 * len(ARMS)
    assert ran()["digest"] == report["digest"]
    assert {path: path.stat().st_mtime_ns for path in (out / "repeats").iterdir()} == kept


@pytest.fixture
def hearts(run, tmp_path):
    """A hospital's folder: cines and masks as NIfTI files, one table, and no schema of its own."""
    folder = tmp_path / "hearts"
    code, _, err = run("phantoms", "write", "--kind", "cardiac", "--world", "shortcut", "--patients", PATIENTS,
                       "--seed", "9", "--out", folder)  # fmt: skip
    assert code == 0, err
    (folder / "schema.yaml").unlink()
    return folder


def test_a_folder_of_cines_with_a_table_is_studied_as_patients_are(ran, hearts):
    report = ran("--cardiac", hearts)
    assert [arm["arm"] for arm in report["arms"]] == ["real"]  # no patient can be drawn anew
    assert report["fidelity"] == {}  # and what reads phantoms reads no patient
    labelled = pd.read_csv(hearts / "rows.csv").dropna(subset="heart_failure")
    assert report["cohorts"]["real"] == {
        "images": len(labelled),
        "patients": labelled["patient_id"].nunique(),
        "positives": int(labelled["heart_failure"].sum()),
    }
    assert {split["split"]: split["records"] for split in report["splits"]} == {
        name: int(count) for name, count in labelled.groupby("split").size().items()
    }


def test_a_table_without_a_column_of_the_schema_is_refused_by_its_name(run, study, hearts, tmp_path):
    pd.read_csv(hearts / "rows.csv").drop(columns="bmi").to_csv(hearts / "rows.csv", index=False)
    code, _, err = run("studies", "run", study, "--cardiac", hearts, "--out", tmp_path / "out")
    assert code == 4
    assert "bmi" in err
