"""HTTP requests ↔ the API's messages, by the google.api.http rules of the protos. No second schema is kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from services.errors import InvalidInput
from services.gateway.wire import METHODS, Method

VERBS = ("get", "post", "put", "patch", "delete")

_VARIABLE = re.compile(r"\{(\w+)(?:=([^}]+))?\}")
_UNKNOWN_FIELD = re.compile(r'no field named "([^"]*)"(?: at "([^"]*)")?')
_BAD_FIELD = re.compile(r"Failed to parse (\S+) field")


@dataclass(frozen=True)
class Route:
    """One HTTP rule: ``pattern`` matches the path and captures the request's fields that are in it."""

    verb: str
    template: str
    pattern: re.Pattern[str]
    method: Method
    has_body: bool
    status: int


def routes() -> list[Route]:
    """Every method that has an HTTP rule; those with more literal text come first."""
    found = []
    for method in METHODS.values():
        verb = method.rule.WhichOneof("pattern")
        if verb in VERBS:
            found.append(_route(verb, getattr(method.rule, verb), method))
    return sorted(found, key=lambda route: (-len(_VARIABLE.sub("", route.template)), route.template))


def _route(verb: str, template: str, method: Method) -> Route:
    return Route(
        verb=verb.upper(),
        template=template,
        pattern=re.compile(_expression(template)),
        method=method,
        has_body=method.rule.body == "*",
        status=_status(method),
    )


def _status(method: Method) -> int:
    """202 where work has only begun, 204 where there is nothing to say."""
    if method.reply is Empty:
        return 204
    begins = method.reply is operations_pb2.Operation and method.short.startswith("Create")
    return 202 if begins else 200


def _expression(template: str) -> str:
    """``/v1/{name=audits/*}`` → ``/v1/(?P<name>audits/[^/:]+)``."""
    expression, at = "", 0
    for variable in _VARIABLE.finditer(template):
        segments = (variable[2] or "*").split("/")
        inner = "/".join({"*": r"[^/:]+", "**": r"[^:]+"}.get(part, re.escape(part)) for part in segments)
        expression += re.escape(template[at : variable.start()]) + f"(?P<{variable[1]}>{inner})"
        at = variable.end()
    return expression + re.escape(template[at:])


def request_message(
    route: Route, path: Mapping[str, str], query: Iterable[tuple[str, str]], body: Mapping[str, Any]
) -> Message:
    """The request of a matched route. Raises InvalidInput naming the member that is wrong."""
    fields = dict(body)
    for key, value in query:
        _put_query(fields, key, value, route.method.request.DESCRIPTOR)
    fields.update(path)
    try:
        return ParseDict(fields, route.method.request())
    except ParseError as error:
        raise _invalid(str(error)) from None
    except (RecursionError, ValueError, TypeError, AttributeError, OverflowError):
        raise InvalidInput(
            f"the body does not have the form of {route.method.request.DESCRIPTOR.full_name}", reason="BODY_INVALID"
        ) from None


def reply_json(message: Message) -> dict[str, Any]:
    """The protos' JSON mapping, lowerCamelCase, with fields that have their default value."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def _put_query(fields: dict[str, Any], key: str, text: str, message: Any) -> None:
    """One query parameter: the name of a field with a plain value; repeated fields may come several times."""
    field = message.fields_by_name.get(key) or message.fields_by_camelcase_name.get(key)
    if field is None:
        known = ", ".join(message.fields_by_name)
        raise InvalidInput(
            f"there is no query parameter {key[:64]!r}; there are {known}", field=key[:64], reason="PARAMETER_UNKNOWN"
        )
    value: Any = text
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        value = {"true": True, "false": False}.get(text.lower(), text)
    if field.is_repeated:
        fields.setdefault(field.name, []).append(value)
    else:
        fields[field.name] = value


def _invalid(text: str) -> InvalidInput:
    """json_format's complaint as ours. Its texts name the path, and quote at most one value of the caller's."""
    unknown = _UNKNOWN_FIELD.search(text)
    if unknown:
        where = (unknown[2] or "").partition(".")[2]
        field = f"{where}.{unknown[1]}" if where else unknown[1]
        return InvalidInput(f"there is no field {unknown[1][:64]!r} here", field=field, reason="FIELD_UNKNOWN")
    bad = _BAD_FIELD.search(text)
    return InvalidInput(text[:300], field=bad[1] if bad else "", reason="FIELD_INVALID")
