"""Whole audits of generators whose shares are planted, without a network."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from services.platform.prompt_grid.auditing import audit as run
from services.platform.prompt_grid.measures import bias_rows
from services.platform.prompt_grid.orders import Order
from tests.platform.prompt_grid.worlds import PROMPTS, Planted, forgetful, timid, write_registry

FAIR, SKEWED = (lambda prompt: 0.5), (lambda prompt: 0.75)


def split(prompt):
    """Only women for half of the prompts, only men for the others."""
    return float(PROMPTS.index(prompt) % 2)


def row_of(report, role="model", judge="readers"):
    return next(row for row in report["bias"] if (row["role"], row["judge"]) == (role, judge))


def reading(row, name="bias_to_target"):
    return next(one for one in row["readings"] if one["name"] == name)


def table_of(files):
    return pd.read_parquet(io.BytesIO(files["grid.parquet"]))


def test_a_planted_share_is_found_with_its_size(audit):
    report, files = audit(Planted({"planted@1": SKEWED}), targets=("0.5/0.5", "Female=0.3,Male=0.7"))
    bias = reading(row_of(report))
    assert 0.2 < bias["ci_low"] <= 0.5 <= bias["ci_high"]
    assert bias["corrected"] == pytest.approx(0.5, abs=0.12)
    share = row_of(report)["shares"][0]
    assert (share["group"], share["target"]) == ("Female", 0.5)
    assert share["ci_low"] <= 0.75 <= share["ci_high"]
    assert "biased" in report["findings"][0]["sentence"]
    other = report["bias"][1]
    assert reading(other)["ci_low"] <= 0.9 <= reading(other)["ci_high"]
    assert reading(other, "bias_pairwise") == reading(row_of(report), "bias_pairwise")  # Eq. 4 knows no target
    assert [row["n"] for row in report["by_prompt"]] == [40] * len(PROMPTS)
    assert json.loads(files["report.json"]) == report
    table = table_of(files)
    assert len(table) == table["noise_digest"].nunique() == 40 * len(PROMPTS)
    assert (table["group_readers"] == "Female").mean() == pytest.approx(share["observed"])
    page = files["report.html"].decode()
    assert "Equation 4 as it was printed" in page
    assert page.count("<svg") >= 1
    assert "http" not in page


def test_a_fair_generator_is_rarely_called_biased(order):
    platform = Planted({"planted@1": FAIR})
    fields = order(images=20)
    lows = []
    for seed in range(8):
        paths = {name: Path(fields[name]) for name in ("prompts", "registry")}
        grid = run(Order(**{**fields, **paths, "seed": seed}), platform, lambda *_: None)
        lows.append(reading(bias_rows(grid)[0])["ci_low"])
    assert sum(low > 0 for low in lows) <= 1


def test_prompts_that_cancel_each_other_are_flagged(audit):
    report, _ = audit(Planted({"planted@1": split}))
    row = row_of(report)
    assert reading(row)["estimate"] > 0.95
    assert reading(row, "bias_to_target_pooled")["estimate"] < 0.05
    assert row["pooled_hides"]
    assert any("look fair" in one["sentence"] for one in report["findings"] if one["family"] == "pooled")


def test_before_and_after_from_the_same_noise(audit):
    platform = Planted({"planted@1": SKEWED, "planted@2": FAIR})
    report, files = audit(platform, model="planted@2", baseline="planted@1")
    (row,) = report["changes"]
    change = next(one for one in row["readings"] if one["name"] == "bias_to_target")
    assert change["ci_low"] <= -0.5 <= change["ci_high"] < 0
    share = row["shares"][0]
    assert share["ci_low"] <= -0.25 <= share["ci_high"] < 0
    (flips,) = report["flips"]
    assert flips["table"][1][0] == 0  # the same noise: whoever was a man before is one after
    assert flips["table"][0][1] == flips["changed"] == sum(one["changed"] for one in flips["prompts"])
    assert report["noise"]["shared"]
    assert "No other attribute was found to have moved (10 tests)." in report["not_found"]
    table = table_of(files)
    assert list(table.groupby("role")["noise_digest"].nunique()) == [40 * len(PROMPTS)] * 2
    assert "Before and after" in files["report.html"].decode()


def test_another_attribute_that_moves_is_found(audit):
    healthy = PROMPTS[PROMPTS.index("Frontal chest radiograph. heart of normal size, no pleural effusion")]
    platform = Planted({"planted@1": FAIR, "planted@2": FAIR}, meant={"planted@2": lambda prompt: healthy})
    report, _ = audit(platform, model="planted@2", baseline="planted@1")
    moved = [one["sentence"] for one in report["findings"] if one["family"] == "others"]
    assert any("cardiomegaly, present where asked for" in sentence for sentence in moved)


def test_a_classifiers_errors_are_taken_out(audit):
    platform = Planted({"planted@1": SKEWED}, classifiers={"forgetful": forgetful})
    report, files = audit(platform, classifiers=("forgetful",), labelled=400)
    row = row_of(report, judge="forgetful@1")
    share = row["shares"][0]
    assert share["observed"] == pytest.approx(0.75 * 0.75 + 0.25 * 0.05, abs=0.06)
    assert share["ci_low"] <= 0.75 <= share["ci_high"]
    assert share["estimate"] > share["observed"] + 0.1
    judge = report["judges"][1]
    (women, mistaken), _ = judge["confusion"]
    assert mistaken / (women + mistaken) == pytest.approx(0.25, abs=0.07)
    assert judge["learned_from"] is None
    (agreement,) = report["agreement"]
    assert agreement["agree"] == pytest.approx(0.8, abs=0.06)
    assert {"p_forgetful@1_Female", "p_forgetful@1_Male"} <= set(table_of(files))


def test_a_classifier_decides_at_its_packages_thresholds(audit):
    """At even odds it would call everyone a man, and could be measured to be too weak to judge."""
    thresholds = {"Female": 0.1, "Male": 0.9}
    platform = Planted({"planted@1": SKEWED}, classifiers={"timid": timid}, thresholds=thresholds)
    report, files = audit(platform, classifiers=("timid",), labelled=100)
    (women, mistaken), (wrong, men) = report["judges"][1]["confusion"]
    assert mistaken == wrong == 0 < min(women, men)
    assert report["agreement"][0]["agree"] == 1.0
    assert "at the thresholds of its package" in files["report.html"].decode()


def test_longer_runs_and_other_orders_of_prompts_begin_with_the_same_images(audit, tmp_path):
    platform = Planted({"planted@1": FAIR})
    (tmp_path / "some.csv").write_text("prompt\n" + "\n".join(f'"{prompt}"' for prompt in reversed(PROMPTS[:6])))
    _, short = audit(platform, images=3, prompts=str(tmp_path / "some.csv"))
    _, long = audit(platform, images=5)
    both = table_of(short).merge(table_of(long), on=["prompt", "index"], suffixes=("", "_long"))
    assert len(both) == 18
    assert (both["pixels_digest"] == both["pixels_digest_long"]).all()
    assert audit(platform, images=3)[0]["digest"] == audit(platform, images=3)[0]["digest"]
    assert audit(platform, images=3, seed=2)[0]["digest"] != audit(platform, images=3)[0]["digest"]


def test_prompts_in_other_words_are_judged_by_classifiers_alone(audit, tmp_path):
    (tmp_path / "words.txt").write_text("\n".join(f"the chest of a person in scene {number}" for number in range(6)))
    platform = Planted({"planted@1": SKEWED}, classifiers={"forgetful": forgetful})
    asked = {"prompts": str(tmp_path / "words.txt"), "readers": False, "classifiers": ("forgetful",)}
    report, files = audit(platform, **asked)
    assert report["groups"] == ["Male", "Female"]
    (row,) = report["bias"]
    assert "not measured" in row["notes"][0]
    assert report["others"] == []
    assert "No reader reads these images." in files["report.html"].decode()


def test_a_version_that_only_the_platform_has_gets_the_grid_of_its_baseline(audit, tmp_path):
    taught = {"recipe": "r", "world": "null", "organs": ["brain", "cardiac"], "patients": 1, "seed": 1}
    zoo = str(write_registry(tmp_path / "zoo", training=taught))
    platform = Planted({"planted@1": FAIR, "planted@2": FAIR}, classifiers={"forgetful": forgetful})
    asked = {"model": "planted@2", "baseline": "planted@1", "prompts": None, "registry": zoo, "images": 1}
    report, _ = audit(platform, **asked, readers=False, classifiers=("forgetful",), labelled=0)
    assert [prompt["kind"] for prompt in report["prompts"]] == ["cardiac"] * 20
    assert all("sex" not in prompt["named"] for prompt in report["prompts"])
