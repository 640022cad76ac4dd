"""The command, the client, the gateway and a real generator: an untrained one, which must be found out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from evenhand import commands

from tests.gateway.test_synthesis import MODEL, Studio
from tests.platform.evaluation import worlds


@pytest.fixture
def studio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio")
    studio = Studio(folder)
    yield studio, folder / "zoo"
    studio.close()


def write_registry(root: Path, zoo: Path) -> Path:
    """The served package, whose record says here that pelvis phantoms taught it; that is no part of its digest."""
    shutil.copytree(zoo / MODEL, root / MODEL)
    path = root / MODEL / "1" / "model.yaml"
    record = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(record | {"training": worlds.MODEL["training"]}))
    worlds.write_encoder(root)
    return root


def test_an_untrained_generator_is_found_out(studio, tmp_path, monkeypatch, capfd):
    platform, zoo = studio
    monkeypatch.setenv("EVENHAND_ADDRESS", platform.grpc)
    registry = write_registry(tmp_path / "registry", zoo)
    asked = ("--count", "24", "--steps", "2", "--seed", "3", "--registry", str(registry))
    code = commands.run(["models", "evaluate", MODEL, "--out", str(tmp_path / "quality"), *asked])
    printed = capfd.readouterr()
    assert code == 0, printed.err
    assert "the images differ from real ones: KID[phantom-clip, n=24]" in printed.out
    report = json.loads((tmp_path / "quality" / "report.json").read_text())
    stated = report["samples"][0]
    assert (stated["source"], stated["images"], stated["distinct_noises"]) == ("the platform", 24, 24)
    assert report["settings"]["sampling"] == {"steps": 2}
    assert {path.name for path in (tmp_path / "quality").iterdir()} == {
        "report.json",
        "report.html",
        "contact-sheet.png",
    }
