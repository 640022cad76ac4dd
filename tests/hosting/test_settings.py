"""What the rooms take from one place, so that they cannot differ about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.audit.settings import Settings as AuditSettings
from services.gateway.settings import Settings as GatewaySettings
from services.hosting.settings import HostSettings
from services.training.settings import Settings as TrainingSettings

ROOMS = (AuditSettings, GatewaySettings, TrainingSettings)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("EVENHAND_LEDGER_URL", "EVENHAND_STORE_URL", "EVENHAND_ZOO"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EVENHAND_DATA_DIR", str(tmp_path / "environment"))


def test_a_data_directory_given_as_argument_moves_the_ledger_and_the_store_of_every_room(tmp_path: Path) -> None:
    found = {(room(data_dir=tmp_path).ledger, room(data_dir=tmp_path).store) for room in ROOMS}
    assert found == {(f"sqlite:///{tmp_path}/ledger.db", f"file://{tmp_path}/objects")}


def test_addresses_in_the_environment_hold_for_every_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENHAND_LEDGER_URL", "postgresql+psycopg://host/name")
    monkeypatch.setenv("EVENHAND_STORE_URL", "s3://host/bucket")
    assert {(room().ledger, room().store) for room in ROOMS} == {("postgresql+psycopg://host/name", "s3://host/bucket")}


def test_a_variable_that_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose files leave it: ``EVENHAND_DATA_DIR: ${EVENHAND_DATA_DIR:-}``."""
    for name in ("EVENHAND_DATA_DIR", "EVENHAND_ZOO"):
        monkeypatch.setenv(name, "")
    assert {room().data_dir for room in ROOMS} == {Path.cwd() / ".evenhand"}
    assert HostSettings().registries == (Path.cwd() / "deploy/zoo", Path.cwd() / ".evenhand/models")


def test_hosts_serve_what_training_publishes() -> None:
    assert TrainingSettings().models in HostSettings().registries
