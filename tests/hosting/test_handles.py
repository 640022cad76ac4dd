"""Faults of Ray Serve as the platform's own, and nothing of their texts."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from ray.exceptions import ActorUnavailableError, RaySystemError, RayTaskError
from ray.serve.exceptions import BackPressureError

from services.errors import Internal, Overloaded, Unavailable
from services.hosting.handles import Handles

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
