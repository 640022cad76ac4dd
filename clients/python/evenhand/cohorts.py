"""Cohorts: sending images and tables, reading what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2

from evenhand.calls import Caller, Flow, new_request_id, resource_name
from evenhand.cohort.v1 import cohort_pb2, cohort_service_pb2
from evenhand.errors import InvalidInput
from evenhand.listing import Listing, api_json
from evenhand.operations import AsyncOperation, Operation
from evenhand.progress import upload_bar
from evenhand.uploads import INLINE_TABLE_BYTES, TABLE_PATH, Outgoing, files_to_send, send_files

if TYPE_CHECKING:
    from evenhand.client import AsyncClient, Client

SERVICE = "evenhand.cohort.v1.CohortService"


class CohortCalls:
    """The flows of CohortService."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def create(
        self,
        images: Path,
        table: Path | None,
        schema: str | Path,
        *,
        display_name: str,
        request_id: str | None,
        shown: bool,
    ) -> Flow[operations_pb2.Operation]:
        """Send the files, then ask for the ingest."""
        request = cohort_service_pb2.CreateCohortRequest(
            display_name=display_name, request_id=request_id or new_request_id(), schema_yaml=_schema_text(schema)
        )
        table_csv = "" if table is None else _text(table, "table")
        files = files_to_send(images, table_csv)
        if len(table_csv.encode()) > INLINE_TABLE_BYTES:
            files.append(Outgoing(TABLE_PATH, table_csv.encode()))
            request.table_path = TABLE_PATH
        else:
            request.table_csv = table_csv
        with upload_bar(sum(file.size for file in files), shown=shown) as bar:
            request.upload = yield from send_files(self._caller, files, bar.show)
        return (yield from self.ingest(request))

    def create_from_folder(
        self, folder: str, table: Path | None, schema: str | Path, display_name: str, request_id: str | None
    ) -> Flow[operations_pb2.Operation]:
        """Ingest a folder that the server can read: nothing is sent."""
        request = cohort_service_pb2.CreateCohortRequest(
            display_name=display_name,
            request_id=request_id or new_request_id(),
            schema_yaml=_schema_text(schema),
            folder=folder,
            table_csv="" if table is None else _text(table, "table"),
        )
        return self.ingest(request)

    def ingest(self, request: cohort_service_pb2.CreateCohortRequest) -> Flow[operations_pb2.Operation]:
        return self._caller.unary(f"{SERVICE}/CreateCohort", request, operations_pb2.Operation)

    def get(self, name: str) -> Flow[cohort_pb2.Cohort]:
        request = cohort_service_pb2.GetCohortRequest(name=resource_name("cohorts", name))
        return self._caller.unary(f"{SERVICE}/GetCohort", request, cohort_pb2.Cohort)

    def listing(self, limit: int | None) -> Flow[list[cohort_pb2.Cohort]]:
        request = cohort_service_pb2.ListCohortsRequest()
        reply = cohort_service_pb2.ListCohortsResponse
        return self._caller.pages(f"{SERVICE}/ListCohorts", request, reply, "cohorts", limit)

    def delete(self, name: str) -> Flow[None]:
        request = cohort_service_pb2.DeleteCohortRequest(name=resource_name("cohorts", name))
        return self._caller.delete(f"{SERVICE}/DeleteCohort", request, empty_pb2.Empty)


def _schema_text(schema: str | Path) -> str:
    """The text of a schema file, or the name of a ready-made schema as it is."""
    path = Path(schema)
    if isinstance(schema, Path) or path.suffix in {".yaml", ".yml"} or path.is_file():
        return _text(path, "schema")
    return str(schema)


def _text(path: Path, field: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets like to write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the {field}: {error}", field=str(path)) from error


class Cohort:
    """An ingested cohort. Immutable: new data make a new cohort."""

    def __init__(self, proto: cohort_pb2.Cohort) -> None:
        self.proto = proto

    @property
    def name(self) -> str:
        return self.proto.name

    @property
    def digest(self) -> str:
        """sha256 of the manifest; the same input gives the same digest."""
        return self.proto.digest

    @property
    def records(self) -> int:
        return self.proto.records

    @property
    def patients(self) -> int:
        return self.proto.patients

    @property
    def attributes(self) -> dict[str, list[str]]:
        """Levels of each attribute."""
        return {attribute.name: [level.level for level in attribute.levels] for attribute in self.proto.attributes}

    @property
    def labels(self) -> list[str]:
        return [label.name for label in self.proto.labels]

    def label_counts(self) -> pd.DataFrame:
        """One row per label: label, positives, negatives, missing."""
        rows = [(label.name, label.positives, label.negatives, label.missing) for label in self.proto.labels]
        kinds = {"label": "str", "positives": "Int64", "negatives": "Int64", "missing": "Int64"}
        return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)

    @property
    def refused(self) -> pd.DataFrame:
        """Rows that could not be ingested: row, file, reason, message. The first 1000 of ``refused_count``."""
        rows = [(r.row, r.file, r.reason, r.message) for r in self.proto.refused]
        kinds = {"row": "Int64", "file": "str", "reason": "str", "message": "str"}
        return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)

    @property
    def refused_count(self) -> int:
        return self.proto.refused_count

    def to_pandas(self) -> pd.DataFrame:
        """One row per attribute level: attribute, level, records, patients."""
        rows = [
            (attribute.name, level.level, level.records, level.patients)
            for attribute in self.proto.attributes
            for level in attribute.levels
        ]
        kinds = {"attribute": "str", "level": "str", "records": "Int64", "patients": "Int64"}
        return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)

    def to_dict(self) -> dict[str, Any]:
        """A table's row."""
        proto = self.proto
        return {
            "name": proto.name,
            "display_name": proto.display_name,
            "patients": proto.patients,
            "records": proto.records,
            "refused": proto.refused_count,
            "modality": proto.modality,
            "has_masks": proto.has_masks,
            "attributes": self.attributes,
            "labels": self.labels,
            "digest": proto.digest,
        }

    def to_json(self) -> dict[str, Any]:
        """As REST gives it."""
        return api_json(self.proto)

    def __repr__(self) -> str:
        return f"<{self.name} {self.patients} patients, {self.records} records, {self.refused_count} refused>"

    def _repr_html_(self) -> str:
        table: str = self.to_pandas().to_html(index=False)
        return f"<p><b>{self.name}</b> {self.patients} patients, {self.records} records</p>{table}"


def unpacked_cohort(packed: any_pb2.Any) -> Cohort:
    """The cohort in an operation's response."""
    proto = cohort_pb2.Cohort()
    packed.Unpack(proto)
    return Cohort(proto)


class Cohorts:
    """``client.cohorts``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls = CohortCalls(client.caller)

    def create(
        self,
        images: str | Path,
        *,
        schema: str | Path,
        table: str | Path | None = None,
        display_name: str = "",
        request_id: str | None = None,
        progress: bool = True,
    ) -> Operation[Cohort]:
        """Send a folder of images and start its ingest.

        Args:
            images: folder. The files that the table names are sent; all of them if it names none.
            schema: YAML file, or a ready-made schema: "chexpert", "ucsf-pdgm", "phantom-chest", "phantom-brain",
                "phantom-pelvis", "phantom-cardiac".
            table: CSV with one row per record; None where the schema finds the records itself.
            display_name: what people will call it.
            request_id: UUID4; a repeated one gives the first operation. The client makes one otherwise.
            progress: draw a bar on standard error while sending.
        """
        rows = None if table is None else Path(table)
        flow = self.calls.create(
            Path(images), rows, schema, display_name=display_name, request_id=request_id, shown=progress
        )
        return Operation(self._client, self._client.run(flow), unpacked_cohort)

    def create_from_folder(
        self,
        folder: str,
        *,
        schema: str | Path,
        table: str | Path | None = None,
        display_name: str = "",
        request_id: str | None = None,
    ) -> Operation[Cohort]:
        """Ingest a folder on the server, under one of its import roots."""
        rows = None if table is None else Path(table)
        flow = self.calls.create_from_folder(folder, rows, schema, display_name, request_id)
        return Operation(self._client, self._client.run(flow), unpacked_cohort)

    def get(self, name: str) -> Cohort:
        """One cohort. NotFound if there is none of that name."""
        return Cohort(self._client.run(self.calls.get(name)))

    def list(self, limit: int | None = None) -> Listing[Cohort]:
        """Cohorts, newest first."""
        return Listing(Cohort(proto) for proto in self._client.run(self.calls.listing(limit)))

    def delete(self, name: str) -> None:
        """Forget a cohort. FailedPrecondition while an unfinished audit uses it."""
        self._client.run(self.calls.delete(name))


class AsyncCohorts:
    """``async_client.cohorts``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.calls = CohortCalls(client.caller)

    async def create(
        self,
        images: str | Path,
        *,
        schema: str | Path,
        table: str | Path | None = None,
        display_name: str = "",
        request_id: str | None = None,
    ) -> AsyncOperation[Cohort]:
        """Send a folder of images and start its ingest; see :meth:`Cohorts.create`."""
        rows = None if table is None else Path(table)
        flow = self.calls.create(
            Path(images), rows, schema, display_name=display_name, request_id=request_id, shown=False
        )
        return AsyncOperation(self._client, await self._client.run(flow), unpacked_cohort)

    async def get(self, name: str) -> Cohort:
        """One cohort. NotFound if there is none of that name."""
        return Cohort(await self._client.run(self.calls.get(name)))

    async def list(self, limit: int | None = None) -> Listing[Cohort]:
        """Cohorts, newest first."""
        return Listing(Cohort(proto) for proto in await self._client.run(self.calls.listing(limit)))

    async def delete(self, name: str) -> None:
        """Forget a cohort."""
        await self._client.run(self.calls.delete(name))
