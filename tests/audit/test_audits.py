"""Creating, reading, listing and deleting audits, by message bytes, without Ray."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Literal

import pytest
import torch
from evenhand.audit.v1 import audit_pb2, audit_service_pb2, plan_pb2
from evenhand.cohort.v1 import cohort_service_pb2
from google.longrunning import operations_pb2
from safetensors.torch import load_file, save_file

from services.audit.audits import Audits
from services.audit.cohorts import Cohorts
from services.audit.results.formats import read_quality
from services.errors import Conflict, FailedPrecondition, InvalidInput, NotFound, PageTokenMismatch
from services.maths.networks.lpips import LpipsNetwork
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


async def planned(audits: Audits, **changes: object) -> plan_pb2.AuditPlan:
    request = audit_service_pb2.PlanAuditRequest(spec=audit_request(**changes).spec)
    return plan_pb2.AuditPlan.FromString(await audits.plan(request.SerializeToString()))


async def test_a_plan_has_the_digest_and_the_warnings_of_the_audit_and_stores_nothing(
    world: World, audits: Audits
) -> None:
    plan = await planned(audits)
    assert not (await listed(audits)).audits
    operation = world.ledger().get_operation((await create(audits, audit_request())).name)
    assert plan.digest == operation.request["plan"]["digest"]
    assert list(plan.warnings) == operation.request["plan"]["warnings"] != []
    assert (plan.alpha, plan.target_power) == (0.05, 0.8)
    assert plan.assumptions


async def test_a_planned_cell_says_absent_where_it_has_nothing_to_say(audits: Audits) -> None:
    cells = (await planned(audits)).cells
    undefined = next(cell for cell in cells if cell.state == plan_pb2.PlannedCell.STATE_UNDEFINED)
    assert not undefined.HasField("minimum_detectable_gap")
    assert all(cell.minimum_detectable_gap > 0 for cell in cells if cell.HasField("minimum_detectable_gap"))


UNPLANNED = [
    ({"cohort": "cohorts/nobody"}, NotFound, "COHORT_NOT_FOUND", "spec.cohort"),
    ({"attributes": ["bmi"]}, InvalidInput, "ATTRIBUTE_NOT_IN_COHORT", "spec.attributes[0]"),
    ({"reference_groups": {"sex": "Other"}}, InvalidInput, "GROUP_UNKNOWN", "spec.reference_groups[sex]"),
    ({"quality_metrics": ["lpips_alex"]}, FailedPrecondition, "LPIPS_WEIGHTS_ABSENT", "spec.quality_metrics"),
]


@pytest.mark.parametrize(("changes", "kind", "reason", "field"), UNPLANNED, ids=[row[2] for row in UNPLANNED])
async def test_planning_and_creating_refuse_the_same(
    audits: Audits, changes: dict[str, object], kind: type[Exception], reason: str, field: str
) -> None:
    for refused in (planned(audits, **changes), create(audits, audit_request(**changes))):
        with pytest.raises(kind) as caught:
            await refused
        assert (caught.value.reason, caught.value.field) == (reason, field)  # type: ignore[attr-defined]


async def test_lpips_weights_are_pinned_by_their_digest_and_small_images_refused(world: World, tmp_path: Path) -> None:
    settings = world.settings.model_copy(update={"lpips_weights": tmp_path / "weights"})
    audits = Audits(world.ledger(), world.store(), world.calls(), settings)
    with pytest.raises(FailedPrecondition) as absent:
        await planned(audits, quality_metrics=["lpips_alex"])
    assert absent.value.reason == "LPIPS_WEIGHTS_ABSENT"
    write_lpips(tmp_path / "weights", "alex")
    with pytest.raises(InvalidInput) as small:
        await planned(audits, quality_metrics=["lpips_alex"])
    assert (small.value.reason, small.value.field) == ("IMAGE_TOO_SMALL_FOR_METRIC", "spec.pipelines[1]")


def write_lpips(folder: Path, variant: Literal["alex", "vgg"]) -> None:
    """Weights in the official format, drawn at random: what they measure means nothing."""
    torch.manual_seed(3)
    tensors = {
        name: tensor.abs() if name.startswith("lin") else tensor
        for name, tensor in LpipsNetwork(variant).state_dict().items()
    }
    folder.mkdir()
    save_file(tensors, folder / f"lpips_{variant}.safetensors")


async def test_lpips_comes_beside_the_metrics_asked_for(world: World, tmp_path: Path) -> None:
    write_lpips(tmp_path / "weights", "vgg")
    settings = world.settings.model_copy(update={"lpips_weights": tmp_path / "weights"})
    audits = Audits(world.ledger(), world.store(), world.calls(), settings)
    operation = await create(audits, audit_request(quality_metrics=["lpips_vgg", "psnr"]))
    worker = world.worker(settings=settings)
    done = await world.finish(world.ledger().get_operation(operation.name), worker)
    assert done.state == "succeeded", done.error
    assert len(done.request["plan"]["perceptual"]["lpips_vgg"]) == 64
    quality = read_quality(world.artifact(done, "quality.parquet"))
    counts = quality.groupby(["pipeline", "metric"], observed=True).size().to_dict()
    assert counts == {("original", "dice"): 12, **{("unet", name): 12 for name in ("dice", "lpips_vgg", "psnr")}}
    assert world.report(done)["provenance"]["perceptual"] == done.request["plan"]["perceptual"]
    values = quality.loc[quality["metric"] == "lpips_vgg", "value"]
    assert (values > 0).all()


async def test_an_audit_whose_lpips_weights_were_exchanged_ends_with_an_error(world: World, tmp_path: Path) -> None:
    write_lpips(tmp_path / "weights", "vgg")
    settings = world.settings.model_copy(update={"lpips_weights": tmp_path / "weights"})
    audits = Audits(world.ledger(), world.store(), world.calls(), settings)
    operation = await create(audits, audit_request(quality_metrics=["lpips_vgg"]))
    path = tmp_path / "weights" / "lpips_vgg.safetensors"
    tensors = load_file(path)
    tensors["lin0.model.1.weight"] += 1
    save_file(tensors, path)
    done = await world.finish(world.ledger().get_operation(operation.name), world.worker(settings=settings))
    assert done.state == "failed" and done.error is not None
    assert done.error["reason"] == "MODEL_CHANGED"


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
