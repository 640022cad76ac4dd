import asyncio

import pytest

from services.errors import Overloaded
from services.gateway.admission import Admission, Limits


async def enter(admission, queue, caller, entered, leave):
    async with admission.admit(queue, caller):
        entered.append(caller)
        await leave.wait()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_places_are_given_in_order_and_never_more_than_there_are():
    admission = Admission(Limits(2, 3), per_caller=10)
    entered, doors = [], [asyncio.Event() for _ in range(5)]
    tasks = [asyncio.create_task(enter(admission, "m", f"c{i}", entered, doors[i])) for i in range(5)]
    await settle()
    assert entered == ["c0", "c1"]
    assert admission.depths() == {"m": (2, 3)}
    doors[1].set()
    await settle()
    assert entered == ["c0", "c1", "c2"]
    for door in doors:
        door.set()
    await asyncio.gather(*tasks)
    assert entered == [f"c{i}" for i in range(5)]
    assert admission.depths() == {"m": (0, 0)}


async def test_a_full_queue_refuses_and_another_queue_does_not():
    admission = Admission(Limits(1, 0), per_caller=10, special={"wide": Limits(5, 0)})
    async with admission.admit("m", "a"):
        with pytest.raises(Overloaded) as caught:
            async with admission.admit("m", "b"):
                pass
        assert 1 <= caught.value.retry_after_s <= 30
        async with admission.admit("n", "b"), admission.admit("wide", "b"), admission.admit("wide", "b"):
            pass
    async with admission.admit("m", "b"):
        pass


async def test_one_caller_cannot_take_every_place():
    admission = Admission(Limits(10, 10), per_caller=2)
    async with admission.admit("m", "greedy"), admission.admit("n", "greedy"):
        with pytest.raises(Overloaded) as caught:
            async with admission.admit("m", "greedy"):
                pass
        assert caught.value.reason == "CALLER_LIMIT"
        async with admission.admit("m", "modest"):
            pass
    async with admission.admit("m", "greedy"):
        pass
    assert not admission._callers


@pytest.mark.parametrize("just_called", [False, True])
async def test_a_caller_that_leaves_while_waiting_leaves_no_hole(just_called):
    admission = Admission(Limits(1, 5), per_caller=10)
    entered, door = [], asyncio.Event()
    first = asyncio.create_task(enter(admission, "m", "first", entered, door))
    await settle()
    second = asyncio.create_task(enter(admission, "m", "second", entered, door))
    third = asyncio.create_task(enter(admission, "m", "third", entered, door))
    await settle()
    if just_called:  # its turn has come, but it does not know yet
        door.set()
        await asyncio.sleep(0)
    second.cancel()
    door.set()
    await asyncio.gather(first, third)
    with pytest.raises(asyncio.CancelledError):
        await second
    assert entered[0] == "first"
    assert entered[-1] == "third"
    assert admission.depths() == {"m": (0, 0)}


async def test_a_caller_cancelled_in_the_moment_a_place_is_passed_on_hears_of_nothing_else():
    admission = Admission(Limits(1, 5), per_caller=10)
    door, waiting = asyncio.Event(), []

    async def first():
        async with admission.admit("m", "first"):
            await door.wait()
            waiting[0].cancel()

    holding = asyncio.create_task(first())
    await settle()
    waiting.append(asyncio.create_task(enter(admission, "m", "second", [], door)))
    await settle()
    door.set()
    await holding
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert admission.depths() == {"m": (0, 0)}
