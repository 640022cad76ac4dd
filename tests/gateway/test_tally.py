from __future__ import annotations

import threading

import pytest

from services.gateway.resources.tally import Tally


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files" / "deep").mkdir(parents=True)
    (tmp_path / "files" / "deep" / "old").write_bytes(b"123")
    return tmp_path / "files"


def allow(files, total):
    pass


def put(folder, path, data, check=allow):
    arrived = folder.parent / f"arrived-{threading.get_ident()}"
    arrived.write_bytes(data)
    Tally(folder, folder.parent / "tally").put(arrived, folder / path, check)


def count(folder):
    return Tally(folder, folder.parent / "tally").read()


def test_a_folder_is_walked_once_and_then_only_counted_on(folder):
    assert count(folder) == (1, 3)
    put(folder, "new/er", b"1234")
    assert count(folder) == (2, 7)
    (folder / "unseen").write_bytes(b"x")  # nobody walks again
    assert count(folder) == (2, 7)


@pytest.mark.parametrize("left", [b"", None])
def test_a_change_that_was_cut_short_is_counted_again(folder, left):
    assert count(folder) == (1, 3)
    (folder / "moved-but-not-counted").write_bytes(b"12")
    tally = folder.parent / "tally"
    tally.unlink()
    if left is not None:
        tally.write_bytes(left)
    assert count(folder) == (2, 5)


def test_a_file_that_is_refused_changes_nothing(folder):
    def refuse(files, total):
        assert (files, total) == (1, 1)  # it would take the old one's place
        raise ValueError

    with pytest.raises(ValueError):
        put(folder, "deep/old", b"1", refuse)
    assert count(folder) == (1, 3)
    assert (folder / "deep" / "old").read_bytes() == b"123"


@pytest.mark.parametrize("path", ["deep", "deep/old/below"])
def test_a_file_that_finds_no_place_changes_nothing(folder, path):
    with pytest.raises(OSError):
        put(folder, path, b"1")
    assert count(folder) == (1, 3)
    assert (folder.parent / "tally").read_bytes() == b"1 3"


def test_many_at_once_lose_no_file(folder):
    def send(sender):
        for at in range(25):
            put(folder, f"{sender}/{at}", b"12")

    senders = [threading.Thread(target=send, args=(sender,)) for sender in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert count(folder) == (201, 403)
