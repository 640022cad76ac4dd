"""The limits as plain numbers."""

from __future__ import annotations

import gzip
import zlib

import pytest

from services.adapters.decoder import Limits
from services.errors import TooLarge, Undecodable

LIMITS = Limits(output_bytes=10_000, ratio=10, ratio_free_bytes=1_000, cpu_s=2, cpu_s_per_mib=0.5)


@pytest.mark.parametrize(("declared", "given"), [(1_000, 1), (5_000, 500), (10_000, 1_000), (10_000, 10**9)])
def test_honest_sizes_are_admitted(declared, given):
    LIMITS.admit(declared, given)


@pytest.mark.parametrize(("declared", "given"), [(1_001, 1), (5_001, 500), (10_001, 1_000), (10_001, 10**9)])
def test_sizes_beyond_the_ratio_or_the_cap_are_refused(declared, given):
    with pytest.raises(TooLarge):
        LIMITS.admit(declared, given)


def test_inflating_stops_at_the_limit_and_not_before():
    assert LIMITS.inflate(gzip.compress(bytes(1_000)), 31) == bytes(1_000)
    with pytest.raises(TooLarge):
        LIMITS.inflate(gzip.compress(bytes(1_001)), 31)


@pytest.mark.parametrize("spoil", [lambda data: data[:-9], lambda data: b"x" + data, lambda data: b""])
def test_broken_stream_is_refused(spoil):
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = deflater.compress(b"pixels" * 100) + deflater.flush()
    assert LIMITS.inflate(data, -15) == b"pixels" * 100
    with pytest.raises(Undecodable):
        LIMITS.inflate(spoil(data), -15)


def test_time_grows_with_the_file():
    assert LIMITS.time_for(0) == 2
    assert LIMITS.time_for(4 * 1024 * 1024) == 4
