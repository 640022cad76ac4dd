"""Folders and prefixes of the object store that monitors watch: new tables and new rows of known ones are recorded.

What was read of each table is noted after every batch, so that a crash costs a batch, whose rows the log then knows. A
table at fault is noted too: it is not read again before it changes, and holds up no other.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from services.adapters.arrivals import ArrivalLog, WatchSpec
from services.adapters.ledger import Ledger
from services.adapters.object_store import ObjectStore
from services.errors import ServiceError
from services.monitoring.recording import Recorder
from services.monitoring.resolution import check_folder
from services.monitoring.resources import FILES_KIND, files_name
from services.monitoring.settings import Settings
from services.monitoring.tables import (
    Kind,
    TableFault,
    csv_batch,
    csv_block,
    csv_header,
    kind_of,
    line_of,
    parquet_batches,
)
from services.monitoring.watched import Watched
from services.monitoring.wire import STORE

SHOWN_FAULTS = 5
LARGEST_OBJECT_BYTES = 256 << 20
_CHUNK = 1 << 20

Entry = dict[str, Any]
"""What is known of one table: its ``mark`` (size and time), how far it was read, ``fault`` and ``conflicts``."""


@dataclass(frozen=True)
class _File:
    """A table. ``mark`` changes when it does; ``settled`` says that nobody writes to it any more."""

    name: str
    kind: Kind
    mark: list[int]
    settled: bool
    open: Callable[[], BinaryIO]


class Folders:
    """Looks into the folder of one monitor at a time."""

    def __init__(self, ledger: Ledger, store: ObjectStore, log: ArrivalLog, settings: Settings) -> None:
        self._ledger = ledger
        self._store = store
        self._log = log
        self._settings = settings

    def look(self, body: Mapping[str, Any]) -> str:
        """Record what is new; what is wrong with the folder or its tables, in words, or "".

        Raises NotFound MONITOR_NOT_FOUND where the monitor was deleted meanwhile, and Unavailable.
        """
        folder = body["spec"]["source"]["folder"]
        try:
            files = sorted(self._files(folder), key=lambda file: (file.kind != "predictions", file.name))
        except ServiceError as error:
            return f"the folder cannot be watched: {error.message}"
        except OSError as error:
            return f"the folder cannot be read: {os.strerror(error.errno or 0)}"
        notes = files_name(body["name"])
        known = self._ledger.create_resource(notes, FILES_KIND, {})
        recorder = Recorder(self._log, body["name"], WatchSpec.of(body), Watched.of(body["spec"]))
        for file in files:
            if known.get(file.name, {}).get("mark") == file.mark:
                continue
            for entry in self._read(recorder, file, known.get(file.name, {})):
                known[file.name] = entry
                self._ledger.change_resource(notes, {file.name: entry})
        return _in_words({file.name: known[file.name] for file in files if file.name in known})

    def _files(self, folder: str) -> Iterator[_File]:
        check_folder(folder, self._settings.import_roots)
        if folder.startswith(STORE):
            prefix = f"{folder.removeprefix(STORE).rstrip('/')}/"  # "chest" is not "chest-adult"
            for key in self._store.keys(prefix):
                name = key.removeprefix(prefix)
                if kind := kind_of(name.rpartition("/")[2]):
                    # An object is read once: stores tell of no change without being read whole.
                    yield _File(name, kind, [0], True, partial(_object, self._store, key))
            return
        now = datetime.now(UTC).timestamp()
        for path in sorted(Path(folder).iterdir()):
            kind, about = kind_of(path.name), path.lstat()
            if kind is not None and stat.S_ISREG(about.st_mode):  # a link could lead out of the import root
                settled = now - about.st_mtime >= self._settings.settle_s
                yield _File(path.name, kind, [about.st_size, about.st_mtime_ns], settled, partial(open_table, path))

    def _read(self, recorder: Recorder, file: _File, before: Entry) -> Iterator[Entry]:
        """Entries as the table is read, the last one with its mark. Never raises for what is wrong with a table."""
        reached: Entry = {key: value for key, value in before.items() if key not in ("mark", "fault")}
        try:
            with file.open() as opened:
                reader = self._csv if file.name.endswith(".csv") else self._parquet
                for entry in reader(recorder, file, opened, reached):
                    reached = entry
                    yield entry
        except TableFault as fault:
            if file.settled or fault.row is not None:
                yield reached | {"mark": file.mark, "fault": str(fault)}
            return
        except OSError as error:
            yield reached | {"mark": file.mark, "fault": f"cannot be read: {os.strerror(error.errno or 0)}"}
            return
        if file.settled:
            yield reached | {"mark": file.mark}

    def _csv(self, recorder: Recorder, file: _File, opened: BinaryIO, before: Entry) -> Iterator[Entry]:
        """Goes on where the last look ended if what was read then is still there, else from the beginning."""
        header, start = csv_header(opened)
        if not header:
            raise TableFault("there is no complete first line")
        offset, lines, conflicts = int(before.get("offset", 0)), int(before.get("lines", 0)), before.get("conflicts", 0)
        read = _hashed(opened, offset)
        if offset < start or read.hexdigest() != before.get("read"):
            offset, lines, conflicts, read = start, 1, 0, _hashed(opened, start)
        while block := csv_block(opened, offset, whole=file.settled):
            try:
                table = csv_batch(header, block)
                for at in range(0, table.num_rows, self._settings.rows_per_batch):
                    part = table.slice(at, self._settings.rows_per_batch)
                    conflicts += _at_row(at, partial(recorder.record, file.kind, part, datetime.now(UTC)))
            except TableFault as fault:
                row = fault.row
                place = "" if row is None else f"line {lines + line_of(block, row) + 1}: "
                raise TableFault(f"{place}{fault}", row) from fault
            read.update(block)
            offset, lines = offset + len(block), lines + block.count(b"\n")
            yield {"offset": offset, "lines": lines, "read": read.hexdigest(), "conflicts": conflicts}

    def _parquet(self, recorder: Recorder, file: _File, opened: BinaryIO, before: Entry) -> Iterator[Entry]:
        """All rows of a file whose content is new."""
        content = _hashed(opened, None).hexdigest()
        if content == before.get("read"):
            return
        rows = conflicts = 0
        opened.seek(0)
        for table in parquet_batches(opened, self._settings.rows_per_batch):
            try:
                conflicts += recorder.record(file.kind, table, datetime.now(UTC))
            except TableFault as fault:
                place = "" if fault.row is None else f"row {rows + fault.row + 1}: "
                raise TableFault(f"{place}{fault}", fault.row) from fault
            rows += table.num_rows
        yield {"read": content, "conflicts": conflicts}


def _at_row(offset: int, record: Callable[[], int]) -> int:
    """What ``record`` returns; the row of its fault is counted from the beginning of the block."""
    try:
        return record()
    except TableFault as fault:
        raise TableFault(str(fault), None if fault.row is None else fault.row + offset) from fault


def _object(store: ObjectStore, key: str) -> BinaryIO:
    """The object in memory. Raises TableFault for one that is too large for that."""
    if store.size(key) > LARGEST_OBJECT_BYTES:
        raise TableFault(f"an object may have {LARGEST_OBJECT_BYTES} bytes; give larger tables in parts")
    return io.BytesIO(store.get(key))


def open_table(path: Path) -> BinaryIO:
    """The file itself, whatever took its place since it was listed: no link is followed and no pipe waited for.

    Raises OSError, and TableFault for what is no regular file.
    """
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise TableFault("no regular file")
    return os.fdopen(opened, "rb")


def _hashed(file: BinaryIO, length: int | None) -> Any:
    """sha256 of the first ``length`` bytes, or of all."""
    found = hashlib.sha256()
    file.seek(0)
    left = length
    while chunk := file.read(_CHUNK if left is None else min(_CHUNK, left)):
        found.update(chunk)
        if left is not None:
            left -= len(chunk)
    return found


def _in_words(entries: Mapping[str, Entry]) -> str:
    faults = []
    for name, entry in entries.items():
        if entry.get("fault"):
            faults.append(f"{name}: {entry['fault']}")
        elif entry.get("conflicts"):
            faults.append(f"{name}: {entry['conflicts']} rows say otherwise than rows before and were left out")
    more = f"; and {len(faults) - SHOWN_FAULTS} more tables" if len(faults) > SHOWN_FAULTS else ""
    return "; ".join(faults[:SHOWN_FAULTS]) + more
