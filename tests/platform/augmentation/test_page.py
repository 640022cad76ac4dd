"""The page of a downstream study: self-contained, and it says how many synthetic images there were."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from services.platform.augmentation.orders import read_order
from services.platform.augmentation.page import findings, study_page
from services.platform.augmentation.records import Records
from services.platform.augmentation.studying import study

NAMES = {"sex": ["Female", "Male"], "bmi": ["normal", "obese", "<b>odd</b>"]}
ORDER = {
    "label": "sick",
    "attributes": ["sex", "bmi", "sex,bmi"],
    "balance": ["sex"],
    "gaps": [
        {"attribute": "sex", "better": "Male", "worse": "Female"},
        {"attribute": "bmi", "better": "normal", "worse": "<b>odd</b>"},
    ],
    "arms": [
        {"name": "real", "real": True, "synthetic": 0},
        {"name": "real + 20", "real": True, "synthetic": 20, "source": "made"},
    ],
    "repeats": 2,
    "size": 16,
    "fit": {"width": 1, "steps": 2, "batch": 4},
    "distances": {"attributes": ["sex"], "records": 12, "draws": 2, "permutations": 19},
    "workers": 1,
}


def records(patients, name, *, synthetic=False):
    rng = np.random.default_rng(patients)
    number = np.arange(patients)
    bmi = np.where(number % 39 == 0, "<b>odd</b>", np.where(number // 2 % 2, "obese", "normal"))
    return Records(
        rng.random((patients, 3, 16, 16), np.float32),
        (number % 2).astype(np.int64),
        np.array([f"{name}{n}" for n in number]),
        np.array([f"{name}-{n}" for n in number]),
        np.array(["" if synthetic else ("train", "validation", "test", "test")[n // 2 % 4] for n in number]),
        pd.DataFrame({"sex": rng.choice(NAMES["sex"], patients), "bmi": bmi}, dtype=object),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return study(
        read_order(ORDER),
        records(400, "p"),
        {"made": records(60, "s", synthetic=True)},
        NAMES,
        tmp_path_factory.mktemp("study"),
        facts={"real": {"images": 400}},
        fidelity={},
        encode=lambda pixels: pixels.reshape(len(pixels), -1)[:, :8],
        encoder="pixels",
    )


def test_the_page_names_every_arm_with_its_number_of_synthetic_images(made):
    page = study_page(made[0])
    assert "real + 20" in page and re.search(r"<td[^>]*>20</td>", page)
    assert not re.search(r'(src|href)="(?!#)', page), "nothing is loaded from elsewhere"
    assert "<svg" in page and "&lt;b&gt;odd&lt;/b&gt;" in page and "<b>odd</b>" not in page


def test_small_groups_are_said_to_be_insufficient_and_stay_out_of_gaps(made):
    report, _ = made
    rows = [row for row in report["groups"] if row["group"] == "<b>odd</b>"]
    assert rows and {row["state"] for row in rows} <= {"insufficient", "undefined"}
    assert all(row["state"] == "insufficient" for row in report["gaps"] if row["attribute"] == "bmi")
    assert all("<b>odd</b>" not in row["groups"] for row in report["widest"])
    assert "insufficient" in study_page(report)


def test_networks_that_learned_nothing_show_no_change(made):
    assert all("no change" in sentence for sentence in findings(made[0]))


def test_the_files_hold_every_prediction_and_the_seeds(made):
    report, files = made
    assert set(files) == {"report.json", "predictions.parquet"}
    assert report["seeds"] == [7000, 7001] and report["arms"][1]["synthetic_images"] == 20
    assert len(report["arms"][1]["thresholds"]) == 2


def test_distances_keep_patients_apart_and_state_their_floor(made):
    by_sex, by_label = made[0]["distances"]
    assert by_sex["groups"] == ["real: Female", "real: Male", "made: Female", "made: Male"]
    floor, across = by_sex["frechet"][0][0], by_sex["frechet"][0][1]
    assert floor > 0 and across == pytest.approx(floor, rel=0.9), "of noise nothing lies above its floor"
    assert by_label["groups"][1] == "real: sick"


def test_the_same_study_has_the_same_digest(made, tmp_path):
    again, _ = study(
        read_order(ORDER),
        records(400, "p"),
        {"made": records(60, "s", synthetic=True)},
        NAMES,
        tmp_path,
        facts={"real": {"images": 400}},
        fidelity={},
        encode=lambda pixels: pixels.reshape(len(pixels), -1)[:, :8],
        encoder="pixels",
    )
    assert again["digest"] == made[0]["digest"]
