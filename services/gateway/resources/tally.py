"""How much a folder holds, known without walking it at every file that joins it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

Count = tuple[int, int]
"""Files and their bytes."""


class Tally:
    """The count of ``folder``'s files, in the small file ``path`` that all replicas share under its lock.

    It is empty while a file moves in. Whoever finds it so, or missing, walks the folder once, so that no process that
    dies leaves a wrong count behind. Files that come or go in another way than through :meth:`put` are not noticed.
    """

    def __init__(self, folder: Path, path: Path) -> None:
        self._folder = folder
        self._path = path

    def read(self) -> Count:
        with self._locked() as file:
            return self._known(file)

    def put(self, arrived: Path, target: Path, check: Callable[[int, int], None]) -> None:
        """Move a file to its place in the folder, for an earlier one of that name. ``check`` sees the new count first;
        if it raises, nothing has changed."""
        with self._locked() as file:
            files, total = before = self._known(file)
            replaced = target.stat().st_size if target.is_file() else None
            after = files + (replaced is None), total + arrived.stat().st_size - (replaced or 0)
            check(*after)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.truncate(0)
            count = before
            try:
                arrived.replace(target)
                count = after
            finally:
                _write(file, count)

    @contextmanager
    def _locked(self) -> Iterator[FileIO]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileIO(self._path, "a+") as file:  # closing it gives the lock back
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    def _known(self, file: FileIO) -> Count:
        file.seek(0)
        match file.read().split():
            case [files, total]:
                return int(files), int(total)
        count = _walk(self._folder)
        file.truncate(0)
        _write(file, count)
        return count


def _write(file: FileIO, count: Count) -> None:
    file.write(b"%d %d" % count)


def _walk(folder: Path) -> Count:
    sizes = [(Path(parent) / name).stat().st_size for parent, _, names in os.walk(folder) for name in names]
    return len(sizes), sum(sizes)
