"""From a URL to a store; secrets only from the environment or files."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.adapters.object_store import DirectoryStore, MemoryStore, S3Store, open_object_store
from services.errors import InvalidInput

URL = "s3://127.0.0.1:9000/bucket?secure=0"


def test_each_scheme_opens_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENHAND_S3_ACCESS_KEY", "a")
    monkeypatch.setenv("EVENHAND_S3_SECRET_KEY", "s")
    assert isinstance(open_object_store("memory:"), MemoryStore)
    assert isinstance(open_object_store(f"file://{tmp_path}/a%20folder"), DirectoryStore)
    assert isinstance(open_object_store(URL), S3Store)


def test_a_file_url_keeps_objects_in_its_folder(tmp_path: Path) -> None:
    open_object_store(f"file://{tmp_path}/a%20folder").put_named("x", b"1")
    assert (tmp_path / "a folder" / "x").read_bytes() == b"1"


def test_secrets_can_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS", "SECRET"):
        (tmp_path / name).write_text("value\n")
        monkeypatch.delenv(f"EVENHAND_S3_{name}_KEY", raising=False)
        monkeypatch.setenv(f"EVENHAND_S3_{name}_KEY_FILE", str(tmp_path / name))
    assert isinstance(open_object_store(URL), S3Store)


@pytest.mark.parametrize("secret_file", ["", "/no/such/file"])
def test_missing_secrets_are_named(monkeypatch: pytest.MonkeyPatch, secret_file: str) -> None:
    monkeypatch.setenv("EVENHAND_S3_ACCESS_KEY", "a")
    monkeypatch.delenv("EVENHAND_S3_SECRET_KEY", raising=False)
    monkeypatch.setenv("EVENHAND_S3_SECRET_KEY_FILE", secret_file)
    with pytest.raises(InvalidInput, match="EVENHAND_S3_SECRET_KEY"):
        open_object_store(URL)


@pytest.mark.parametrize(
    "url",
    ["", "objects", "http://host/bucket", "s3://host", "s3://key:secret@host/bucket", "file://elsewhere/x", "file://"],
)
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_object_store(url)
    assert caught.value.field == "EVENHAND_STORE_URL"
    assert "secret@" not in str(caught.value)
