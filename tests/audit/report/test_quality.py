"""Image quality on the page: a perceptual distance has tables and panels for each encoder that it was taken in."""

from __future__ import annotations

import copy
import re

import pytest

from services.audit.report import render_report
from services.audit.results.methods import metric_cards
from tests.audit.report.pages import section, words

ENCODERS = {"phantom-clip": 0.125, "ward-clip": 0.25}


@pytest.fixture(scope="module")
def with_distances(report):
    """The sample's PSNR rows again as distances, each gap of one encoder with one size."""
    changed = copy.deepcopy(report)
    for encoder, size in ENCODERS.items():
        as_distance = {"metric": "perceptual", "label": encoder}
        changed["cells"] += [row | as_distance for row in report["cells"] if row["metric"] == "psnr"]
        changed["gaps"] += [
            row | as_distance | {"estimate": size}
            for row in report["gaps"]
            if (row["metric"], row["definition"]) == ("psnr", "max_min")
        ]
    changed["methods"]["metrics"]["perceptual"] = metric_cards()["metrics"]["perceptual"]
    return changed


@pytest.fixture(scope="module")
def distances_page(with_distances):
    return render_report(with_distances)


def test_every_encoder_has_a_table_of_its_own_with_its_own_gaps(distances_page):
    quality = section(distances_page, "quality")
    for encoder, size in ENCODERS.items():
        title = f"Perceptual distance: {encoder}"
        assert f"<h3>{title}</h3>" in quality
        table = re.search(rf"<caption>{title}: largest minus smallest group</caption>.*?</table>", quality, re.DOTALL)
        assert table and table[0].count(f"{size:.3f}") == 2 * 2  # attributes and candidates
        means = re.search(rf"{title} of each group(.*?)</details>", quality, re.DOTALL)
        other = next(name for name in ENCODERS if name != encoder)
        assert means and encoder in means[1] and other not in means[1]


def test_every_encoder_has_its_panels(distances_page):
    groups = section(distances_page, "groups")
    for encoder in ENCODERS:
        for attribute in ("sex", "age"):
            assert f"{encoder} by {attribute}: unet" in groups


def test_every_metric_says_which_end_is_better(distances_page):
    told = words(section(distances_page, "quality"))
    assert "PSNRDecibels, higher is better." in told
    for encoder in ENCODERS:
        assert f"{encoder}0 upwards, lower is better, 0 is identical." in told
