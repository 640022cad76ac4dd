"""inference.GRPCInferenceService in tritonclient's own message classes: a second copy of them would clash with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2

from services.errors import InvalidInput, NotFound, ServiceError
from services.gateway import steps
from services.gateway.calls import Call
from services.gateway.catalogue import Served
from services.gateway.open_inference import (
    Answer,
    GivenTensor,
    OpenInference,
    Request,
    model_config,
    model_metadata,
    server_metadata,
)
from services.gateway.rpc.door import Door, Handler
from services.hosting.requests import parsed

pb: Any = service_pb2  # its messages have no type stubs
SERVICE: str = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
CONTENTS = {"FP32": "fp32_contents", "FP64": "fp64_contents"}


class Readiness(Protocol):
    @property
    def ready(self) -> bool: ...


def inference_handlers(protocol: OpenInference, readiness: Readiness, door: Door) -> dict[str, Handler]:
    """Handlers by method name. Methods of Triton's that are not listed here are UNIMPLEMENTED."""

    async def server_live(payload: bytes, call: Call) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def server_ready(payload: bytes, call: Call) -> Any:
        return pb.ServerReadyResponse(ready=readiness.ready)

    async def server_description(payload: bytes, call: Call) -> Any:
        return pb.ServerMetadataResponse(**server_metadata())

    async def model_ready(payload: bytes, call: Call) -> Any:
        request = parsed(pb.ModelReadyRequest, payload)
        try:
            await protocol.catalogue.find(request.name, request.version)
        except NotFound:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def find(message_class: Any, payload: bytes) -> Served:
        request = parsed(message_class, payload)
        return await protocol.catalogue.find(request.name, request.version)

    async def model_description(payload: bytes, call: Call) -> Any:
        served = await find(pb.ModelMetadataRequest, payload)
        versions = [other.version for other in (await protocol.catalogue.models())[served.name]]
        return ParseDict(model_metadata(served, versions), pb.ModelMetadataResponse())

    async def model_configuration(payload: bytes, call: Call) -> Any:
        served = await find(pb.ModelConfigRequest, payload)
        return ParseDict({"config": model_config(served)}, pb.ModelConfigResponse())

    async def repository_index(payload: bytes, call: Call) -> Any:
        models = await protocol.catalogue.models()
        reply = pb.RepositoryIndexResponse()
        for served in (served for versions in models.values() for served in versions):
            reply.models.add(name=served.name, version=served.version, state="READY")
        return reply

    async def infer(payload: bytes, call: Call) -> Any:
        request = parsed(pb.ModelInferRequest, payload)
        return response_bytes(request.id, await protocol.infer(call, asked(request)))

    async def stream(payloads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Any]:
        # Answers come in the order of the requests; one that fails says so in its place and the stream goes on.
        async for payload in payloads:
            reply = pb.ModelStreamInferResponse()
            try:
                request = parsed(pb.ModelInferRequest, payload)
                reply.infer_response.id = request.id
                answer = await protocol.infer(call, asked(request))
                reply.infer_response.MergeFromString(response_bytes(request.id, answer))
            except ServiceError as error:
                reply.error_message = error.message
                reply.infer_response.parameters["reason"].string_param = error.reason
            reply.infer_response.parameters["triton_final_response"].bool_param = True
            yield reply

    unary = {
        "ServerLive": server_live,
        "ServerReady": server_ready,
        "ServerMetadata": server_description,
        "ModelReady": model_ready,
        "ModelMetadata": model_description,
        "ModelConfig": model_configuration,
        "RepositoryIndex": repository_index,
        "ModelInfer": infer,
    }
    handlers = {name: door.unary(f"{SERVICE}/{name}", work) for name, work in unary.items()}
    handlers["ModelStreamInfer"] = door.bidirectional(f"{SERVICE}/ModelStreamInfer", stream)
    return handlers


def asked(request: Any) -> Request:
    """A ModelInferRequest apart from its wire form."""
    return Request(
        model=request.model_name,
        version=request.model_version,
        inputs=given_tensors(request),
        outputs=[output.name for output in request.outputs],
        parameters={key: _parameter(value) for key, value in request.parameters.items()},
    )


def given_tensors(request: Any) -> list[GivenTensor]:
    """Inputs of a ModelInferRequest. ``raw_input_contents[i]`` belongs to ``inputs[i]``; typed contents will do too."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidInput(
            f"{len(request.inputs)} inputs, but {len(raw)} raw_input_contents; there must be one for each",
            field="raw_input_contents",
            reason="INPUT_MISSING",
        )
    if raw:
        return [GivenTensor(i.name, i.datatype, i.shape, raw=raw[at]) for at, i in enumerate(request.inputs)]
    return [GivenTensor(i.name, i.datatype, i.shape, raw=None, numbers=_typed(i)) for i in request.inputs]


def _typed(tensor: Any) -> Any:
    if tensor.datatype == steps.BYTES:
        return list(tensor.contents.bytes_contents)
    steps.dtype_of(tensor.name, tensor.datatype)
    if tensor.datatype not in CONTENTS:
        raise InvalidInput(
            f"{tensor.name!r}: {tensor.datatype} travels in raw_input_contents only",
            field=f"inputs.{tensor.name}.contents",
            reason="TENSOR_DATA_INVALID",
        )
    return getattr(tensor.contents, CONTENTS[tensor.datatype])


def response_bytes(request_id: str, answer: Answer) -> bytes:
    """A serialized ModelInferResponse. The tensors, its last field, are joined on by hand: protobuf would copy each of
    them three times more."""
    reply = pb.ModelInferResponse(model_name=answer.served.name, model_version=answer.served.version, id=request_id)
    tensors: list[bytes | memoryview] = []
    for name, array in answer.outputs.items():
        reply.outputs.add(name=name, datatype="FP32", shape=array.shape)
        blob = steps.blob_from_array(array)
        tensors += [RAW_OUTPUT_KEY, _varint(blob.nbytes), blob]
    return b"".join([reply.SerializeToString(), *tensors])


def _varint(number: int) -> bytes:
    """protobuf's variable-length spelling of a length."""
    spelt = bytearray()
    while number > 0x7F:
        spelt.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*spelt, number])


# Field number and wire type "length-delimited" of raw_output_contents.
RAW_OUTPUT_KEY = _varint(pb.ModelInferResponse.DESCRIPTOR.fields_by_name["raw_output_contents"].number << 3 | 2)


def _parameter(value: Any) -> Any:
    kind = value.WhichOneof("parameter_choice")
    return getattr(value, kind) if kind else None
