"""Windows with few labels: rates that lean on the scores, beside what labels alone say; shown, and never an alarm."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from services.adapters.arrivals import ArrivalLog, WatchSpec
from services.monitoring.resources import stamp
from tests.monitoring.traffic import DAY, Traffic, predictions, truths
from tests.monitoring.world import BEGAN, World

DAYS, RECORDS, SHARE = 3, 2000, 0.15
ORIGIN = BEGAN - DAYS * DAY


async def watched(world: World, share: float, miss: float = 0.0) -> str:
    """A monitor of three closed days, of whose records a random ``share`` have labels."""
    made = await world.create(window={"length": "86400s", "origin": stamp(ORIGIN)})
    log, spec, now = ArrivalLog(world.ledger(), world.store()), WatchSpec.of(world.body(made.name)), datetime.now(UTC)
    for day in range(DAYS):
        traffic = Traffic(day, records=RECORDS, miss=miss)
        frame = traffic.frame()
        log.append_predictions(made.name, spec, predictions(frame, spec, ORIGIN, traffic), now)
        known = np.flatnonzero(np.random.default_rng(day).random(RECORDS) < share)
        log.append_labels(made.name, spec, truths(frame).take(known), now)
    world.close(made.name, DAYS)
    return str(made.name)


async def test_scores_narrow_what_few_labels_say_around_the_truth(world: World) -> None:
    name = await watched(world, SHARE)
    windows = [await world.window(name, index) for index in range(DAYS)]
    for window in windows:
        rates = {(rate.label, rate.group, rate.metric): rate for rate in window.rates}
        assert {label for label, _, _ in rates} == {"Edema", "Fracture"}
        for group in ("Female", "Male"):
            prevalence = rates["Edema", group, "prevalence"]
            assert prevalence.low < 0.3 < prevalence.high
            assert prevalence.high - prevalence.low < prevalence.labels_high - prevalence.labels_low
            assert prevalence.labelled + prevalence.unlabelled == pytest.approx(RECORDS / 2, abs=150)
            sensitivity = rates["Edema", group, "tpr"]
            assert sensitivity.low < 0.85 < sensitivity.high
    first, last = (
        {(rate.group, rate.metric): rate for rate in window.rates if rate.label == "Edema"}
        for window in (windows[0], windows[-1])
    )
    own = last["Female", "prevalence"]
    assert own.running_low < 0.3 < own.running_high
    before = first["Female", "prevalence"]
    assert own.running_high - own.running_low < before.running_high - before.running_low


async def test_the_hint_stays_a_hint_where_scores_miss_half_of_womens_disease(world: World) -> None:
    name = await watched(world, SHARE, miss=0.5)
    rates = {(rate.label, rate.group, rate.metric): rate for rate in (await world.window(name, 0)).rates}
    women, men = (rates["Edema", group, "tpr"] for group in ("Female", "Male"))
    assert women.low < 0.425 < women.high
    assert 1.4 * (men.value - women.value) > 0.85 - 0.425
    assert men.hint - women.hint < 0.6 * (men.value - women.value), "without labels much of the gap is not seen"


async def test_with_all_labels_or_none_there_is_nothing_to_lean_on(world: World) -> None:
    for share in (1.0, 0.0):
        name = await watched(world, share)
        assert not (await world.window(name, 0)).rates
