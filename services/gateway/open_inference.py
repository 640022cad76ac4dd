"""The Open Inference Protocol (KServe v2) apart from its two wire forms: names, checks, metadata, the call itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from typing import Any

import numpy as np

from services.adapters.telemetry import Telemetry
from services.errors import InvalidInput, ServiceError, TooLarge
from services.gateway import steps
from services.gateway.admission import Admission
from services.gateway.backends import Backends
from services.gateway.calls import Call
from services.gateway.catalogue import Catalogue, Served

SERVER_NAME = "evenhand"
SERVER_VERSION = distribution_version("evenhand-platform")
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository")
MOST_TENSORS = 16


@dataclass(frozen=True, slots=True)
class GivenTensor:
    """An input as it arrived: little-endian ``raw`` bytes, or else ``numbers``."""

    name: str
    datatype: str
    shape: Sequence[int]
    raw: bytes | memoryview | None
    numbers: Any = None


@dataclass(frozen=True, slots=True)
class Request:
    """One inference. An empty ``version`` means the highest; no ``outputs`` means all."""

    model: str
    version: str
    inputs: Sequence[GivenTensor]
    outputs: Sequence[str]
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """Float32 outputs by name, in the model's order, and the version that computed them."""

    served: Served
    outputs: dict[str, np.ndarray[Any, Any]]


class OpenInference:
    """Inference and metadata over a catalogue."""

    def __init__(
        self,
        catalogue: Catalogue,
        backends: Backends,
        admission: Admission,
        telemetry: Telemetry,
        *,
        max_elements: int,
    ) -> None:
        self.catalogue = catalogue
        self._backends = backends
        self._admission = admission
        self._telemetry = telemetry
        self._max_elements = max_elements

    async def infer(self, call: Call, request: Request) -> Answer:
        """Check everything that can be checked here, wait for a place, ask the model."""
        served = await self.catalogue.find(request.model, request.version)
        status = "OK"
        try:
            async with self._admission.admit(served.name, call.caller):
                arrays = self._arrays(served, request.inputs)
                _check_names(request.outputs, {served.output_name}, "outputs", served.name)
                outputs = await self._backends.infer(
                    served.app, served.name, served.version, arrays, _passed_on(request.parameters)
                )
        except ServiceError as error:
            status = error.status
            raise
        finally:
            self._telemetry.inference(model=served.name, status=status)
        return Answer(served, outputs)

    def _arrays(self, served: Served, inputs: Sequence[GivenTensor]) -> dict[str, np.ndarray[Any, Any]]:
        if len(inputs) > MOST_TENSORS:
            raise TooLarge(f"a request may have {MOST_TENSORS} tensors, not {len(inputs)}", field="inputs")
        names = [tensor.name for tensor in inputs]
        _check_names(names, {served.input_name}, "inputs", served.name)
        if names != [served.input_name]:
            raise InvalidInput(
                f"{served.name} takes {served.input_name!r} exactly once", field="inputs", reason="INPUT_MISSING"
            )
        (tensor,) = inputs
        steps.dtype_of(tensor.name, tensor.datatype)
        steps.check_shape(tensor.name, tensor.shape, served.input_shape, served.name)
        given = (tensor.name, tensor.datatype, tensor.shape)
        if tensor.raw is not None:
            return {tensor.name: steps.array_from_bytes(*given, tensor.raw, self._max_elements)}
        return {tensor.name: steps.array_from_numbers(*given, tensor.numbers, self._max_elements)}


def _check_names(given: Collection[str], known: Collection[str], field: str, model: str) -> None:
    for name in given:
        if name not in known:
            raise InvalidInput(
                f"{model} has no {field[:-1]} {name[:64]!r}; its {field} are {', '.join(sorted(known))}",
                field=f"{field}.{name[:64]}",
                reason="INPUT_NAME_UNKNOWN" if field == "inputs" else "OUTPUT_NAME_UNKNOWN",
            )


def _passed_on(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The request parameters that a model host understands. Others are left aside, as the protocol allows."""
    if parameters.get("sequence_id"):
        raise InvalidInput(
            "the models keep no state between requests", field="parameters.sequence_id", reason="PARAMETER_UNSUPPORTED"
        )
    batch = parameters.get("batch")
    if batch is None:
        return {}
    if not isinstance(batch, int) or isinstance(batch, bool):
        raise InvalidInput("batch takes a whole number", field="parameters.batch", reason="PARAMETER_INVALID")
    return {"batch": batch}


def server_metadata() -> dict[str, Any]:
    return {"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": list(EXTENSIONS)}


def model_metadata(served: Served, versions: Sequence[str]) -> dict[str, Any]:
    """Model metadata in the protocol's own field names. Inputs are computed in FP32; FP16 and FP64 are converted."""
    return {
        "name": served.name,
        "versions": list(versions),
        "platform": f"evenhand_{served.entry.get('backend', 'torch')}",
        "inputs": [{"name": served.input_name, "datatype": "FP32", "shape": list(served.input_shape)}],
        "outputs": [{"name": served.output_name, "datatype": "FP32", "shape": list(served.output_shape)}],
    }


def model_config(served: Served) -> dict[str, Any]:
    """As much of Triton's model configuration as clients look at; the rows' extent is implied by max_batch_size."""
    return {
        "name": served.name,
        "platform": f"evenhand_{served.entry.get('backend', 'torch')}",
        "backend": str(served.entry.get("backend", "torch")),
        "max_batch_size": 256,
        "input": [{"name": served.input_name, "data_type": "TYPE_FP32", "dims": list(served.input_shape[1:])}],
        "output": [{"name": served.output_name, "data_type": "TYPE_FP32", "dims": list(served.output_shape[1:])}],
    }
