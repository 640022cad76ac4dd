"""From CreateCohortRequest to the room's own dataclass: what such a request must keep by itself."""

from __future__ import annotations

from dataclasses import dataclass

from evenhand.cohort.v1 import cohort_service_pb2

from services.errors import InvalidInput
from services.hosting.requests import body_digest, display_name, plain_text, request_id, resource_name


@dataclass(frozen=True)
class CohortRequest:
    """CreateCohortRequest, checked. Exactly one of ``upload`` (its id) and ``folder`` is set."""

    display_name: str
    request_id: str
    upload: str
    folder: str
    table_csv: str
    table_path: str
    demographics_csv: str
    demographics_path: str
    schema_yaml: str
    body_digest: str


def cohort_request(message: cohort_service_pb2.CreateCohortRequest) -> CohortRequest:
    """The request, or InvalidInput (SOURCE_MISSING, TABLE_TWICE, SCHEMA_MISSING)."""
    source = message.WhichOneof("source")
    if source is None or not getattr(message, source):
        raise InvalidInput("name an upload or a folder on the server", field="upload", reason="SOURCE_MISSING")
    for table in ("table", "demographics"):
        if getattr(message, f"{table}_csv") and getattr(message, f"{table}_path"):
            raise InvalidInput(
                f"give {table}_csv or {table}_path, not both", field=f"{table}_path", reason="TABLE_TWICE"
            )
    if not message.schema_yaml.strip():
        raise InvalidInput(
            "give schema.yaml's text or the name of a ready-made schema", field="schema_yaml", reason="SCHEMA_MISSING"
        )
    upload = resource_name(message.upload, "uploads", "upload") if source == "upload" else ""
    return CohortRequest(
        display_name=display_name(message.display_name),
        request_id=request_id(message.request_id),
        upload=upload.removeprefix("uploads/"),
        folder=plain_text(message.folder, "folder"),
        table_csv=message.table_csv,
        table_path=plain_text(message.table_path, "table_path"),
        demographics_csv=message.demographics_csv,
        demographics_path=plain_text(message.demographics_path, "demographics_path"),
        schema_yaml=message.schema_yaml,
        body_digest=body_digest(message),
    )
