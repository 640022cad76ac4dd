import inspect

import grpc
import pytest
from evenhand import errors
from evenhand.client import Client
from evenhand.errors import HINTS, EvenhandError, all_errors, error_from_status
from google.rpc import status_pb2

from services import errors as platform
from services.adapters.status import status_from_error

PLATFORM_CLASSES = sorted(
    (kind for _, kind in inspect.getmembers(platform, inspect.isclass) if issubclass(kind, platform.ServiceError)),
    key=lambda kind: kind.__name__,
)
MIRRORED = [kind for kind in PLATFORM_CLASSES if kind is not platform.ServiceError]


@pytest.mark.parametrize("kind", MIRRORED, ids=lambda kind: kind.__name__)
def test_each_class_of_the_platform_has_its_twin_with_the_same_parent_and_reason(kind):
    twin = all_errors()[kind.__name__]
    assert twin.default_reason == kind.default_reason
    assert twin.status == kind.status
    parent = kind.__bases__[0].__name__.replace("ServiceError", "EvenhandError")
    assert twin.__bases__[0].__name__ == parent


@pytest.mark.parametrize("kind", MIRRORED, ids=lambda kind: kind.__name__)
def test_each_error_survives_the_wire_with_class_reason_field_and_message(twin, kind):
    twin.failures["GetModel"] = [kind("what was expected", field="spec.labels[2]")]
    with Client(twin.address, retry=errors_are_final()) as client, pytest.raises(EvenhandError) as caught:
        client.models.get("x")
    assert type(caught.value).__name__ == kind.__name__
    assert (caught.value.reason, caught.value.message) == (kind.default_reason, "what was expected")
    assert caught.value.field == "spec.labels[2]"


def errors_are_final():
    from evenhand.calls import Retry

    return Retry(attempts=1)


def test_a_special_reason_keeps_the_class_of_its_status_and_gets_a_hint(client):
    with pytest.raises(errors.NotFound) as caught:
        client.models.get("no-such")
    assert caught.value.reason == "MODEL_NOT_FOUND"
    assert caught.value.field == "models/no-such"
    assert "evenhand models list" in caught.value.hint


def test_retry_info_is_read_as_seconds():
    status = status_from_error(platform.Overloaded("full", retry_after_s=2.5))
    assert error_from_status(status).retry_after_s == pytest.approx(2.5)


def test_a_message_that_grpc_itself_refuses_is_too_large_and_no_matter_of_load(client):
    with pytest.raises(errors.TooLarge, match="larger than max"):
        client.models.get("x" * 5 * 2**20)  # the twin's server takes gRPC's default of 4 MiB


def test_a_status_without_details_keeps_its_meaning():
    error = error_from_status(status_pb2.Status(code=grpc.StatusCode.PERMISSION_DENIED.value[0], message="no"))
    assert isinstance(error, errors.Unauthenticated)
    assert isinstance(error_from_status(status_pb2.Status(code=2, message="?")), EvenhandError)


def test_nobody_listening_is_unavailable_and_says_where_to_look():
    with Client("127.0.0.1:1", retry=errors_are_final()) as client, pytest.raises(errors.Unavailable) as caught:
        client.models.list()
    assert caught.value.reason == "UNREACHABLE"
    assert "EVENHAND_ADDRESS" in caught.value.hint


def test_every_class_is_drawn_in_the_tree():
    for name in all_errors():
        assert name in errors.__doc__


def test_hints_belong_to_reasons_in_upper_snake():
    assert all(reason == reason.upper() and hint for reason, hint in HINTS.items())
