import asyncio

import numpy as np
import pytest

from services.errors import ShapeMismatch, Unavailable
from services.hosting import nearby
from services.hosting.nearby import SLOT_BYTES, NearbyHosts, NearbyListener, meeting_place


class Doubler:
    """A host that computes something one can check, and counts."""

    def __init__(self):
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def infer(self, model, version, inputs, parameters):
        self.calls += 1
        await self.gate.wait()
        if model == "wrong":
            raise ShapeMismatch("no", field="inputs.image")
        if model == "broken":
            raise RuntimeError("a secret text")
        return {"out": 2 * inputs["image"], "version": np.float32([[float(version or 0), parameters.get("batch", 0)]])}


@pytest.fixture(autouse=True)
def own_meeting_place(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENHAND_DATA_DIR", str(tmp_path))
    yield
    for path in meeting_place("app").parent.rglob("*"):
        if path.is_socket():
            path.unlink()


@pytest.fixture
async def host():
    host = Doubler()
    listener = NearbyListener(host.infer, "app")
    await listener.start()
    host.listener = listener
    yield host
    listener.close()


def images(seed, count=2):
    return np.random.default_rng(seed).random((count, 1, 8, 8), dtype=np.float32)


async def test_arrays_and_parameters_come_and_go_unchanged(host):
    outputs = await NearbyHosts("app").infer("m", "3", {"image": images(0)}, {"batch": 4})
    np.testing.assert_array_equal(outputs["out"], 2 * images(0))
    np.testing.assert_array_equal(outputs["version"], [[3, 4]])


async def test_calls_at_the_same_time_do_not_mix(host):
    hosts = NearbyHosts("app")
    answers = await asyncio.gather(
        *(hosts.infer("m", "", {"image": images(seed, 1 + seed % 3)}, {}) for seed in range(40))
    )
    for seed, answer in enumerate(answers):
        np.testing.assert_array_equal(answer["out"], 2 * images(seed, 1 + seed % 3))


async def test_an_answer_outlives_the_next_call_on_its_line(host):
    hosts = NearbyHosts("app")
    first = await hosts.infer("m", "", {"image": images(1)}, {})
    await hosts.infer("m", "", {"image": images(2)}, {})
    np.testing.assert_array_equal(first["out"], 2 * images(1))


async def test_errors_keep_their_class_and_faults_keep_their_text(host):
    hosts = NearbyHosts("app")
    with pytest.raises(ShapeMismatch) as caught:
        await hosts.infer("wrong", "", {"image": images(0)}, {})
    assert caught.value.field == "inputs.image"
    with pytest.raises(Exception) as caught:
        await hosts.infer("broken", "", {"image": images(0)}, {})
    assert "secret" not in str(caught.value)
    assert (await hosts.infer("m", "", {"image": images(0)}, {})) is not None


async def test_a_cancelled_call_does_not_spoil_the_next(host):
    hosts = NearbyHosts("app")
    host.gate.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hosts.infer("m", "", {"image": images(0)}, {}), 0.1)
    host.gate.set()
    outputs = await hosts.infer("m", "", {"image": images(5)}, {})
    np.testing.assert_array_equal(outputs["out"], 2 * images(5))


async def test_nobody_near_is_no_error(tmp_path):
    assert await NearbyHosts("app").infer("m", "", {"image": images(0)}, {}) is None


async def test_a_socket_whose_process_is_gone_is_cleared_away(host):
    host.listener._socket.close()
    path = host.listener._path
    assert path.exists()
    assert await NearbyHosts("app").infer("m", "", {"image": images(0)}, {}) is None
    assert not path.exists()


async def test_a_host_that_goes_away_at_work_is_unavailable(host):
    hosts = NearbyHosts("app")
    host.gate.clear()
    call = asyncio.create_task(hosts.infer("m", "", {"image": images(0)}, {}))
    while not host.calls:
        await asyncio.sleep(0.01)
    host.listener.close()
    with pytest.raises(Unavailable) as caught:
        await call
    assert caught.value.reason == "REPLICA_LOST"


async def test_tensors_beyond_a_slot_take_the_other_way(host, monkeypatch):
    giant = np.broadcast_to(np.float32(0), (1, SLOT_BYTES // 4 + 1))
    assert await NearbyHosts("app").infer("m", "", {"image": giant}, {}) is None
    assert host.calls == 0


async def test_two_hosts_share_the_calls(host, monkeypatch):
    other = Doubler()
    monkeypatch.setattr(nearby.os, "getpid", lambda: 4_000_000)
    listener = NearbyListener(other.infer, "app")
    await listener.start()
    try:
        hosts = NearbyHosts("app")
        await asyncio.gather(*(hosts.infer("m", "", {"image": images(0)}, {}) for _ in range(10)))
        assert host.calls == other.calls == 5
    finally:
        listener.close()


async def test_a_stranger_who_sends_no_memory_is_turned_away(host):
    _, writer = await asyncio.open_unix_connection(host.listener._path)
    writer.write(b"hello")
    outputs = await NearbyHosts("app").infer("m", "", {"image": images(3)}, {})
    np.testing.assert_array_equal(outputs["out"], 2 * images(3))
    writer.close()
