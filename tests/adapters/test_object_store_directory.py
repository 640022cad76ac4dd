"""What only a directory can do wrong: rot on the disk, crash between writing and naming, a folder that is away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.adapters.object_store import DirectoryStore
from services.errors import Internal, InvalidInput, Unavailable

_WRITER = """
import sys
from pathlib import Path
from services.adapters.object_store import DirectoryStore
store, number = DirectoryStore(Path(sys.argv[1])), 0
while True:
    ref = store.put(number.to_bytes(4, "big") * 50_000)
    print(ref.key, flush=True)
    number += 1
"""


def test_a_flipped_bit_on_the_disk_is_never_served(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    ref = store.put(b"precious")
    path = tmp_path / ref.key
    for position in range(ref.bytes):
        rotten = bytearray(b"precious")
        rotten[position] ^= 1 << (position % 8)
        path.write_bytes(rotten)
        with pytest.raises(Internal) as caught:
            store.get(ref.key)
        assert caught.value.reason == "ARTIFACT_CORRUPT"


@pytest.mark.parametrize("damage", [b"", b"prec", b"precious and more", b"preciouS"])
def test_putting_the_right_bytes_again_heals_a_damaged_object(tmp_path: Path, damage: bytes) -> None:
    store = DirectoryStore(tmp_path)
    ref = store.put(b"precious")
    (tmp_path / ref.key).write_bytes(damage)
    store.put(b"precious")
    assert store.get(ref.key) == b"precious"


def test_every_acknowledged_object_survives_the_death_of_its_writer(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for kill in range(5):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged.append(writer.stdout.readline().strip())
        time.sleep(0.01 * kill)
        writer.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        writer.wait()
    store = DirectoryStore(tmp_path)
    assert all(store.get(key) for key in acknowledged)
    assert all(store.get(key) for key in list(store.keys())), "a crash left half an object under a key"


def test_nothing_is_left_behind_in_the_staging_folder(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.put(b"one")
    store.put(b"one")
    store.put_named("a/b", b"two")
    store.check()
    assert list((tmp_path / ".staging").iterdir()) == []


def test_an_object_cannot_be_the_folder_of_another(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.put_named("a", b"object")
    with pytest.raises(InvalidInput, match="the folder of another"):
        store.put_named("a/b", b"in it")


def test_a_root_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Unavailable, match="EEXIST"):
        DirectoryStore(tmp_path / "file" / "objects").put(b"x")


def test_a_full_disk_is_unavailable_and_leaves_no_object(small_disk: Path) -> None:
    store = DirectoryStore(small_disk)
    kept = store.put(b"k" * 50_000)
    with pytest.raises(Unavailable, match="ENOSPC"):
        store.put(os.urandom(2_000_000))
    assert list(store.keys()) == [kept.key]
    assert store.put(b"room again").key in set(store.keys())
