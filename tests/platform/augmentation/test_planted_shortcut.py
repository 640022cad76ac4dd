"""A planted shortcut: real images alone teach it, balanced images free the classifier of it."""

from __future__ import annotations

from importlib import util
from pathlib import Path

import pytest

from services.platform.augmentation.orders import read_order
from services.platform.augmentation.studying import study

_found = util.spec_from_file_location("hearts", Path(__file__).with_name("hearts.py"))
hearts = util.module_from_spec(_found)
_found.loader.exec_module(hearts)

pytestmark = pytest.mark.timeout(900)

DRAWN = {"name": "real + 320", "real": True, "synthetic": 320, "source": "oracle"}
SHUFFLED = {**DRAWN, "name": "real + 320 shuffled", "shuffled": True}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    order = read_order({**hearts.ORDER, "arms": [hearts.REAL, DRAWN, SHUFFLED]})
    folder = tmp_path_factory.mktemp("study")
    found, _ = study(
        order,
        hearts.real_hearts(),
        {"oracle": hearts.oracle()},
        hearts.NAMES,
        folder,
        facts={},
        fidelity={},
        encode=None,
    )
    return found


def group(report, arm, metric, name, threshold="validation"):
    (row,) = [
        row
        for row in report["groups"]
        if (row["arm"], row["metric"], row["group"]) == (arm, metric, name)
        and row["threshold"] == ("" if metric == "auroc" else threshold)
    ]
    return row


def gap(report, arm, metric="balanced_accuracy"):
    (row,) = [
        row for row in report["gaps"] if (row["arm"], row["metric"], row["threshold"]) == (arm, metric, "validation")
    ]
    return row


def test_real_images_alone_teach_the_shortcut(report):
    assert group(report, "real", "tpr", "obese")["mean"] > 0.9
    assert group(report, "real", "tpr", "normal")["mean"] < 0.6
    assert gap(report, "real", "tpr")["ci_low"] > 0


def test_balanced_images_raise_the_starved_group_by_five_points_and_close_the_gap(report):
    starved = group(report, "real + 320", "balanced_accuracy", "normal")
    assert starved["change"] >= 0.05 and starved["change_low"] > 0
    assert group(report, "real + 320", "auroc", "normal")["change_low"] > 0
    closed = gap(report, "real + 320", "tpr")
    assert closed["share_gone"] >= 0.37  # the paper's
    assert closed["change_high"] < 0
    assert closed["verdict"] == "narrower"  # a rate alone tells no more


def test_the_spread_over_repeats_and_the_interval_over_patients_are_different_numbers(report):
    row = group(report, "real", "balanced_accuracy", "normal")
    assert row["sd_repeats"] != pytest.approx((row["ci_high"] - row["ci_low"]) / 3.92)
    assert report["seeds"] == [7000, 7001]
