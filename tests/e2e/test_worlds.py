"""Three phantom worlds through real edges and really served models: what was planted is named, what was not is not.

The classifier was trained on the null world, so on originals its error rates do not depend on sex there. (Behind a
degradation they do, in every world: the anatomy that differs by sex meets noise it was not trained for.)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Platform

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

PATIENTS = 800
SPEC = """
attributes: [sex, race]
seed: 7
pipelines:
- name: original
  stages: [{classify: chest-classifier}]
"""


@pytest.fixture(scope="module")
def audited(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Any:
    reports: dict[str, dict[str, Any]] = {}

    def report_of(world: str) -> dict[str, Any]:
        if world not in reports:
            reports[world] = _audit(platform, tmp_path_factory.mktemp(world), world)
        return reports[world]

    return report_of


def _audit(platform: Platform, folder: Path, world: str) -> dict[str, Any]:
    images = folder / "phantoms"
    platform.run(
        "phantoms", "write", "--kind", "chest", "--world", world, "--patients", str(PATIENTS), "--seed", "7",
        "--out", str(images),
    )  # fmt: skip
    made = platform.run(
        "cohorts", "create", "--images", str(images), "--table", str(images / "rows.csv"),
        "--schema", str(images / "schema.yaml"), "--name", world, "--watch", "--json",
    )  # fmt: skip
    spec = folder / "spec.yaml"
    spec.write_text(SPEC)
    cohort = json.loads(made.stdout)["name"]
    done = platform.run("audits", "create", str(spec), "--cohort", cohort, "--watch", "--json")
    platform.run("audits", "download", json.loads(done.stdout)["name"], "report.json", "--out", str(folder))
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def _findings(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [gap for gap in report["gaps"] if gap["verdict"] == "gap"]


def test_nothing_is_found_where_nothing_is(audited: Any) -> None:
    report = audited("null")
    assert _findings(report) == []
    assert [cell for cell in report["cells"] if cell["verdict"] == "gap"] == []


def test_the_planted_gap_is_named_with_its_group(audited: Any) -> None:
    report = audited("planted")
    found = [gap for gap in _findings(report) if gap["definition"] == "eop"]
    assert found
    assert {gap["attribute"] for gap in _findings(report)} == {"sex"}
    assert all(gap["ci_low"] > 0 and gap["p_adjusted"] <= 0.05 for gap in found)
    cells = {(cell["label"], cell["group"]): cell for cell in report["cells"] if cell["metric"] == "tpr"}
    for gap in found:
        women, men = (cells[gap["label"], group]["estimate"] for group in ("Female", "Male"))
        assert women < men


def test_another_prevalence_is_reported_as_prevalence(audited: Any) -> None:
    found = _findings(audited("confounded"))
    assert any(gap["metric"] == "prevalence" and gap["attribute"] == "sex" for gap in found)
    assert [gap for gap in found if gap["metric"] in ("auroc", "tpr")] == []
