"""The Open Inference Protocol over HTTP, with the binary tensor extension in both directions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from services.errors import InvalidInput, ShapeMismatch
from services.gateway import steps
from services.gateway.calls import Call
from services.gateway.edge import Edge
from services.gateway.open_inference import (
    Answer,
    GivenTensor,
    Request,
    model_config,
    model_metadata,
    server_metadata,
)
from services.gateway.rest.exchange import Exchange, json_reply, parsed_json, problem, while_connected

HEADER_LENGTH = "Inference-Header-Content-Length"
MOST_DIGITS = 20  # of a length; int() itself fails on thousands
MODEL = "/v2/models/{model}"
VERSION = MODEL + "/versions/{version}"


def inference_routes(edge: Edge, exchange: Exchange) -> list[Route]:
    """Starlette routes. Health needs no key."""
    protocol = edge.protocol

    async def live(request: HttpRequest) -> Response:
        return json_reply({"live": True})

    async def ready(request: HttpRequest) -> Response:
        fault = edge.readiness.fault()
        return problem(fault, request) if fault else json_reply({"ready": True})

    async def server(request: HttpRequest, call: Call) -> Response:
        return json_reply(server_metadata())

    async def model(request: HttpRequest, call: Call) -> Response:
        served = await protocol.catalogue.find(*_named(request))
        versions = [other.version for other in (await protocol.catalogue.models())[served.name]]
        return json_reply(model_metadata(served, versions))

    async def model_ready(request: HttpRequest, call: Call) -> Response:
        await protocol.catalogue.find(*_named(request))
        return json_reply({"ready": True})

    async def config(request: HttpRequest, call: Call) -> Response:
        return json_reply(model_config(await protocol.catalogue.find(*_named(request))))

    async def index(request: HttpRequest, call: Call) -> Response:
        models = await protocol.catalogue.models()
        found = (served for versions in models.values() for served in versions)
        return json_reply([{"name": s.name, "version": s.version, "state": "READY", "reason": ""} for s in found])

    async def infer(request: HttpRequest, call: Call) -> Response:
        body = await exchange.body(request)
        front, blobs = split_body(body, request.headers.get(HEADER_LENGTH))
        header = await parsed_json(front, edge.settings.max_json_bytes)
        asked = read_request(*_named(request), header, blobs)
        answer = await while_connected(request, protocol.infer(call, asked))
        return write_reply(answer, header)

    routes = [
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        Route("/v2", exchange.endpoint("v2/server", server)),
        Route("/v2/repository/index", exchange.endpoint("v2/index", index), methods=["POST"]),
    ]
    for prefix in (MODEL, VERSION):
        routes += [
            Route(prefix, exchange.endpoint("v2/model", model)),
            Route(prefix + "/ready", exchange.endpoint("v2/ready", model_ready)),
            Route(prefix + "/config", exchange.endpoint("v2/config", config)),
            Route(prefix + "/infer", exchange.endpoint("v2/infer", infer), methods=["POST"]),
        ]
    return routes


def _named(request: HttpRequest) -> tuple[str, str]:
    return request.path_params["model"], request.path_params.get("version", "")


def split_body(body: bytes, header_length: str | None) -> tuple[memoryview, memoryview]:
    """(the JSON header's bytes, the blobs behind it). Without the length everything is JSON."""
    end = len(body)
    if header_length is not None:
        digits = header_length.isascii() and header_length.isdigit() and len(header_length) <= MOST_DIGITS
        if not digits or int(header_length) > len(body):
            raise InvalidInput(
                f"{HEADER_LENGTH} must be a length within the body's {len(body)} bytes",
                field=HEADER_LENGTH,
                reason="HEADER_LENGTH_INVALID",
            )
        end = int(header_length)
    whole = memoryview(body)
    return whole[:end], whole[end:]


def read_request(model: str, version: str, header: Mapping[str, Any], blobs: memoryview) -> Request:
    """The request of a header and its blobs, which follow one another in the order of the inputs."""
    inputs, at = [], 0
    for entry in _objects(header, "inputs"):
        name, datatype, shape = _text(entry, "name"), _text(entry, "datatype"), _shape(entry)
        size = _parameters(entry).get("binary_data_size")
        if size is None:
            inputs.append(GivenTensor(name, datatype, shape, raw=None, numbers=entry.get("data")))
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(blobs) - at:
            raise ShapeMismatch(
                f"binary_data_size of {name[:64]!r} must be a length within the {len(blobs) - at} bytes that are left",
                field=f"inputs.{name[:64]}.parameters.binary_data_size",
            )
        inputs.append(GivenTensor(name, datatype, shape, raw=blobs[at : at + size]))
        at += size
    if at != len(blobs):
        raise ShapeMismatch(f"{len(blobs) - at} bytes belong to no input", field="inputs")
    outputs = [_text(entry, "name") for entry in _objects(header, "outputs")]
    return Request(model, version, inputs, outputs, _parameters(header))


def write_reply(answer: Answer, header: Mapping[str, Any]) -> Response:
    """The reply: outputs that were asked for as binary travel behind the JSON, the others as flat lists in it."""
    default = _parameters(header).get("binary_data_output") is True
    binary = {
        entry.get("name"): _parameters(entry).get("binary_data", default) is True
        for entry in _objects(header, "outputs")
    }
    outputs: list[dict[str, Any]] = []
    blobs: list[memoryview] = []
    for name, array in answer.outputs.items():
        entry: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(array.shape)}
        if binary.get(name, default):
            blob = steps.blob_from_array(array)
            entry["parameters"] = {"binary_data_size": blob.nbytes}
            blobs.append(blob)
        else:
            entry["data"] = np.asarray(array, np.float64).ravel().tolist()
        outputs.append(entry)
    content: dict[str, Any] = {
        "model_name": answer.served.name,
        "model_version": answer.served.version,
        "outputs": outputs,
    }
    if isinstance(header.get("id"), str):
        content["id"] = header["id"]
    if not blobs:
        return json_reply(content)
    text = json.dumps(content, allow_nan=False).encode()
    return Response(
        b"".join([text, *blobs]),
        headers={HEADER_LENGTH: str(len(text))},
        media_type="application/octet-stream",
    )


def _objects(header: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = header.get(key) or []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise InvalidInput(f"{key} must be a list of objects", field=key, reason="FIELD_INVALID")
    return found


def _parameters(entry: Mapping[str, Any]) -> dict[str, Any]:
    found = entry.get("parameters") or {}
    if not isinstance(found, dict):
        raise InvalidInput("parameters must be an object", field="parameters", reason="FIELD_INVALID")
    return found


def _text(entry: Mapping[str, Any], key: str) -> str:
    found = entry.get(key)
    if not isinstance(found, str):
        raise InvalidInput(f"{key} must be a text", field=key, reason="FIELD_INVALID")
    return found


def _shape(entry: Mapping[str, Any]) -> list[int]:
    found = entry.get("shape")
    if not isinstance(found, list) or not all(isinstance(n, int) and not isinstance(n, bool) for n in found):
        raise InvalidInput("shape must be a list of whole numbers", field="shape", reason="FIELD_INVALID")
    return found
