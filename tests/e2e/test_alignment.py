"""A generator tuned to shares of groups through the command line, and what a generator's card says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Platform

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200)]  # the first test also waits for the platform
BASE = "cardiac-skewed-diffusion"
PROMPTS = [f"Short-axis cardiac MRI. age in {decade}s, healthy" for decade in range(40, 80, 10)]
TEST_PROMPTS = [f"Short-axis cardiac MRI. age in {decade}s, heart failure" for decade in range(40, 90, 10)]
CLASSIFIERS = ("--classifier", "cardiac-sex-classifier", "--judge", "cardiac-sex-judge")
SERVED_WITHIN_S = 180.0  # of a busy machine, which loads the weights and makes a first step with them
SMALL = ("--iterations", "1", "--batch-images", "4", "--test-images", "2")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder: Path = tmp_path_factory.mktemp("prompts")
    (folder / "tune.txt").write_text("\n".join(PROMPTS), "utf-8")
    (folder / "judge.txt").write_text("\n".join(TEST_PROMPTS), "utf-8")
    return ("--prompts", str(folder / "tune.txt"), "--test-prompts", str(folder / "judge.txt"))


def tuned_card(platform: Platform) -> dict[str, Any]:
    """The card of version 2, which a platform serves within seconds of the training's end."""
    end = time.monotonic() + SERVED_WITHIN_S
    while (answer := httpx.get(f"{platform.http}/v1/models/{BASE}@2")).status_code == httpx.codes.NOT_FOUND:
        assert time.monotonic() < end, answer.text
        time.sleep(0.5)
    card: dict[str, Any] = answer.raise_for_status().json()["generatorCard"]
    return card


def test_it_leaves_a_version_that_was_judged_before_and_after(platform: Platform, prompts: tuple[str, ...]) -> None:
    target = ("--target", "sex:Female=0.3,Male=0.7")
    asked = ("trainings", "align", f"{BASE}@1", *target, *CLASSIFIERS, *prompts, *SMALL, "--watch", "--json")
    done = platform.run(*asked, timeout_s=700)
    training = json.loads(done.stdout)
    assert (training["model"], training["modelVersion"]) == (f"models/{BASE}", "2")
    assert training["base"] == f"models/{BASE}"
    assert training["alignment"]["shares"][0]["target"] == {"Female": 0.3, "Male": 0.7}
    assert set(training["scores"]) == {
        f"bias sex {when}, cardiac-sex-{who}@1" for when in ("before", "after") for who in ("classifier", "judge")
    }
    assert training["versions"][0]["epochsKept"] == 1

    card = tuned_card(platform)
    assert {(verdict["classifier"], verdict["guided"]) for verdict in card["verdicts"]} == {
        ("models/cardiac-sex-classifier@1", True),
        ("models/cardiac-sex-judge@1", False),
    }
    assert all(verdict["target"] == {"Female": 0.3, "Male": 0.7} for verdict in card["verdicts"])
    drawn = ("generations", "create", TEST_PROMPTS[0], "--model", f"{BASE}@2", "--steps", "2", "--watch", "--json")
    generation = json.loads(platform.run(*drawn).stdout)
    assert generation["modelVersion"] == "2"


def test_a_generators_card_says_what_its_images_are_for(platform: Platform) -> None:
    card = httpx.get(f"{platform.http}/v1/models/{BASE}@1").json()["generatorCard"]
    assert card["verdicts"] == []
    shown = platform.run("models", "show", f"{BASE}@1").stdout
    assert "radiologist" in shown


def test_a_target_that_does_not_add_up_is_refused_before_it_starts(platform: Platform) -> None:
    refused = platform.run(
        "trainings", "align", f"{BASE}@1", "--target", "sex:Female=0.3,Male=0.3", *CLASSIFIERS, "--json", check=False
    )
    assert refused.returncode == 4, refused.stderr
    error = json.loads(refused.stderr.splitlines()[-1])["error"]
    assert (error["reason"], error["field"]) == ("TARGET_INVALID", "alignment.shares[0].target")
