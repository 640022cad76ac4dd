"""A balanced synthetic cohort by the command line, from phantoms to an audit that says what it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.conftest import Platform

pytestmark = pytest.mark.timeout(600)  # the first test also waits for the platform
TEMPLATE = "Short-axis cardiac MRI. {sex}, {bmi} BMI, {heart_failure}"


@pytest.fixture(scope="module")
def hearts(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A real cohort of cardiac phantoms with label masks."""
    folder = tmp_path_factory.mktemp("hearts") / "phantoms"
    platform.run(
        "phantoms", "write", "--kind", "cardiac", "--world", "null", "--patients", "80", "--seed", "6",
        "--out", str(folder),
    )  # fmt: skip
    created = platform.run(
        "cohorts", "create", "--images", str(folder), "--table", str(folder / "rows.csv"),
        "--schema", str(folder / "schema.yaml"), "--name", "hearts", "--watch", "--json",
    )  # fmt: skip
    cohort: dict[str, Any] = json.loads(created.stdout)
    return cohort


@pytest.fixture(scope="module")
def balanced(platform: Platform, hearts: dict[str, Any]) -> dict[str, Any]:
    made = platform.run(
        "cohorts", "synthesise", hearts["name"], "--model", "phantom-controlnet", "--attribute", "sex",
        "--label", "heart_failure", "--template", TEMPLATE, "--images", "24", "--cap", "3", "--steps", "8",
        "--name", "balanced hearts", "--watch", "--json",
    )  # fmt: skip
    cohort: dict[str, Any] = json.loads(made.stdout)
    return cohort


def test_groups_get_their_shares_and_every_image_its_own_noise(balanced: dict[str, Any]) -> None:
    synthetic = balanced["synthetic"]
    assert (int(balanced["records"]), balanced["hasMasks"]) == (24, True)
    assert int(synthetic["distinctNoise"]) == int(synthetic["images"]) == 24
    assert len(synthetic["groups"]) == 4
    for group in synthetic["groups"]:
        assert abs(int(group["images"]) - 24 * group["expectedShare"]) < 1


def test_it_is_shown_and_listed_as_synthetic_and_has_a_card(
    platform: Platform, hearts: dict[str, Any], balanced: dict[str, Any]
) -> None:
    shown = platform.run("cohorts", "show", balanced["name"]).stdout
    assert "no image shows a patient" in shown and hearts["name"] in shown
    assert "models/phantom-controlnet@1" in shown
    assert "│ yes " in platform.run("cohorts", "list").stdout
    card = platform.run("cohorts", "card", balanced["name"]).stdout
    assert card.startswith("# Synthetic cohort") and balanced["digest"] in card


def test_asked_for_again_it_has_the_same_digest(
    platform: Platform, hearts: dict[str, Any], balanced: dict[str, Any]
) -> None:
    again = platform.run(
        "cohorts", "synthesise", hearts["name"], "--model", "phantom-controlnet", "--attribute", "sex",
        "--label", "heart_failure", "--template", TEMPLATE, "--images", "24", "--cap", "3", "--steps", "8",
        "--name", "again", "--watch", "--json",
    )  # fmt: skip
    assert json.loads(again.stdout)["digest"] == balanced["digest"]


def test_a_template_of_another_cohorts_columns_is_refused_at_once(platform: Platform, hearts: dict[str, Any]) -> None:
    refused = platform.run(
        "cohorts", "synthesise", hearts["name"], "--model", "phantom-controlnet", "--attribute", "sex",
        "--template", "{height}", "--images", "24", check=False,
    )  # fmt: skip
    assert refused.returncode == 4
    assert "{height}" in refused.stderr and "spec.template" in refused.stderr
