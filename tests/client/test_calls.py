import random
import uuid

import pytest
from evenhand import AsyncClient
from evenhand.calls import Budget, Caller, Retry, Sleep, Unary
from evenhand.client import Client
from evenhand.errors import Conflict, InvalidInput, NotFound, Overloaded, Unavailable
from evenhand.resources.v1 import model_pb2, model_service_pb2

from services import errors as platform

QUICK = Retry(attempts=4, first_s=0.001, longest_s=0.002)


@pytest.fixture
def quick(twin):
    with Client(twin.address, retry=QUICK) as client:
        yield client


def lost(count):
    return [platform.Unavailable("restarting", retry_after_s=0.001) for _ in range(count)]


def test_a_read_is_repeated_until_the_server_is_back(quick, twin):
    twin.failures["GetModel"] = lost(3)
    assert quick.models.get("xray-unet").task == "reconstruction"
    assert len(twin.called("GetModel")) == 4


def test_attempts_are_bounded(quick, twin):
    twin.failures["GetModel"] = lost(10)
    with pytest.raises(Unavailable):
        quick.models.get("xray-unet")
    assert len(twin.called("GetModel")) == QUICK.attempts


def test_a_wrong_request_is_not_repeated(quick, twin, spec):
    with pytest.raises(InvalidInput) as caught:
        quick.audits.create({**spec, "pipelines": []})
    assert caught.value.field == "spec.pipelines"
    assert len(twin.called("CreateAudit")) == 1


def test_a_creation_whose_reply_is_lost_is_done_once(quick, twin, spec):
    twin.lost_replies["CreateAudit"] = 2
    operation = quick.audits.create(spec)
    requests = twin.called("CreateAudit")
    assert len(requests) == 3
    assert len({request.request_id for request in requests}) == 1
    assert uuid.UUID(requests[0].request_id).version == 4
    assert list(twin.operations) == [operation.name]


def test_two_creations_have_different_request_ids(quick, twin, spec):
    quick.audits.create(spec)
    quick.audits.create(spec)
    first, second = twin.called("CreateAudit")
    assert first.request_id != second.request_id


def test_a_request_id_used_for_another_body_is_a_conflict(quick, spec):
    quick.audits.create(spec, request_id="11111111-1111-4111-8111-111111111111")
    with pytest.raises(Conflict):
        quick.audits.create({**spec, "seed": 5}, request_id="11111111-1111-4111-8111-111111111111")


def test_overload_is_met_with_patience_only_where_the_server_names_a_time(quick, twin):
    twin.failures["GetModel"] = [platform.Overloaded("full", retry_after_s=0.001)]
    quick.models.get("xray-unet")
    assert len(twin.called("GetModel")) == 2
    policy, rng = Retry(), random.Random(1)
    assert policy.delay(0, Overloaded("full"), rng) is None
    assert policy.delay(0, Overloaded("full", retry_after_s=2.0), rng) >= 2.0


def test_retry_info_is_a_lower_bound_of_the_pause_and_jitter_comes_on_top():
    delays = [Retry().delay(3, Unavailable("away", retry_after_s=1.5), random.Random(seed)) for seed in range(50)]
    assert all(1.5 <= delay <= 1.5 + 0.8 for delay in delays)
    assert len(set(delays)) > 40


def test_an_empty_budget_ends_the_retries():
    caller = Caller(budget=Budget(most=2, tokens=2), retry=Retry(attempts=10, first_s=0.0))
    flow = caller.unary("s/m", model_service_pb2.GetModelRequest(), model_pb2.Model)
    attempts, error = 0, Unavailable("away")
    with pytest.raises(Unavailable):
        step = next(flow)
        while True:
            attempts += isinstance(step, Unary)
            step = flow.send(None) if isinstance(step, Sleep) else flow.throw(error)
    assert attempts == 3
    caller.budget.earn()
    assert caller.budget.tokens == pytest.approx(0.1)


def test_a_deletion_whose_reply_is_lost_is_no_error_but_a_wrong_name_is(quick, twin, folder):
    cohort = quick.cohorts.create(
        folder / "images", schema="phantom-chest", table=folder / "rows.csv", progress=False
    ).result(10)
    twin.lost_replies["DeleteCohort"] = 1
    quick.cohorts.delete(cohort.name)
    assert twin.cohorts == {}
    with pytest.raises(NotFound):
        quick.cohorts.delete(cohort.name)


def test_listings_follow_page_tokens_and_stop_at_the_limit(quick, twin):
    for index in range(1203):
        twin.models[f"models/m{index:04d}"] = model_pb2.Model(name=f"models/m{index:04d}")
    names = [model.name for model in quick.models.list()]
    assert len(names) == len(set(names)) == len(twin.models)
    assert len(twin.called("ListModels")) == 3
    assert len(quick.models.list(limit=7)) == 7
    assert twin.called("ListModels")[-1].page_size == 7


async def test_the_async_twin_repeats_by_the_same_rules(twin, spec):
    async with AsyncClient(twin.address, retry=QUICK) as client:
        twin.failures["GetModel"] = lost(2)
        await client.models.get("xray-unet")
        assert len(twin.called("GetModel")) == 3
        twin.lost_replies["CreateAudit"] = 1
        await client.audits.create(spec)
        assert len({request.request_id for request in twin.called("CreateAudit")}) == 1
        with pytest.raises(NotFound):
            await client.models.get("none")
