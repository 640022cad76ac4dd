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
from services.platform import evaluation
from tests.platform.evaluation import worlds

IMAGES = 50


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Path:
    return worlds.write_registry(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def pool() -> worlds.Pool:
    return worlds.other_patients()


def run(registry: Path, ask: worlds.Ask | None, **order: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    told = {"model": "tiny-text", "registry": str(registry), "images": IMAGES, "permutations": 1999, **order}
    return evaluation.evaluate(told, None, ask, lambda *_: None)


@pytest.fixture(scope="module")
def null(registry, pool):
    return run(registry, worlds.faultless(pool))


def test_another_draw_of_the_same_world_is_no_finding(null):
    report, _ = null
    assert report["findings"] == []
    assert sum(family["tests"] for family in report["families"]) > 30
    assert any("No difference from real images was found" in sentence for sentence in report["not_found"])
    assert any("n=" in sentence for sentence in report["not_found"])


def test_every_distance_stands_beside_its_floor_and_names_extractor_and_n(null):
    rows = [row for row in null[0]["distances"] if row["state"] == "ok"]
    assert rows[0]["names"]["KID"] == f"KID[phantom-clip, n={rows[0]['n']}]"
    assert {row["attribute"] for row in rows} >= {"", "sex", "cardiomegaly"}
    assert all(row["frechet_floor"] > 0 for row in rows)


def test_the_reader_is_held_to_real_images_and_every_level_has_its_line(null):
    rows = {(row["read"], row["attribute"], row["level"]): row for row in null[0]["fidelity"]}
    whole = rows["sex", "", ""]
    assert (whole["n"], whole["real_share"] > 0.85) == (IMAGES, True)
    assert ("pleural_effusion", "sex", "Female") in rows
    confusion = next(one for one in null[0]["confusions"] if one["read"] == "sex")
    assert np.array(confusion["counts"]).shape == (2, 3)


def test_the_page_asks_nothing_of_the_network_and_the_report_has_its_digest(null):
    report, files = null
    page = files["report.html"].decode()
    assert 'src="http' not in page and "<script" not in page and "@import" not in page
    assert "no difference found at n=" in page
    assert json.loads(files["report.json"]) == report
    assert files["contact-sheet.png"].startswith(b"\x89PNG") and b"Synthetic" in files["contact-sheet.png"]


def test_a_finding_dropped_in_one_group_is_found_there_and_named(registry, pool):
    report, files = run(registry, worlds.without_effusions_in_women(pool))
    found = [one["sentence"] for one in report["findings"] if one["family"] == "fidelity"]
    assert any("sex Female" in sentence and "pleural effusion is read back" in sentence for sentence in found)
    assert not any("sex Male" in sentence for sentence in found)
    assert "sex Female" in files["report.html"].decode()


def test_mode_collapse_is_found_and_the_same_images_are_counted(registry, pool):
    report, _ = run(registry, worlds.collapsed(pool))
    assert any(one["family"] == "spreads" and "less" in one["sentence"] for one in report["findings"])
    stated = report["samples"][0]
    assert stated["distinct_images"] < IMAGES / 3
    assert stated["distinct_noises"] == 1


def test_copies_of_training_images_are_found_and_shown(registry, pool):
    report, files = run(registry, worlds.copying(pool))
    found = [one["sentence"] for one in report["findings"] if one["family"] == "closeness"]
    assert any("look like copies" in sentence for sentence in found)
    assert len(report["closest"]) == 6
    assert max(pair["ratio"] for pair in report["closest"]) < 0.5
    assert "chest image" in files["report.html"].decode()


def test_a_group_with_fewer_findings_is_no_worse_drawn_group(tmp_path):
    """In the confounded world women have half of the findings; a generator that draws them right is no finding."""
    training = {**worlds.MODEL["training"], "world": "confounded"}
    confounded = worlds.write_registry(tmp_path / "zoo", training=training)
    report, _ = run(confounded, worlds.faultless(worlds.other_patients("confounded")))
    assert report["findings"] == []


def write_folder(folder: Path, images: np.ndarray, table: pd.DataFrame) -> tuple[str, str]:
    folder.mkdir()
    names = [f"{row}.npy" for row in range(len(images))]
    for name, image in zip(names, images, strict=True):
        np.save(folder / name, image)
    table.assign(image=names).to_csv(folder / "rows.csv", index=False)
    return str(folder), str(folder / "rows.csv")


def test_images_made_elsewhere_are_compared_with_real_ones_of_the_same_attributes(registry, pool, tmp_path):
    chosen = [row for row, told in enumerate(pool.attributes) if None not in told.values()][:80]
    table = pd.DataFrame([pool.attributes[row] for row in chosen])
    files = write_folder(tmp_path / "made", pool.pixels[chosen], table)
    report, _ = run(registry, None, synthetic=files, images=40)
    assert report["samples"][0]["source"] == "images of a folder"
    assert 20 <= report["samples"][0]["images"] <= 40
    assert report["findings"] == []


def test_a_reference_of_real_images_needs_no_phantoms_and_says_what_it_cannot_know(tmp_path, pool):
    zoo = worlds.write_registry(tmp_path / "zoo", training={})
    rows = range(120)
    table = pd.DataFrame(
        {
            "patient_id": [f"p{row // 2}" for row in rows],
            "prompt": "a chest",
            "site": ["north" if row % 4 < 2 else "south" for row in rows],
        }
    )
    reference = write_folder(tmp_path / "real", pool.pixels[:120], table)

    def ask(wanted):
        for number in range(wanted["count"]):
            index = wanted["first_index"] + number
            yield index, pool.pixels[120 + index], {}

    report, _ = run(zoo, ask, reference=reference, images=30)
    assert report["samples"][0]["more_images_of_patients"] == 60
    assert [row["attribute"] for row in report["unread"]] == ["site"]
    assert any("training images are not known" in sentence for sentence in report["not_found"])
    assert any("no reader" in sentence for sentence in report["not_found"])
    assert report["samples"][0]["distinct_noises"] is None


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
    served = {"name": "models/tiny-text", "version": "1", "digest": "0" * 64, "task": "text-to-image"}
    with pytest.raises(FailedPrecondition, match="digest"):
        evaluation.evaluate({"model": "tiny-text", "registry": str(registry)}, served, None, lambda *_: None)


def test_an_image_of_another_shape_or_that_nobody_asked_for_is_refused(registry):
    def small(wanted):
        yield wanted["first_index"], np.zeros((1, 8, 8), np.float32), {}

    def other(wanted):
        yield wanted["first_index"] + 99, np.zeros((1, 64, 64), np.float32), {}

    with pytest.raises(ShapeMismatch):
        run(registry, small, images=20)
    with pytest.raises(InvalidInput, match="not asked for"):
        run(registry, other, images=20)


def test_the_client_finds_the_function() -> None:
    found = {entry.name: entry.load() for entry in entry_points(group=client_side.GROUP)}
    assert found == {"evaluate": evaluation.evaluate}
