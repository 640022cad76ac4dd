"""Faults of Ray Serve as the platform's own, and nothing of their texts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from ray.exceptions import ActorUnavailableError, RaySystemError, RayTaskError
from ray.serve.exceptions import BackPressureError

from services.errors import Internal, Overloaded, Unavailable
from services.hosting.handles import MODEL_APPS, NOT_DEPLOYED, Handles, models_of_apps

SECRET = "patient Smith"


class FailingHandle:
    """What Serve gives for an application, as far as it is called: each call meets ``error``."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def remote(self, *arguments: Any) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (ActorUnavailableError(SECRET, None), Unavailable, "REPLICA_LOST"),
        (AioRpcError(grpc.StatusCode.INTERNAL, Metadata(), Metadata(), SECRET), Unavailable, "APP_UNAVAILABLE"),
        (RaySystemError(ValueError(SECRET)), Unavailable, "APP_UNAVAILABLE"),
        (RuntimeError(SECRET), Unavailable, "APP_UNAVAILABLE"),
        (BackPressureError(num_queued_requests=3, max_queued_requests=3), Overloaded, "OVERLOADED"),
        (RayTaskError("infer", SECRET, ValueError(SECRET)), Internal, "INTERNAL"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_each_fault_of_a_handle_is_one_of_ours_without_its_text(
    error: Exception, kind: type[Exception], reason: str
) -> None:
    handles = Handles()
    handles._handles["classifiers", "infer"] = FailingHandle(error)
    with pytest.raises(kind) as caught:
        await handles.call("classifiers", "infer", "x")
    assert type(caught.value) is kind and caught.value.reason == reason
    assert SECRET not in str(caught.value) and caught.value.__suppress_context__
    assert not handles._handles  # the next call asks the controller who serves it now


class Replies:
    """A streaming response of Serve's, as far as it is used: two replies, then ``error``."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    async def __aiter__(self) -> AsyncIterator[int]:
        yield 1
        yield 2
        if self._error is not None:
            raise self._error


class StreamingHandle:
    """A handle with stream=True that always gives the same response."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies

    def remote(self, *arguments: Any) -> Replies:
        return self._replies


def streaming(error: Exception | None = None) -> tuple[Handles, Replies]:
    handles, replies = Handles(), Replies(error)
    handles._handles["generator", "GenerateImages"] = StreamingHandle(replies)
    return handles, replies


async def test_a_stream_that_is_left_is_cancelled_and_one_that_ended_is_not() -> None:
    handles, replies = streaming()
    stream = handles.stream("generator", "GenerateImages", b"")
    assert await anext(stream) == 1
    await stream.aclose()
    assert replies.cancelled
    handles, replies = streaming()
    assert [reply async for reply in handles.stream("generator", "GenerateImages", b"")] == [1, 2]
    assert not replies.cancelled


async def test_a_fault_in_a_stream_is_one_of_ours_without_its_text() -> None:
    handles, _ = streaming(ActorUnavailableError(SECRET, None))
    with pytest.raises(Unavailable) as caught:
        async for _ in handles.stream("generator", "GenerateImages", b""):
            pass
    assert caught.value.reason == "REPLICA_LOST" and SECRET not in str(caught.value)
    assert not handles._handles


async def test_an_application_that_is_not_deployed_has_no_models_and_one_that_is_away_is_an_error() -> None:
    async def ask(app: str) -> list[dict[str, Any]]:
        if app in missing:
            raise Unavailable("away", reason=missing[app])
        return [{"name": app}]

    missing = dict.fromkeys(("generator", "upscaler"), NOT_DEPLOYED)
    assert [(model["name"], model["app"]) for model in await models_of_apps(ask)] == [
        ("classifiers", "classifiers"),
        ("reconstruction", "reconstruction"),
    ]
    missing = {"generator": "REPLICA_LOST"}
    with pytest.raises(Unavailable, match="away"):
        await models_of_apps(ask)
    missing = dict.fromkeys(MODEL_APPS, NOT_DEPLOYED)
    with pytest.raises(Unavailable, match="no application"):
        await models_of_apps(ask)
