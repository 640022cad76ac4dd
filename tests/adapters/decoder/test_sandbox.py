"""A worker has no power, and its death costs nothing but its file."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.adapters.decoder import Decoded, Decoder, InMemory, Limits, Refused, Source, decode_bytes, decode_many
from services.adapters.decoder.limits import MIB
from services.errors import Cancelled, ServiceError


def png(size, seed=0):
    array = np.random.default_rng(seed).integers(0, 256, (size, size)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", compress_level=1)
    return array, file.getvalue()


SMALL_ARRAY, SMALL_PNG = png(16)
SMALL = Source(InMemory("small.png", SMALL_PNG))
LARGE = Source(InMemory("large.png", png(5000)[1]))


def worker_of(decoder: Decoder) -> int:
    return decoder._sandboxes[0]._process.pid


def limit_of(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text("ascii").splitlines()
    return next(line for line in lines if line.startswith(name)).split()[-3]


def reason_of(decoder: Decoder, source: Source) -> str:
    with pytest.raises(ServiceError) as caught:
        decoder.decode(source)
    assert caught.value.field == source.image.name
    return caught.value.reason


def assert_works(decoder: Decoder) -> None:
    np.testing.assert_allclose(decoder.decode(SMALL)[0].pixels[0], SMALL_ARRAY / 255, atol=1e-7)


def test_worker_can_open_nothing_and_knows_no_secret(monkeypatch):
    monkeypatch.setenv("EVENHAND_S3_SECRET_KEY", "hunter2")
    with Decoder(workers=1) as decoder:
        assert_works(decoder)
        pid = worker_of(decoder)
        descriptors = [int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        assert int(limit_of(pid, "Max open files")) <= max(descriptors) + 1
        assert limit_of(pid, "Max file size") == "0"
        assert limit_of(pid, "Max core file size") == "0"
        assert limit_of(pid, "Max address space") != "unlimited"
        assert b"hunter2" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_file_that_spends_its_processor_time_is_refused_and_the_next_one_is_read():
    with Decoder(Limits(cpu_s=0.15, cpu_s_per_mib=0), workers=1) as decoder:
        assert reason_of(decoder, LARGE) == "DECODE_TIMEOUT"
        assert_works(decoder)


def test_file_that_needs_more_memory_than_allowed_is_refused_and_the_next_one_is_read():
    with Decoder(Limits(memory_bytes=48 * MIB), workers=1) as decoder:
        assert reason_of(decoder, LARGE) == "DECODE_OUT_OF_MEMORY"
        assert_works(decoder)


def test_worker_that_falls_silent_is_replaced():
    with Decoder(Limits(wall_s=0.5), workers=1) as decoder:
        assert_works(decoder)
        os.kill(worker_of(decoder), signal.SIGSTOP)
        assert reason_of(decoder, SMALL) == "DECODE_TIMEOUT"
        assert_works(decoder)


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGSEGV])
def test_worker_killed_from_outside_costs_no_file(death):
    with Decoder(workers=1) as decoder:
        assert_works(decoder)
        os.kill(worker_of(decoder), death)
        assert_works(decoder)


def test_file_whose_every_worker_is_killed_is_refused_and_the_batch_goes_on():
    """A thread kills each worker that is at work on the large file, as a crashing codec would."""
    with Decoder(Limits(cpu_s=10), workers=1) as decoder:
        assert_works(decoder)
        stop = threading.Event()

        def assassin():
            sandbox = decoder._sandboxes[0]
            while not stop.wait(0.02):
                state = Path(f"/proc/{sandbox._process.pid}/stat")
                if sandbox._channel is not None and state.exists() and state.read_text("ascii").split()[2] == "R":
                    sandbox._process.kill()

        threading.Thread(target=assassin, daemon=True).start()
        outcome = list(decoder.decode_many([LARGE]))
        stop.set()
        assert [(type(one), one.error.reason) for one in outcome] == [(Refused, "DECODER_CRASHED")]
        assert_works(decoder)


def test_results_come_in_order_with_every_refusal_between():
    sources = [SMALL if n % 3 else Source(InMemory(f"{n}.png", b"not a picture")) for n in range(20)]
    outcomes = list(decode_many(sources, workers=2))
    assert [outcome.source for outcome in outcomes] == list(range(20))
    assert [isinstance(outcome, Decoded) for outcome in outcomes] == [bool(n % 3) for n in range(20)]


def test_sources_are_read_ahead_within_bounds():
    started = []

    def sources():
        for n in range(50):
            started.append(n)
            yield SMALL

    with Decoder(workers=2) as decoder:
        results = decoder.decode_many(sources())
        next(results)
        assert len(started) <= 5
        results.close()
        assert_works(decoder)


def test_closing_ends_a_decode_under_way_at_once():
    decoder = Decoder(Limits(wall_s=60), workers=1)
    assert_works(decoder)
    os.kill(worker_of(decoder), signal.SIGSTOP)
    closing = threading.Timer(0.3, decoder.close)
    closing.start()
    begin = time.monotonic()
    with pytest.raises(Cancelled):
        decoder.decode(SMALL)
    assert time.monotonic() - begin < 10
    closing.join()
    with pytest.raises(Cancelled):
        decoder.decode(SMALL)


def test_worker_ends_with_its_decoder():
    with Decoder(workers=1) as decoder:
        assert_works(decoder)
        pid = worker_of(decoder)
    assert not Path(f"/proc/{pid}").exists()


def test_bytes_are_decoded_in_one_call():
    np.testing.assert_allclose(decode_bytes(SMALL_PNG, "small.png").pixels[0], SMALL_ARRAY / 255, atol=1e-7)
