"""Synthetic cohorts over both transports: the real audit room and generator behind the real gateway."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from evenhand.client import Client
from evenhand.errors import InvalidInput

from services.adapters.telemetry import PrometheusTelemetry
from services.audit.cohorts import Cohorts
from services.gateway.backends import LocalBackends
from services.gateway.edge import open_edge
from services.gateway.replica import Replica
from services.gateway.settings import Settings
from services.hosting.envelope import Reply, seal
from tests.audit.studio import COHORT, SPEC, Studio, make_studio


class Auditor:
    """The handle methods of the audit application that cohorts need."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._cohorts = Cohorts(studio.world.ledger(), studio.world.store(), studio.settings)

    async def CreateSyntheticCohort(self, request: bytes, context: Any) -> Reply:
        return await seal(self._studio.creation.create(request))

    async def GetCohort(self, request: bytes, context: Any) -> Reply:
        return await seal(self._cohorts.get(request))


class Edge:
    """Everything on one loop in a thread; whoever asks is outside of it."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._open(folder))
        self.grpc = f"127.0.0.1:{self._replica.grpc_port}"
        self.http = f"http://127.0.0.1:{self._replica.http_port}"

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    async def _open(self, folder: Path) -> None:
        studio = make_studio(folder)
        self._working = asyncio.create_task(studio.worker().run())
        edge = open_edge(
            Settings(data_dir=folder, http_port=0, grpc_port=0, drain_s=1.0),
            backends=LocalBackends({"generator": studio.generator.host}, {"audit": Auditor(studio)}),
            ledger=studio.world.ledger(),
            store=studio.world.store(),
            telemetry=PrometheusTelemetry(),
        )
        self._replica = Replica(edge)
        await self._replica.start()

    def close(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _close(self) -> None:
        await self._replica.stop()
        self._working.cancel()
        await asyncio.gather(self._working, return_exceptions=True)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    edge = Edge(tmp_path_factory.mktemp("edge"))
    yield edge
    edge.close()


def test_rest_makes_a_cohort_and_serves_its_card(edge: Edge) -> None:
    asked = {"displayName": "balanced", "spec": {**SPEC, "images": 6}}
    begun = httpx.post(f"{edge.http}/v1/cohorts:synthesise", json=asked, timeout=60)
    assert begun.status_code == 202, begun.text
    operation = begun.json()
    assert operation["metadata"]["@type"].endswith("CreateSyntheticCohortMetadata")
    waited = httpx.post(f"{edge.http}/v1/{operation['name']}:wait", json={"timeout": "60s"}, timeout=90).json()
    cohort = waited["response"]
    assert (cohort["records"], cohort["synthetic"]["distinctNoise"]) == ("6", "6")
    shown = httpx.get(f"{edge.http}/v1/{cohort['name']}").json()
    assert shown["synthetic"]["spec"]["cohort"] == COHORT
    card = httpx.get(f"{edge.http}/v1/{cohort['name']}/artifacts/card.md")
    assert card.status_code == 200 and card.text.startswith("# Synthetic cohort")
    absent = httpx.get(f"{edge.http}/v1/{COHORT}/artifacts/card.md")
    assert absent.status_code == 404 and "it has none" in absent.json()["detail"]


def test_grpc_does_the_same_and_gives_the_same_digest(edge: Edge) -> None:
    settings = {key: SPEC[key] for key in ("attributes", "labels", "template", "seed", "steps")}
    with Client(edge.grpc, timeout=120) as client:
        made = [
            client.cohorts.synthesise(COHORT, model=SPEC["model"], images=6, **settings).result(120) for _ in range(2)
        ]
        assert made[0].digest == made[1].digest
        assert client.cohorts.card(made[0].name).startswith("# Synthetic cohort")
        assert len(client.cohorts.provenance(made[0].name)) == 6


def test_a_bad_request_is_a_problem_that_names_its_field(edge: Edge) -> None:
    asked = {"spec": {**SPEC, "template": "{height}"}}
    refused = httpx.post(f"{edge.http}/v1/cohorts:synthesise", json=asked)
    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["errors"][0]["pointer"] == "/spec/template"
    with Client(edge.grpc) as client, pytest.raises(InvalidInput) as caught:
        client.cohorts.synthesise(COHORT, model=SPEC["model"], template="{sex}", images=0, attributes=["sex"])
    assert caught.value.field == "spec.images"
