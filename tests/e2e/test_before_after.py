"""A fine-tuning on a cohort, its audit by one command on other people, and the card that the result lands in."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pandas as pd
import pytest

from tests.e2e.conftest import MainJob, Platform

pytestmark = pytest.mark.ray
# Of a model that no other test here audits: its tuned version is the one that is served from then on.
TUNING = ("--base", "xray-pix2pix@1", "--mitigation", "equalised-odds", "--attribute", "sex", "--epochs", "1")
LABELS = ("--label", "Edema", "--label", "Pleural Effusion")


@pytest.fixture(scope="module")
def training(platform: Platform, main_job: MainJob) -> dict:
    cohort = ("--cohort", main_job.cohort["name"])
    return json.loads(platform.run("trainings", "create", *TUNING, *LABELS, *cohort, "--watch", "--json").stdout)


@pytest.fixture(scope="module")
def others(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A cohort of phantoms that were drawn with another seed."""
    folder = tmp_path_factory.mktemp("others")
    drawn = ("--kind", "chest", "--world", "planted", "--patients", "60", "--seed", "8", "--out", str(folder))
    platform.run("phantoms", "write", *drawn)
    files = ("--images", str(folder), "--table", str(folder / "rows.csv"), "--schema", str(folder / "schema.yaml"))
    return json.loads(platform.run("cohorts", "create", *files, "--watch", "--json").stdout)["name"]


def test_people_who_were_learned_from_are_counted_and_not_audited(
    platform: Platform, main_job: MainJob, training: dict
) -> None:
    refused = platform.run(
        "trainings", "audit", training["name"], "--cohort", main_job.cohort["name"], "--json", check=False
    )
    assert refused.returncode == 5, refused.stderr
    error = json.loads(refused.stderr.splitlines()[-1])["error"]
    assert (error["reason"], error["field"]) == ("COHORTS_OVERLAP", "spec.pipelines[1].stages[1].reconstruct")
    people = pd.read_csv(main_job.phantoms / "rows.csv").drop_duplicates("patient_id")
    learned = int(people["split"].isin(["train", "validation"]).sum())
    assert f"xray-pix2pix@2 learned from {learned} of the {len(people)} patients" in error["message"]


def test_before_and_after_land_in_the_card_and_leave_it_with_the_audit(
    platform: Platform, training: dict, others: str, tmp_path: Path
) -> None:
    done = platform.run(
        "trainings", "audit", training["name"], "--cohort", others, *LABELS, "--out", str(tmp_path / "report"), "--json"
    )
    told = json.loads(done.stdout)
    (card,) = told["cards"]
    assert (card["audit"], card["cohort"], card["pipelines"]) == (told["audit"]["name"], others, ["xray-pix2pix@2"])
    assert {(one["metric"], one.get("attribute", "")) for one in card["changes"]} == {
        ("eodd", "sex"), ("eop", "sex"), ("auroc", ""), ("psnr", ""),
    }  # fmt: skip
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    (psnr,) = [row for row in report["changes"] if (row["metric"], row["definition"]) == ("psnr", "overall")]
    (shown,) = [one for one in card["changes"] if one["metric"] == "psnr"]
    assert shown["change"] == pytest.approx(psnr["estimate"])
    page = httpx.get(platform.http + card["report"])
    assert page.status_code == 200
    assert "xray-pix2pix@2" in page.text

    over_http = httpx.get(f"{platform.http}/v1/models/xray-pix2pix@2", params={"view": "MODEL_VIEW_FULL"}).json()
    assert [one["audit"] for one in over_http["audits"]] == [card["audit"]]
    assert over_http["lineage"]["base"] == "models/xray-pix2pix@1"
    assert over_http["lineage"]["dataDigest"] == training["dataDigest"]
    shown = platform.run("models", "show", "xray-pix2pix@2").stdout
    assert "EODD by sex" in shown
    assert card["report"] in shown

    platform.run("audits", "delete", card["audit"])
    assert json.loads(platform.run("models", "show", "xray-pix2pix@2", "--json").stdout)["audits"] == []
