"""The same package answers the same numbers from torch in this process and from a real Triton server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.adapters.weights import DirectoryRegistry
from services.errors import FailedPrecondition, ServiceError, Unavailable
from services.hosting.host import ModelHost
from tests.packages import write_package


def registry(root: Path, **changes: Any) -> DirectoryRegistry:
    write_package(root, **changes)
    return DirectoryRegistry([root])


def triton(address: str, model: str = "pointwise") -> dict[str, Any]:
    return {"backend": "triton", "triton": {"url": address, "model": model}, "files": {}}


@pytest.fixture(params=["torch", pytest.param("triton", marks=pytest.mark.triton)])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> ModelHost:
    changes = triton(request.getfixturevalue("triton_address")) if request.param == "triton" else {}
    return ModelHost(registry(tmp_path, **changes), ["reconstruction"])


def images(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).random((rows, 1, 8, 8), np.float32)


@pytest.mark.parametrize("rows, parameters", [(1, {}), (3, {}), (5, {"batch": 4}), (40, {})])
async def test_rows_come_back_in_order_and_scaled(host: ModelHost, rows: int, parameters: dict[str, int]) -> None:
    given = images(rows)
    answer = (await host.infer("affine", "", {"image": given}, parameters))["image"]
    np.testing.assert_allclose(answer, 0.5 * given + 0.25, atol=1e-6)
    await host.close()


@pytest.mark.parametrize(
    "inputs, reason",
    [
        ({"image": np.zeros((1, 1, 8, 9), np.float32)}, "SHAPE_MISMATCH"),
        ({"image": np.zeros((0, 1, 8, 8), np.float32)}, "SHAPE_MISMATCH"),
        ({"image": np.zeros((257, 1, 8, 8), np.float32)}, "SHAPE_MISMATCH"),
        ({"image": np.zeros((1, 1, 8, 8), np.float64)}, "DTYPE_MISMATCH"),
        ({"image": np.full((1, 1, 8, 8), np.nan, np.float32)}, "NON_FINITE_PIXELS"),
        ({"image": np.full((1, 1, 8, 8), -np.inf, np.float32)}, "NON_FINITE_PIXELS"),
        ({"image": np.full((1, 1, 8, 8), 1.5, np.float32)}, "VALUE_OUT_OF_RANGE"),
        ({"picture": np.zeros((1, 1, 8, 8), np.float32)}, "INPUT_NAME_UNKNOWN"),
        ({}, "INPUT_NAME_UNKNOWN"),
    ],
)
async def test_bad_tensors_are_refused_alike(host: ModelHost, inputs: dict[str, np.ndarray], reason: str) -> None:
    with pytest.raises(ServiceError) as caught:
        await host.infer("affine", "", inputs, {})
    assert caught.value.reason == reason
    await host.close()


async def test_an_unknown_model_is_not_found(host: ModelHost) -> None:
    with pytest.raises(ServiceError) as caught:
        await host.infer("nothing", "", {"image": images(1)}, {})
    assert caught.value.reason == "MODEL_NOT_FOUND"
    await host.close()


async def test_a_triton_server_that_is_away_is_unavailable_not_internal(tmp_path: Path) -> None:
    host = ModelHost(registry(tmp_path, **triton("127.0.0.1:9")), ["reconstruction"])
    with pytest.raises(Unavailable) as caught:
        await host.infer("affine", "", {"image": images(1)}, {})
    assert caught.value.reason == "TRITON_UNAVAILABLE"
    await host.close()


@pytest.mark.triton
async def test_a_model_that_triton_does_not_have_is_said_so(triton_address: str, tmp_path: Path) -> None:
    host = ModelHost(registry(tmp_path, **triton(triton_address, "nothing")), ["reconstruction"])
    with pytest.raises(FailedPrecondition) as caught:
        await host.infer("affine", "", {"image": images(1)}, {})
    assert caught.value.reason == "TRITON_REFUSED"
    await host.close()


def test_weights_of_another_network_are_refused_before_serving(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        ModelHost(registry(tmp_path, family="unet"), ["reconstruction"])
    assert caught.value.reason == "WEIGHTS_OF_ANOTHER_NETWORK"
