"""What a request for a monitor is answered with, before anything is watched."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from evenhand.monitoring.v1 import monitor_pb2, monitoring_service_pb2

from services.errors import Conflict, NotFound, ServiceError
from tests.monitoring.traffic import LABELS, LEVELS, THRESHOLDS, Traffic
from tests.monitoring.world import BEGAN, World, monitor_spec, stamp

AGES = {"attribute": "age", "levels": ["young", "old"]}
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "a threshold of 1": (
        {"labels": [{"label": "Edema", "threshold": 1.0}]}, "THRESHOLD_INVALID", "spec.labels[0].threshold"),
    "no threshold": ({"labels": [{"label": "Edema"}]}, "THRESHOLD_INVALID", "spec.labels[0].threshold"),
    "a label without a name": (
        {"labels": [{"label": " ", "threshold": 0.5}]}, "LABEL_UNKNOWN", "spec.labels[0].label"),
    "a label twice": ({"labels": [{"label": "A", "threshold": 0.5}] * 2}, "NAMED_TWICE", "spec.labels[1]"),
    "too many labels": (
        {"labels": [{"label": f"L{i}", "threshold": 0.5} for i in range(65)]}, "LABEL_UNKNOWN", "spec.labels"),
    "no label, and nothing to take them from": ({"labels": []}, "LABEL_UNKNOWN", "spec.labels"),
    "one level": (
        {"attributes": [{"attribute": "sex", "levels": ["F"]}]}, "LEVELS_INVALID", "spec.attributes[0].levels"),
    "a level twice": (
        {"attributes": [{"attribute": "sex", "levels": ["F", "F"]}]}, "LEVELS_INVALID", "spec.attributes[0].levels"),
    "a level named as reports name everyone": (
        {"attributes": [{"attribute": "sex", "levels": ["F", "overall"]}]},
        "LEVELS_INVALID", "spec.attributes[0].levels"),
    "an attribute with a comma": (
        {"attributes": [{"attribute": "sex,age", "levels": ["F", "M"]}]},
        "ATTRIBUTE_UNKNOWN", "spec.attributes[0].attribute"),
    "no attribute": ({"attributes": []}, "ATTRIBUTE_UNKNOWN", "spec.attributes"),
    "a grouping of an unknown attribute": ({"groupings": ["sex,race"]}, "ATTRIBUTE_UNKNOWN", "spec.groupings[0]"),
    "a grouping of three": ({"groupings": ["a,b,c"]}, "ATTRIBUTE_UNKNOWN", "spec.groupings[0]"),
    "groups that would have one name": (
        {
            "attributes": [{"attribute": "x", "levels": ["a", "a, b"]}, {"attribute": "y", "levels": ["b, c", "c"]}],
            "groupings": ["x,y"],
        },
        "LEVELS_INVALID", "spec.groupings"),
    "more series than can be watched": (
        {"attributes": [
            {"attribute": name, "levels": [f"{name}{i}" for i in range(120)]} for name in "ab"
        ], "groupings": ["a,b"]},
        "LEVELS_INVALID", "spec.groupings"),
    "an unknown metric": ({"metrics": ["tpr", "auroc"]}, "METRIC_UNKNOWN", "spec.metrics[1]"),
    "an alpha of one half": ({"alpha": 0.5}, "ALPHA_INVALID", "spec.alpha"),
    "a negative alpha": ({"alpha": -0.1}, "ALPHA_INVALID", "spec.alpha"),
    "an alpha that is no number": ({"alpha": "NaN"}, "ALPHA_INVALID", "spec.alpha"),
    "no window": ({"window": {}}, "WINDOW_INVALID", "spec.window.length"),
    "a window of both kinds": (
        {"window": {"length": "60s", "records": "5"}}, "WINDOW_INVALID", "spec.window.length"),
    "a window of no time": ({"window": {"length": "0s"}}, "WINDOW_INVALID", "spec.window.length"),
    "a window that is over before the one before is closed": (
        {"window": {"length": "59.999999s"}}, "WINDOW_INVALID", "spec.window.length"),
    "a window of negative records": ({"window": {"records": "-1"}}, "WINDOW_INVALID", "spec.window.records"),
    "a negative delay": (
        {"window": {"length": "60s", "label_delay": "-1s"}}, "WINDOW_INVALID", "spec.window.label_delay"),
    "an origin of another age": (
        {"window": {"length": "86400s", "origin": "1600-01-01T00:00:00Z"}}, "WINDOW_INVALID", "spec.window.origin"),
    "an origin more windows ago than are planned": (
        {"window": {"length": "60s", "origin": stamp(BEGAN - timedelta(days=9))}},
        "WINDOW_INVALID", "spec.window.origin"),
    "negative windows": ({"planned_windows": -1}, "WINDOW_INVALID", "spec.planned_windows"),
    "as many reference windows as are planned": (
        {"reference": {"first_windows": 20}}, "WINDOW_INVALID", "spec.reference.first_windows"),
    "a pipeline of no audit": ({"reference": {"pipeline": "x"}}, "REFERENCE_INVALID", "spec.reference.pipeline"),
    "a tap of no model": ({"source": {"tap": {"sampling_rate": 1}}}, "SOURCE_INVALID", "spec.model"),
    "a tap that records nothing": (
        {"model": "models/chest", "source": {"tap": {}}}, "SOURCE_INVALID", "spec.source.tap.sampling_rate"),
    "a folder outside the import roots": (
        {"source": {"folder": "/etc"}}, "FOLDER_NOT_ALLOWED", "spec.source.folder"),
    "a folder by a relative path": (
        {"source": {"folder": "imports"}}, "FOLDER_NOT_ALLOWED", "spec.source.folder"),
    "a prefix of content addresses": (
        {"source": {"folder": "store:sha256/"}}, "SOURCE_INVALID", "spec.source.folder"),
    "a prefix of everything": ({"source": {"folder": "store:"}}, "SOURCE_INVALID", "spec.source.folder"),
    "a prefix of nothing but an end": ({"source": {"folder": "store:/"}}, "SOURCE_INVALID", "spec.source.folder"),
    "a prefix that climbs": ({"source": {"folder": "store:../x"}}, "SOURCE_INVALID", "spec.source.folder"),
    "a model that is not served": ({"model": "models/nobody"}, "MODEL_NOT_FOUND", "spec.model"),
    "a model that calls no labels": ({"model": "models/sex"}, "TASK_MISMATCH", "spec.model"),
    "a label that the model has not": (
        {"model": "models/chest", "labels": [{"label": "Gout", "threshold": 0.5}]},
        "LABEL_UNKNOWN", "spec.labels[0].label"),
    "an audit that is not there": (
        {"reference": {"audit": "audits/nothing"}}, "AUDIT_NOT_FOUND", "spec.reference.audit"),
    "an audit by another name": ({"reference": {"audit": "cohorts/x"}}, "NAME_MALFORMED", "spec.reference.audit"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
async def test_what_is_wrong_is_said_with_its_field_and_reason(world: World, case: str) -> None:
    changes, reason, at = BAD[case]
    with pytest.raises(ServiceError) as raised:
        await world.create(**changes)
    assert (raised.value.reason, raised.value.field) == (reason, at)
    assert 400 <= raised.value.http < 500
    assert world.ledger().resource_names("monitor") == []
    with pytest.raises(ServiceError) as raised:
        await _plan(world, **changes)
    assert raised.value.reason == reason


async def test_what_is_left_out_of_the_request_is_filled_in(world: World) -> None:
    before = datetime.now(UTC)
    made = await world.create(window={"length": "604800s"}, planned_windows=0)
    spec, days = made.spec, {before.date(), datetime.now(UTC).date()}
    assert list(spec.metrics) == ["tpr", "fpr"]
    assert (spec.alpha, spec.planned_windows, list(spec.groupings)) == (0.05, 104, ["sex", "age"])
    origin = spec.window.origin.ToDatetime(UTC)
    assert origin.date() in days
    assert origin.time() == time(0)
    assert made.state == monitor_pb2.Monitor.STATE_WAITING
    assert len(made.digest) == 64
    assert made == await world.get(made.name)


async def test_a_model_gives_its_labels_and_thresholds(world: World) -> None:
    made = await world.create(model="models/chest", labels=[])
    assert [(label.label, label.threshold) for label in made.spec.labels] == list(zip(LABELS, THRESHOLDS, strict=True))


async def test_an_audit_gives_labels_thresholds_and_levels(world: World) -> None:
    audit = world.put_audit(Traffic(0, records=900, seed=9))
    made = await world.create(labels=[], attributes=[], reference={"audit": audit})
    assert [(label.label, label.threshold) for label in made.spec.labels] == list(zip(LABELS, THRESHOLDS, strict=True))
    assert {one.attribute: tuple(one.levels) for one in made.spec.attributes} == LEVELS
    assert made.spec.reference.pipeline == "original"


async def test_what_does_not_fit_the_audit_is_refused(world: World) -> None:
    audit = world.put_audit(Traffic(0, records=900, seed=9))
    races = {"attribute": "race", "levels": ["A", "B"]}
    for changes, reason in (
        ({"attributes": [races]}, "ATTRIBUTE_UNKNOWN"),
        ({"attributes": [{"attribute": "sex", "levels": ["Female", "Other"]}]}, "LEVELS_INVALID"),
        ({"labels": [{"label": "Gout", "threshold": 0.5}]}, "LABEL_UNKNOWN"),
    ):
        with pytest.raises(ServiceError) as raised:
            await world.create(reference={"audit": audit}, **changes)
        assert raised.value.reason == reason
    with pytest.raises(ServiceError) as raised:
        await world.create(reference={"audit": audit, "pipeline": "unet"})
    assert raised.value.reason == "PIPELINE_UNKNOWN"
    world.ledger().put_resource("audits/running", "audit", {"name": "audits/running"})
    with pytest.raises(ServiceError) as raised:
        await world.create(reference={"audit": "audits/running"})
    assert (raised.value.reason, raised.value.status) == ("AUDIT_NOT_FINISHED", "FAILED_PRECONDITION")


async def test_a_repeated_request_meets_the_first_monitor_and_another_body_is_a_conflict(world: World) -> None:
    request_id = str(uuid.uuid4())
    first = await world.create(request_id)
    assert await world.create(request_id) == first
    with pytest.raises(Conflict) as raised:
        await world.create(request_id, alpha=0.01)
    assert raised.value.reason == "REQUEST_ID_REUSED"
    assert (await world.create(str(uuid.uuid4()))).name != first.name


async def test_requests_at_once_under_one_id_make_one_monitor(world: World) -> None:
    request_id = str(uuid.uuid4())
    made = await asyncio.gather(*(world.create(request_id) for _ in range(5)))
    assert {monitor.name for monitor in made} == {made[0].name}
    assert world.ledger().resource_names("monitor") == [made[0].name]


async def test_a_monitor_made_again_after_its_deletion_has_a_name_of_its_own(world: World) -> None:
    request_id = str(uuid.uuid4())
    first = await world.create(request_id)
    await world.monitors().delete(monitoring_service_pb2.DeleteMonitorRequest(name=first.name).SerializeToString())
    again = await world.create(request_id, alpha=0.01)
    assert again.name != first.name
    assert await world.create(request_id, alpha=0.01) == again
    assert world.ledger().resource_names("monitor") == [again.name]


async def test_the_digest_is_that_of_spec_and_reference(world: World) -> None:
    first, second = await world.create(), await world.create()
    assert first.digest == second.digest
    assert (await world.create(alpha=0.01)).digest != first.digest
    audits = [world.put_audit(Traffic(0, records=900, seed=seed), f"audits/{seed}") for seed in (1, 2)]
    one, other = [await world.create(reference={"audit": audit}) for audit in audits]
    assert one.digest != other.digest


async def test_monitors_are_listed_newest_first_page_by_page(world: World) -> None:
    made = [(await world.create()).name for _ in range(3)]
    seen, token = [], ""
    while True:
        request = monitoring_service_pb2.ListMonitorsRequest(page_size=2, page_token=token)
        page = monitoring_service_pb2.ListMonitorsResponse.FromString(
            await world.monitors().list(request.SerializeToString())
        )
        seen += [monitor.name for monitor in page.monitors]
        assert not any(monitor.HasField("plan") for monitor in page.monitors)
        token = page.next_page_token
        if not token:
            break
    assert seen == made[::-1]


async def test_what_is_not_there_is_not_found(world: World) -> None:
    for ask, reason in (
        (world.get("monitors/none"), "MONITOR_NOT_FOUND"),
        (world.window("monitors/none", 0), "MONITOR_NOT_FOUND"),
        (world.alarms("monitors/none"), "MONITOR_NOT_FOUND"),
    ):
        with pytest.raises(NotFound) as raised:
            await ask
        assert raised.value.reason == reason
    made = await world.create()
    for ask in (world.window(made.name, 0), world.rederive(made.name, 0)):
        with pytest.raises(NotFound) as raised:
            await ask
        assert raised.value.reason == "WINDOW_NOT_FOUND"
    assert await world.alarms("monitors/-") == []


async def test_a_plan_says_what_each_series_can_show_and_which_never_will(world: World) -> None:
    audit = world.put_audit(Traffic(0, records=4000, seed=9))
    few, many = [await _plan(world, records, reference={"audit": audit}) for records in (8.0, 4000.0)]
    assert len(few.series) == len(many.series) == 2 * 2 * 4
    for one, other in zip(few.series, many.series, strict=True):
        assert one.key == other.key
        assert other.cases_per_window == pytest.approx(500 * one.cases_per_window)
        assert 0 < other.minimum_detectable_change < one.minimum_detectable_change
    women = next(s for s in many.series if (s.key.label, s.key.metric, s.key.group) == ("Edema", "tpr", "Female"))
    assert women.cases_per_window == pytest.approx(4000 * 0.5 * 0.3, rel=0.1)
    assert many.warnings == []
    hopeless = await _plan(world, 0.5, reference={"audit": audit})
    assert any("Edema, tpr, sex=Female" in warning for warning in hopeless.warnings)


async def test_a_level_that_the_audit_never_saw_is_warned_of(world: World) -> None:
    audit = world.put_audit(Traffic(0, records=900, seed=9))
    wider = {"attribute": "sex", "levels": ["Female", "Male", "Other"]}
    plan = await _plan(world, 500.0, reference={"audit": audit}, attributes=[wider])
    assert any("nobody of sex=Other" in warning for warning in plan.warnings)


async def test_where_nothing_is_known_the_plan_says_so(world: World) -> None:
    made = await world.create()
    assert {(series.cases_per_window, series.minimum_detectable_change) for series in made.plan.series} == {(0, 0)}
    assert len(made.plan.warnings) == 1


async def test_a_deleted_monitor_leaves_nothing_behind(world: World) -> None:
    made = await world.create(str(uuid.uuid4()))
    world.record(made.name, BEGAN - timedelta(days=10), Traffic(0), Traffic(1))
    world.close(made.name, 2)
    request = monitoring_service_pb2.DeleteMonitorRequest(name=made.name)
    await world.monitors().delete(request.SerializeToString())
    assert list(world.store().keys()) == []
    assert world.ledger().list_windows(made.name) == ([], "")
    assert world.ledger().resource_names("monitor-request") == []
    with pytest.raises(NotFound):
        await world.monitors().delete(request.SerializeToString())


async def _plan(world: World, records: float = 0.0, **changes: Any) -> monitor_pb2.MonitorPlan:
    request = monitoring_service_pb2.PlanMonitorRequest(spec=monitor_spec(**changes), records_per_window=records)
    return monitor_pb2.MonitorPlan.FromString(await world.monitors().plan(request.SerializeToString()))
