"""Progress bars on standard error, so that standard output stays machine-readable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from evenhand.operations import Progress as OperationProgress


class Bar(Protocol):
    """Is shown the progress of an operation."""

    def show(self, progress: OperationProgress) -> None: ...


class _NoBar:
    def show(self, progress: OperationProgress) -> None:
        pass


class _OperationBar:
    def __init__(self, drawn: Progress, title: str, *, named: bool = False) -> None:
        self._drawn = drawn
        self._prefix = f"{title}: " if named else ""
        self._task = drawn.add_task(title, total=None, rate="", refused="")

    def show(self, progress: OperationProgress) -> None:
        """Redraw; a total of zero means that it is not known yet, and the bar pulses."""
        steps = progress.steps_total > 0  # they move every moment, images and frames only now and then
        self._drawn.update(
            self._task,
            description=self._prefix + (progress.stage or "queued"),
            completed=progress.steps_done if steps else progress.done,
            total=(progress.steps_total if steps else progress.total) or None,
            rate=_rate(progress),
            refused=f"[yellow]{progress.refused} refused" if progress.refused else "",
        )


def _rate(progress: OperationProgress) -> str:
    speed = f"{progress.per_s:.1f} {progress.unit}/s" if progress.per_s > 0 else ""
    moves = progress.per_s > 0 or progress.steps_done > 0
    left = f"{progress.eta_s:.0f} s left" if progress.eta_s is not None and moves else ""
    counted = f"{progress.done}/{progress.total or '?'} {progress.unit}"
    return "  ".join(part for part in (counted, speed, left) if part)


@contextmanager
def bar_for(title: str, *, shown: bool) -> Iterator[Bar]:
    """A bar for one operation: stage, rows done of all, rows/s and time left."""
    if not shown:
        yield _NoBar()
        return
    with _operation_display() as drawn:
        yield _OperationBar(drawn, title)


@contextmanager
def bars_for(titles: Sequence[str], *, shown: bool) -> Iterator[Mapping[str, Bar]]:
    """One display with a bar for each of several operations, named by its title."""
    if not shown:
        yield {title: _NoBar() for title in titles}
        return
    with _operation_display() as drawn:
        yield {title: _OperationBar(drawn, title, named=True) for title in titles}


def _operation_display() -> Progress:
    columns = (
        TextColumn("{task.description:<11}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[refused]}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), refresh_per_second=5)


class UploadBar:
    """Counts the bytes that have gone out."""

    def __init__(self, drawn: Progress | None, total: int) -> None:
        self._drawn = drawn
        self._task = drawn.add_task("uploading", total=total) if drawn is not None else None

    def show(self, sent: int) -> None:
        if self._drawn is not None and self._task is not None:
            self._drawn.update(self._task, completed=sent)


@contextmanager
def upload_bar(total_bytes: int, *, shown: bool) -> Iterator[UploadBar]:
    """A bar for an upload: bytes, speed, time left."""
    if not shown:
        yield UploadBar(None, total_bytes)
        return
    columns = (
        TextColumn("{task.description:<11}"),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=5) as drawn:
        yield UploadBar(drawn, total_bytes)


@contextmanager
def count_bar(unit: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar for things that arrive one by one; call what it gives with how many there are."""
    columns = (TextColumn(f"{{task.completed}}/{{task.total}} {unit}"), BarColumn(bar_width=30), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=5) as drawn:
        task = drawn.add_task(unit, total=total)
        yield lambda done: drawn.update(task, completed=done)
