"""Rules that all services' requests share."""

from __future__ import annotations

import uuid

import pytest
from evenhand.audit.v1 import audit_service_pb2

from services.errors import InvalidInput, OutOfRange
from services.hosting import requests


def test_bytes_that_are_no_message_are_refused() -> None:
    message = audit_service_pb2.CreateAuditRequest(display_name="first")
    assert requests.parsed(audit_service_pb2.CreateAuditRequest, message.SerializeToString()) == message
    with pytest.raises(InvalidInput, match=r"evenhand\.audit\.v1\.CreateAuditRequest") as caught:
        requests.parsed(audit_service_pb2.CreateAuditRequest, b"\xff\xff\xff")
    assert caught.value.reason == "REQUEST_MALFORMED"


def test_a_request_id_is_a_uuid4_in_any_case_or_nothing() -> None:
    identity = str(uuid.uuid4())
    assert requests.request_id(identity.upper()) == requests.request_id(identity) == identity
    assert requests.request_id("") == ""


@pytest.mark.parametrize("text", ["1", " ", str(uuid.uuid1()), uuid.uuid4().hex, f"{{{uuid.uuid4()}}}"])
def test_anything_else_is_no_request_id(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        requests.request_id(text)
    assert caught.value.field == "request_id"


def test_the_body_digest_ignores_the_request_id_and_nothing_else() -> None:
    bodies = [("a", "first"), ("b", "first"), ("a", "second")]
    first, repeat, other = (
        requests.body_digest(audit_service_pb2.CreateAuditRequest(request_id=identity, display_name=name))
        for identity, name in bodies
    )
    assert first == repeat != other


@pytest.mark.parametrize("text", ["", "cohorts", "cohorts/", "audits/one", "cohorts/one/two", "/one", "cohorts/a\x00"])
def test_a_name_outside_its_collection_is_refused(text: str) -> None:
    assert requests.resource_name("cohorts/one", "cohorts", "name") == "cohorts/one"
    with pytest.raises(InvalidInput) as caught:
        requests.resource_name(text, "cohorts", "name")
    assert caught.value.field == "name"


@pytest.mark.parametrize(("asked", "given"), [(0, 50), (7, 7), (500, 500), (10_000, 500)])
def test_page_sizes_have_a_default_and_an_upper_end(asked: int, given: int) -> None:
    assert requests.page_size(asked) == given


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(OutOfRange) as caught:
        requests.page_size(-1)
    assert caught.value.field == "page_size"
