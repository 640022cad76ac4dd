"""Nothing outside the folder is read, and nothing that is not a plain file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from services.adapters.decoder import InFolder, InMemory
from services.errors import ServiceError

SECRET = b"outside"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(SECRET)
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "plain").write_bytes(b"inside")
    (root / "link").symlink_to("../secret")
    (root / "inner-link").symlink_to("sub/plain")
    (root / "linked-folder").symlink_to("..")
    os.mkfifo(root / "fifo")
    return root


def test_plain_file_is_read(folder):
    assert InFolder(folder, "sub/plain").read(100) == b"inside"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../secret",
        "sub/../../secret",
        "./sub/plain",
        "sub//plain",
        "sub/",
        "/etc/passwd",
        "//etc/passwd",
        "sub\\..\\..\\secret",
        "..\\secret",
        "C:\\secret",
        "sub/plain\0.png",
        "link",
        "inner-link",
        "linked-folder/secret",
        "sub/plain/more",
    ],
)
def test_path_that_leads_elsewhere_is_refused(folder, name):
    with pytest.raises(ServiceError) as caught:
        InFolder(folder, name).read(100)
    assert (caught.value.reason, caught.value.field) == ("PATH_NOT_CONFINED", name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "FILE_NOT_FOUND"),
        ("%2e%2e/secret", "FILE_NOT_FOUND"),
        ("．．/secret", "FILE_NOT_FOUND"),
        ("fifo", "NOT_A_FILE"),
        ("sub", "NOT_A_FILE"),
        ("x" * 300, "FILE_UNREADABLE"),
    ],
)
def test_what_is_no_plain_file_is_refused_without_waiting(folder, name, reason):
    with pytest.raises(ServiceError) as caught:
        InFolder(folder, name).read(100)
    assert caught.value.reason == reason


def test_file_swapped_for_a_link_or_fifo_after_listing_is_refused(folder):
    plain = folder / "sub" / "plain"
    plain.unlink()
    plain.symlink_to("../../secret")
    with pytest.raises(ServiceError, match="symbolic link"):
        InFolder(folder, "sub/plain").read(100)
    plain.unlink()
    os.mkfifo(plain)
    with pytest.raises(ServiceError, match="not a plain file"):
        InFolder(folder, "sub/plain").read(100)


@pytest.mark.parametrize("file", [InMemory("a", b"x" * 11), "folder"])
def test_file_over_the_limit_is_refused(folder, file):
    (folder / "large").write_bytes(b"x" * 11)
    source = InFolder(folder, "large") if file == "folder" else file
    with pytest.raises(ServiceError) as caught:
        source.read(10)
    assert caught.value.reason == "FILE_OVER_LIMIT"
    assert len(source.read(11)) == 11


def test_no_descriptor_is_left_open(folder):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("sub/plain", "link", "fifo", "absent", "sub/plain/more"):
        with contextlib.suppress(ServiceError):
            InFolder(folder, name).read(100)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
