"""OpenAPI 3.1 out of the protos' descriptors, so that the description cannot differ from what is served."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from services.gateway.open_inference import SERVER_VERSION
from services.gateway.resources.artifacts import COLLECTIONS
from services.gateway.rest.streaming import NDJSON
from services.gateway.rest.transcoding import Route, routes

PROBLEM = {"$ref": "#/components/responses/Problem"}
TENSOR = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"enum": ["FP32", "FP16", "FP64", "BYTES"]},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "parameters": {"type": "object"},
        "data": {"type": "array"},
    },
}
STREAM = (
    "One JSON object a line, each as soon as it is there. What goes wrong before the first line is a problem with its "
    'own status; what goes wrong later is the last line, {"error": problem}. Closing the connection ends the work.'
)
PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "reason"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "reason": {"type": "string", "description": "the same word as ErrorInfo.reason on gRPC"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}

# The JSON mapping of the well-known types.
WELL_KNOWN: dict[str, dict[str, Any]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "description": 'seconds, such as "1.5s"'},
    "google.protobuf.Any": {
        "type": "object",
        "required": ["@type"],
        "properties": {"@type": {"type": "string"}},
        "additionalProperties": True,
    },
    "google.protobuf.Empty": {"type": "object", "additionalProperties": False},
}
SCALARS: dict[int, dict[str, Any]] = {
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "minimum": 0},
    FieldDescriptor.CPPTYPE_INT64: {"type": ["string", "integer"], "format": "int64"},
    FieldDescriptor.CPPTYPE_UINT64: {"type": ["string", "integer"], "format": "uint64"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": ["number", "string"], "format": "double"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": ["number", "string"], "format": "float"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}


def document() -> dict[str, Any]:
    """The whole description as plain JSON data."""
    schemas: dict[str, Any] = {"Problem": PROBLEM_SCHEMA, "Tensor": TENSOR}
    paths: dict[str, Any] = {}
    for route in routes():
        path, parameters = _path(route.template)
        paths.setdefault(path, {})[route.verb.lower()] = _operation(route, parameters, schemas)
    for path, operations in {**_inference_paths(), **_file_paths()}.items():
        paths.setdefault(path, {}).update(operations)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Evenhand",
            "version": SERVER_VERSION,
            "description": "Serves medical-image models and audits them for subgroup fairness.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {
                "Problem": {
                    "description": "What went wrong (RFC 9457)",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
            },
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _path(template: str) -> tuple[str, list[str]]:
    """``/v1/{name=audits/*}`` → ``/v1/audits/{audit}``, since OpenAPI knows no slashes inside parameters."""
    names: list[str] = []

    def replaced(variable: re.Match[str]) -> str:
        pattern = variable[2] or "*"
        collection, _, wildcard = pattern.rpartition("/")
        if "*" not in pattern:
            return pattern
        names.append(collection.rpartition("/")[2].removesuffix("s") or variable[1])
        return f"{collection}/{{{names[-1]}}}" if wildcard and collection else f"{{{names[-1]}}}"

    return re.sub(r"\{(\w+)(?:=([^}]+))?\}", replaced, template), names


def _operation(route: Route, in_path: Iterable[str], schemas: dict[str, Any]) -> dict[str, Any]:
    method, request = route.method, route.method.request.DESCRIPTOR
    parameters = [_parameter(name, "path", {"type": "string"}) for name in in_path]
    captured = set(route.pattern.groupindex)
    if not route.has_body:
        parameters += [
            _parameter(field.camelcase_name, "query", _field(field, schemas))
            for field in request.fields
            if field.name not in captured and field.message_type is None
        ]
    reply: dict[str, Any] = {"description": "Done"}
    if route.status != 204:
        schema = _message(method.reply.DESCRIPTOR, schemas)
        reply["content"] = {NDJSON if method.streaming else "application/json": {"schema": schema}}
    if method.streaming:
        reply["description"] = STREAM
    operation: dict[str, Any] = {
        "operationId": method.short,
        "tags": [method.service.rpartition(".")[2]],
        "parameters": [*parameters, _parameter("X-Request-Timeout", "header", {"type": "number"})],
        "responses": {str(route.status): reply, "default": PROBLEM},
    }
    if "request_id" in request.fields_by_name:
        operation["parameters"].append(_parameter("Idempotency-Key", "header", {"type": "string"}))
    if route.has_body:
        content = {"application/json": {"schema": _message(request, schemas)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameter(name: str, where: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": schema}


def _message(message: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    if message.full_name in WELL_KNOWN:
        return WELL_KNOWN[message.full_name]
    name = message.full_name
    if name not in schemas:
        schemas[name] = {}  # before its fields, for messages that contain themselves
        properties = {field.camelcase_name: _field(field, schemas) for field in message.fields}
        schemas[name] = {"type": "object", "properties": properties}
    return {"$ref": f"#/components/schemas/{name}"}


def _field(field: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _field(message.fields_by_name["value"], schemas)}
    if message is not None:
        schema = _message(message, schemas)
    elif field.enum_type is not None:
        schema = {"enum": [value.name for value in field.enum_type.values]}
    elif field.type == FieldDescriptor.TYPE_BYTES:
        schema = {"type": "string", "contentEncoding": "base64"}
    else:
        schema = SCALARS[field.cpp_type]
    return {"type": "array", "items": schema} if field.is_repeated else schema


def _inference_paths() -> dict[str, Any]:
    model = _parameter("model", "path", {"type": "string"})
    version = _parameter("version", "path", {"type": "string"})
    tensors = {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}}
    body = {
        "type": "object",
        "required": ["inputs"],
        "properties": {"id": {"type": "string"}, "inputs": tensors, "outputs": {"type": "array"}},
    }
    binary = {
        "application/octet-stream": {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    }
    paths: dict[str, Any] = {
        "/v2": {"get": _plain("ServerMetadata")},
        "/v2/health/live": {"get": _plain("ServerLive")},
        "/v2/health/ready": {"get": _plain("ServerReady")},
    }
    for prefix, suffix, parameters in (
        ("/v2/models/{model}", "", [model]),
        ("/v2/models/{model}/versions/{version}", "OfVersion", [model, version]),
    ):
        infer = _plain("ModelInfer" + suffix, parameters)
        infer["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}, **binary}}
        infer["responses"]["200"]["content"] = {"application/json": {"schema": {"type": "object"}}, **binary}
        paths[prefix] = {"get": _plain("ModelMetadata" + suffix, parameters)}
        paths[prefix + "/ready"] = {"get": _plain("ModelReady" + suffix, parameters)}
        paths[prefix + "/infer"] = {"post": infer}
    return paths


def _file_paths() -> dict[str, Any]:
    upload = _parameter("upload", "path", {"type": "string"})
    filename, path = (_parameter(name, "path", {"type": "string"}) for name in ("filename", "path"))
    put = _plain("PutFile", [upload, path], status="201")
    put["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    artifacts = {
        f"/v1/{collection}/{{{owner}}}/artifacts/{{filename}}": {
            "get": _plain(
                f"Read{owner.capitalize()}Artifact", [_parameter(owner, "path", {"type": "string"}), filename]
            )
        }
        for collection, owner in COLLECTIONS.items()
    }
    return {
        **artifacts,
        "/v1/uploads": {"post": _plain("CreateUpload", status="201")},
        "/v1/uploads/{upload}": {"get": _plain("GetUpload", [upload])},
        "/v1/uploads/{upload}/files/{path}": {"put": put},
        "/metrics": {"get": _plain("Metrics")},
    }


def _plain(name: str, parameters: Iterable[dict[str, Any]] = (), *, status: str = "200") -> dict[str, Any]:
    return {
        "operationId": name,
        "parameters": list(parameters),
        "responses": {status: {"description": "Done"}, "default": PROBLEM},
    }
