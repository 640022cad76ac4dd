"""A generator's card: what the server says of it, with the reports of the same version and of no other."""

from __future__ import annotations

import json

import pytest
from evenhand.errors import InvalidInput
from evenhand.generator_cards import verdicts_table
from evenhand.model_card import model_card, read_report
from evenhand.resources.v1 import model_pb2

DIGEST = "ab" * 32


@pytest.fixture
def model():
    verdict = model_pb2.BiasVerdict(
        attribute="sex",
        classifier="models/judge@1",
        target={"Female": 0.5, "Male": 0.5},
        before={"Female": 0.75, "Male": 0.25},
        after={"Female": 0.52, "Male": 0.48},
        bias_before=model_pb2.Bias(estimate=0.5, noise_floor=0.08, ci_low=0.4, ci_high=0.6),
        bias_after=model_pb2.Bias(estimate=0.09, noise_floor=0.08, ci_low=0.0, ci_high=0.15),
        kid={"Female": 0.001},
        prompts=20,
        images=800,
    )
    card = model_pb2.GeneratorCard(verdicts=[verdict], intended_use="research <only>", notice="review first")
    lineage = model_pb2.Lineage(base="models/hearts@1", method="sdat", attributes=["sex"])
    return model_pb2.Model(
        name="models/hearts",
        version="2",
        digest=DIGEST,
        generator_card=card,
        lineage=lineage,
        family="latent-diffusion",
    )


def grid(digest=DIGEST):
    models = {"model": {"name": "hearts", "version": "2", "digest": digest}}
    found = [{"family": "change", "sentence": "readers: bias fell"}]
    return {
        "kind": "prompt-grid",
        "models": models,
        "headline": "no bias found",
        "findings": found,
        "digest": "cd" * 32,
    }


def evaluation(digest=DIGEST):
    distance = {"organ": "cardiac", "attribute": "sex", "level": "Female", "state": "ok", "n": 50}
    distance |= {"kid": 0.012, "kid_limits": [0.01, 0.014], "kid_floor": 0.001}
    closeness = {"organ": "cardiac", "space": "pixels", "measure": "ratio", "closer": 3, "n": 100}
    closeness |= {"share": 0.03, "expected": 0.05, "p_value": 0.8}
    return {
        "kind": "generator-quality",
        "generator": {"name": "hearts", "version": "2", "digest": digest},
        "encoder": {"name": "phantom-clip"},
        "distances": [distance, {**distance, "state": "insufficient"}],
        "closeness": [closeness],
        "findings": [{"sentence": "blur in the walls"}],
        "digest": "ef" * 32,
    }


def test_the_page_holds_what_the_model_and_its_reports_say(model):
    page = model_card(model, [grid(), evaluation()])
    for said in (
        "hearts@2",
        "hearts@1",
        "sdat of sex",
        "0.500 (0.400 to 0.600; fair: 0.080)",
        "no bias found",
        "0.012",
    ):
        assert said in page
    for said in ("blur in the walls", "3 of 100", "review first", "research &lt;only&gt;"):
        assert said in page
    assert "No evaluation was given" not in page


def test_without_reports_it_says_what_is_missing(model):
    page = model_card(model)
    assert "No prompt grid was given" in page
    assert page.count("No evaluation was given") == 2


@pytest.mark.parametrize("report", [grid, evaluation])
def test_a_report_of_another_version_is_refused(model, report):
    with pytest.raises(InvalidInput) as raised:
        model_card(model, [report(digest="00" * 32)])
    assert raised.value.reason == "MODEL_DIGEST_MISMATCH"


def test_other_models_and_other_reports_are_refused(model, tmp_path):
    with pytest.raises(InvalidInput, match="no images of nobody"):
        model_card(model_pb2.Model(name="models/chest-classifier"))
    with pytest.raises(InvalidInput, match="not 'audit'"):
        model_card(model, [{"kind": "audit"}])
    with pytest.raises(InvalidInput, match=r"no report\.json"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text(json.dumps(grid()), "utf-8")
    assert read_report(tmp_path) == grid()


def test_verdicts_are_a_row_for_each_classifier(model):
    (row,) = verdicts_table(model.generator_card.verdicts).to_dict("records")
    assert row["before"] == "Female 75%, Male 25%"
    assert row["KID to before"] == "Female 0.0010"
