"""Verdicts: absence of evidence is only then evidence of absence when the test could have found something."""

import math

import pytest

from services.maths.fairness.testing.verdicts import TOLERANCES, change_verdict, tolerance, verdict


@pytest.mark.parametrize(
    ("p", "detectable", "expected"),
    [
        (0.05, 0.02, "gap"),
        (0.0005, 9.0, "gap"),
        (0.0005, None, "gap"),
        (0.051, 0.05, "no_gap_shown"),
        (1.0, 0.0, "no_gap_shown"),
        (1.0, 0.0501, "insufficient_evidence"),
        (1.0, None, "insufficient_evidence"),
        (1.0, math.nan, "insufficient_evidence"),
        (1.0, math.inf, "insufficient_evidence"),
        (None, 0.01, "insufficient_evidence"),
        (math.nan, 0.01, "insufficient_evidence"),
    ],
)
def test_verdict(p, detectable, expected):
    assert verdict(p, detectable, 0.05) == expected
    changed = {"gap": "change", "no_gap_shown": "no_change_shown"}.get(expected, expected)
    assert change_verdict(p, detectable, 0.05) == changed


def test_a_metric_without_tolerance_never_shows_that_there_is_no_gap():
    assert tolerance("ece") is None
    assert verdict(1.0, 0.0, tolerance("ece")) == "insufficient_evidence"


def test_alpha_is_an_argument():
    assert verdict(0.03, 0.01, 0.05, alpha=0.01) == "no_gap_shown"


def test_tolerances():
    assert tolerance("tpr,fpr") == TOLERANCES["tpr"] == 0.10
    assert tolerance("auroc,tpr") == 0.05
    assert tolerance("lpips_alex") == tolerance("lpips_vgg") == 0.02
    assert tolerance("perceptual") == 0.05
    assert tolerance("tpr,ece") is None


def test_no_gap_is_shown_only_where_the_interval_stays_within_the_tolerance():
    assert verdict(0.3, 0.04, 0.05, largest=0.049) == "no_gap_shown"
    assert verdict(0.3, 0.04, 0.05, largest=0.051) == "insufficient_evidence"
    assert verdict(0.01, 0.04, 0.05, largest=0.2) == "gap"
    assert change_verdict(0.3, 0.04, 0.05, largest=0.049) == "no_change_shown"
    assert change_verdict(0.3, 0.04, 0.05, largest=0.051) == "insufficient_evidence"
