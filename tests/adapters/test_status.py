import json

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from services import errors
from services.adapters.status import (
    TITLES,
    error_from_problem,
    error_from_status,
    grpc_code,
    json_pointer,
    problem_from_error,
    problem_headers,
    status_from_error,
    trailing_metadata,
)

CLASSES = errors.error_classes()


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_has_a_code_and_a_title(kind):
    assert isinstance(grpc_code(kind("x")), grpc.StatusCode)
    assert 400 <= kind.http < 600
    assert TITLES[kind.__name__]


def test_the_table_names_no_class_that_is_gone():
    assert set(TITLES) == {kind.__name__ for kind in CLASSES}


@pytest.mark.parametrize("kind", CLASSES[1:], ids=lambda kind: kind.__name__)
def test_an_error_survives_the_way_through_a_grpc_status(kind):
    error = kind("too many rows", field="spec.pipelines[2].name", retry_after_s=2.5, details={"limit": "7"})
    back = error_from_status(status_pb2.Status.FromString(status_from_error(error).SerializeToString()))
    assert type(back) is kind
    assert back.to_dict() == error.to_dict()


@pytest.mark.parametrize("kind", CLASSES[1:], ids=lambda kind: kind.__name__)
def test_both_transports_tell_the_same_reason(kind):
    error = kind("no", reason="SPECIAL_REASON")
    problem = json.loads(json.dumps(problem_from_error(error)))
    info = error_details_pb2.ErrorInfo()
    assert status_from_error(error).details[0].Unpack(info)
    assert info.reason == problem["reason"] == problem["type"].rsplit(":", 1)[1] == "SPECIAL_REASON"
    assert (info.domain, problem["status"]) == ("evenhand", kind.http)


def test_a_wrong_field_is_named_on_both_transports():
    error = errors.ShapeMismatch("expected (N, 1, 64, 64)", field="spec.pipelines[0].stages[1]")
    violation = error_details_pb2.BadRequest()
    assert any(detail.Unpack(violation) for detail in status_from_error(error).details)
    assert violation.field_violations[0].field == "spec.pipelines[0].stages[1]"
    assert problem_from_error(error)["errors"][0]["pointer"] == "/spec/pipelines/0/stages/1"


@pytest.mark.parametrize("kind", [errors.Overloaded, errors.Unavailable])
def test_a_retryable_error_always_says_when_to_come_back(kind):
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status_from_error(kind("busy")).details)
    assert retry.retry_delay.ToMilliseconds() == 1000
    assert problem_headers(kind("busy", retry_after_s=1.2)) == {"Retry-After": "2"}
    assert "Retry-After" not in problem_headers(errors.NotFound("gone"))


def test_a_caller_cannot_make_the_trailers_too_long_for_grpc():
    giant = "x" * 1_000_000
    metadata = trailing_metadata(errors.InvalidInput(giant, field=giant, details={"name": giant}))
    assert len(metadata[0][1]) < 6_000


def test_a_problem_turns_back_into_its_class():
    for kind in CLASSES[1:]:
        problem = problem_from_error(kind("because"))
        assert error_from_problem(problem).reason == kind.default_reason
        assert error_from_problem(problem).http == kind.http


def test_a_foreign_status_keeps_its_code():
    back = error_from_status(status_pb2.Status(code=14, message="gone"))
    assert isinstance(back, errors.Unavailable)
    assert back.message == "gone"


@pytest.mark.parametrize(
    ("field", "pointer"),
    [
        ("name", "/name"),
        ("a.b[3].c", "/a/b/3/c"),
        ("spec.reference_groups[sex,age]", "/spec/reference_groups/sex,age"),
        ("scan one/slice~1.dcm", "/scan one~1slice~01.dcm"),
        ("scan[left].dcm", "/scan[left].dcm"),
    ],
)
def test_a_pointer_has_one_token_for_each_step(field, pointer):
    assert json_pointer(field) == pointer


def test_an_unauthenticated_caller_is_challenged():
    assert problem_headers(errors.Unauthenticated("who?"))["WWW-Authenticate"] == "Bearer"
