"""What every object store promises, asked of all three: memory, a directory, a real S3 server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from services.adapters.object_store import DirectoryStore, MemoryStore, ObjectStore, S3Store, content, content_key
from services.errors import Internal, InvalidInput, NotFound, TooLarge
from tests.servers.ceph import ACCESS_KEY, SECRET_KEY


@pytest.fixture(params=["memory", "directory", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    match request.param:
        case "memory":
            yield MemoryStore()
        case "directory":
            yield DirectoryStore(tmp_path / "objects")
        case _:
            endpoint = request.getfixturevalue("s3_server").endpoint
            yield S3Store(
                endpoint, f"contract-{uuid4().hex[:12]}", access_key=ACCESS_KEY, secret_key=SECRET_KEY, secure=False
            )


def test_bytes_come_back_under_the_key_of_their_own_digest(store: ObjectStore) -> None:
    ref = store.put(b"pixels", media_type="application/octet-stream")
    digest = hashlib.sha256(b"pixels").hexdigest()
    assert (ref.key, ref.sha256, ref.bytes) == (f"sha256/{digest[:2]}/{digest}", digest, 6)
    assert store.size(ref.key) == 6
    assert store.get(ref.key) == b"pixels"
    assert store.get(ref.key, sha256=digest) == b"pixels"


def test_the_empty_object_is_an_object(store: ObjectStore) -> None:
    assert store.get(store.put(b"").key) == b""


def test_putting_the_same_bytes_again_gives_the_same_object(store: ObjectStore) -> None:
    assert store.put(b"twice") == store.put(b"twice")
    assert len(list(store.keys())) == 1


def test_sixteen_writers_of_the_same_bytes_all_succeed(store: ObjectStore) -> None:
    data = bytes(range(256)) * 300
    with ThreadPoolExecutor(16) as pool:
        refs = set(pool.map(store.put, [data] * 16))
    (ref,) = refs
    assert store.get(ref.key) == data


def test_a_large_object_comes_back_whole(store: ObjectStore) -> None:
    data = hashlib.shake_256(b"seed").digest(12 << 20)
    assert store.get(store.put(data).key) == data


def test_an_absent_object_is_not_found(store: ObjectStore) -> None:
    key = content_key("ab" * 32)
    assert not store.exists(key)
    for attempt in (store.get, store.size):
        with pytest.raises(NotFound) as caught:
            attempt(key)
        assert caught.value.reason == "ARTIFACT_NOT_FOUND"


def test_a_name_takes_the_newest_bytes(store: ObjectStore) -> None:
    store.put_named("audits/1/report.json", b"first")
    ref = store.put_named("audits/1/report.json", b"second")
    assert store.get("audits/1/report.json", sha256=ref.sha256) == b"second"


def test_a_named_object_with_another_digest_than_asked_for_is_corrupt(store: ObjectStore) -> None:
    store.put_named("audits/1/report.json", b"other")
    with pytest.raises(Internal) as caught:
        store.get("audits/1/report.json", sha256="00" * 32)
    assert caught.value.reason == "ARTIFACT_CORRUPT"


def test_deleting_is_repeatable(store: ObjectStore) -> None:
    ref = store.put(b"soon gone")
    store.delete(ref.key)
    store.delete(ref.key)
    assert not store.exists(ref.key)


def test_keys_are_listed_in_order_by_prefix(store: ObjectStore) -> None:
    for name in ("b/2", "a/1", "b/1", "bc/1"):
        store.put_named(name, name.encode())
    assert list(store.keys()) == ["a/1", "b/1", "b/2", "bc/1"]
    assert list(store.keys("b")) == ["b/1", "b/2", "bc/1"]
    assert list(store.keys("b/")) == ["b/1", "b/2"]
    assert list(store.keys("nothing/")) == []


def test_keys_may_hold_spaces_and_any_letters(store: ObjectStore) -> None:
    key = "ünï/космос file+1 &=?.bin"
    store.put_named(key, b"1")
    assert list(store.keys()) == [key]
    assert store.get(key) == b"1"


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "a//b", "../a", "a/../b", "a/..", "a\\b", "a\0b", ".staging/x", "a/", "\ud800", "x" * 300],
)
def test_keys_with_tricks_are_refused(store: ObjectStore, key: str) -> None:
    for attempt in (store.get, store.exists, store.size, store.delete, lambda key: store.put_named(key, b"")):
        with pytest.raises(InvalidInput) as caught:
            attempt(key)
        assert caught.value.reason == "OBJECT_KEY_INVALID"


def test_names_stay_out_of_the_content_addressed_space(store: ObjectStore) -> None:
    with pytest.raises(InvalidInput, match="use put"):
        store.put_named(content_key("ab" * 32), b"not what the key says")


def test_an_object_over_the_limit_is_refused(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MAX_OBJECT_BYTES", 10)
    with pytest.raises(TooLarge, match="10 bytes, this one has 11"):
        store.put(b"x" * 11)
    assert list(store.keys()) == []


def test_a_ready_store_says_so_and_keeps_nothing(store: ObjectStore) -> None:
    store.check()
    assert list(store.keys()) == []
