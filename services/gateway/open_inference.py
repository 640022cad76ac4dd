"""The Open Inference Protocol (KServe v2) apart from its two wire forms: names, checks, metadata, the call itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from typing import Any

import numpy as np

from services.adapters.telemetry import Telemetry
from services.errors import InvalidInput, ServiceError, ShapeMismatch, TooLarge
from services.gateway import steps
from services.gateway.admission import Admission
from services.gateway.backends import Backends
from services.gateway.calls import Call
from services.gateway.catalogue import Catalogue, Served, TensorSpec
from services.gateway.parameters import passed_on
from services.gateway.tap import Tap

SERVER_NAME = "evenhand"
SERVER_VERSION = distribution_version("evenhand-platform")
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository")
MOST_TENSORS = 16


@dataclass(frozen=True, slots=True)
class GivenTensor:
    """An input as it arrived: little-endian ``raw`` bytes, or else ``numbers`` (for BYTES: texts)."""

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
        tap: Tap,
        *,
        max_elements: int,
    ) -> None:
        self.catalogue = catalogue
        self._backends = backends
        self._admission = admission
        self._telemetry = telemetry
        self._tap = tap
        self._max_elements = max_elements

    async def infer(self, call: Call, request: Request) -> Answer:
        """Check everything that can be checked here, wait for a place, ask the model."""
        served = await self.catalogue.find(request.model, request.version)
        status = "OK"
        try:
            async with self._admission.admit(served.name, call.caller):
                arrays = self._arrays(served, request.inputs)
                _check_names(request.outputs, {served.output.name}, "outputs", served.name)
                parameters = passed_on(served.entry["task"], request.parameters, call.remaining_s())
                outputs = await self._backends.infer(served.app, served.name, served.version, arrays, parameters)
        except ServiceError as error:
            status = error.status
            raise
        finally:
            self._telemetry.inference(model=served.name, status=status)
        self._tap.offer(served.name, served.version, served.entry, outputs[served.output.name], request.parameters)
        return Answer(served, outputs)

    def _arrays(self, served: Served, inputs: Sequence[GivenTensor]) -> dict[str, np.ndarray[Any, Any]]:
        if len(inputs) > MOST_TENSORS:
            raise TooLarge(f"a request may have {MOST_TENSORS} tensors, not {len(inputs)}", field="inputs")
        specs = {spec.name: spec for spec in served.inputs}
        names = [tensor.name for tensor in inputs]
        _check_names(names, specs, "inputs", served.name)
        for name in specs:
            if names.count(name) != 1:
                raise InvalidInput(f"{served.name} takes {name!r} exactly once", field="inputs", reason="INPUT_MISSING")
        arrays = {tensor.name: self._array(served, specs[tensor.name], tensor) for tensor in inputs}
        if len({len(array) for array in arrays.values()}) > 1:
            raise ShapeMismatch(f"the inputs of {served.name} have different numbers of rows", field="inputs")
        return arrays

    def _array(self, served: Served, spec: TensorSpec, tensor: GivenTensor) -> np.ndarray[Any, Any]:
        steps.check_datatype(tensor.name, tensor.datatype, spec.datatype, served.name)
        steps.check_shape(tensor.name, tensor.shape, spec.shape, served.name)
        if spec.datatype == steps.BYTES:
            if tensor.raw is not None:
                return steps.texts_from_bytes(tensor.name, tensor.shape, tensor.raw, self._max_elements)
            return steps.texts_from_list(tensor.name, tensor.shape, tensor.numbers, self._max_elements)
        given = (tensor.name, tensor.datatype, tensor.shape)
        if tensor.raw is not None:
            return steps.array_from_bytes(*given, tensor.raw, self._max_elements)
        return steps.array_from_numbers(*given, tensor.numbers, self._max_elements)


def _check_names(given: Collection[str], known: Collection[str], field: str, model: str) -> None:
    for name in given:
        if name not in known:
            raise InvalidInput(
                f"{model} has no {field[:-1]} {name[:64]!r}; its {field} are {', '.join(sorted(known))}",
                field=f"{field}.{name[:64]}",
                reason="INPUT_NAME_UNKNOWN" if field == "inputs" else "OUTPUT_NAME_UNKNOWN",
            )


def server_metadata() -> dict[str, Any]:
    return {"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": list(EXTENSIONS)}


def model_metadata(served: Served, versions: Sequence[str]) -> dict[str, Any]:
    """Model metadata in the protocol's own field names. Inputs are computed in FP32; FP16 and FP64 are converted."""
    return {
        "name": served.name,
        "versions": list(versions),
        "platform": f"evenhand_{served.entry.get('backend', 'torch')}",
        "inputs": [_tensor(spec) for spec in served.inputs],
        "outputs": [_tensor(served.output)],
    }


def model_config(served: Served) -> dict[str, Any]:
    """As much of Triton's model configuration as clients look at; the rows' extent is implied by max_batch_size."""
    return {
        "name": served.name,
        "platform": f"evenhand_{served.entry.get('backend', 'torch')}",
        "backend": str(served.entry.get("backend", "torch")),
        "max_batch_size": 256,
        "input": [_configured(spec) for spec in served.inputs],
        "output": [_configured(served.output)],
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _configured(spec: TensorSpec) -> dict[str, Any]:
    data_type = "TYPE_STRING" if spec.datatype == steps.BYTES else f"TYPE_{spec.datatype}"
    return {"name": spec.name, "data_type": data_type, "dims": list(spec.shape[1:])}
