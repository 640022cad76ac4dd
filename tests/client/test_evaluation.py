"""`evenhand models evaluate` as the client sees it: the function that is found, what it is given, what is printed."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from evenhand import evaluation, plugins
from evenhand.errors import Overloaded
from evenhand.pictures import GeneratedImage

REPORT = {
    "findings": [{"sentence": "chest, sex Female: pleural effusion is read back as asked for in 41 % of 60 images."}],
    "not_found": ["No sign was found that images are copies of training images (4 tests, n=200 to 200)."],
}


@pytest.fixture
def run(command_line):
    """Without a platform at the other end."""
    return command_line


@pytest.fixture
def given(monkeypatch):
    """What the platform's function was given, in its place one of the tests' own."""
    seen = {}

    def compute(order, served, ask, progress):
        seen.update(order=order, served=served, ask=ask)
        progress("drawing chest", 1, 0)
        progress("comparing", 2, 2)
        return REPORT, {"report.json": b"{}", "report.html": b"<html>"}

    class Contributed(EntryPoint):
        def load(self):
            return compute

    monkeypatch.setattr(
        plugins,
        "entry_points",
        lambda group, name: [Contributed(name, "tests", group)] if name == "evaluate" else [],
    )
    return seen


@pytest.fixture
def files(tmp_path):
    (tmp_path / "made").mkdir()
    return ("--images", tmp_path / "made", "--table", tmp_path / "made.csv")


def test_findings_are_printed_and_the_files_written(run, given, files, tmp_path):
    code, out, _ = run("models", "evaluate", "phantom-diffusion", "--out", tmp_path / "q", "--steps", "7", *files)
    assert code == 0
    assert "41 % of 60 images" in out
    assert "No sign was found" in out
    assert (tmp_path / "q" / "report.html").read_bytes() == b"<html>"
    assert given["order"]["synthetic"] == (str(files[1]), str(files[3]))
    assert given["order"]["sampling"] == {"steps": 7}
    assert (given["served"], given["ask"]) == (None, None)


def test_json_is_the_report(run, given, files, tmp_path):
    code, out, _ = run("models", "evaluate", "phantom-diffusion", "--out", tmp_path / "q", "--json", *files)
    assert (code, json.loads(out)) == (0, REPORT)


def test_a_folder_without_its_table_is_named(run, given, files, tmp_path):
    code, _, err = run("models", "evaluate", "phantom-diffusion", "--out", tmp_path / "q", *files[:2])
    assert code == 4
    assert "--table" in err


def test_without_the_platforms_code_it_says_so(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "entry_points", lambda group, name: [])
    code, _, err = run("models", "evaluate", "phantom-diffusion", "--out", tmp_path / "q", *files)
    assert code == 5
    assert "platform is installed" in err


class Busy:
    """In the place of ``client.generations``: refuses twice, then streams."""

    def __init__(self) -> None:
        self.asked = []

    def stream(self, prompt, **settings):
        self.asked.append((prompt, settings))
        if len(self.asked) < 3:
            raise Overloaded("no room", retry_after_s=0.001)
        yield GeneratedImage(4, np.zeros((1, 2, 2), np.float32), False, 1, 1, {"noise_digest": "x"})


def test_images_are_asked_for_again_where_there_is_no_room():
    class Client:
        generations = Busy()

    wanted = {"prompt": "a chest", "count": 1, "first_index": 4, "seed": 2}
    found = list(evaluation.images_of(Client(), "models/m", wanted))
    assert [(index, record) for index, _, record in found] == [(4, {"noise_digest": "x"})]
    prompt, settings = Client.generations.asked[-1]
    assert prompt == "a chest"
    assert settings == {"model": "models/m", "count": 1, "first_index": 4, "seed": 2}
    assert len(Client.generations.asked) == 3
