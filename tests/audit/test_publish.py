"""The report's own process: what comes back from it, and what its death or its complaint becomes."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.audit.publish import MOST_GAUGES, PublishTask, SubprocessPublisher, gauges
from services.errors import NotFound, Unavailable
from tests.audit.world import World, make_world
from tests.processes import command_line


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, records=8)


async def task_of(world: World, **chunk: Any) -> PublishTask:
    operation = await world.create()
    created = operation.create_time.isoformat()
    return PublishTask(operation.resource, operation.name, created, operation.request, [chunk] if chunk else [])


async def test_an_error_comes_back_in_its_own_class(world: World) -> None:
    lost = {"key": "sha256/" + "ab" + "/" + "ab" * 32, "sha256": "ab" * 32, "bytes": 1}
    task = await task_of(world, rows=8, predictions=lost, quality=None)
    with pytest.raises(NotFound) as caught:
        await SubprocessPublisher(world.settings.store)(task)
    assert caught.value.reason == "ARTIFACT_NOT_FOUND"


async def child_of(running: asyncio.Task[Any]) -> psutil.Process:
    while not running.done():
        for process in psutil.Process().children():
            if "services.audit.publish" in " ".join(command_line(process)):
                return process
        await asyncio.sleep(0.01)
    raise AssertionError("the publisher ended before it was found")


async def test_a_killed_process_is_worth_another_try(world: World) -> None:
    running = asyncio.create_task(SubprocessPublisher(world.settings.store)(await task_of(world)))
    os.kill((await child_of(running)).pid, signal.SIGKILL)
    with pytest.raises(Unavailable) as caught:
        await running
    assert caught.value.reason == "REPORT_PROCESS_LOST"


async def test_a_cancelled_report_leaves_no_process(world: World) -> None:
    running = asyncio.create_task(SubprocessPublisher(world.settings.store)(await task_of(world)))
    child = await child_of(running)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not child.is_running()


def cell(estimate: float | None, attribute: str = "sex", metric: str = "auroc") -> dict[str, Any]:
    place = dict.fromkeys(("pipeline", "task", "label", "group"), "x")
    numbers = dict.fromkeys(("ci_low", "ci_high", "p_adjusted"), 0.5)
    return {
        **place,
        **numbers,
        "metric": metric,
        "attribute": attribute,
        "estimate": estimate,
        "records": 9,
        "patients": 5,
        "state": "ok",
    }


def gap(reference: str) -> dict[str, Any]:
    return {**cell(0.1), "definition": "max_min", "reference": reference}


def test_gauges_show_numbers_of_single_attributes_and_are_bounded() -> None:
    cells = [cell(0.5), cell(None), cell(0.5, "sex,age"), cell(0.7, ""), cell(0.9, metric="brier")]
    shown = gauges({"cells": cells, "gaps": [gap(""), gap("Female")]})
    assert [row["estimate"] for row in shown["cells"]] == [0.5, 0.7]
    assert {"ci_low", "ci_high", "p_adjusted", "state", "patients"} <= set(shown["cells"][0])
    assert len(shown["gaps"]) == 1, "gaps to a reference group would be one series per group"
    many = gauges({"cells": [cell(0.5)] * (MOST_GAUGES + 3), "gaps": []})
    assert (len(many["cells"]), many["left_out"]) == (MOST_GAUGES, 3)
