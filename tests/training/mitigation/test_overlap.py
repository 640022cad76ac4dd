"""An audit through a fine-tuned model, of people whom it learned from: refused with their number, also years later."""

from __future__ import annotations

import json

import pytest
import torch
from evenhand.audit.v1 import audit_pb2, audit_service_pb2, plan_pb2

from services.adapters.learned import FILENAME, read_learned
from services.adapters.object_store import open_object_store
from services.adapters.weights import DirectoryRegistry
from services.audit import settings as audit_settings
from services.audit.audits import Audits
from services.errors import FailedPrecondition, Internal
from services.hosting.calls import LocalModelCalls
from services.maths.phantoms.worlds import patient_name
from services.training.examples import TRAINING, phantom_seed
from services.training.zoo import ZOO
from tests.training.mitigation.cohorts import records

torch.set_num_threads(1)
REFUSAL = ("COHORTS_OVERLAP", "spec.pipelines[1].stages[1].reconstruct")


async def trained(room, asked, **changes):
    operation = room.create(**asked(epochs=1, **changes))
    async with room.working():
        done = await room.state_within(operation.name, 200, "succeeded", "failed")
    assert done.state == "succeeded", done.error
    return room.get(done.resource).model_version


class Auditing:
    """The audit room over the training room's ledger, store and registry."""

    def __init__(self, room):
        registry = DirectoryRegistry([room.settings.models, ZOO])
        settings = audit_settings.Settings(data_dir=room.settings.data_dir, ledger_url=room.settings.ledger_url)
        store = open_object_store(room.settings.store)
        self.audits = Audits(room.ledger, store, LocalModelCalls(registry), settings)

    async def plan(self, cohort, version):
        request = audit_service_pb2.PlanAuditRequest(spec=spec(cohort, version))
        return plan_pb2.AuditPlan.FromString(await self.audits.plan(request.SerializeToString()))

    async def refusal(self, cohort, version):
        """Planning and creating refuse alike."""
        create = audit_service_pb2.CreateAuditRequest(spec=spec(cohort, version))
        found = []
        for refused in (self.plan(cohort, version), self.audits.create(create.SerializeToString())):
            with pytest.raises(FailedPrecondition) as caught:
                await refused
            found.append(caught.value)
        assert found[0].to_dict() == found[1].to_dict()
        assert (found[0].reason, found[0].field) == REFUSAL
        return found[0]


def spec(cohort, version):
    low_dose = audit_pb2.Stage(degrade=audit_pb2.Degradation(operator="low-dose-xray", photons=1000))
    reading = audit_pb2.Stage(classify="models/chest-classifier")
    pipelines = [
        audit_pb2.Pipeline(name=name, stages=[low_dose, audit_pb2.Stage(reconstruct=f"models/xray-unet@{one}")])
        for name, one in (("before", "1"), ("after", version))
    ]
    for pipeline in pipelines:
        pipeline.stages.append(reading)
    return audit_pb2.AuditSpec(cohort=cohort, pipelines=pipelines, attributes=["sex"])


def renamed(rows, name):
    """The records, their patients called otherwise."""
    for row in rows:
        object.__setattr__(row, "patient_id", name(int(row.patient_id.rsplit("-", 1)[1])))
        yield row


async def test_people_whom_a_version_or_its_base_learned_from_are_counted_and_refused(room, asked, put):
    put("cohorts/a", records(range(24)))  # the splits are train, train, validation, test in turn
    put("cohorts/b", records(range(20, 40)))  # 20, 21 and 22 are learned from, 23 is held out
    put("cohorts/c", records(range(23, 40)))
    put("cohorts/d", records(range(100, 116)))
    version = await trained(room, asked, patients=0, data={"cohort": "cohorts/a"})
    assert version == "2"
    room.ledger.delete_resource("cohorts/a")
    auditing = Auditing(room)
    partly = await auditing.refusal("cohorts/b", version)
    assert partly.details == {"patients": "3", "model": "xray-unet@2"}
    assert "xray-unet@2 learned from 3 of the 20 patients of cohorts/b, and" in partly.message
    assert (await auditing.plan("cohorts/c", version)).digest
    assert (await auditing.plan("cohorts/b", "1")).digest  # the shipped base met none of them

    with pytest.raises(FailedPrecondition, match="3 patients"):
        room.create(**asked(base_version="2", patients=0, data={"cohort": "cohorts/d", "audit_cohort": "cohorts/b"}))
    again = await trained(room, asked, base_version="2", patients=0, data={"cohort": "cohorts/d"})
    auditing = Auditing(room)
    through = await auditing.refusal("cohorts/b", again)
    assert through.details == {"patients": "3", "model": "xray-unet@3"}
    assert "through xray-unet@2" in through.message
    assert (await auditing.refusal("cohorts/d", again)).details["patients"] == "12"
    assert (await auditing.plan("cohorts/c", again)).digest


async def test_drawn_phantoms_are_met_again_under_their_own_seed_only(room, asked, put):
    """All chest phantoms number their patients from 0; who they are depends on the seed."""
    version = await trained(room, asked, patients=14)
    seed = phantom_seed(5, TRAINING)
    put("cohorts/same", renamed(records(range(10, 30)), lambda patient: patient_name("chest", seed, patient)))
    put("cohorts/other", renamed(records(range(10, 30)), lambda patient: patient_name("chest", 7, patient)))
    auditing = Auditing(room)
    assert (await auditing.refusal("cohorts/same", version)).details["patients"] == "4"  # 10 to 13 of 14
    assert (await auditing.plan("cohorts/other", version)).digest

    folder = room.settings.models / "xray-unet" / version
    text = (folder / FILENAME).read_text()
    assert "chest" not in text  # no id in the clear
    own, base = read_learned(text.encode())
    assert base.model == "xray-unet@1"
    assert len(own.hashes) == len(set(own.hashes)) == 14 + 6
    assert json.loads(text)["learned"][0]["model"] == f"xray-unet@{version}"
    assert DirectoryRegistry([room.settings.models]).find("xray-unet").learned_from.patients == 20


async def test_a_list_that_somebody_changed_is_no_list(room, asked, put):
    version = await trained(room, asked, patients=14)
    put("cohorts/a", records(range(8)))
    path = room.settings.models / "xray-unet" / version / FILENAME
    path.write_bytes(path.read_bytes().replace(b'"hashes":["', b'"hashes":["0'))
    with pytest.raises(Internal) as caught:
        await Auditing(room).plan("cohorts/a", version)
    assert (caught.value.field, caught.value.reason) == (FILENAME, "WEIGHTS_CORRUPT")
