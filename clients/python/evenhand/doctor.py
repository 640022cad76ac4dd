"""Is the platform there and well? Each check says what it saw and, where something is wrong, what to do."""

from __future__ import annotations

import json
import os
import platform
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from grpc_health.v1 import health_pb2

from evenhand.client import Client
from evenhand.errors import EvenhandError, NotFound

SERVICES = (
    "evenhand.audit.v1.AuditService",
    "evenhand.classification.v1.ClassificationService",
    "evenhand.cohort.v1.CohortService",
    "evenhand.generation.v1.GenerationService",
    "evenhand.monitoring.v1.MonitoringService",
    "evenhand.reconstruction.v1.ReconstructionService",
    "evenhand.resources.v1.ArtifactService",
    "evenhand.resources.v1.ModelService",
    "evenhand.training.v1.TrainingService",
    "evenhand.upscaling.v1.UpscalingService",
    "google.longrunning.Operations",
    "inference.GRPCInferenceService",
)
PATIENCE_S = 5.0
LARGEST_SKEW_S = 5.0  # an HTTP date has whole seconds; more than this spoils leases and certificates


@dataclass(frozen=True)
class Check:
    """One finding. ``state`` is "ok", "warning", "failed" or "skipped"."""

    name: str
    state: str
    detail: str

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "state": self.state, "detail": self.detail}


def examine(client: Client, http_address: str | None = None) -> list[Check]:
    """Look at everything that can be looked at; what depends on a failed check is skipped."""
    checks = [_versions(), _reachable(client)]
    if checks[-1].state == "failed":
        return [*checks, *(Check(name, "skipped", "not reachable") for name in ("services", "models", "http"))]
    checks += [_health(client, service) for service in SERVICES]
    checks.append(_models(client))
    checks += _http(http_address or _default_http_address(client), dict(client.connection.target.metadata()))
    return checks


def _versions() -> Check:
    parts = [f"python {platform.python_version()}"]
    for package in ("evenhand", "evenhand-protos", "grpcio", "protobuf", "evenhand-platform"):
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return Check("versions", "ok", ", ".join(parts))


def _reachable(client: Client) -> Check:
    address = client.connection.target.address
    start = time.monotonic()
    try:
        client.run(client.caller.unary(*_health_call(""), timeout_s=PATIENCE_S))
    except NotFound:
        pass  # it answered
    except EvenhandError as error:
        return Check("address", "failed", f"{address}: {error.message}. {error.hint}")
    return Check("address", "ok", f"{address} answers in {1000 * (time.monotonic() - start):.0f} ms")


def _health(client: Client, service: str) -> Check:
    try:
        reply = client.run(client.caller.unary(*_health_call(service), timeout_s=PATIENCE_S))
    except EvenhandError as error:
        return Check(service, "failed", error.message)
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
    return Check(service, "ok" if status == "SERVING" else "failed", status)


def _health_call(service: str) -> tuple[str, Any, type[Any]]:
    request = health_pb2.HealthCheckRequest(service=service)
    return "grpc.health.v1.Health/Check", request, health_pb2.HealthCheckResponse


def _models(client: Client) -> Check:
    try:
        names = [model.name.removeprefix("models/") for model in client.models.list()]
    except EvenhandError as error:
        return Check("models", "failed", error.message)
    return Check("models", "ok" if names else "warning", ", ".join(names) or "none is served; is EVENHAND_ZOO right?")


def _default_http_address(client: Client) -> str:
    target = client.connection.target
    given = os.environ.get("EVENHAND_HTTP_ADDRESS")
    return given or f"{'https' if target.tls else 'http'}://{target.host}:8080"


def _http(address: str, headers: dict[str, str]) -> Iterator[Check]:
    """Readiness, the server's version and its clock, which only the HTTP edge tells."""
    base = address if "://" in address else f"http://{address}"
    hint = "EVENHAND_HTTP_ADDRESS says where the HTTP edge is"
    try:
        # Checked by the scheme above: a user's own address, never one that a server chose.
        with urllib.request.urlopen(f"{base}/v2/health/ready", timeout=PATIENCE_S) as reply:
            yield Check("http ready", "ok", f"{base} is ready")
            yield _clock(reply.headers.get("Date"))
        described = urllib.request.Request(f"{base}/v2", headers=headers)
        with urllib.request.urlopen(described, timeout=PATIENCE_S) as reply:
            server = json.load(reply)
            yield Check("server", "ok", f"{server.get('name', '?')} {server.get('version', '?')}")
    except urllib.error.HTTPError as error:
        yield Check("http ready", "failed", f"{error.url} answers {error.code} {error.reason}")
    except (OSError, ValueError) as error:
        yield Check("http ready", "warning", f"{base}: {error}; {hint}")


def _clock(date: str | None) -> Check:
    if not date:
        return Check("clock skew", "skipped", "the server sends no Date header")
    skew = parsedate_to_datetime(date).timestamp() + 0.5 - time.time()
    state = "ok" if abs(skew) <= LARGEST_SKEW_S else "warning"
    return Check("clock skew", state, f"the server's clock is {skew:+.0f} s from this one's")
