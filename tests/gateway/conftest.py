"""A whole gateway on free ports, with real hosts, a real ledger and a real store, in one process without Ray."""

import asyncio
import hashlib
import json
import threading

import grpc
import httpx
import numpy as np
import pytest
import yaml
from evenhand.audit.v1 import audit_pb2, audit_service_pb2, plan_pb2
from evenhand.cohort.v1 import cohort_service_pb2
from google.longrunning import operations_pb2
from google.protobuf.json_format import MessageToDict
from safetensors.numpy import save

from services.adapters.ledger import ChunkSpec, open_ledger
from services.adapters.object_store import MemoryStore
from services.adapters.telemetry import PrometheusTelemetry
from services.adapters.weights import DirectoryRegistry
from services.errors import NotFound, UnknownAttribute
from services.gateway.backends import LocalBackends
from services.gateway.edge import open_edge
from services.gateway.replica import Replica
from services.gateway.settings import Settings
from services.hosting.calls import NETWORK_TASKS
from services.hosting.envelope import seal
from services.hosting.host import ModelHost

SCALE, OFFSET = 0.5, 0.25


def write_affine_model(root, name="affine", version="1", size=64):
    """A reconstruction model that computes 0.5 x + 0.25 in each pixel."""
    folder = root / name / version
    folder.mkdir(parents=True)
    weights = save(
        {"mix.weight": np.full((1, 1, 1, 1), SCALE, np.float32), "mix.bias": np.full((1,), OFFSET, np.float32)}
    )
    (folder / "weights.safetensors").write_bytes(weights)
    pixels = {"channels": 1, "height": size, "width": size, "low": 0.0, "high": 1.0}
    record = {
        "name": name,
        "version": version,
        "task": "reconstruction",
        "family": "pointwise",
        "architecture": {"in_channels": 1, "out_channels": 1},
        "input": pixels,
        "output": pixels,
        "licence": "Apache-2.0",
        "scores": {"psnr": 30.5},
        "files": {"weights.safetensors": hashlib.sha256(weights).hexdigest()},
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(record))


class AuditTwin:
    """The audit application's handle methods over the ledger: what it stores is real, what it computes is nothing."""

    def __init__(self, ledger):
        self._ledger = ledger
        self.contexts = []

    async def CreateAudit(self, payload, context):
        self.contexts.append(context)
        return await seal(asyncio.to_thread(self._create, payload))

    async def PlanAudit(self, payload, context):
        async def answer():
            spec = audit_service_pb2.PlanAuditRequest.FromString(payload).spec
            if "bmi" in spec.attributes:
                raise UnknownAttribute("the cohort has no attribute 'bmi'", field="spec.attributes[0]")
            cell = plan_pb2.PlannedCell(
                label="Edema", metric="tpr", attribute="sex", state="STATE_OK", minimum_detectable_gap=0.25
            )
            plan = plan_pb2.AuditPlan(tests=7, cells=[cell, plan_pb2.PlannedCell(label="Gout")])
            return plan.SerializeToString()

        return await seal(answer())

    async def GetAudit(self, payload, context):
        return await seal(asyncio.to_thread(self._get, payload))

    async def ListAudits(self, payload, context):
        async def answer():
            return audit_service_pb2.ListAuditsResponse().SerializeToString()

        return await seal(answer())

    async def GetCohort(self, payload, context):
        async def answer():
            name = cohort_service_pb2.GetCohortRequest.FromString(payload).name
            raise NotFound(f"there is no cohort {name!r}", field="name", reason="COHORT_NOT_FOUND")

        return await seal(answer())

    def _create(self, payload):
        request = audit_service_pb2.CreateAuditRequest.FromString(payload)
        request_id, request.request_id = request.request_id, ""
        operation, _ = self._ledger.create_operation(
            "audit",
            "audits/one",
            MessageToDict(request),
            [ChunkSpec("rows", {}, rows=10)],
            request_id=request_id,
            body_digest=hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest(),
        )
        return operations_pb2.Operation(name=operation.name, done=operation.done).SerializeToString()

    def _get(self, payload):
        name = audit_service_pb2.GetAuditRequest.FromString(payload).name
        body = self._ledger.get_resource(name)
        if body is None:
            raise NotFound(f"there is no audit {name!r}", field="name", reason="AUDIT_NOT_FOUND")
        return audit_pb2.Audit(name=name).SerializeToString()


class World:
    """A started gateway and what stands behind it."""

    def __init__(self, folder, *, keys=(), generator=None, **settings):
        write_affine_model(folder / "models")
        write_affine_model(folder / "models", version="2")
        self.ledger = open_ledger(f"sqlite:///{folder}/ledger.db")
        self.store = MemoryStore()
        self.audit = AuditTwin(self.ledger)
        self.telemetry = PrometheusTelemetry()
        self.host = ModelHost(DirectoryRegistry([folder / "models"]), NETWORK_TASKS)
        self.generator = generator(self.ledger) if generator else None
        sampled = {"generator": self.generator} if generator else {}
        self.backends = LocalBackends({"reconstruction": self.host, **sampled}, {"audit": self.audit, **sampled})
        self.folder = folder
        self._settings = Settings(data_dir=folder, http_port=0, grpc_port=0, **settings)
        self._keys = keys
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self):
        self._thread.start()
        self.run(self._start())
        self.grpc = f"127.0.0.1:{self.replica.grpc_port}"
        self.http = f"http://127.0.0.1:{self.replica.http_port}"
        for _ in range(200):
            if httpx.get(f"{self.http}/v2/health/ready").status_code == 200:
                return self
            threading.Event().wait(0.05)
        raise AssertionError("the gateway did not get ready")

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self):
        self.edge = open_edge(
            self._settings,
            backends=self.backends,
            ledger=self.ledger,
            store=self.store,
            telemetry=self.telemetry,
            keys=self._keys,
        )
        self.replica = Replica(self.edge)
        await self.replica.start()

    def stop(self):
        self.run(self.replica.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("gateway"), receive_timeout_s=0.5, drain_s=1.0).start()
    yield world
    world.stop()


@pytest.fixture
def make_world(tmp_path):
    """Start a gateway with settings of its own."""
    started = []

    def make(**settings):
        started.append(World(tmp_path / f"world{len(started)}", drain_s=1.0, **settings))
        return started[-1].start()

    yield make
    for world in started:
        world.stop()


@pytest.fixture
def channel(world):
    with grpc.insecure_channel(world.grpc) as channel:
        yield channel


@pytest.fixture
def web(world):
    with httpx.Client(base_url=world.http) as client:
        yield client


@pytest.fixture
def images():
    """Random canonical pixels (N, 1, S, S), the same for the same seed."""

    def make(count=1, size=64, seed=0):
        return np.random.default_rng(seed).random((count, 1, size, size), dtype=np.float32)

    return make


@pytest.fixture
def affine():
    """What the served model computes, computed here."""
    return lambda pixels: SCALE * pixels.astype(np.float32) + OFFSET


@pytest.fixture
def problem_of():
    """A problem+json reply as a dict; fails if it is anything else."""

    def read(reply):
        assert reply.headers["content-type"] == "application/problem+json", reply.text
        problem = json.loads(reply.text)
        assert problem["status"] == reply.status_code
        assert problem["type"].rsplit(":", 1)[1] == problem["reason"]
        assert "Traceback" not in reply.text
        return problem

    return read


@pytest.fixture
def ledger(tmp_path):
    """An empty ledger of its own."""
    opened = open_ledger(f"sqlite:///{tmp_path}/own.db")
    yield opened
    opened.close()
