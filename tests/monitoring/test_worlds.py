"""Null, planted and confounded traffic: what was planted is named, what was not is not."""

from __future__ import annotations

from datetime import datetime

import pytest
from evenhand.monitoring.v1 import monitor_pb2

from tests.monitoring.traffic import DAY, Traffic
from tests.monitoring.world import BEGAN, World, stamp

ORIGIN = BEGAN - 10 * DAY
WINDOWS = 10


def stream(**planted: float) -> list[Traffic]:
    """Ten days; what is planted begins on the fifth, number 4."""
    return [Traffic(day, records=1500, **(planted if day >= 4 else {})) for day in range(WINDOWS)]


async def _watched(world: World, traffic: list[Traffic], origin: datetime = ORIGIN, **spec: object) -> str:
    made = await world.create(**spec)
    world.record(made.name, origin, *traffic)
    world.close(made.name, WINDOWS)
    return made.name


@pytest.mark.parametrize("reference", ["audit", "first_windows", "none"])
async def test_a_null_stream_raises_nothing(world: World, reference: str) -> None:
    kinds = {
        "audit": {"audit": world.put_audit(Traffic(0, records=4000, seed=9))},
        "first_windows": {"first_windows": 3},
        "none": None,
    }
    name = await _watched(world, stream(), reference=kinds[reference])
    assert await world.alarms(name) == []
    assert not any(point["alarmed"] for point in world.ledger().points(name))


@pytest.mark.parametrize("reference", ["audit", "first_windows"])
async def test_a_drop_in_one_group_is_named_with_its_size_its_beginning_and_its_cause(
    world: World, reference: str
) -> None:
    kinds = {
        "audit": {"audit": world.put_audit(Traffic(0, records=4000, seed=9))},
        "first_windows": {"first_windows": 3},
    }
    name = await _watched(world, stream(miss=0.4), reference=kinds[reference])
    alarms = await world.alarms(name)
    assert {(alarm.key.label, alarm.key.metric, alarm.key.attribute) for alarm in alarms} == {("Edema", "tpr", "sex")}
    (women,) = [alarm for alarm in alarms if alarm.key.group == "Female"]
    assert women.change < 0
    assert -1 < women.low < women.change < women.high < 0.1
    assert 2 <= women.since_window <= 6
    assert women.since_time.ToDatetime().date() == (ORIGIN + women.since_window * DAY).date()
    assert 4 <= int(women.window.rpartition("/")[2]) < WINDOWS
    assert women.moved[0].what == "error_rate"
    assert women.moved[0].moved
    assert women.moved[0].high < 0
    assert not next(part for part in women.moved if part.what == "prevalence").moved
    assert women.patients > 150
    assert all(word in women.summary for word in ("Edema", "true positive rate", "sex=Female", "error rate"))
    for alarm in alarms:
        assert alarm.change * women.change > 0 or alarm.key.group == "Male"


async def test_another_prevalence_is_no_gap_of_errors_and_is_called_prevalence(world: World) -> None:
    audit = world.put_audit(Traffic(0, records=4000, seed=9))
    name = await _watched(
        world, stream(prevalence=0.6), reference={"audit": audit}, metrics=["tpr", "fpr", "flag_rate"]
    )
    alarms = await world.alarms(name)
    assert {alarm.key.metric for alarm in alarms} == {"flag_rate"}
    (women,) = [alarm for alarm in alarms if alarm.key.group == "Female"]
    assert (women.key.label, women.key.attribute) == ("Edema", "sex")
    assert women.moved[0].what == "prevalence"
    assert women.moved[0].moved
    assert women.moved[0].low > 0
    assert not next(part for part in women.moved if part.what == "error_rate").moved


async def test_windows_of_the_reference_are_shown_and_judge_nothing(world: World) -> None:
    name = await _watched(world, stream(miss=0.4), reference={"first_windows": 3})
    of_reference = world.ledger().points(name, windows=range(3))
    later = world.ledger().points(name, windows=range(3, WINDOWS))
    assert {point["change"] for point in of_reference} == {None}
    assert {point["e_value"] for point in of_reference} == {1.0}
    assert all(point["gap"] is not None for point in of_reference)
    assert all(point["change"] is not None for point in later)


async def test_beyond_the_planned_windows_nothing_is_raised(world: World) -> None:
    traffic = [Traffic(day, records=1500, miss=0.8 if day >= 6 else 0.0) for day in range(WINDOWS)]
    window = {"records": "1500", "origin": stamp(ORIGIN)}
    made = await world.create(window=window, planned_windows=6, reference={"first_windows": 3})
    world.record(made.name, ORIGIN, *traffic)
    await world.until(lambda: world.ledger().closed_windows(made.name) == WINDOWS, world.worker())
    assert await world.alarms(made.name) == []
    assert max(point["e_value"] for point in world.ledger().latest_points(made.name)) > 1000
    assert (await world.get(made.name)).state == monitor_pb2.Monitor.STATE_FINISHED


async def test_the_evidence_of_a_window_does_not_depend_on_later_ones(world: World) -> None:
    traffic = stream(miss=0.4)
    whole = await _watched(world, traffic, reference={"first_windows": 3})
    made = await world.create(reference={"first_windows": 3})
    world.record(made.name, ORIGIN, *traffic[:6])
    world.close(made.name, 6)
    assert world.ledger().points(made.name) == world.ledger().points(whole, windows=range(6))


async def test_a_window_says_what_is_in_each_cell(world: World) -> None:
    traffic = stream(miss=0.4)
    name = await _watched(world, traffic)
    window, frame = await world.window(name, 7), traffic[7].frame()
    assert window.records == window.labelled == len(frame)
    assert window.patients == frame["patient_id"].nunique()
    assert dict(window.model_versions) == {"1": len(frame)}
    cells = {(cell.label, cell.attribute, cell.group): cell for cell in window.cells}
    for (label, attribute, group), cell in cells.items():
        rows = frame[frame[attribute] == group] if group else frame
        truth, flagged = rows[f"truth.{label}"] == 1, rows[f"score.{label}"] >= (0.5 if label == "Edema" else 0.45)
        assert (cell.records, cell.positives) == (len(rows), truth.sum())
        assert cell.patients == rows["patient_id"].nunique()
        assert cell.values["tpr"] == pytest.approx(flagged[truth].mean())
        assert cell.values["fpr"] == pytest.approx(flagged[~truth].mean())
        assert cell.values["prevalence"] == pytest.approx(truth.mean())
        assert cell.values["flag_rate"] == pytest.approx(flagged.mean())
        assert cell.values["mean_score"] == pytest.approx(rows[f"score.{label}"].mean(), abs=1e-4)
    points = {(point.key.label, point.key.metric, point.key.group): point for point in window.points}
    women, men = (cells["Edema", "sex", group].values["tpr"] for group in ("Female", "Male"))
    point = points["Edema", "tpr", "Female"]
    assert point.value == pytest.approx(women)
    assert point.gap == pytest.approx(women - men)
    assert point.cases == cells["Edema", "sex", "Female"].positives
    assert point.standard_error > 0
