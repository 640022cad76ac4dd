"""The engine: images of all callers share network calls, and none can be told from one that was made alone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np
import pytest
import torch

from services.adapters.weights import DirectoryRegistry
from services.errors import Overloaded
from services.hosting.diffusion.engine import Engine, Event
from services.hosting.diffusion.families import ClassToImage, Condition
from services.hosting.diffusion.loading import Loader
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.settings import DiffusionSettings, Placement, place
from services.maths.diffusion.attributes import attribute_vector
from services.maths.diffusion.guidance import Guidance
from services.maths.diffusion.noise import image_noise
from services.maths.diffusion.plans import SAMPLERS, Plan, make_plan
from services.maths.diffusion.samplers import run_plan
from services.maths.diffusion.schedules import sampling_levels
from tests.diffusion_packages import write_class_to_image

KEY = "pelvis"
BATCH = 4


def placed() -> Placement:
    return place(DiffusionSettings(registries=(), device="cpu", batch=BATCH))


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> ClassToImage:
    root = tmp_path_factory.mktemp("zoo")
    write_class_to_image(root)
    registry = DirectoryRegistry([root])
    opened = Loader(registry, placed()).open(registry.find("pelvis-diffusion"))
    assert isinstance(opened, ClassToImage)
    return opened


class Counted:
    """The rows of each network call."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, model: str, rows: int, padded: int, seconds: float) -> None:
        assert padded == BATCH
        self.rows.append(rows)


def opened(denoiser: ClassToImage, calls: Counted | None = None, most_waiting: int = 256) -> Engine:
    return Engine({KEY: denoiser}, batch=BATCH, most_waiting=most_waiting, on_call=calls or Counted())


def a_plan(denoiser: ClassToImage, steps: int = 6, sampler: str = "dpmpp-2m") -> Plan:
    return make_plan(sampler, sampling_levels(denoiser.parameterisation.schedule, steps))


def order(denoiser: ClassToImage, plan: Plan, *, sex: str = "Female", scale: float = 1.0, **keys: int) -> Order:
    with torch.inference_mode():
        vector = attribute_vector(denoiser.record.attributes(), {"sex": sex})
        condition = Condition(denoiser.embed(vector))
        return Order(condition, plan, **{"seed": 1, **keys}, guidance=Guidance(scale), null=denoiser.null(condition))


async def images(events: AsyncGenerator[Event, None]) -> dict[int, np.ndarray]:
    found = {}
    async with aclosing(events):
        async for event in events:
            if event.done and event.pixels is not None:
                found[event.tag] = event.pixels
    return found


@pytest.mark.parametrize("sampler", SAMPLERS)
async def test_an_image_is_what_the_sampler_makes_of_the_network(denoiser: ClassToImage, sampler: str) -> None:
    """The oracle is the plain loop over one image, with guidance written out."""
    plan = a_plan(denoiser, sampler=sampler)
    asked = order(denoiser, plan, scale=2.0, index=3)
    made = (await images(opened(denoiser).sample(KEY, [asked])))[0]

    def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            network, scalings = denoiser._network, denoiser.parameterisation
            cond, null = (network(x, t, part.embedding[None]) for part in (asked.condition, asked.null))
            return scalings.denoised(null + 2.0 * (cond - null), x, t).clamp(-1, 1)

    def noise(stage: str) -> torch.Tensor:
        return torch.from_numpy(image_noise(1, 3, stage, (1, 16, 16)))[None]

    expected = run_plan(plan, denoise, noise("base"), noise=lambda k: noise(f"base-step-{k}"))
    np.testing.assert_allclose(made, (expected[0].numpy() + 1) / 2, atol=2e-5)


async def test_an_images_bits_do_not_depend_on_who_else_is_served(denoiser: ClassToImage) -> None:
    plan, longer = a_plan(denoiser), a_plan(denoiser, 9, "unipc")
    wanted = order(denoiser, plan, index=2)
    alone = (await images(opened(denoiser).sample(KEY, [wanted])))[0]
    for place_in_line in range(BATCH):
        engine = opened(denoiser)
        others = [
            order(denoiser, longer, sex="Male", scale=1.0 + 3.0 * (n % 2), seed=50 + n, tag=n + 1) for n in range(6)
        ]
        line = [*others[:place_in_line], wanted, *others[place_in_line:]]
        together = await images(engine.sample(KEY, line))
        assert np.array_equal(together[0], alone)


async def test_a_request_joins_at_the_next_step(denoiser: ClassToImage) -> None:
    calls, plan = Counted(), a_plan(denoiser, 20)
    engine = opened(denoiser, calls)
    first = engine.sample(KEY, [order(denoiser, plan)])
    await anext(first)
    second = asyncio.create_task(images(engine.sample(KEY, [order(denoiser, plan, index=1)])))
    await asyncio.gather(images(first), second)
    assert len(calls.rows) < 40
    assert calls.rows[0] == 1
    assert calls.rows.count(2) >= 15


async def test_one_callers_cancel_ends_its_work_and_nobody_elses(denoiser: ClassToImage) -> None:
    calls, plan = Counted(), a_plan(denoiser, 50)
    engine = opened(denoiser, calls)
    leaving = engine.sample(KEY, [order(denoiser, plan, index=n) for n in range(3)])
    staying = asyncio.create_task(images(engine.sample(KEY, [order(denoiser, plan, index=9)])))
    await anext(leaving)
    await leaving.aclose()
    before = len(calls.rows)
    made = await staying
    assert set(calls.rows[before + 1 :]) == {1}
    alone = await images(opened(denoiser).sample(KEY, [order(denoiser, plan, index=9)]))
    assert np.array_equal(made[0], alone[0])


async def test_a_deadline_stops_the_work_within_a_step(denoiser: ClassToImage) -> None:
    calls = Counted()
    engine = opened(denoiser, calls)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await images(engine.sample(KEY, [order(denoiser, a_plan(denoiser, 1000, "ddim"))]))
    after = len(calls.rows)
    await asyncio.sleep(0.2)
    assert 0 < after < 1000
    assert len(calls.rows) <= after + 1
    assert engine.waiting == 0


async def test_the_first_image_of_many_is_done_first(denoiser: ClassToImage) -> None:
    plan = a_plan(denoiser)
    asked = [order(denoiser, plan, index=n, tag=n) for n in range(2 * BATCH)]
    done = [event.tag async for event in opened(denoiser).sample(KEY, asked) if event.done]
    assert done == list(range(2 * BATCH))


async def test_the_network_is_asked_without_condition_only_where_guidance_acts(denoiser: ClassToImage) -> None:
    plan = a_plan(denoiser, 10)
    levels = plan.timesteps / denoiser.parameterisation.schedule.steps
    for guidance in (Guidance(1.0), Guidance(3.0), Guidance(3.0, (0.3, 0.7))):
        calls = Counted()
        plain = order(denoiser, plan)
        asked = Order(plain.condition, plan, 1, guidance=guidance, null=plain.null)
        await images(opened(denoiser, calls).sample(KEY, [asked]))
        low, high = guidance.interval
        inside = ((levels >= low) & (levels <= high)).sum() if guidance.scale != 1 else 0
        assert sum(calls.rows) == 10 + inside


async def test_previews_show_the_image_becoming(denoiser: ClassToImage) -> None:
    plain = order(denoiser, a_plan(denoiser, 10))
    asked = Order(plain.condition, plain.plan, 1, previews_every=3)
    events = [event async for event in opened(denoiser).sample(KEY, [asked])]
    assert [event.step for event in events if event.pixels is not None] == [3, 6, 9, 10]
    assert [event.done for event in events] == [False] * 9 + [True]
    assert all(event.steps == 10 for event in events)


async def test_more_images_than_may_wait_are_refused(denoiser: ClassToImage) -> None:
    engine = opened(denoiser, most_waiting=5)
    plan = a_plan(denoiser, 20)
    first = engine.sample(KEY, [order(denoiser, plan, index=n) for n in range(4)])
    await anext(first)
    with pytest.raises(Overloaded):
        await anext(engine.sample(KEY, [order(denoiser, plan), order(denoiser, plan)]))
    background = engine.sample(KEY, [order(denoiser, plan, tag=n) for n in range(20)], background=True)
    await anext(background)
    await background.aclose()
    await first.aclose()


async def test_who_waits_comes_before_the_background_which_still_moves(denoiser: ClassToImage) -> None:
    engine, plan = opened(denoiser), a_plan(denoiser, 12)
    finished: list[str] = []

    def note(name: str, event: Event) -> None:
        if event.done:
            finished.append(name)

    async def run(name: str, background: bool) -> None:
        many = [order(denoiser, plan, index=n, tag=n) for n in range(2 * BATCH)]
        async for event in engine.sample(KEY, many, background=background):
            note(name, event)

    chunk = asyncio.create_task(run("chunk", True))
    await asyncio.sleep(0.01)
    await asyncio.gather(run("caller", False), chunk)
    callers_last = len(finished) - 1 - finished[::-1].index("caller")
    assert callers_last < len(finished) - 1
    assert "chunk" in finished[callers_last + 1 :]


async def test_a_fault_of_the_network_reaches_its_callers_and_the_engine_goes_on(denoiser: ClassToImage) -> None:
    engine = opened(denoiser)
    plain = order(denoiser, a_plan(denoiser))
    broken = Order(Condition(torch.zeros(5)), plain.plan, 1)
    with pytest.raises(RuntimeError):
        await images(engine.sample(KEY, [broken]))
    assert len(await images(engine.sample(KEY, [plain]))) == 1


async def test_images_of_one_batch_have_distinct_noise(denoiser: ClassToImage) -> None:
    plan = a_plan(denoiser, 1)
    asked = [order(denoiser, plan, seed=seed, index=n) for seed, n in itertools.product((0, 1), range(4))]
    digests = {event.noise_digest async for event in opened(denoiser).sample(KEY, asked) if event.done}
    assert len(digests) == 8


def test_a_package_is_opened_on_the_cpu_in_single_precision_by_default() -> None:
    chosen = place(DiffusionSettings(registries=()))
    if not torch.cuda.is_available():
        assert (chosen.device.type, chosen.dtype, chosen.compiled, chosen.batch) == ("cpu", torch.float32, False, 4)
        assert chosen.device_class.startswith("cpu ")
