"""The client: one object per platform, in a blocking and an asyncio form with the same resources and names.

with Client() as c:
    cohort = c.cohorts.create(images="dicoms", table="rows.csv", schema="schema.yaml").result(progress=True)
    audit = c.audits.create("audit.yaml").result(progress=True)
    audit.report().changes.to_pandas()
"""

from __future__ import annotations

from typing import Any, Self, TypeVar

from google.protobuf import any_pb2

from evenhand.audits import AsyncAudit, AsyncAudits, Audit, Audits, unpacked_audit
from evenhand.calls import Caller, Flow, Retry
from evenhand.cohorts import AsyncCohorts, Cohorts, unpacked_cohort
from evenhand.connection import AsyncConnection, Connection, Target
from evenhand.counterfactuals import AsyncCounterfactuals, Counterfactuals
from evenhand.generations import AsyncGenerations, Generations
from evenhand.models import AsyncModels, Models
from evenhand.monitors import AsyncMonitors, Monitors, decoded_window
from evenhand.operations import AsyncOperations, Operations
from evenhand.trainings import AsyncTrainings, Trainings, unpacked_training
from evenhand.upscalings import AsyncUpscalings, Upscalings

T = TypeVar("T")


class Client:
    """The blocking client. Safe to share between threads; use it as a context manager, or ``close()`` it.

    Args:
        address: "host:port", or "https://host:port". Default: EVENHAND_ADDRESS, else 127.0.0.1:8081.
        api_key: bearer token. Default: EVENHAND_API_KEY.
        tls: encrypt. Default: yes for an https address or where ``ca_file`` is given.
        ca_file: PEM file of certificate authorities instead of the system's. Default: EVENHAND_CA_FILE.
        timeout: seconds that one call may take; waiting for an operation is made of many calls.
        retry: how often and how soon calls are repeated that may be repeated.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        api_key: str | None = None,
        tls: bool | None = None,
        ca_file: str | None = None,
        timeout: float = 60.0,
        retry: Retry | None = None,
    ) -> None:
        self.connection = Connection(Target.of(address, api_key, tls, ca_file))
        self.caller = Caller(timeout_s=timeout, retry=retry or Retry())
        self.models = Models(self)
        self.cohorts = Cohorts(self)
        self.audits = Audits(self)
        self.operations = Operations(self)
        self.trainings = Trainings(self)
        self.generations = Generations(self)
        self.counterfactuals = Counterfactuals(self)
        self.upscalings = Upscalings(self)
        self.monitors = Monitors(self)

    def run(self, flow: Flow[T]) -> T:
        """Run one of the client's flows (see `calls.py`)."""
        return self.connection.run(flow)

    def decode(self, packed: any_pb2.Any) -> Any:
        """The resource in any operation's response: a Cohort, Audit, Training, Generation and so on."""
        if packed.TypeName() == "evenhand.audit.v1.Audit":
            return Audit(self, unpacked_audit(packed))
        for collection in (self.generations, self.counterfactuals, self.upscalings):
            if packed.Is(collection.calls.kind.resource.DESCRIPTOR):
                return collection.decode(packed)
        return _decoded(packed)

    def close(self) -> None:
        """Close the connection. Operations go on."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class AsyncClient:
    """The asyncio client, for use on one loop. Arguments as :class:`Client`."""

    def __init__(
        self,
        address: str | None = None,
        *,
        api_key: str | None = None,
        tls: bool | None = None,
        ca_file: str | None = None,
        timeout: float = 60.0,
        retry: Retry | None = None,
    ) -> None:
        self.connection = AsyncConnection(Target.of(address, api_key, tls, ca_file))
        self.caller = Caller(timeout_s=timeout, retry=retry or Retry())
        self.models = AsyncModels(self)
        self.cohorts = AsyncCohorts(self)
        self.audits = AsyncAudits(self)
        self.operations = AsyncOperations(self)
        self.trainings = AsyncTrainings(self)
        self.generations = AsyncGenerations(self)
        self.counterfactuals = AsyncCounterfactuals(self)
        self.upscalings = AsyncUpscalings(self)
        self.monitors = AsyncMonitors(self)

    async def run(self, flow: Flow[T]) -> T:
        """Run one of the client's flows (see `calls.py`)."""
        return await self.connection.run(flow)

    def decode(self, packed: any_pb2.Any) -> Any:
        """The resource in any operation's response: a Cohort, AsyncAudit, Training, AsyncGeneration and so on."""
        if packed.TypeName() == "evenhand.audit.v1.Audit":
            return AsyncAudit(self, unpacked_audit(packed))
        for collection in (self.generations, self.counterfactuals, self.upscalings):
            if packed.Is(collection.calls.kind.resource.DESCRIPTOR):
                return collection.decode(packed)
        return _decoded(packed)

    async def close(self) -> None:
        """Close the connection. Operations go on."""
        await self.connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def _decoded(packed: any_pb2.Any) -> Any:
    match packed.TypeName():
        case "evenhand.cohort.v1.Cohort":
            return unpacked_cohort(packed)
        case "evenhand.training.v1.Training":
            return unpacked_training(packed)
        case "evenhand.monitoring.v1.MonitorWindow":
            return decoded_window(packed)
        case _:
            return packed
