"""Sending a folder of files: which ones, and in what pieces."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from evenhand.calls import PIECE_BYTES, Caller, Flow
from evenhand.cohort.v1 import cohort_service_pb2
from evenhand.errors import InvalidInput

METHOD = "evenhand.cohort.v1.CohortService/UploadFiles"
STREAM_BYTES = 64 * 1024 * 1024  # what one stream carries at most, and so what a broken one costs
STREAM_FILES = 500
TABLE_PATH = "evenhand-table/{}.csv"
INLINE_TABLE_BYTES = 1024 * 1024  # a larger table travels as a file: a message holds 4 MiB at most


@dataclass(frozen=True)
class Outgoing:
    """One file to send: its path within the upload, and its bytes on disk or in memory."""

    path: str
    source: Path | bytes

    @property
    def size(self) -> int:
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def pieces(self) -> Iterator[bytes]:
        """Its bytes in order; an empty file is one empty piece."""
        with io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb") as file:
            yield file.read(PIECE_BYTES)
            while piece := file.read(PIECE_BYTES):
                yield piece


def readable_text(path: Path, field: str) -> str:
    """The text of a table or a schema.

    Raises:
        InvalidInput: there is no such file, or it is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets like to write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        hint = "save the sheet as CSV (UTF-8)" if path.suffix.lower() in {".xlsx", ".xls", ".ods"} else ""
        raise InvalidInput(f"cannot read the {field}: {error}", field=str(path), hint=hint) from error


def files_to_send(folder: Path, table_csv: str, patterns: Sequence[str] = ()) -> list[Outgoing]:
    """The files under ``folder`` that some cell of the table names.

    If it names none, those whose path fits one of the patterns (``*_FLAIR.nii.gz``), and without patterns all.

    Raises:
        InvalidInput: there is no such folder, or nothing in it to send.
    """
    if not folder.is_dir():
        raise InvalidInput("no such folder; images names the folder that the image files are in", field=str(folder))
    found = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
    if not found:
        raise InvalidInput("the folder has no files", field=str(folder))
    try:
        cells = {_normal(cell) for row in csv.reader(io.StringIO(table_csv)) for cell in row}
    except csv.Error as error:
        raise InvalidInput(f"the table is not CSV: {error}", field="table") from error
    chosen = [path for path in found if path in cells]
    if not chosen:
        _refuse_a_folder_too_deep(folder, cells)
        chosen = [path for path in found if not patterns or any(fnmatchcase(path, pattern) for pattern in patterns)]
    if not chosen:
        raise InvalidInput(f"no file of the folder fits {', '.join(patterns)}", field=str(folder))
    return [Outgoing(path, found[path]) for path in chosen]


def _refuse_a_folder_too_deep(folder: Path, cells: set[str]) -> None:
    """CheXpert's tables lie in the folder that their paths begin with, which is easily given instead of its own."""
    whole = folder.resolve()
    if any(cell.startswith(f"{whole.name}/") and (whole.parent / cell).is_file() for cell in cells):
        raise InvalidInput(
            f"the table's paths begin with {whole.name}/, so they start one folder higher",
            field=str(folder),
            hint=f"give {whole.parent}",
        )


def _normal(cell: str) -> str:
    return cell.strip().replace("\\", "/").removeprefix("./")


def send_files(caller: Caller, files: Sequence[Outgoing], on_sent: Callable[[int], None]) -> Flow[str]:
    """Send all files; the upload's name. A broken stream is sent again, the ones before it are not."""
    upload, sent = "", 0
    for batch in _streams(files):

        def requests(
            upload: str = upload, sent: int = sent, batch: Sequence[Outgoing] = batch
        ) -> Iterator[cohort_service_pb2.UploadFilesRequest]:
            for file in batch:
                path = file.path
                for piece in file.pieces():
                    yield cohort_service_pb2.UploadFilesRequest(upload=upload, path=path, data=piece)
                    sent += len(piece)
                    on_sent(sent)
                    path = ""

        reply = yield from caller.upload(METHOD, requests, cohort_service_pb2.UploadFilesResponse)
        upload = reply.upload
        sent += sum(file.size for file in batch)
    return upload


def _streams(files: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    batch: list[Outgoing] = []
    size = 0
    for file in files:
        if batch and (size + file.size > STREAM_BYTES or len(batch) == STREAM_FILES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch
