"""A real S3 server behind a proxy that misbehaves: nothing wrong is ever served, nothing stored is ever lost."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from uuid import uuid4

import pytest

from services.adapters.object_store import S3Store
from services.errors import Internal, NotFound, Unavailable
from tests.servers.ceph import ACCESS_KEY, SECRET_KEY, CephS3
from tests.servers.fault_proxy import Fault, FaultProxy

pytestmark = pytest.mark.s3


def store_at(endpoint: str, bucket: str, *, secret_key: str = SECRET_KEY, attempts: int = 4) -> S3Store:
    keys = {"access_key": ACCESS_KEY, "secret_key": secret_key}
    return S3Store(endpoint, bucket, **keys, secure=False, attempts=attempts, pause_s=0.002)


@pytest.fixture
def bucket() -> str:
    return f"faults-{uuid4().hex[:12]}"


@pytest.fixture
def proxy(s3_server: CephS3) -> Iterator[FaultProxy]:
    proxy = FaultProxy(s3_server.endpoint)
    yield proxy
    proxy.stop()


@pytest.fixture
def store(proxy: FaultProxy, bucket: str) -> S3Store:
    """A store behind the proxy, its bucket made."""
    store = store_at(proxy.endpoint, bucket)
    store.check()
    proxy.requests.clear()
    return store


@pytest.mark.parametrize("fault", ["slow_down", "reset", "lose_reply"])
def test_a_put_outlives_three_faults_in_a_row(store: S3Store, proxy: FaultProxy, fault: Fault) -> None:
    proxy.faults.extend([fault] * 3)
    ref = store.put(b"stubborn")
    assert store.get(ref.key) == b"stubborn"


def test_a_put_whose_reply_was_lost_is_stored_once_and_not_written_again(store: S3Store, proxy: FaultProxy) -> None:
    proxy.faults.append("lose_reply")
    store.put(b"stored, but who knows")
    # The second PUT met If-None-Match and a HEAD showed the right bytes: no third PUT replaced them.
    assert [method for method, _ in proxy.requests] == ["PUT", "PUT", "HEAD"]


@pytest.mark.parametrize("fault", ["slow_down", "reset", "lose_reply", "truncate"])
def test_a_get_outlives_three_faults_in_a_row(store: S3Store, proxy: FaultProxy, fault: Fault) -> None:
    ref = store.put(b"stubborn" * 1000)
    proxy.faults.extend([fault] * 3)
    assert store.get(ref.key) == b"stubborn" * 1000


@pytest.mark.parametrize("fault", ["slow_down", "reset", "truncate"])
def test_a_lasting_fault_is_unavailable_after_a_bounded_number_of_attempts(
    store: S3Store, proxy: FaultProxy, fault: Fault
) -> None:
    ref = store.put(b"behind the fault")
    proxy.requests.clear()
    proxy.always = fault
    with pytest.raises(Unavailable, match="in 4 attempts") as caught:
        store.get(ref.key)
    assert caught.value.reason == "STORE_UNAVAILABLE"
    assert len(proxy.requests) == 4
    proxy.always = "none"
    assert store.get(ref.key) == b"behind the fault"


def test_a_bit_that_flips_on_the_way_is_read_again(store: S3Store, proxy: FaultProxy) -> None:
    ref = store.put(b"precious")
    proxy.faults.append("flip")
    assert store.get(ref.key) == b"precious"


def test_a_bit_that_is_flipped_in_the_store_is_never_served_and_is_healed(
    store: S3Store, proxy: FaultProxy, s3_server: CephS3, bucket: str
) -> None:
    ref = store.put(b"precious")
    store_at(s3_server.endpoint, bucket)._client._put_object(bucket, ref.key, b"preciouS")
    with pytest.raises(Internal) as caught:
        store.get(ref.key)
    assert caught.value.reason == "ARTIFACT_CORRUPT"
    store.put(b"precious")
    assert store.get(ref.key) == b"precious"


def test_under_thirty_percent_faults_no_byte_is_wrong_and_no_acknowledged_object_is_lost(
    proxy: FaultProxy, s3_server: CephS3, bucket: str
) -> None:
    store, random = store_at(proxy.endpoint, bucket, attempts=12), Random(7)
    kinds: list[Fault] = ["slow_down", "reset", "lose_reply", "truncate", "flip"]
    written = {}
    for number in range(60):
        if random.random() < 0.3:
            proxy.faults.append(random.choice(kinds))
        data = random.randbytes(random.randint(1, 20_000))
        written[store.put(data).key] = data
        if random.random() < 0.3:
            proxy.faults.append(random.choice(kinds))
        assert store.get(random.choice(list(written))) in written.values(), number
    proxy.faults.clear()
    direct = store_at(s3_server.endpoint, bucket)
    assert {key: direct.get(key) for key in list(direct.keys())} == written


def test_the_first_write_makes_the_bucket_and_reading_before_it_finds_nothing(proxy: FaultProxy, bucket: str) -> None:
    store = store_at(proxy.endpoint, bucket)
    with pytest.raises(NotFound):
        store.get("sha256/ab/" + "ab" * 32)
    assert list(store.keys()) == []
    store.put(b"first")
    assert len(list(store.keys())) == 1


def test_a_wrong_secret_is_refused_at_once_and_says_what_the_server_said(proxy: FaultProxy, bucket: str) -> None:
    with pytest.raises(Unavailable, match="SignatureDoesNotMatch") as caught:
        store_at(proxy.endpoint, bucket, secret_key="wrong").put(b"x")
    assert caught.value.reason == "STORE_REFUSED"
    assert len(proxy.requests) == 1


def test_a_store_that_is_not_there_is_unavailable(bucket: str) -> None:
    with pytest.raises(Unavailable):
        store_at("127.0.0.1:9", bucket, attempts=2).check()
