"""Audits: creating, watching, reading their reports and rows."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2

from evenhand.artifacts import Artifact, artifacts_of, read_stream, write_whole
from evenhand.audit.v1 import audit_pb2, audit_service_pb2, plan_pb2
from evenhand.calls import Caller, Flow, new_request_id, resource_name
from evenhand.listing import Listing, api_json
from evenhand.operations import AsyncOperation, Operation
from evenhand.plans import AuditPlan
from evenhand.reports import AuditReport
from evenhand.spec import SpecLike, spec_proto

if TYPE_CHECKING:
    from evenhand.client import AsyncClient, Client

SERVICE = "evenhand.audit.v1.AuditService"


class AuditCalls:
    """The flows of AuditService."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def create(self, spec: SpecLike, display_name: str, request_id: str | None) -> Flow[operations_pb2.Operation]:
        request = audit_service_pb2.CreateAuditRequest(
            spec=spec_proto(spec), display_name=display_name, request_id=request_id or new_request_id()
        )
        return self._caller.unary(f"{SERVICE}/CreateAudit", request, operations_pb2.Operation)

    def plan(self, spec: SpecLike) -> Flow[AuditPlan]:
        request = audit_service_pb2.PlanAuditRequest(spec=spec_proto(spec))
        return AuditPlan((yield from self._caller.unary(f"{SERVICE}/PlanAudit", request, plan_pb2.AuditPlan)))

    def get(self, name: str) -> Flow[audit_pb2.Audit]:
        request = audit_service_pb2.GetAuditRequest(name=resource_name("audits", name))
        return self._caller.unary(f"{SERVICE}/GetAudit", request, audit_pb2.Audit)

    def listing(self, cohort: str, limit: int | None) -> Flow[list[audit_pb2.Audit]]:
        request = audit_service_pb2.ListAuditsRequest(cohort=resource_name("cohorts", cohort) if cohort else "")
        reply = audit_service_pb2.ListAuditsResponse
        return self._caller.pages(f"{SERVICE}/ListAudits", request, reply, "audits", limit)

    def delete(self, name: str) -> Flow[None]:
        request = audit_service_pb2.DeleteAuditRequest(name=resource_name("audits", name))
        return self._caller.delete(f"{SERVICE}/DeleteAudit", request, empty_pb2.Empty)

    def artifact(self, name: str, filename: str) -> Flow[bytes]:
        """One artifact's bytes; see :func:`evenhand.artifacts.read_stream`."""
        request = audit_service_pb2.ReadArtifactRequest(name=resource_name("audits", name), filename=filename)
        reply = audit_service_pb2.ReadArtifactResponse
        return read_stream(self._caller, f"{SERVICE}/ReadArtifact", request, reply, filename)


class AuditState:
    """An audit as the server described it."""

    def __init__(self, proto: audit_pb2.Audit) -> None:
        self.proto = proto

    @property
    def name(self) -> str:
        return self.proto.name

    @property
    def operation_name(self) -> str:
        return self.proto.operation

    @property
    def state(self) -> str:
        """ "pending", "running", "succeeded", "failed" or "cancelled"."""
        return audit_pb2.Audit.State.Name(self.proto.state).removeprefix("STATE_").lower()

    @property
    def report_digest(self) -> str:
        return self.proto.report_digest

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        return artifacts_of(self.proto)

    @property
    def create_time(self) -> datetime | None:
        """In UTC."""
        proto = self.proto
        return proto.create_time.ToDatetime(tzinfo=UTC) if proto.HasField("create_time") else None

    def to_json(self) -> dict[str, Any]:
        """As REST gives it."""
        return api_json(self.proto)

    def to_dict(self) -> dict[str, Any]:
        """A table's row."""
        proto = self.proto
        return {
            "name": proto.name,
            "display_name": proto.display_name,
            "state": self.state,
            "cohort": proto.spec.cohort,
            "pipelines": [pipeline.name for pipeline in proto.spec.pipelines],
            "attributes": list(proto.spec.attributes),
            "operation": proto.operation,
            "digest": proto.digest,
            "report_digest": proto.report_digest,
            "artifacts": [vars(artifact) for artifact in self.artifacts],
            "create_time": proto.create_time.ToJsonString() if proto.HasField("create_time") else None,
        }

    def __repr__(self) -> str:
        return f"<{self.name} {self.state} {self.proto.display_name!r}>"


class Audit(AuditState):
    """One audit, with its report and rows."""

    def __init__(self, client: Client, proto: audit_pb2.Audit) -> None:
        super().__init__(proto)
        self._client = client

    def operation(self) -> Operation[Audit]:
        """Its operation: to wait for it, or to cancel it."""
        return self._client.operations.get(self.operation_name)

    def read(self, filename: str) -> bytes:
        """One artifact, whole or not at all."""
        return self._client.run(self._client.audits.calls.artifact(self.name, filename))

    def report(self) -> AuditReport:
        """The report."""
        return AuditReport.from_json(self.read("report.json"))

    def predictions(self) -> pd.DataFrame:
        """One row per record × pipeline × label."""
        return pd.read_parquet(io.BytesIO(self.read("predictions.parquet")))

    def quality(self) -> pd.DataFrame:
        """One row per record × pipeline × metric."""
        return pd.read_parquet(io.BytesIO(self.read("quality.parquet")))

    def download(self, folder: str | Path, filenames: Sequence[str] = ()) -> list[Path]:
        """Write artifacts (all of them by default) into a folder; a file is there whole or not at all."""
        target = Path(folder)
        names = filenames or [artifact.filename for artifact in self.artifacts]
        return [write_whole(target / Path(name).name, self.read(name)) for name in names]


class AsyncAudit(AuditState):
    """The asyncio twin of :class:`Audit`."""

    def __init__(self, client: AsyncClient, proto: audit_pb2.Audit) -> None:
        super().__init__(proto)
        self._client = client

    async def operation(self) -> AsyncOperation[AsyncAudit]:
        """Its operation: to wait for it, or to cancel it."""
        return await self._client.operations.get(self.operation_name)

    async def read(self, filename: str) -> bytes:
        """One artifact, whole or not at all."""
        return await self._client.run(self._client.audits.calls.artifact(self.name, filename))

    async def report(self) -> AuditReport:
        """The report."""
        return AuditReport.from_json(await self.read("report.json"))

    async def predictions(self) -> pd.DataFrame:
        """One row per record × pipeline × label."""
        return pd.read_parquet(io.BytesIO(await self.read("predictions.parquet")))

    async def quality(self) -> pd.DataFrame:
        """One row per record × pipeline × metric."""
        return pd.read_parquet(io.BytesIO(await self.read("quality.parquet")))


class Audits:
    """``client.audits``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls = AuditCalls(client.caller)

    def create(self, spec: SpecLike, *, display_name: str = "", request_id: str | None = None) -> Operation[Audit]:
        """Start an audit from an AuditSpec, a dict or a YAML file.

        Repeating it with the same ``request_id`` gives the same operation; without one the client makes a UUID4.
        """
        proto = self._client.run(self.calls.create(spec, display_name, request_id))
        return Operation(self._client, proto, self._decode)

    def plan(self, spec: SpecLike) -> AuditPlan:
        """What an audit could show, before it runs: per cell the counts and the smallest gap that would be found.

        The same checks and warnings as :meth:`create`; nothing is stored and no model runs.
        """
        return self._client.run(self.calls.plan(spec))

    def get(self, name: str) -> Audit:
        """One audit. NotFound if there is none of that name."""
        return Audit(self._client, self._client.run(self.calls.get(name)))

    def list(self, *, cohort: str = "", limit: int | None = None) -> Listing[Audit]:
        """Audits, newest first."""
        found = self._client.run(self.calls.listing(cohort, limit))
        return Listing(Audit(self._client, proto) for proto in found)

    def delete(self, name: str) -> None:
        """Forget a finished audit. FailedPrecondition while it runs."""
        self._client.run(self.calls.delete(name))

    def _decode(self, packed: any_pb2.Any) -> Audit:
        return Audit(self._client, unpacked_audit(packed))


class AsyncAudits:
    """``async_client.audits``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.calls = AuditCalls(client.caller)

    async def create(
        self, spec: SpecLike, *, display_name: str = "", request_id: str | None = None
    ) -> AsyncOperation[AsyncAudit]:
        """Start an audit; see :meth:`Audits.create`."""
        proto = await self._client.run(self.calls.create(spec, display_name, request_id))
        decode: Callable[[any_pb2.Any], AsyncAudit] = lambda packed: AsyncAudit(self._client, unpacked_audit(packed))  # noqa: E731
        return AsyncOperation(self._client, proto, decode)

    async def plan(self, spec: SpecLike) -> AuditPlan:
        """What an audit could show, before it runs; see :meth:`Audits.plan`."""
        return await self._client.run(self.calls.plan(spec))

    async def get(self, name: str) -> AsyncAudit:
        """One audit. NotFound if there is none of that name."""
        return AsyncAudit(self._client, await self._client.run(self.calls.get(name)))

    async def list(self, *, cohort: str = "", limit: int | None = None) -> Listing[AsyncAudit]:
        """Audits, newest first."""
        found = await self._client.run(self.calls.listing(cohort, limit))
        return Listing(AsyncAudit(self._client, proto) for proto in found)

    async def delete(self, name: str) -> None:
        """Forget a finished audit."""
        await self._client.run(self.calls.delete(name))


def unpacked_audit(packed: any_pb2.Any) -> audit_pb2.Audit:
    """The audit in an operation's response."""
    proto = audit_pb2.Audit()
    packed.Unpack(proto)
    return proto
