"""`evenhand models evaluate` in worlds where it is known what there is to find."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from evenhand import evaluation as client_side

from services.errors import FailedPrecondition, InvalidInput, NotFound, ShapeMismatch
from services.maths.canonical import digest
from services.platform import evaluation
from tests.platform.evaluation import worlds

IMAGES = 50


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Path:
    return worlds.write_registry(tmp_path_factory.mktemp("zoo"))


def run(registry: Path, ask: worlds.Ask | None, **order: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    told = {"model": "tiny-pelvis", "registry": str(registry), "images": IMAGES, "permutations": 1999, **order}
    return evaluation.evaluate(told, None, ask, lambda *_: None)


@pytest.fixture(scope="module")
def null(registry):
    return run(registry, worlds.faultless())


def test_another_draw_of_the_same_world_is_no_finding(null):
    report, _ = null
    assert report["findings"] == []
    assert sum(family["tests"] for family in report["families"]) > 50
    assert any("No difference from real images was found" in sentence for sentence in report["not_found"])
    assert all("n=" in sentence for sentence in report["not_found"] if sentence.startswith("No difference"))


def test_every_distance_stands_beside_its_floor_and_names_extractor_and_n(null):
    rows = [row for row in null[0]["distances"] if row["state"] == "ok"]
    assert rows[0]["names"]["KID"] == f"KID[phantom-clip, n={rows[0]['n']}]"
    assert {row["attribute"] for row in rows} >= {"", "sex", "laterality"}
    assert all(row["frechet_floor"] > 0 for row in rows)
    small = [row for row in null[0]["distances"] if row["state"] == "insufficient"]
    assert small and all(row["n"] < 20 and row["p_value"] is None for row in small)


def test_the_reader_is_held_to_real_images_and_what_it_cannot_read_is_said(null):
    rows = {(row["read"], row["attribute"], row["level"]): row for row in null[0]["fidelity"]}
    whole = rows["sex", "", ""]
    assert (whole["n"], whole["real_share"] > 0.85, whole["share"] > 0.85) == (IMAGES, True, True)
    assert ("laterality", "sex", "Female") in rows
    confusion = next(one for one in null[0]["confusions"] if one["read"] == "sex")
    assert np.array(confusion["counts"]).shape == (2, 3)
    assert {row["attribute"] for row in null[0]["unread"]} == {"age", "race", "bmi"}
    assert null[0]["samples"][0]["training_patients"] == worlds.PATIENTS


def test_the_page_asks_nothing_of_the_network_and_the_report_has_its_digest(null):
    report, files = null
    page = files["report.html"].decode()
    assert 'src="http' not in page and "<script" not in page and "@import" not in page
    assert "no difference found at n=" in page
    assert json.loads(files["report.json"]) == report
    assert report["digest"] == digest(report, without=["digest"])
    assert files["contact-sheet.png"].startswith(b"\x89PNG") and b"Synthetic" in files["contact-sheet.png"]


def test_a_feature_dropped_in_one_group_is_found_there_and_named(registry):
    report, files = run(registry, worlds.women_without_their_ring)
    fidelity = [one["sentence"] for one in report["findings"] if one["family"] == "fidelity"]
    shifts = [one["sentence"] for one in report["findings"] if one["family"] == "shifts"]
    assert any("sex Female: sex is read back as asked for in" in sentence for sentence in fidelity)
    assert any("sex Female: ring eccentricity" in sentence for sentence in shifts)
    assert not any("sex Male" in sentence for sentence in fidelity + shifts)
    assert "sex Female: sex is read back" in files["report.html"].decode()


def test_mode_collapse_is_found_and_the_same_images_are_counted(registry):
    report, _ = run(registry, worlds.collapsed)
    assert any(one["family"] == "spreads" and "less among themselves" in one["sentence"] for one in report["findings"])
    stated = report["samples"][0]
    assert (stated["distinct_images"], stated["distinct_noises"]) == (2, 1)
    assert report["manifolds"][0]["recall"] < report["manifolds"][0]["real_recall"] / 2


def test_copies_of_training_images_are_found_and_shown(registry):
    report, files = run(registry, worlds.copying())
    found = [one["sentence"] for one in report["findings"] if one["family"] == "closeness"]
    assert any("look like copies" in sentence for sentence in found)
    assert len(report["closest"]) == 6
    assert max(pair["ratio"] for pair in report["closest"]) < 0.5
    assert "pelvis image" in files["report.html"].decode()


def test_a_group_with_severer_disease_is_no_worse_drawn_group(tmp_path):
    """In the confounded world osteoarthritis is severer in one race; a generator that draws it so is no finding."""
    training = {**worlds.MODEL["training"], "world": "confounded"}
    confounded = worlds.write_registry(tmp_path / "zoo", training=training)
    assert run(confounded, worlds.faultless("confounded"))[0]["findings"] == []


def write_folder(folder: Path, images: np.ndarray, table: pd.DataFrame) -> tuple[str, str]:
    folder.mkdir()
    names = [f"{row}.npy" for row in range(len(images))]
    for name, image in zip(names, images, strict=True):
        np.save(folder / name, image)
    table.assign(image=names).to_csv(folder / "rows.csv", index=False)
    return str(folder), str(folder / "rows.csv")


def images_of_patients(count: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Images drawn here, and their attributes."""
    rng = np.random.default_rng(5)
    rows = [
        {
            "sex": str(rng.choice(["Female", "Male"])),
            "age": str(rng.integers(40, 80)),
            "race": "White",
            "bmi": "27",
            "laterality": str(rng.choice(["left", "right"])),
            "projection": "AP",
        }
        for _ in range(count)
    ]
    return np.stack([worlds.drawn("planted", row, 1000 + place) for place, row in enumerate(rows)]), pd.DataFrame(rows)


def test_images_made_elsewhere_are_compared_with_real_ones_of_the_same_attributes(registry, tmp_path):
    images, table = images_of_patients(60)
    files = write_folder(tmp_path / "made", images, table[["sex", "laterality"]])
    report, _ = run(registry, None, synthetic=files, images=80)
    stated = report["samples"][0]
    assert stated["source"] == "images of a folder"
    assert 40 <= stated["images"] == 60 - stated["left_out"]
    assert {row["attribute"] for row in report["distances"]} == {"", "sex", "laterality"}


def test_a_reference_of_real_images_needs_no_phantoms_and_says_what_it_cannot_know(tmp_path):
    zoo = worlds.write_registry(tmp_path / "zoo", training={})
    images, table = images_of_patients(120)
    table["patient_id"] = [f"p{row // 2}" for row in range(120)]
    report, _ = run(zoo, worlds.faultless(), reference=write_folder(tmp_path / "real", images, table), images=30)
    stated = report["samples"][0]
    assert (stated["more_images_of_patients"], stated["images"], stated["control"]) == (60, 30, 30)
    assert {row["why"] for row in report["unread"]} == {"there is no reader for these images"}
    assert any("training images are not known" in sentence for sentence in report["not_found"])
    assert report["closest"] == []


@pytest.mark.parametrize(
    ("changed", "error", "field"),
    [
        ({"model": "nobody"}, NotFound, "model"),
        ({"model": "phantom-clip"}, InvalidInput, "model"),
        ({"organs": ("brain",)}, InvalidInput, "organ"),
        ({"inception": "nowhere.safetensors"}, FailedPrecondition, "nowhere.safetensors"),
        ({"reference": ("nowhere", "nowhere.csv")}, NotFound, "nowhere.csv"),
        ({}, FailedPrecondition, "model"),
    ],
)
def test_what_cannot_be_evaluated_is_named(registry, changed, error, field):
    with pytest.raises(error) as raised:
        run(registry, None, **{"images": 20, **changed})
    assert raised.value.field == field


def test_the_platform_must_serve_the_package_that_is_here(registry):
    served = {"name": "models/tiny-pelvis", "version": "1", "digest": "0" * 64, "task": "class-to-image"}
    with pytest.raises(FailedPrecondition, match="digest"):
        evaluation.evaluate({"model": "tiny-pelvis", "registry": str(registry)}, served, None, lambda *_: None)


def test_an_image_of_another_shape_or_that_nobody_asked_for_is_refused(registry):
    def small(wanted):
        yield wanted["first_index"], np.zeros((1, 8, 8), np.float32), {}

    def other(wanted):
        yield wanted["first_index"] + 99, np.zeros((1, 32, 32), np.float32), {}

    with pytest.raises(ShapeMismatch):
        run(registry, small, images=20)
    with pytest.raises(InvalidInput, match="not asked for"):
        run(registry, other, images=20)


def test_the_client_finds_the_function() -> None:
    found = {entry.name: entry.load() for entry in entry_points(group=client_side.GROUP)}
    assert found["evaluate"] is evaluation.evaluate
