"""The two ways of running a flow: with blocking calls, and on an asyncio loop."""

from __future__ import annotations

import asyncio
import os
import time
import warnings
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from evenhand.calls import Download, Flow, Sleep, Step, Together, Unary, Upload
from evenhand.errors import EvenhandError, error_from_rpc

T = TypeVar("T")
M = TypeVar("M", bound=Message)
DEFAULT_ADDRESS = "127.0.0.1:8081"
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", -1),  # the server bounds its own replies; a 512x512 stack passes 4 MiB
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),  # calls.Retry decides, with knowledge of what may be repeated
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.initial_reconnect_backoff_ms", 100),  # shorter than the pauses between attempts, which would else be idle
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


@dataclass(frozen=True)
class Target:
    """Where the platform is and how to speak to it.

    Args:
        address: "host:port", or "https://host:port" for TLS. Default: EVENHAND_ADDRESS, else 127.0.0.1:8081.
        api_key: sent as a bearer token. Default: EVENHAND_API_KEY.
        tls: encrypt; the certificate is checked against ``ca_file`` or the system's roots.
        ca_file: PEM file of certificate authorities. Default: EVENHAND_CA_FILE.
    """

    address: str
    api_key: str = ""
    tls: bool = False
    ca_file: str = ""

    @classmethod
    def of(cls, address: str | None, api_key: str | None, tls: bool | None, ca_file: str | None) -> Target:
        """Arguments first, then the environment, then the defaults."""
        given = address or os.environ.get("EVENHAND_ADDRESS") or DEFAULT_ADDRESS
        scheme, found, rest = given.partition("://")
        authority = ca_file or os.environ.get("EVENHAND_CA_FILE", "")
        target = cls(
            address=rest.rstrip("/") if found else given,
            api_key=os.environ.get("EVENHAND_API_KEY", "") if api_key is None else api_key,
            tls=tls if tls is not None else (bool(found) and scheme in {"https", "grpcs"}) or bool(authority),
            ca_file=authority,
        )
        if target.api_key and not target.tls and target.host not in {"127.0.0.1", "localhost", "[::1]"}:
            warnings.warn(f"the API key travels unencrypted to {target.address}; use tls=True", stacklevel=4)
        return target

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0] or self.address

    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(Path(self.ca_file).read_bytes() if self.ca_file else None)


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


class Connection:
    """Runs flows with blocking calls over one channel. Safe to share between threads."""

    def __init__(self, target: Target) -> None:
        self.target = target
        secure = target.tls
        self.channel: grpc.Channel = (
            grpc.secure_channel(target.address, target.credentials(), options=_OPTIONS)
            if secure
            else grpc.insecure_channel(target.address, options=_OPTIONS)
        )

    def run(self, flow: Flow[T]) -> T:
        """Drive a flow to its result; errors of a step are raised inside the flow, which may handle them."""
        outcome: Any = None
        error: EvenhandError | None = None
        while True:
            try:
                step = flow.throw(error) if error is not None else flow.send(outcome)
            except StopIteration as stop:
                result: T = stop.value
                return result
            outcome, error = None, None
            try:
                outcome = self._do(step)
            except grpc.RpcError as failure:
                error = error_from_rpc(failure)
            except EvenhandError as failure:
                error = failure

    def _do(self, step: Step) -> Any:
        match step:
            case Unary():
                call = self.channel.unary_unary(f"/{step.method}", _serialize, step.reply.FromString)
                return call(step.request, timeout=step.timeout_s, metadata=self.target.metadata())
            case Upload():
                send = self.channel.stream_unary(f"/{step.method}", _serialize, step.reply.FromString)
                return send(step.requests(), timeout=step.timeout_s, metadata=self.target.metadata())
            case Download():
                read = self.channel.unary_stream(f"/{step.method}", _serialize, step.reply.FromString)
                for reply in read(step.request, timeout=step.timeout_s, metadata=self.target.metadata()):
                    step.take(reply)
            case Sleep():
                time.sleep(step.seconds)
            case Together():
                return [self.run(flow) for flow in step.flows]
        return None

    def stream(
        self, method: str, request: Message, reply: type[M], timeout_s: float | None
    ) -> Generator[M, None, None]:
        """The replies of one call as they come; closing the generator cancels the call."""
        call: Any = self.channel.unary_stream(f"/{method}", _serialize, reply.FromString)(
            request, timeout=timeout_s, metadata=self.target.metadata()
        )
        try:
            yield from call
        except grpc.RpcError as failure:
            raise error_from_rpc(failure) from None
        finally:
            call.cancel()

    def close(self) -> None:
        self.channel.close()


class AsyncConnection:
    """Runs flows on the running asyncio loop. The channel opens with the first call, on that call's loop."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._channel: grpc.aio.Channel | None = None

    @property
    def channel(self) -> grpc.aio.Channel:
        if self._channel is None:
            target = self.target
            self._channel = (
                grpc.aio.secure_channel(target.address, target.credentials(), options=_OPTIONS)
                if target.tls
                else grpc.aio.insecure_channel(target.address, options=_OPTIONS)
            )
        return self._channel

    async def run(self, flow: Flow[T]) -> T:
        """Drive a flow to its result; see :meth:`Connection.run`."""
        outcome: Any = None
        error: EvenhandError | None = None
        while True:
            try:
                step = flow.throw(error) if error is not None else flow.send(outcome)
            except StopIteration as stop:
                result: T = stop.value
                return result
            outcome, error = None, None
            try:
                outcome = await self._do(step)
            except grpc.RpcError as failure:
                error = error_from_rpc(failure)
            except EvenhandError as failure:
                error = failure

    async def _do(self, step: Step) -> Any:
        match step:
            case Unary():
                call = self.channel.unary_unary(f"/{step.method}", _serialize, step.reply.FromString)
                return await call(step.request, timeout=step.timeout_s, metadata=self._metadata())
            case Upload():
                send = self.channel.stream_unary(f"/{step.method}", _serialize, step.reply.FromString)
                requests = _off_loop(step.requests())
                return await send(requests, timeout=step.timeout_s, metadata=self._metadata())
            case Download():
                read = self.channel.unary_stream(f"/{step.method}", _serialize, step.reply.FromString)
                async for reply in read(step.request, timeout=step.timeout_s, metadata=self._metadata()):
                    step.take(reply)
            case Sleep():
                await asyncio.sleep(step.seconds)
            case Together():
                return await self._together(step.flows, asyncio.Semaphore(step.limit))
        return None

    async def stream(
        self, method: str, request: Message, reply: type[M], timeout_s: float | None
    ) -> AsyncGenerator[M, None]:
        """The replies of one call as they come; closing the generator cancels the call."""
        call = self.channel.unary_stream(f"/{method}", _serialize, reply.FromString)(
            request, timeout=timeout_s, metadata=self._metadata()
        )
        try:
            async for message in call:
                yield message
        except grpc.RpcError as failure:
            raise error_from_rpc(failure) from None
        finally:
            call.cancel()

    async def _together(self, flows: Sequence[Flow[Any]], room: asyncio.Semaphore) -> list[Any]:
        async def one(flow: Flow[Any]) -> Any:
            async with room:
                return await self.run(flow)

        tasks = [asyncio.ensure_future(one(flow)) for flow in flows]
        try:
            return await asyncio.gather(*tasks)
        finally:  # the first failure stops the others
            for task in tasks:
                task.cancel()

    def _metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata(*self.target.metadata())

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close(None)


async def _off_loop(requests: Iterator[Any]) -> Any:
    """Read the files of an upload in a thread, so that a slow disk does not hold up the loop."""
    done = object()
    while (request := await asyncio.to_thread(next, requests, done)) is not done:
        yield request
