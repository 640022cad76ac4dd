"""A client, and the platform's twin that it speaks to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evenhand import commands
from evenhand.client import Client

from tests.client.twin import Twin, serve


@pytest.fixture
def twin() -> Iterator[Twin]:
    twin = Twin()
    server, twin.address = serve(twin)
    yield twin
    twin.hold.set()
    server.stop(None).wait()


@pytest.fixture
def client(twin: Twin) -> Iterator[Client]:
    with Client(twin.address) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of images, a table that names two of them, and a schema."""
    images = tmp_path / "images"
    (images / "p1").mkdir(parents=True)
    for name in ("p1/a.dcm", "b.dcm", "unlisted.dcm", ".DS_Store"):
        (images / name).write_bytes(name.encode() * 10)
    (tmp_path / "rows.csv").write_text("file,sex,Edema\np1/a.dcm,Female,1\nb.dcm,Male,0\n")
    (tmp_path / "schema.yaml").write_text("image: file\n")
    return tmp_path


SPEC = {
    "cohort": "cohorts/1",
    "pipelines": [
        {"name": "original", "stages": [{"classify": "chest-classifier"}]},
        {
            "name": "degraded",
            "stages": [{"degrade": {"operator": "low-dose-xray", "photons": 3000}}, {"classify": "chest-classifier"}],
        },
    ],
    "attributes": ["sex"],
}


@pytest.fixture
def spec() -> dict[str, Any]:
    return SPEC


@pytest.fixture
def command_line(monkeypatch, capfd):
    """Runs `evenhand` with arguments: exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        code = commands.run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def run(twin, monkeypatch, command_line):
    monkeypatch.setenv("EVENHAND_ADDRESS", twin.address)
    return command_line
