"""Running a study: cohorts, audits, their artifacts under one folder, and a page that links the reports.

What was done before is not done again. ``out/cohorts.json`` remembers which operation ingested which bytes, and the
request id of an audit follows from what is asked of which cohort with which models, so the platform finds it again.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from google.protobuf.json_format import MessageToDict

from evenhand.artifacts import write_whole
from evenhand.audit.v1 import audit_pb2
from evenhand.audits import Audit
from evenhand.client import Client
from evenhand.cohorts import Cohort
from evenhand.errors import EvenhandError, InvalidInput, NotFound
from evenhand.operations import Operation
from evenhand.studies import Study
from evenhand.study_page import study_page
from evenhand.uploads import files_to_send, readable_text

TASKS = {
    "reconstruct": ("reconstruction",),
    "classify": ("classification", "attribute-classification"),
    "segment": ("segmentation",),
}
COHORTS = "cohorts.json"
Follow: TypeAlias = Callable[[Mapping[str, Operation[Any]]], None]


class Asks(Protocol):
    """Whatever asks for a cohort of images: its option, its schema, and what is sent."""

    @property
    def name(self) -> str: ...

    @property
    def schema(self) -> str: ...

    @property
    def files(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Folder:
    """Images on disk, the table that names them (None: the schema finds the records), and how to read it.

    ``demographics`` is the table with a row per patient, ``files`` what is sent where the table names no files.
    """

    images: Path
    table: Path | None
    schema: str
    demographics: Path | None = None
    files: tuple[str, ...] = ()

    def digest(self) -> str:
        """sha256 of schema, tables and every file that would be sent."""
        found = hashlib.sha256()
        schema = Path(self.schema)
        found.update(schema.read_bytes() if schema.is_file() else self.schema.encode())
        text = "" if self.table is None else readable_text(self.table, "table")
        tables = [("table", text.encode())]
        if self.demographics is not None:
            tables.append(("demographics", readable_text(self.demographics, "demographics").encode()))
        for path, data in [*tables, *_files(self.images, text, self.files)]:
            found.update(f"\0{path}\0{hashlib.sha256(data).hexdigest()}".encode())
        return found.hexdigest()


Source: TypeAlias = Folder | str
"""Of a cohort: images to ingest, or "cohorts/…", which is there already."""


def folder_of(audit: Asks, images: Path, table: Path | None = None, demographics: Path | None = None) -> Folder:
    """The cohort in a folder: its only CSV file, and its own schema.yaml before the schema that the study names.

    Raises:
        InvalidInput: there is no such folder or file, or it has several CSV files and ``table`` does not choose.
    """
    option = f"--{audit.name}"
    if not images.is_dir():
        raise InvalidInput(f"no such folder: {images}", field=option, hint=f"{option} DIR, or {option} cohorts/…")
    tables = [path for path in sorted(images.glob("*.csv")) if demographics is None or not _same(path, demographics)]
    if table is None and len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise InvalidInput(f"{images} has several tables: {names}", field=option, hint=f"choose: {option}-table FILE")
    chosen = table or (tables[0] if tables else None)
    for path, which in ((chosen, "table"), (demographics, "demographics")):
        if path is not None and not path.is_file():
            raise InvalidInput(f"no such file: {path}", field=f"{option}-{which}")
    own = images / "schema.yaml"
    return Folder(images, chosen, str(own) if own.is_file() else audit.schema, demographics, audit.files)


def _same(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve()


def check_models(client: Client, study: Study) -> dict[str, str]:
    """The digest of every model of the study by its name; those with a version are the server's to look up.

    Raises:
        NotFound: some are not served; the message names all of them, and the ones that are.
    """
    served = {model.name: model for model in client.models.list()}
    wanted = [(audit.name, kind, model) for audit in study.audits for kind, model in audit.models()]
    missing = [place for place in wanted if place[2].partition("@")[0] not in served]
    if missing:
        fit = sorted(
            name.removeprefix("models/")
            for name, model in served.items()
            if any(model.task in TASKS[kind] for _, kind, _ in missing)
        )
        listed = ", ".join(dict.fromkeys(model.removeprefix("models/") for _, _, model in missing))
        first = missing[0][2].removeprefix("models/").partition("@")[0]
        raise NotFound(
            f"not served: {listed}; of their tasks there are {', '.join(fit) or 'none'}",
            field=", ".join(dict.fromkeys(f"audits[{audit}]" for audit, _, _ in missing)),
            reason="MODEL_NOT_FOUND",
            hint=f"--model {first}=OTHER takes another model, OTHER@2 a version of it",
        )
    return {model: served[model].proto.digest for _, _, model in wanted if model in served}


def run_study(
    client: Client, study: Study, sources: Mapping[str, Source], out: Path, follow: Follow
) -> dict[str, Audit]:
    """Cohorts, audits, and their artifacts under ``out/<audit>/``, linked by ``out/index.html``.

    Args:
        sources: of each audit's cohort, by the audit's name.
        follow: waits until all the operations that it is given have ended (`following.follow_together`).

    Raises:
        NotFound: a model is not served; nothing was begun.
        UnknownAttribute: a cohort lacks an attribute that is not optional; no audit was begun.
        OperationFailed, Cancelled: of the first that ended so, once the others' artifacts are on disk.
    """
    for audit in study.audits:
        if audit.name not in sources:
            raise InvalidInput(f"{audit.name} has no cohort", field=f"--{audit.name}", hint=f"--{audit.name} DIR")
    digests = check_models(client, study)
    cohorts = _cohorts(client, study, sources, out, follow)
    specs = {audit.name: audit.spec_of(cohorts[audit.name]) for audit in study.audits}
    asked = {name: _asked(client, f"{study.name}: {name}", spec, digests) for name, spec in specs.items()}
    follow(asked)
    done: dict[str, Audit] = {}
    failed: list[EvenhandError] = []
    for name, operation in asked.items():
        try:
            done[name] = operation.result()
        except EvenhandError as error:
            failed.append(error)
    for name, made in done.items():
        _download(made, out / name)
    write_whole(out / "index.html", study_page(study, out, list(done)).encode())
    if failed:
        raise failed[0]
    return done


def _cohorts(
    client: Client, study: Study, sources: Mapping[str, Source], out: Path, follow: Follow
) -> dict[str, Cohort]:
    cohorts = {name: client.cohorts.get(source) for name, source in sources.items() if isinstance(source, str)}
    ingests = {
        audit.name: ingested(client, f"{study.name}: {audit.name}", source, out / COHORTS)
        for audit in study.audits
        if isinstance(source := sources[audit.name], Folder)
    }
    follow(ingests)
    return cohorts | {name: operation.result() for name, operation in ingests.items()}


def ingested(client: Client, title: str, source: Folder, memory: Path) -> Operation[Cohort]:
    """The ingest of these very bytes that is under way or done, or else a new one."""
    known: dict[str, str] = json.loads(memory.read_text()) if memory.is_file() else {}
    digest = source.digest()
    if digest in known:
        try:
            operation: Operation[Cohort] = client.operations.get(known[digest])
            if not lost(operation, client.cohorts.get):
                return operation
        except NotFound:  # another platform's, or forgotten there
            pass
    operation = client.cohorts.create(
        source.images,
        table=source.table,
        demographics=source.demographics,
        files=source.files,
        schema=source.schema,
        display_name=title,
    )
    write_whole(memory, json.dumps(known | {digest: operation.name}, indent=2).encode())
    return operation


def _asked(client: Client, title: str, spec: audit_pb2.AuditSpec, digests: Mapping[str, str]) -> Operation[Audit]:
    """The audit that the same question made before, unless that was lost; then the next."""
    question = {"title": title, "spec": MessageToDict(spec), "models": dict(digests)}
    for attempt in count():
        text = json.dumps([question, attempt], sort_keys=True)
        known = uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4)
        operation = client.audits.create(spec, display_name=title, request_id=str(known))
        if not lost(operation, client.audits.get):
            return operation
    raise AssertionError("an operation that has just been made is not lost")


def lost(operation: Operation[Any], get: Callable[[str], Any]) -> bool:
    """Whether it ended without what it was to make, or somebody deleted that since."""
    if operation.state == "running":
        return False
    if operation.state != "succeeded":
        return True
    try:
        get(operation.result().name)
    except NotFound:
        return True
    return False


def _download(audit: Audit, folder: Path) -> None:
    """Every artifact that is not there yet with the same sha256."""
    for artifact in audit.artifacts:
        path = folder / Path(artifact.filename).name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != artifact.sha256:
            write_whole(path, audit.read(artifact.filename))


def _files(images: Path, table: str, patterns: Sequence[str]) -> Iterable[tuple[str, bytes]]:
    for file in files_to_send(images, table, patterns):
        yield file.path, file.source if isinstance(file.source, bytes) else file.source.read_bytes()
