"""Creating, reading and deleting cohorts: request bytes in, message bytes out. No Ray in here."""

from __future__ import annotations

import asyncio
import re
import uuid
from pathlib import Path
from typing import Any

from evenhand.cohort.v1 import cohort_service_pb2
from google.protobuf.empty_pb2 import Empty

from services.adapters.ledger import ChunkSpec, Ledger, Operation
from services.adapters.object_store import ObjectStore
from services.audit.chunks import INGEST
from services.audit.cohort.demographics import join_demographics
from services.audit.cohort.ingest import table_text, text_at
from services.audit.cohort.request import CohortRequest, cohort_request
from services.audit.cohort.schema import load_schema
from services.audit.cohort.table import read_table
from services.audit.resources import cohort_message
from services.audit.settings import Settings
from services.errors import FailedPrecondition, InvalidInput, NotFound
from services.hosting.operations import SYNTHETIC_COHORT, operation_proto
from services.hosting.requests import page_size, parsed, resource_name

KIND = "cohort"
_UPLOAD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Cohorts:
    def __init__(self, ledger: Ledger, store: ObjectStore, settings: Settings) -> None:
        self._ledger = ledger
        self._store = store
        self._settings = settings

    async def create(self, data: bytes) -> bytes:
        """CreateCohortRequest → Operation."""
        asked = cohort_request(parsed(cohort_service_pb2.CreateCohortRequest, data))
        return await asyncio.to_thread(self._create, asked)

    def _create(self, asked: CohortRequest) -> bytes:
        operation = self._ledger.repeated_operation(KIND, asked.request_id, asked.body_digest) or self._begin(asked)
        return bytes(operation_proto(operation, self._ledger).SerializeToString())

    def _begin(self, asked: CohortRequest) -> Operation:
        schema = load_schema(asked.schema_yaml)
        source = source_folder(asked, self._settings)
        table = asked.table_csv or table_text(source, schema, asked.table_path)
        joined = None
        people = _demographics(asked, source)
        if people is not None:
            joined = join_demographics(table, people, schema)
            table, schema = joined.table, joined.schema
        read_table(table, schema)  # so that a wrong table is an error of the request, not of work that began
        payload: dict[str, Any] = {
            "source": str(source),
            # A table of a large cohort is megabytes: too much for a ledger row, nothing for the store.
            "table": self._store.put(table.encode(), media_type="text/csv").key,
            # What no demographics were sent for is no part of the cohort.
            "schema": schema.model_copy(update={"demographics": None}).model_dump(mode="json"),
            "demographics": joined.counts if joined else None,
            "rows_per_shard": self._settings.rows_per_shard,
            "display_name": asked.display_name,
        }
        operation, _ = self._ledger.create_operation(
            KIND,
            f"cohorts/{uuid.uuid4()}",
            {"display_name": asked.display_name, "upload": asked.upload},
            [ChunkSpec(INGEST, payload)],
            request_id=asked.request_id,
            body_digest=asked.body_digest,
        )
        return operation

    async def get(self, data: bytes) -> bytes:
        """GetCohortRequest → Cohort. A cohort exists once its ingest has finished."""
        request = parsed(cohort_service_pb2.GetCohortRequest, data)
        name = resource_name(request.name, "cohorts", "name")
        body = await asyncio.to_thread(self._ledger.get_resource, name)
        if body is None:
            raise _no_cohort(name)
        return cohort_message(body).SerializeToString()

    async def list(self, data: bytes) -> bytes:
        """ListCohortsRequest → ListCohortsResponse, newest first, without refused rows: there may be 1,000 in each."""
        request = parsed(cohort_service_pb2.ListCohortsRequest, data)
        bodies, token = await asyncio.to_thread(
            self._ledger.list_resources,
            KIND,
            page_size=page_size(request.page_size),
            page_token=request.page_token,
            leave_out=("refused",),
        )
        return cohort_service_pb2.ListCohortsResponse(
            cohorts=[cohort_message(body) for body in bodies], next_page_token=token
        ).SerializeToString()

    async def delete(self, data: bytes) -> bytes:
        """DeleteCohortRequest → Empty. FailedPrecondition while an unfinished audit or synthetic cohort uses it."""
        request = parsed(cohort_service_pb2.DeleteCohortRequest, data)
        name = resource_name(request.name, "cohorts", "name")
        await asyncio.to_thread(self._delete, name)
        return Empty().SerializeToString()

    def _delete(self, name: str) -> None:
        if self._ledger.get_resource(name) is None:
            raise _no_cohort(name)
        token = ""
        while True:
            audits, token = self._ledger.list_resources("audit", page_size=500, page_token=token, cohort=name)
            for audit in audits:
                self._refuse_if_running(name, audit)
            if not token:
                break
        self._refuse_if_drawn_from(name)
        self._ledger.delete_resource(name)

    def _refuse_if_drawn_from(self, name: str) -> None:
        """Shards that are still to be read must not be collected."""
        token = ""
        while True:
            found, token = self._ledger.list_operations(kind=SYNTHETIC_COHORT, page_size=500, page_token=token)
            for operation in found:
                if not operation.done and operation.request["spec"]["cohort"] == name:
                    raise FailedPrecondition(
                        f"{operation.resource} is still drawn from {name}; wait for {operation.name} or cancel it",
                        field="name",
                        reason="COHORT_IN_USE",
                    )
            if not token:
                return

    def _refuse_if_running(self, name: str, audit: dict[str, Any]) -> None:
        try:
            running = not self._ledger.get_operation(audit["operation"]).done
        except NotFound:
            running = False
        if running:
            raise FailedPrecondition(
                f"{audit['name']} still reads {name}; wait for it or cancel it", field="name", reason="COHORT_IN_USE"
            )


def _demographics(asked: CohortRequest, source: Path) -> str | None:
    """The text of the second table, if there is one."""
    if asked.demographics_path:
        return text_at(source, asked.demographics_path, "demographics_path")
    return asked.demographics_csv or None


def source_folder(asked: CohortRequest, settings: Settings) -> Path:
    """Where the files are: an upload, or a folder under one of the import roots with links resolved."""
    if asked.upload:
        folder = settings.uploads.resolve() / asked.upload
        if not _UPLOAD_ID.fullmatch(asked.upload) or not folder.is_dir():
            raise NotFound(f"there is no uploads/{asked.upload}", field="upload", reason="UPLOAD_NOT_FOUND")
        return folder
    folder = Path(asked.folder).resolve()
    if not any(folder.is_relative_to(root.resolve()) for root in settings.import_roots):
        raise InvalidInput(
            "the folder lies outside the server's import roots; upload the files, or have the root configured",
            field="folder",
            reason="FOLDER_NOT_ALLOWED",
        )
    if not _is_folder(folder):
        raise NotFound("there is no such folder on the server", field="folder", reason="FOLDER_NOT_FOUND")
    return folder


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is longer than the file system takes
        return False


def _no_cohort(name: str) -> NotFound:
    return NotFound(f"there is no {name}", field="name", reason="COHORT_NOT_FOUND")
