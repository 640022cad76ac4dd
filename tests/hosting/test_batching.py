from __future__ import annotations

import asyncio

import numpy as np
import pytest

from services.hosting.batching import SIZES, Batcher


class Recorder:
    """Doubles its input and remembers the batch sizes it saw; optionally waits, so that requests pile up."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.sizes: list[int] = []
        self._pause_s = pause_s

    async def __call__(self, images: np.ndarray, how: object = None) -> np.ndarray:
        self.sizes.append(len(images))
        await asyncio.sleep(self._pause_s)
        return images.reshape(len(images), -1)[:, :1] * 2


def rows(*values: float) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(-1, 1, 1, 1)


async def test_each_caller_gets_its_own_rows_when_requests_are_merged() -> None:
    run = Recorder(pause_s=0.01)
    batcher = Batcher(run)
    answers = await asyncio.gather(*(batcher.submit(rows(i, i + 0.5)) for i in range(20)))
    for i, answer in enumerate(answers):
        np.testing.assert_array_equal(answer[:, 0], [2 * i, 2 * i + 1])
    assert len(run.sizes) < 20
    assert set(run.sizes) <= set(SIZES)


async def test_an_idle_network_starts_at_once_with_the_smallest_size() -> None:
    run = Recorder()
    await Batcher(run).submit(rows(1))
    assert run.sizes == [1]


async def test_an_exact_request_is_padded_to_its_size_and_never_merged() -> None:
    run = Recorder(pause_s=0.01)
    batcher = Batcher(run)
    _, exact, _ = await asyncio.gather(
        batcher.submit(rows(1)), batcher.submit(rows(2, 3, 4), exact=7), batcher.submit(rows(5))
    )
    assert run.sizes == [1, 7, 1]
    np.testing.assert_array_equal(exact[:, 0], [4, 6, 8])


async def test_a_request_larger_than_the_largest_size_is_split_and_joined_in_order() -> None:
    run = Recorder()
    answer = await Batcher(run).submit(rows(*range(70)))
    np.testing.assert_array_equal(answer[:, 0], 2 * np.arange(70))
    assert max(run.sizes) == SIZES[-1]


async def test_a_failing_network_fails_its_callers_and_serves_the_next() -> None:
    async def run(images: np.ndarray, how: object) -> np.ndarray:
        if images[0, 0, 0, 0] < 0:
            raise ValueError("negative")
        return images

    batcher = Batcher(run)
    with pytest.raises(ValueError, match="negative"):
        await batcher.submit(rows(-1))
    assert (await batcher.submit(rows(3)))[0, 0, 0, 0] == 3


async def test_a_cancelled_request_is_not_computed() -> None:
    run = Recorder(pause_s=0.02)
    batcher = Batcher(run)
    first = asyncio.create_task(batcher.submit(rows(1)))
    await asyncio.sleep(0.005)
    second = asyncio.create_task(batcher.submit(rows(2), exact=5))
    await asyncio.sleep(0.001)
    second.cancel()
    await first
    await asyncio.sleep(0.03)
    assert run.sizes == [1]


async def test_every_call_is_reported_with_its_rows_and_padding() -> None:
    seen: list[tuple[int, int]] = []
    batcher = Batcher(Recorder(), on_batch=lambda n, padded, seconds: seen.append((n, padded)))
    await batcher.submit(rows(1, 2, 3))
    assert seen == [(3, 4)]


async def test_only_requests_that_are_asked_alike_are_merged() -> None:
    asked: list[tuple[object, int]] = []

    async def run(images: np.ndarray, how: object) -> np.ndarray:
        asked.append((how, len(images)))
        await asyncio.sleep(0.01)
        return images

    batcher = Batcher(run)
    hows = ["slow", "slow", "quick", "quick", "slow"]
    answers = await asyncio.gather(*(batcher.submit(rows(i), how=how) for i, how in enumerate(hows)))
    assert [float(answer[0, 0, 0, 0]) for answer in answers] == [0, 1, 2, 3, 4]
    assert asked == [("slow", 2), ("quick", 2), ("slow", 1)]
