"""A generator tuned to shares of groups through the command line, served at once, and what its card then says."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Platform

pytestmark = pytest.mark.ray
BASE = "cardiac-skewed-diffusion"
PROMPTS = [f"Short-axis cardiac MRI. age in {decade}s, healthy" for decade in range(40, 80, 10)]
TEST_PROMPTS = [f"Short-axis cardiac MRI. age in {decade}s, heart failure" for decade in range(40, 90, 10)]
CLASSIFIERS = ("--classifier", "cardiac-sex-classifier", "--judge", "cardiac-sex-judge")
SMALL = ("--iterations", "1", "--batch-images", "4", "--test-images", "2")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder: Path = tmp_path_factory.mktemp("prompts")
    (folder / "tune.txt").write_text("\n".join(PROMPTS), "utf-8")
    (folder / "judge.txt").write_text("\n".join(TEST_PROMPTS), "utf-8")
    return ("--prompts", str(folder / "tune.txt"), "--test-prompts", str(folder / "judge.txt"))


def test_it_is_served_with_a_card_that_says_whom_it_drew_before_and_after(
    platform: Platform, prompts: tuple[str, ...]
) -> None:
    target = ("--target", "sex:Female=0.3,Male=0.7")
    done = platform.run("trainings", "align", f"{BASE}@1", *target, *CLASSIFIERS, *prompts, *SMALL, "--watch", "--json")
    training = json.loads(done.stdout)
    assert (training["model"], training["modelVersion"]) == (f"models/{BASE}", "2")
    card = httpx.get(f"{platform.http}/v1/models/{BASE}@2").json()
    assert card["lineage"]["base"] == f"models/{BASE}@1"
    assert (card["lineage"]["method"], card["lineage"]["attributes"]) == ("sdat", ["sex"])
    guide, judge = card["generatorCard"]["verdicts"]
    assert (guide["classifier"], judge["classifier"]) == (
        "models/cardiac-sex-classifier@1",
        "models/cardiac-sex-judge@1",
    )
    assert judge["target"] == {"Female": 0.3, "Male": 0.7}
    assert (judge["prompts"], judge["images"]) == (5, 10)
    shown = platform.run("models", "show", f"{BASE}@2").stdout
    assert "cardiac-sex-judge@1" in shown
    assert "radiologist" in shown


def test_a_target_that_does_not_add_up_is_refused_before_it_starts(platform: Platform) -> None:
    refused = platform.run(
        "trainings", "align", f"{BASE}@1", "--target", "sex:Female=0.3,Male=0.3", *CLASSIFIERS, "--json", check=False
    )
    assert refused.returncode == 2, refused.stderr
    error = json.loads(refused.stderr.splitlines()[-1])["error"]
    assert (error["reason"], error["field"]) == ("TARGET_INVALID", "alignment.shares[0].target")
