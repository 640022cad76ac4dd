"""The command, the client, the gateway and the shipped generator, few images of each prompt."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from evenhand import commands
from evenhand.client import Client

from services.training.zoo import ZOO
from tests.gateway.test_synthesis import Studio
from tests.platform.prompt_grid.worlds import PROMPTS

MODEL, COUNT = "phantom-diffusion", 4


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio")
    shutil.copytree(ZOO / MODEL, folder / "zoo" / MODEL)
    studio = Studio(folder)
    yield studio
    studio.close()


@pytest.fixture
def run(studio, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("EVENHAND_ADDRESS", studio.grpc)
    monkeypatch.setenv("COLUMNS", "200")
    for name in (MODEL, "sex-classifier"):
        shutil.copytree(ZOO / name, tmp_path / "zoo" / name)
    monkeypatch.setenv("EVENHAND_ZOO", str(tmp_path / "zoo"))
    (tmp_path / "prompts.txt").write_text("# chests\n" + "\n".join(PROMPTS[:5]))

    def run(*asked):
        command = ("models", "prompt-grid", MODEL, "--out", tmp_path / "grid", "--prompts", tmp_path / "prompts.txt")
        code = commands.run([str(word) for word in (*command, "--count", COUNT, "--steps", 3, "--seed", 3, *asked)])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_model_beside_itself_changes_no_image(run, studio, tmp_path):
    judged = ("--classifier", "sex-classifier", "--labelled", "60", "--baseline", f"{MODEL}@1")
    code, out, err = run(*judged, "--target", "0.5/0.5")
    assert code == 0, err
    assert "bias(T) per prompt" in out
    report = json.loads((tmp_path / "grid" / "report.json").read_text())
    assert report["noise"] == {"distinct": 5 * COUNT, "images": 5 * COUNT, "shared": True}
    assert [row["changed"] for row in report["flips"]] == [0, 0]
    assert {row["judge"] for row in report["bias"]} == {"readers", "sex-classifier@1"}
    table = pd.read_parquet(tmp_path / "grid" / "grid.parquet")
    before, after = (table[table["role"] == role].reset_index(drop=True) for role in ("baseline", "model"))
    assert (before["pixels_digest"] == after["pixels_digest"]).all()
    assert (tmp_path / "grid" / "report.html").read_text().startswith("<!doctype html>")

    row = after.iloc[7]  # any image can be made again by what its row says
    with Client(studio.grpc, timeout=120) as client:
        asked = {"model": MODEL, "seed": int(row["seed"]), "first_index": int(row["index"]), "count": 1, "steps": 3}
        (image,) = client.generations.stream(row["prompt"], **asked)
    assert image.digest == row["pixels_digest"]


def test_a_model_that_takes_no_prompt_is_refused(run):
    code, _, err = run("--baseline", "pelvis-diffusion")
    assert code == 4
    assert "prompts are for models of text-to-image" in err
