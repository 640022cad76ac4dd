"""Creating, reading, listing and deleting audits, by message bytes, without Ray."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from evenhand.audit.v1 import audit_pb2, audit_service_pb2
from evenhand.cohort.v1 import cohort_service_pb2
from google.longrunning import operations_pb2

from services.audit.audits import Audits
from services.audit.cohorts import Cohorts
from services.errors import Conflict, FailedPrecondition, NotFound, PageTokenMismatch
from tests.audit.world import COHORT, World, audit_request, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, records=12)


@pytest.fixture
def audits(world: World) -> Audits:
    return Audits(world.ledger(), world.store(), world.calls(), world.settings)


async def create(audits: Audits, request: audit_service_pb2.CreateAuditRequest) -> operations_pb2.Operation:
    return operations_pb2.Operation.FromString(await audits.create(request.SerializeToString()))


def audit_of(operation: operations_pb2.Operation) -> str:
    metadata = audit_service_pb2.CreateAuditMetadata()
    assert operation.metadata.Unpack(metadata)
    return metadata.audit


async def read(audits: Audits, name: str) -> audit_pb2.Audit:
    data = await audits.get(audit_service_pb2.GetAuditRequest(name=name).SerializeToString())
    return audit_pb2.Audit.FromString(data)


async def listed(audits: Audits, **fields: object) -> audit_service_pb2.ListAuditsResponse:
    request = audit_service_pb2.ListAuditsRequest(**fields)  # type: ignore[arg-type]
    return audit_service_pb2.ListAuditsResponse.FromString(await audits.list(request.SerializeToString()))


async def test_a_new_audit_waits_and_shows_what_was_asked(audits: Audits) -> None:
    operation = await create(audits, audit_request())
    audit = await read(audits, audit_of(operation))
    assert (audit.state, audit.operation) == (audit_pb2.Audit.STATE_PENDING, operation.name)
    assert audit.spec == audit_request().spec
    assert audit.display_name == "small" and len(audit.digest) == 64
    assert audit.HasField("create_time") and not audit.report_digest


async def test_a_finished_audit_shows_its_artifacts(world: World, audits: Audits) -> None:
    operation = await create(audits, audit_request())
    done = await world.finish(world.ledger().get_operation(operation.name), world.worker())
    audit = await read(audits, audit_of(operation))
    assert audit.state == audit_pb2.Audit.STATE_SUCCEEDED
    assert audit.report_digest == world.report(done)["digest"]
    assert {part.filename for part in audit.artifacts} >= {"report.json", "report.html"}
    world.ledger().delete_operation(operation.name)
    assert (await read(audits, audit.name)).state == audit_pb2.Audit.STATE_SUCCEEDED


async def test_a_repeated_request_returns_the_first_operation(audits: Audits) -> None:
    request = audit_request()
    request.request_id = str(uuid.uuid4())
    first, again = await create(audits, request), await create(audits, request)
    assert first.name == again.name
    assert len((await listed(audits)).audits) == 1


async def test_a_request_is_answered_again_even_when_its_cohort_is_gone(world: World, audits: Audits) -> None:
    request = audit_request()
    request.request_id = str(uuid.uuid4())
    first = await create(audits, request)
    world.ledger().delete_resource(COHORT)
    assert (await create(audits, request)).name == first.name


async def test_a_request_id_for_another_body_is_a_conflict(audits: Audits) -> None:
    request = audit_request()
    request.request_id = str(uuid.uuid4())
    await create(audits, request)
    request.spec.seed = 99
    with pytest.raises(Conflict) as caught:
        await create(audits, request)
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_an_unknown_cohort_is_not_found(audits: Audits) -> None:
    with pytest.raises(NotFound) as caught:
        await create(audits, audit_request(cohort="cohorts/nobody"))
    assert (caught.value.reason, caught.value.field) == ("COHORT_NOT_FOUND", "spec.cohort")


async def test_an_unknown_audit_is_not_found(audits: Audits) -> None:
    with pytest.raises(NotFound) as caught:
        await read(audits, "audits/nobody")
    assert caught.value.reason == "AUDIT_NOT_FOUND"


async def test_pages_are_newest_first_and_bound_to_their_query(audits: Audits) -> None:
    names = [audit_of(await create(audits, audit_request(seed=seed))) for seed in range(3)]
    first = await listed(audits, page_size=2)
    rest = await listed(audits, page_size=2, page_token=first.next_page_token)
    assert [audit.name for audit in (*first.audits, *rest.audits)] == names[::-1]
    assert not rest.next_page_token
    with pytest.raises(PageTokenMismatch):
        await listed(audits, page_token=first.next_page_token, cohort=COHORT)


async def test_a_list_can_be_of_one_cohort(audits: Audits) -> None:
    await create(audits, audit_request())
    assert len((await listed(audits, cohort=COHORT)).audits) == 1
    assert not (await listed(audits, cohort="cohorts/other")).audits


async def test_only_a_finished_audit_can_be_deleted(world: World, audits: Audits) -> None:
    operation = await create(audits, audit_request())
    request = audit_service_pb2.DeleteAuditRequest(name=audit_of(operation)).SerializeToString()
    with pytest.raises(FailedPrecondition):
        await audits.delete(request)
    world.ledger().request_cancel(operation.name)
    await audits.delete(request)
    with pytest.raises(NotFound):
        await read(audits, audit_of(operation))
    with pytest.raises(NotFound):
        world.ledger().get_operation(operation.name)


async def test_a_cohort_in_use_cannot_be_deleted(world: World, audits: Audits) -> None:
    operation = await create(audits, audit_request())
    cohorts = Cohorts(world.ledger(), world.store(), world.settings)
    request = cohort_service_pb2.DeleteCohortRequest(name=COHORT).SerializeToString()
    with pytest.raises(FailedPrecondition) as caught:
        await cohorts.delete(request)
    assert caught.value.reason == "COHORT_IN_USE"
    world.ledger().request_cancel(operation.name)
    await cohorts.delete(request)
    with pytest.raises(NotFound):
        await cohorts.get(cohort_service_pb2.GetCohortRequest(name=COHORT).SerializeToString())
