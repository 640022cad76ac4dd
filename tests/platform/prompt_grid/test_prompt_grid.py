"""Whole audits of generators whose shares are planted, without a network."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

from services.platform.prompt_grid import prompt_grid
from tests.platform.prompt_grid import worlds


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    root = worlds.write_registry(tmp_path_factory.mktemp("zoo"))
    return worlds.write_registry(root, version="2")


@pytest.fixture
def audit(registry, tmp_path):
    def audit(platform, **order):
        prompts = order.pop("prompts", worlds.write_prompts(tmp_path / "prompts.txt"))
        plain = {"model": "planted@1", "attribute": "sex", "prompts": prompts, "images": 40, "registry": str(registry)}
        return prompt_grid({**plain, **order}, platform, lambda *_: None)

    return audit


def reading(report, name="bias_to_target", *, role="model", judge="readers"):
    row = next(row for row in report["bias"] if (row["role"], row["judge"]) == (role, judge))
    return next(one for one in row["readings"] if one["name"] == name)


def test_a_planted_share_is_found_with_its_size(audit):
    report, files = audit(worlds.Planted({"planted@1": lambda prompt: 0.75}))
    bias = reading(report)
    assert bias["ci_low"] > 0.2
    assert bias["ci_low"] <= 0.5 <= bias["ci_high"]
    assert bias["corrected"] == pytest.approx(0.5, abs=0.12)
    shares = report["bias"][0]["shares"][0]
    assert shares["group"] == "Female"
    assert shares["ci_low"] <= 0.75 <= shares["ci_high"]
    assert "biased" in report["findings"][0]["sentence"]
    assert json.loads(files["report.json"]) == report
    table = pd.read_parquet(io.BytesIO(files["grid.parquet"]))
    assert len(table) == 40 * len(worlds.PROMPTS)
    assert table["noise_digest"].nunique() == len(table)
