"""The flows of CohortService: what is asked of the platform, for the plain and for the asynchronous client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from evenhand.artifacts import read_artifact
from evenhand.balancing import Balancing, synthetic_spec
from evenhand.calls import Caller, Flow, new_request_id, resource_name
from evenhand.cohort.v1 import cohort_pb2, cohort_service_pb2
from evenhand.progress import upload_bar
from evenhand.uploads import INLINE_TABLE_BYTES, TABLE_PATH, Outgoing, files_to_send, readable_text, send_files

SERVICE = "evenhand.cohort.v1.CohortService"
Tables: TypeAlias = Mapping[Literal["table", "demographics"], str | Path | None]


class CohortCalls:
    """The flows of CohortService."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def create(
        self,
        images: Path,
        tables: Tables,
        schema: str | Path,
        *,
        files: Sequence[str],
        display_name: str,
        request_id: str | None,
        shown: bool,
    ) -> Flow[operations_pb2.Operation]:
        """Send the files, then ask for the ingest."""
        request = cohort_service_pb2.CreateCohortRequest(
            display_name=display_name, request_id=request_id or new_request_id(), schema_yaml=_schema_text(schema)
        )
        texts = {name: readable_text(Path(path), name) for name, path in tables.items() if path is not None}
        sent = files_to_send(images, texts.get("table", ""), files)
        for name, text in texts.items():
            if len(text.encode()) > INLINE_TABLE_BYTES:
                sent.append(Outgoing(TABLE_PATH.format(name), text.encode()))
                setattr(request, f"{name}_path", TABLE_PATH.format(name))
            else:
                setattr(request, f"{name}_csv", text)
        with upload_bar(sum(file.size for file in sent), shown=shown) as bar:
            request.upload = yield from send_files(self._caller, sent, bar.show)
        return (yield from self.ingest(request))

    def create_from_folder(
        self, folder: str, tables: Tables, schema: str | Path, display_name: str, request_id: str | None
    ) -> Flow[operations_pb2.Operation]:
        """Ingest a folder that the server can read: nothing but the tables is sent, and those in the folder neither."""
        request = cohort_service_pb2.CreateCohortRequest(
            display_name=display_name,
            request_id=request_id or new_request_id(),
            schema_yaml=_schema_text(schema),
            folder=folder,
        )
        for name, path in tables.items():
            if path is not None and Path(path).resolve().is_relative_to(Path(folder).resolve()):
                setattr(request, f"{name}_path", Path(path).resolve().relative_to(Path(folder).resolve()).as_posix())
            elif path is not None:
                setattr(request, f"{name}_csv", readable_text(Path(path), name))
        return self.ingest(request)

    def ingest(self, request: cohort_service_pb2.CreateCohortRequest) -> Flow[operations_pb2.Operation]:
        return self._caller.unary(f"{SERVICE}/CreateCohort", request, operations_pb2.Operation)

    def synthesise(
        self,
        cohort: str,
        model: str,
        template: str,
        images: int,
        settings: Balancing,
        *,
        display_name: str,
        request_id: str | None,
    ) -> Flow[operations_pb2.Operation]:
        request = cohort_service_pb2.CreateSyntheticCohortRequest(
            display_name=display_name,
            request_id=request_id or new_request_id(),
            spec=synthetic_spec(cohort, model, template, images, settings),
        )
        return self._caller.unary(f"{SERVICE}/CreateSyntheticCohort", request, operations_pb2.Operation)

    def artifact(self, name: str, filename: str) -> Flow[bytes]:
        return read_artifact(self._caller, resource_name("cohorts", name), filename)

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
        return readable_text(path, "schema")
    return str(schema)
