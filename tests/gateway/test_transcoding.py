import pytest
from evenhand.audit.v1 import audit_service_pb2

from services.errors import InvalidInput
from services.gateway.rest.transcoding import reply_json, request_message, routes
from services.gateway.wire import APP_OF_SERVICE, METHODS

ROUTES = routes()


def route(verb, path):
    matching = [(route, match) for route in ROUTES if route.verb == verb and (match := route.pattern.fullmatch(path))]
    assert matching, f"{verb} {path}"
    return matching[0]


def test_every_method_of_the_protos_has_a_route_and_an_answerer_but_those_that_move_files():
    reachable = {route.method.name for route in ROUTES}
    of_files = {method.name for method in METHODS.values() if method.short in ("ReadArtifact", "UploadFiles")}
    assert reachable == set(METHODS) - of_files
    assert {method.service for method in METHODS.values()} == set(APP_OF_SERVICE)


@pytest.mark.parametrize(
    ("verb", "path", "method", "fields"),
    [
        ("GET", "/v1/audits/a-1", "GetAudit", {"name": "audits/a-1"}),
        ("GET", "/v1/audits", "ListAudits", {}),
        ("POST", "/v1/audits", "CreateAudit", {}),
        ("DELETE", "/v1/cohorts/c", "DeleteCohort", {"name": "cohorts/c"}),
        ("GET", "/v1/operations", "ListOperations", {"name": "operations"}),
        ("GET", "/v1/operations/o", "GetOperation", {"name": "operations/o"}),
        ("POST", "/v1/operations/o:cancel", "CancelOperation", {"name": "operations/o"}),
        ("POST", "/v1/operations/o:wait", "WaitOperation", {"name": "operations/o"}),
        ("POST", "/v1/generations", "CreateGeneration", {}),
        ("POST", "/v1/generations:stream", "GenerateImages", {}),
        ("GET", "/v1/counterfactuals/c", "GetCounterfactual", {"name": "counterfactuals/c"}),
        ("DELETE", "/v1/upscalings/u", "DeleteUpscaling", {"name": "upscalings/u"}),
    ],
)
def test_a_path_finds_its_method_and_fills_its_fields(verb, path, method, fields):
    found, match = route(verb, path)
    assert found.method.short == method
    assert match.groupdict() == fields


@pytest.mark.parametrize("path", ["/v1/audits/", "/v1/audits/a/b", "/v1/audits/a:cancel", "/v1/operations/", "/v1"])
def test_other_paths_find_nothing(path):
    assert not [route for route in ROUTES if route.verb == "GET" and route.pattern.fullmatch(path)]


def test_query_parameters_become_fields_under_both_spellings():
    found, match = route("GET", "/v1/audits")
    for name in ("pageSize", "page_size"):
        message = request_message(found, match.groupdict(), [(name, "7"), ("cohort", "cohorts/x")], {})
        assert message == audit_service_pb2.ListAuditsRequest(page_size=7, cohort="cohorts/x")


def test_what_the_path_says_wins_over_the_body():
    found, match = route("POST", "/v1/operations/o:cancel")
    assert request_message(found, match.groupdict(), [], {"name": "operations/other"}).name == "operations/o"


def test_a_nested_field_that_is_wrong_is_named_by_its_path():
    found, match = route("POST", "/v1/audits")
    body = {"spec": {"pipelines": [{"name": "a"}, {"stages": [{"degrade": {"photon": 1}}]}]}}
    with pytest.raises(InvalidInput) as caught:
        request_message(found, match.groupdict(), [], body)
    assert caught.value.field == "spec.pipelines[1].stages[0].degrade.photon"
    assert caught.value.reason == "FIELD_UNKNOWN"


def test_replies_show_fields_that_have_their_default():
    assert reply_json(audit_service_pb2.ListAuditsResponse()) == {"audits": [], "nextPageToken": ""}
