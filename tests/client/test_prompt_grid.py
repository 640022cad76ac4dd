"""`evenhand models prompt-grid` as the client sees it: what the platform's function is given, and what is printed."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from evenhand import plugins, prompt_grid
from evenhand.models import ModelState, Prediction
from evenhand.resources.v1 import model_pb2

REPORT = {
    "headline": "Female in 76 % of 2000 images: bias(T) per prompt 0.52.",
    "findings": [{"sentence": "by readers: biased."}],
    "not_found": ["No other attribute was found to have moved (7 tests)."],
}


@pytest.fixture
def run(command_line):
    """Without a platform at the other end."""
    return command_line


@pytest.fixture
def given(monkeypatch):
    """What the platform's function was given, in its place one of the tests' own."""
    seen = {}

    def compute(order, platform, progress):
        seen.update(order=order, platform=platform)
        progress("making and judging images", 1, 2)
        return REPORT, {"report.json": b"{}", "report.html": b"<html>", "grid.parquet": b"PAR1"}

    class Contributed(EntryPoint):
        def load(self):
            return compute

    monkeypatch.setattr(
        plugins,
        "entry_points",
        lambda group, name: [Contributed(name, "tests", group)] if name == "prompt-grid" else [],
    )
    return seen


@pytest.fixture
def asked(tmp_path):
    (tmp_path / "made").mkdir()
    files = ("--images", tmp_path / "made", "--table", tmp_path / "made.csv")
    return ("models", "prompt-grid", "phantom-diffusion@2", "--out", tmp_path / "grid", *files)


def test_the_order_is_what_was_said_and_the_findings_are_printed(run, given, asked, tmp_path):
    said = ("--target", "0.5/0.5", "--target", "Female=0.3,Male=0.7", "--classifier", "judge@1", "--no-readers")
    code, out, _ = run(*asked, *said, "--steps", "7", "--seed", "3")
    assert code == 0
    assert all(words in out for words in ("76 % of 2000 images", "by readers: biased", "have moved"))
    assert (tmp_path / "grid" / "grid.parquet").read_bytes() == b"PAR1"
    assert given["platform"] is None
    order = given["order"]
    assert order["targets"] == ("0.5/0.5", "Female=0.3,Male=0.7")
    assert (order["model"], order["attribute"], order["images"], order["seed"]) == (
        "phantom-diffusion@2",
        "sex",
        100,
        3,
    )
    assert (order["classifiers"], order["readers"], order["sampling"]) == (("judge@1",), False, {"steps": 7})
    assert order["made"] == (str(tmp_path / "made"), str(tmp_path / "made.csv"))
    assert order["baseline_made"] is None


def test_json_is_the_report(run, given, asked):
    code, out, _ = run(*asked, "--json")
    assert (code, json.loads(out)) == (0, REPORT)


def test_a_folder_without_its_table_is_named(run, given, asked, tmp_path):
    code, _, err = run(*asked, "--baseline-images", tmp_path / "made")
    assert code == 4
    assert "--baseline-table" in err


def test_without_the_platforms_code_it_says_so(run, asked, monkeypatch):
    monkeypatch.setattr(plugins, "entry_points", lambda group, name: [])
    code, _, err = run(*asked)
    assert code == 5
    assert "platform is installed" in err


class Models:
    """In the place of ``client.models``: one classifier."""

    def get(self, name):
        spec = model_pb2.PixelSpec(channels=1, height=8, width=8)
        task = model_pb2.TASK_ATTRIBUTE_CLASSIFICATION
        return ModelState(model_pb2.Model(name="models/judge", version="2", task=task, labels=["a", "b"], input=spec))

    def __getitem__(self, name):
        assert name == "judge@2"
        return self

    def infer(self, images):
        values = np.stack([images.mean(axis=(1, 2, 3)), 1 - images.mean(axis=(1, 2, 3))], axis=1)
        return Prediction("models/judge", "2", "", ("a", "b"), (), values, batch=True)


def test_a_served_classifier_is_described_and_asked():
    class Client:
        models = Models()

    platform = prompt_grid.RunningPlatform(Client())
    plain = platform.describe("judge")
    assert (plain["task"], plain["labels"]) == ("attribute-classification", ["a", "b"])
    assert plain["input"] == {"channels": 1, "height": 8, "width": 8}
    assert platform.classify("judge@2", np.full((3, 1, 8, 8), 0.25, np.float32)).tolist() == [[0.25, 0.75]] * 3
