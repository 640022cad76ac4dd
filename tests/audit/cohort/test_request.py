"""What a request for a cohort must keep by itself."""

from __future__ import annotations

import pytest
from evenhand.cohort.v1 import cohort_service_pb2

from services.audit.cohort.request import cohort_request
from services.errors import InvalidInput


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"schema_yaml": "chexpert"}, "upload"),
        ({"folder": "/data", "schema_yaml": " "}, "schema_yaml"),
        ({"folder": "/data", "schema_yaml": "x", "table_csv": "a", "table_path": "b"}, "table_path"),
        (
            {"folder": "/data", "schema_yaml": "x", "demographics_csv": "a", "demographics_path": "b"},
            "demographics_path",
        ),
        ({"folder": "/data", "schema_yaml": "x", "demographics_path": "a\0b"}, "demographics_path"),
        ({"upload": "uploads/x", "schema_yaml": "x", "display_name": "x" * 201}, "display_name"),
        ({"upload": "cohorts/x", "schema_yaml": "x"}, "upload"),
        ({"upload": "uploads/x", "schema_yaml": "x", "display_name": "\x1b[2J"}, "display_name"),
        ({"upload": "uploads/x", "schema_yaml": "x", "table_path": "a\0b"}, "table_path"),
        ({"folder": "/data\0", "schema_yaml": "x"}, "folder"),
    ],
)
def test_a_cohort_needs_one_source_one_table_and_a_schema(fields: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        cohort_request(cohort_service_pb2.CreateCohortRequest(**fields))  # type: ignore[arg-type]
    assert caught.value.field == field
