"""A gateway whose pages have something to show: a real cohort, audits, a counterfactual, models and their ledger."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from pathlib import Path
from typing import Any

from evenhand.audit.v1 import audit_pb2
from evenhand.generation.v1 import counterfactual_pb2, generation_pb2, generation_service_pb2
from google.longrunning import operations_pb2

from services.adapters.ledger import ChunkSpec, Ledger
from services.adapters.weights import DirectoryRegistry
from services.audit.audits import Audits
from services.audit.cohorts import Cohorts
from services.errors import Unavailable
from services.gateway.backends import LocalBackends
from services.hosting.calls import NETWORK_TASKS
from services.hosting.envelope import Reply, seal, unseal
from services.hosting.host import ModelHost
from services.monitoring.monitors import Monitors
from services.monitoring.windows import Windows
from services.training.settings import Settings as TrainingSettings
from services.training.trainings import Trainings
from tests.audit import world as auditing
from tests.audit.cohorts import put_cohort
from tests.gateway.conftest import World
from tests.generator import world as generating
from tests.monitoring import world as monitoring

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> \u202e {{7*7}}"


class Calls:
    """Handle methods over rooms' own calls: ``blocking`` ones run in a thread."""

    def __init__(self, room: Any, *, blocking: bool = False, **methods: str) -> None:
        for method, name in methods.items():
            setattr(self, method, self._sealed(getattr(room, name), blocking))

    @staticmethod
    def _sealed(call: Any, blocking: bool) -> Any:
        async def answer(payload: bytes, context: dict[str, Any]) -> Reply:
            return await seal(asyncio.to_thread(call, payload) if blocking else call(payload))

        return answer


class Leaving:
    """The ledger, until it is ``away``."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.away = False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise Unavailable("the ledger is away", reason="LEDGER_UNAVAILABLE", retry_after_s=2.0)
        return getattr(self._ledger, name)


class Stage(World):
    """The gateway of the other tests over what :func:`furnish` left in ``folder``."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        audited = auditing.World(folder)
        generated = generating.World(folder)
        self.ledger = Leaving(audited.ledger())
        self.store = audited.store()
        audits = Calls(
            Audits(self.ledger, self.store, audited.calls(), audited.settings),
            GetAudit="get", ListAudits="list", CreateAudit="create",
        )  # fmt: skip
        cohorts = Calls(Cohorts(self.ledger, self.store, audited.settings), GetCohort="get", ListCohorts="list")
        audits.__dict__.update(cohorts.__dict__)
        watched = monitoring.World(folder)
        watch = Calls(
            Monitors(self.ledger, self.store, watched.calls(), watched.settings),
            GetMonitor="get", ListMonitors="list",
        )  # fmt: skip
        windows = Calls(Windows(self.ledger, self.store), GetWindow="get", ListWindows="list", ListAlarms="alarms")
        watch.__dict__.update(windows.__dict__)
        training = Calls(Trainings(self.ledger, TrainingSettings(data_dir=folder)), blocking=True, ListTrainings="list")
        generated.ledger = lambda: self.ledger  # type: ignore[assignment, method-assign, return-value]
        generator = generated.generator("page")
        hosts = {"reconstruction": self.host, "classifiers": ModelHost(_registry(folder), NETWORK_TASKS)}
        apps = {"audit": audits, "generator": generator, "monitoring": watch, "training": training}
        self.backends = LocalBackends(hosts, apps)


def _registry(folder: Path) -> DirectoryRegistry:
    return DirectoryRegistry([folder / "models"])


async def furnish(folder: Path) -> dict[str, str]:
    """A finished audit, a counterfactual, a running and a failed audit, hostile names. Gives their names."""
    world = auditing.make_world(folder)
    ledger = world.ledger()
    reads = [audit_pb2.Stage(classify="chest")]
    dose = audit_pb2.Stage(degrade=audit_pb2.Degradation(operator="low-dose-xray", photons=3000))
    pipelines = [
        audit_pb2.Pipeline(name="original", stages=reads),
        audit_pb2.Pipeline(name="unet", stages=[dose, audit_pb2.Stage(reconstruct="unet"), *reads]),
    ]
    audited = await world.create(pipelines=pipelines, attributes=["sex"])  # few figures, which take the longest
    await world.finish(audited, world.worker(), limit_s=240)
    names = {"audit": audited.resource, "audit_operation": audited.name, "cohort": auditing.COHORT}
    names |= await _counterfactual(folder)
    rows = (auditing._record(index) for index in range(4))
    refused = [{"row": 7, "file": HOSTILE, "reason": "FILE_UNDECODABLE", "message": f"cut short: {HOSTILE}"}]
    put_cohort(ledger, world.store(), "cohorts/hostile", rows, levels=auditing.LEVELS, more={"refused": refused})
    body = ledger.get_resource("cohorts/hostile")
    assert body is not None
    ledger.put_resource("cohorts/hostile", "cohort", body | {"display_name": HOSTILE})
    names |= await _monitor(folder)
    running = put_audit(ledger, HOSTILE, 80, 120)
    commit_rows(ledger, running[1])
    assert ledger.lease_chunk("worker", 3600, ["rows"]) is not None
    failed = put_audit(ledger, "failed", 10)
    lease = ledger.lease_chunk("worker", 60, ["rows"])
    assert lease is not None and lease.operation == failed[1]
    ledger.fail_operation(lease, Unavailable(f"no more room {HOSTILE}").to_dict())
    return names | {"running": running[0], "running_operation": running[1], "failed": failed[0]}


def put_audit(ledger: Ledger, display_name: str, *chunks: int) -> tuple[str, str]:
    """An audit and its queued operation, by name, with chunks of so many rows."""
    name = f"audits/{uuid.uuid4()}"
    pipelines = [{"name": "original", "stages": [{"classify": "chest"}]}]
    spec = {"cohort": auditing.COHORT, "pipelines": pipelines, "attributes": ["sex"], "seed": "7"}
    parts = [ChunkSpec("rows", {}, rows=rows) for rows in chunks]
    request = {"display_name": display_name, "spec": spec}
    operation, _ = ledger.create_operation("audit", name, request, parts, request_id="", body_digest="")
    body = {"name": name, "display_name": display_name, "spec": spec, "cohort": auditing.COHORT}
    body |= {"digest": hashlib.sha256(name.encode()).hexdigest(), "operation": operation.name}
    ledger.put_resource(name, "audit", body | {"state": "STATE_FAILED", "create_time": "2026-11-26T10:00:00Z"})
    return name, operation.name


def commit_rows(ledger: Ledger, operation: str) -> None:
    """Do the next free chunk, which has to be the operation's."""
    lease = ledger.lease_chunk("worker", 60, ["rows"])
    assert lease is not None and lease.operation == operation
    ledger.commit_chunk(lease, {})


async def _monitor(folder: Path) -> dict[str, str]:
    """Ten days of traffic; from the fourth on the model, of another version, misses half of the women's findings.

    Some records of the fourth day never get a label.
    """
    (folder / "imports").mkdir()
    world = monitoring.World(folder)
    origin = monitoring.BEGAN - 10 * monitoring.DAY
    made = await world.create(reference={"first_windows": 2})
    world.record(made.name, origin, *(monitoring.Traffic(day) for day in range(4)))
    world.record(made.name, origin, monitoring.Traffic(3, records=120, seed=2), labels=False)
    changed = [monitoring.Traffic(day, miss=0.5, version="2") for day in range(4, 10)]
    world.record(made.name, origin, *changed)
    await world.until(lambda: world.ledger().closed_windows(made.name) == 10, world.worker(), limit_s=240)
    world.record(made.name, origin, monitoring.Traffic(9, records=40, seed=1, version="2"))
    alarms = await world.alarms(made.name)
    assert alarms
    return {"monitor": made.name, "window": alarms[0].window}


async def _counterfactual(folder: Path) -> dict[str, str]:
    world = generating.World(folder, {"frames_per_chunk": 3})
    generating.write_zoo(world.zoo)
    spec = counterfactual_pb2.CounterfactualSpec(
        model="models/pelvis-diffusion",
        source_attributes={"race": "White"},
        target_attributes={"race": "Black"},
        held_attributes={"sex": "Female"},
        frames=10,
        steps=4,
        seed=11,
        guidance=generation_pb2.Guidance(scale=3),
        classifier_model="models/race-classifier",
    )
    request = generation_service_pb2.CreateCounterfactualRequest(spec=spec, display_name="White to Black")
    async with generating.working(world.generator()) as generator:
        reply = unseal(await generator.CreateCounterfactual(request.SerializeToString(), {}))
        done = await world.wait(operations_pb2.Operation.FromString(reply).name)
    assert done.state == "succeeded", done.error
    return {"counterfactual": done.resource}
