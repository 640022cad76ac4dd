"""Files on their way into a cohort: a folder per upload, in which only files that arrived whole appear."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
import unicodedata
import uuid
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import BinaryIO

from evenhand.cohort.v1 import cohort_service_pb2 as pb

from services.adapters.ledger import Ledger
from services.errors import Conflict, InvalidInput, NotFound, TooLarge, Unavailable
from services.gateway.resources.tally import Tally
from services.hosting.requests import LARGEST_PAGE

LONGEST_PATH_BYTES = 1024
LONGEST_NAME_BYTES = 200
# grpc ends a cut stream like a complete one and cancels its handler a moment later; the last file waits for that.
CUT_HEARD_AFTER_S = 0.1
ARRIVING = ".arriving"  # beside the uploads, on the same file system, so that a rename is one step
TALLIES = ".tallies"

_UPLOAD = re.compile(r"uploads/([0-9a-f]{32})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


class Uploads:
    """Uploads under ``root``, kept for ``lifetime_s`` after their last file and while ``in_use`` names their ids."""

    def __init__(
        self,
        root: Path,
        *,
        max_file_bytes: int,
        max_upload_bytes: int,
        max_files: int,
        lifetime_s: float,
        in_use: Callable[[], Collection[str]],
    ) -> None:
        self._root = root
        self._in_use = in_use
        self._max_file_bytes = max_file_bytes
        self._max_upload_bytes = max_upload_bytes
        self._max_files = max_files
        self._lifetime_s = lifetime_s

    def create(self) -> str:
        """A new, empty upload, "uploads/{upload}". Uploads that are past their time are dropped on the way."""
        name = uuid.uuid4().hex
        try:
            self._drop_old()
            (self._root / ARRIVING).mkdir(parents=True, exist_ok=True)
            (self._root / name).mkdir()
        except OSError as error:
            raise _full(error) from error
        return f"uploads/{name}"

    def folder(self, upload: str) -> Path:
        """The folder of an upload. NotFound UPLOAD_NOT_FOUND."""
        match = _UPLOAD.fullmatch(upload)
        if match is None or not (self._root / match[1]).is_dir():
            raise NotFound(f"there is no upload {upload[:80]!r}", field="upload", reason="UPLOAD_NOT_FOUND")
        return self._root / match[1]

    def open_file(self, upload: str, path: str) -> ArrivingFile:
        """Begin a file. It appears under ``path`` in the upload when :meth:`ArrivingFile.keep` is called."""
        folder = self.folder(upload)
        target = folder / checked_path(path)
        try:
            os.utime(folder)  # an upload that still grows is not old
            temporary = self._root / ARRIVING / uuid.uuid4().hex
            return ArrivingFile(temporary, lambda: self._place(folder, temporary, target), self._max_file_bytes)
        except OSError as error:
            raise _full(error) from error

    def size(self, upload: str) -> tuple[int, int]:
        """(files, bytes) that arrived whole, by earlier calls too. TooLarge beyond the limits of an upload."""
        folder = self.folder(upload)
        try:
            files, total = self._tally(folder).read()
        except OSError as error:
            raise _full(error) from error
        self.check_size(files, total)
        return files, total

    def check_size(self, files: int, total: int) -> None:
        if files > self._max_files or total > self._max_upload_bytes:
            raise TooLarge(
                f"an upload may have {self._max_files} files and {self._max_upload_bytes} bytes", field="upload"
            )

    def _tally(self, folder: Path) -> Tally:
        return Tally(folder, self._root / TALLIES / folder.name)

    def _place(self, folder: Path, arrived: Path, target: Path) -> None:
        """Other files may have arrived meanwhile, by other replicas too: the limits are checked once more."""
        self._tally(folder).put(arrived, target, self.check_size)

    def _drop_old(self) -> None:
        oldest = time.time() - self._lifetime_s
        folders = [path for path in self._root.glob("[!.]*") if path.stat().st_mtime < oldest]
        in_use = self._in_use() if folders else ()
        for folder in folders:
            if folder.name not in in_use:
                shutil.rmtree(folder, ignore_errors=True)
                (self._root / TALLIES / folder.name).unlink(missing_ok=True)
        for file in (self._root / ARRIVING).glob("*"):
            if file.stat().st_mtime < oldest:
                file.unlink(missing_ok=True)


class ArrivingFile:
    """A file that is being received. Close it either way; without :meth:`keep` it never existed."""

    def __init__(self, temporary: Path, place: Callable[[], None], max_bytes: int) -> None:
        self._temporary = temporary
        self._place = place
        self._max_bytes = max_bytes
        self.bytes = 0
        self._file: BinaryIO = temporary.open("xb")

    def write(self, data: bytes) -> None:
        self.bytes += len(data)
        if self.bytes > self._max_bytes:
            raise TooLarge(f"a file may have {self._max_bytes} bytes", field="path")
        try:
            self._file.write(data)
        except OSError as error:
            raise _full(error) from error

    def keep(self) -> None:
        """Put the file in its place in one step, for an earlier one of that name. TooLarge where the upload is full."""
        try:
            self._file.close()
            self._place()
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise Conflict(
                "one file's path is the folder of another file", field="path", reason="UPLOAD_PATH_CONFLICT"
            ) from error
        except OSError as error:
            raise _full(error) from error

    def close(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def uploads_in_use(ledger: Ledger) -> set[str]:
    """Ids of the uploads that unfinished cohort operations are yet to read."""
    found: set[str] = set()
    token = ""
    while True:
        operations, token = ledger.list_operations(kind="cohort", page_size=LARGEST_PAGE, page_token=token)
        found |= {operation.request.get("upload", "") for operation in operations if not operation.done}
        if not token:
            return found


def checked_path(path: str) -> str:
    """A relative path of plain names with forward slashes, or InvalidInput UPLOAD_PATH_INVALID."""
    names = path.split("/")
    plain = all(
        name not in ("", ".", "..")
        and not _CONTROL.search(name)
        and unicodedata.normalize("NFKC", name).strip(". ") != ""
        and "/" not in unicodedata.normalize("NFKC", name)
        and len(name.encode("utf-8", "replace")) <= LONGEST_NAME_BYTES
        for name in names
    )
    if not plain or len(path.encode("utf-8", "replace")) > LONGEST_PATH_BYTES:
        raise InvalidInput(
            "a path is relative, with forward slashes, without '..', backslashes or control characters, each name at "
            f"most {LONGEST_NAME_BYTES} bytes long",
            field="path",
            reason="UPLOAD_PATH_INVALID",
        )
    return path


async def receive(uploads: Uploads, messages: AsyncIterator[pb.UploadFilesRequest]) -> pb.UploadFilesResponse:
    """UploadFiles. A file is whole when the next one begins or the stream ends as it should; a cut stream's last
    file is dropped. The reply counts what this stream brought."""
    upload, path, arriving = "", "", None
    files = received = before_files = before_bytes = 0
    try:
        async for message in messages:
            if not upload:
                upload = message.upload or await asyncio.to_thread(uploads.create)
                before_files, before_bytes = await asyncio.to_thread(uploads.size, upload)
            elif message.upload not in ("", upload):
                raise InvalidInput("one stream fills one upload", field="upload", reason="UPLOAD_CHANGED")
            if message.path and message.path != path:
                if arriving is not None:
                    await asyncio.to_thread(arriving.keep)
                path = message.path
                arriving = await asyncio.to_thread(uploads.open_file, upload, path)
                files += 1
            if arriving is None:
                raise InvalidInput(
                    "the first message of a file has its path", field="path", reason="UPLOAD_PATH_MISSING"
                )
            received += len(message.data)
            uploads.check_size(before_files + files, before_bytes + received)
            await asyncio.to_thread(arriving.write, message.data)
        if arriving is None:
            raise InvalidInput("the stream had no file in it", field="path", reason="UPLOAD_EMPTY")
        await asyncio.sleep(CUT_HEARD_AFTER_S)
        await asyncio.to_thread(arriving.keep)
        return pb.UploadFilesResponse(upload=upload, files=files, bytes=received)
    finally:
        if arriving is not None:
            arriving.close()


def _full(error: OSError) -> Unavailable:
    return Unavailable(f"uploads cannot be stored at the moment: {type(error).__name__}", reason="UPLOADS_UNAVAILABLE")
