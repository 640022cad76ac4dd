"""The shipped study's oracle, with eight repeats and many patients to judge: the gap itself closes, beyond chance."""

from __future__ import annotations

from importlib import util
from pathlib import Path

import pytest
import yaml

from services.platform.augmentation.orders import read_order
from services.platform.augmentation.studying import study

_found = util.spec_from_file_location("hearts", Path(__file__).with_name("hearts.py"))
hearts = util.module_from_spec(_found)
_found.loader.exec_module(hearts)

SHIPPED = Path(__file__).parents[3] / "deploy/studies/augmentation.yaml"


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_balanced_drawn_images_close_the_gap_in_balanced_accuracy_by_more_than_the_paper_says(tmp_path):
    order = yaml.safe_load(SHIPPED.read_text())["augmentation"]["order"]
    order["arms"] = [arm for arm in order["arms"] if arm["name"] in ("real", "real + 400 drawn")]
    report, _ = study(
        read_order({**order, "attributes": ["bmi"], "gaps": order["gaps"][:1], "workers": 2}),
        hearts.real_hearts(teaching=400, patients=900),
        {"oracle": hearts.oracle(400)},
        hearts.NAMES,
        tmp_path,
        facts={},
        fidelity={},
        encode=None,
    )
    (starved,) = [
        row
        for row in report["groups"]
        if (row["arm"], row["metric"], row["threshold"], row["group"])
        == ("real + 400 drawn", "balanced_accuracy", "argmax", "normal")
    ]
    assert starved["change"] >= 0.05 and starved["change_low"] > 0
    (closed,) = [row for row in report["gaps"] if row["arm"] != "real" and row["threshold"] == "argmax"]
    assert closed["share_gone"] >= 0.37 and closed["change_high"] < 0, closed
    assert closed["verdict"] == "worse group gains"
