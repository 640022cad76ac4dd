"""The gRPC server of one replica: every service of the API behind the door, plus health and reflection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from evenhand.cohort.v1 import cohort_service_pb2
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.errors import Unavailable
from services.gateway.calls import Call
from services.gateway.edge import Edge
from services.gateway.resources.uploads import receive
from services.gateway.rpc.door import Door, Handler
from services.gateway.rpc.inference import SERVICE as INFERENCE
from services.gateway.rpc.inference import inference_handlers
from services.gateway.wire import METHODS, Method

READ_ARTIFACT = "ReadArtifact"  # of the ArtifactService, and of the AuditService, which had it first
UPLOAD_FILES = "evenhand.cohort.v1.CohortService/UploadFiles"


class RpcServer:
    """One grpc.aio server on one port, which other replicas on the machine may share."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._server: grpc.aio.Server | None = None
        self._health: Any = None
        self.port = 0

    async def start(self) -> None:
        settings = self._edge.settings
        server = self._server = grpc.aio.server(options=_options(settings.max_message_bytes))
        services = services_handlers(self._edge)
        for service, handlers in services.items():
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [*services, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, server)
        address = f"{settings.host}:{settings.grpc_port}"
        credentials = self._credentials()
        try:
            self.port = (
                server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
            )
        except RuntimeError as error:
            raise Unavailable(f"cannot listen on {address}", field="grpc_port", reason="PORT_TAKEN") from error
        await self.tell_health(False)
        await server.start()

    async def tell_health(self, ready: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *{method.service for method in METHODS.values()}, INFERENCE):
            await self._health.set(service, status)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let running ones go on for ``grace_s`` seconds."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(grace_s)

    def _credentials(self) -> grpc.ServerCredentials | None:
        settings = self._edge.settings
        if settings.tls_certificate is None or settings.tls_private_key is None:
            return None
        pair = (settings.tls_private_key.read_bytes(), settings.tls_certificate.read_bytes())
        return grpc.ssl_server_credentials([pair])


def services_handlers(edge: Edge) -> dict[str, dict[str, Handler]]:
    """Handlers by service and method, for every method of the API and of the Open Inference Protocol."""
    door = Door(edge.guard)
    services: dict[str, dict[str, Handler]] = {}
    for method in METHODS.values():
        services.setdefault(method.service, {})[method.short] = _handler(edge, door, method)
    services[INFERENCE] = inference_handlers(edge.protocol, edge.readiness, door)
    return services


def _handler(edge: Edge, door: Door, method: Method) -> Handler:
    if method.short == READ_ARTIFACT:
        return door.server_stream(method.name, _read_artifact(edge, method))
    if method.name == UPLOAD_FILES:
        return door.client_stream(method.name, _upload_files(edge, method))
    if method.streaming:
        return door.server_stream(method.name, _stream(edge, method))

    async def work(payload: bytes, call: Call) -> Message:
        return await edge.api.answer(method, method.parse(payload), call)

    return door.unary(method.name, work)


def _read_artifact(edge: Edge, method: Method) -> Any:
    async def work(payload: bytes, call: Call) -> AsyncGenerator[Message, None]:
        async for message in edge.artifacts.stream(method.parse(payload), method.reply):
            yield message

    return work


def _stream(edge: Edge, method: Method) -> Any:
    async def work(payload: bytes, call: Call) -> AsyncGenerator[Message, None]:
        async with aclosing(edge.api.stream(method, method.parse(payload), call)) as messages:
            async for message in messages:
                yield message

    return work


def _upload_files(edge: Edge, method: Method) -> Any:
    async def messages(payloads: AsyncIterator[bytes]) -> AsyncIterator[cohort_service_pb2.UploadFilesRequest]:
        async for payload in payloads:
            message = method.parse(payload)
            assert isinstance(message, cohort_service_pb2.UploadFilesRequest)
            yield message

    async def work(payloads: AsyncIterator[bytes], call: Call) -> Message:
        return await receive(edge.uploads, messages(payloads))

    return work


def _options(max_message_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_concurrent_streams", 256),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
