"""A model that lives on a Triton server, called through tritonclient's asyncio gRPC client.

Its twin in this process is the torch runner of ``services.hosting``: both pass tests/contract/test_runners.py.
"""

from __future__ import annotations

import numpy as np
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from services.adapters.weights import ModelRecord, TritonAddress
from services.errors import FailedPrecondition, InvalidInput, ServiceError, Unavailable

TIMEOUT_S = 60.0


class TritonRunner:
    """Runs one batch on the server that ``model.yaml`` names. The client is opened at the first call, on its loop."""

    def __init__(self, record: ModelRecord) -> None:
        if record.triton is None:
            raise InvalidInput("not a Triton model", field="backend")
        self._address: TritonAddress = record.triton
        self._client: triton.InferenceServerClient | None = None

    async def run(self, images: np.ndarray, asked: object = None) -> np.ndarray:
        """(B, C, H, W) float32 in, the server's raw output with B rows out; Unavailable when it cannot be reached."""
        client = self._client = self._client or triton.InferenceServerClient(self._address.url)
        tensor = triton.InferInput(self._address.input, list(images.shape), "FP32")
        tensor.set_data_from_numpy(np.ascontiguousarray(images, np.float32))
        wanted = [triton.InferRequestedOutput(self._address.output)]
        try:
            result = await client.infer(self._address.model, [tensor], outputs=wanted, client_timeout=TIMEOUT_S)
        except InferenceServerException as error:
            raise self._as_service_error(error) from None
        output = result.as_numpy(self._address.output)
        if output is None or len(output) != len(images):
            # numpy 2 in the server's stub process is known to answer OK with nothing in it.
            raise Unavailable(f"Triton model {self._address.model!r} answered without its rows", field="triton.output")
        return np.asarray(output, np.float32)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _as_service_error(self, error: InferenceServerException) -> ServiceError:
        """tritonclient's exception does not survive Ray's serialisation, so it never leaves this file."""
        status = str(error.status() or "")
        if "UNAVAILABLE" in status or "DEADLINE" in status or "CANCELLED" in status:
            return Unavailable(
                f"the Triton server at {self._address.url} does not answer",
                field="triton.url",
                reason="TRITON_UNAVAILABLE",
                retry_after_s=5.0,
            )
        return FailedPrecondition(
            f"Triton refuses model {self._address.model!r}: {error.message()}",
            field="triton.model",
            reason="TRITON_REFUSED",
        )
