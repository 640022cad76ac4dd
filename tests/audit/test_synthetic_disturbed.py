"""Kills, cancels and faults: the same cohort, or none."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from services.audit.synthesis.chunks import IMAGES
from services.errors import Unavailable
from tests.audit.studio import Fleet, LocalImageMaker, Studio, make_studio

ASKED: dict[str, Any] = {"images": 24, "steps": 4}


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return make_studio(tmp_path)


async def test_killed_workers_and_their_successors_make_the_same_cohort(studio: Studio) -> None:
    undisturbed = await studio.made(**ASKED)
    operation = await studio.create(**ASKED)
    ledger = studio.world.ledger()
    with Fleet(studio) as fleet:
        first = fleet.start()
        async with asyncio.timeout(120):
            while ledger.get_operation(operation.name).rows_done < 4:
                await asyncio.sleep(0.02)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert ledger.get_operation(operation.name).rows_done < 24
        fleet.start(), fleet.start()
        done = await studio.world.wait(operation, limit_s=180)
    assert done.state == "succeeded", done.error
    cohort = await studio.cohort(done.resource)
    assert cohort.digest == undisturbed.digest
    provenance = pd.read_parquet(io.BytesIO(studio.artifact(cohort, "provenance.parquet")))
    assert list(provenance["index"]) == list(range(24))


async def test_two_workers_make_what_one_makes(studio: Studio) -> None:
    alone = await studio.made(**ASKED)
    operation = await studio.create(**ASKED)
    done = await studio.world.finish(operation, studio.worker("one"), studio.worker("two"), limit_s=180)
    assert (await studio.cohort(done.resource)).digest == alone.digest


async def test_a_cancelled_cohort_leaves_none_and_frees_the_generator(studio: Studio) -> None:
    operation = await studio.create(images=400, steps=50)
    ledger = studio.world.ledger()
    working = asyncio.create_task(studio.worker().run())
    async with asyncio.timeout(60):
        while not ledger.get_operation(operation.name).progress.get("images_done"):
            await asyncio.sleep(0.02)
    ledger.request_cancel(operation.name)
    done = await studio.world.wait(operation, limit_s=5)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert done.state == "cancelled"
    assert ledger.get_resource(operation.resource) is None
    lanes = studio.generator.host.engine._lanes.values()
    assert not any(lane.seats for lane in lanes)


class Changed(LocalImageMaker):
    """The generator, with what it answers changed on its way; ``lost`` times it goes away in the middle first."""

    def __init__(self, studio: Studio, *, lost: int = 0, **fields: Any) -> None:
        super().__init__(studio.generator)
        self._lost = lost
        self._fields = fields

    async def make(self, *asked: Any) -> AsyncGenerator[dict[str, Any], None]:
        async with aclosing(super().make(*asked)) as images:
            async for image in images:
                yield {**image, **self._fields}
                if self._lost:
                    self._lost -= 1
                    raise Unavailable("a replica went away", reason="REPLICA_LOST")


async def test_a_generator_that_goes_away_is_waited_for(studio: Studio) -> None:
    undisturbed = await studio.made(images=8)
    done = await studio.world.finish(await studio.create(images=8), studio.worker(maker=Changed(studio, lost=3)))
    assert done.state == "succeeded", done.error
    assert (await studio.cohort(done.resource)).digest == undisturbed.digest


async def test_images_that_share_their_noise_are_counted_and_make_no_cohort(studio: Studio) -> None:
    """What the published reseeding loop does, in the manifest's own count."""
    done = await studio.world.finish(await studio.create(images=6), studio.worker(maker=Changed(studio, noise="ab")))
    assert done.state == "failed" and done.error["reason"] == "NOISE_REPEATED"
    assert "6 images share 1 initial noises" in done.error["message"]
    assert studio.world.ledger().get_resource(done.resource) is None


async def test_a_generator_that_would_give_other_bits_ends_the_work(studio: Studio) -> None:
    operation = await studio.create(images=4)
    studio.generator.host.placement = replace(studio.generator.host.placement, batch=9)
    done = await studio.world.finish(operation, studio.worker())
    assert done.state == "failed" and done.error["reason"] == "MODEL_CHANGED"


async def test_progress_counts_images(studio: Studio) -> None:
    operation = await studio.create(images=10)
    assert operation.rows_total == 10
    done = await studio.world.finish(operation, studio.worker())
    assert done.progress["images_done"] == done.progress["images_total"] == 10
    kinds = [chunk["kind"] for chunk in studio.world.ledger().chunk_results(done.name)]
    assert kinds.count(IMAGES) == 3


async def test_the_networks_calls_are_full_while_images_are_left(studio: Studio) -> None:
    """Chunks overlap, so that only the end of the whole work leaves a call's rows empty."""
    calls: list[tuple[int, int]] = []
    engine = studio.generator.host.engine
    engine._on_call = lambda model, rows, padded, seconds: calls.append((rows, padded))
    done = await studio.world.finish(await studio.create(images=32, steps=4), studio.worker(), limit_s=240)
    assert done.state == "succeeded", done.error
    rows, padded = (sum(column) for column in zip(*calls, strict=True))
    assert rows == 32 * 4 * 2  # with guidance each step asks twice
    assert rows / padded > 0.85
