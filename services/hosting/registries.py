"""What appears in the registries while a host runs is served too: a training's new version, a package copied there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from services.adapters.weights import DirectoryRegistry, ModelRecord, OnLeftOut
from services.errors import ServiceError, whereabouts

LOOK_EVERY_S = 2.0
RETRY_EVERY_S = 60.0  # for faults that pass without a trace in the files: a full disk, a Triton that is away
log = logging.getLogger(__name__)

Opened = TypeVar("Opened")
State = frozenset[tuple[Path, int, int]]


def packages_in(roots: Sequence[Path]) -> frozenset[Path]:
    """The folders of the registries that have a model.yaml."""
    return frozenset(path.parent for root in roots for path in root.glob("*/*/model.yaml"))


def state_of(folder: Path) -> State:
    """Path, time of change and size of all that is in a package. Its weights may come after its model.yaml."""
    found = set()
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(OSError):  # gone meanwhile
            about = path.stat()
            found.add((path, about.st_ctime_ns, about.st_size))
    return frozenset(found)


@dataclass(frozen=True)
class _LeftOut:
    """A package that could not be served: why, what it looked like then, and when that was on the monotonic clock."""

    why: str
    state: State
    tried: float


class RegistryWatch(Generic[Opened]):
    """Looks for packages that a host does not serve yet.

    ``open_new`` opens what a registry has and the host has not, in a thread, and tells what cannot be opened;
    ``serve`` puts that into service on the event loop and says which models those are. Made before the host reads its
    registries, it misses nothing that appears meanwhile.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        open_new: Callable[[DirectoryRegistry, OnLeftOut], Opened],
        serve: Callable[[Opened], Awaitable[Sequence[ModelRecord]]],
    ) -> None:
        self._roots = roots
        self._open_new = open_new
        self._serve = serve
        self._packages = set(packages_in(roots))
        self._left_out: dict[Path, _LeftOut] = {}
        self._looking = asyncio.Lock()

    async def run(self) -> None:
        """Look every few seconds until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Serve the packages that appeared since the last look, but for those that cannot be; never raises.

        Costs one glob where nothing is new. A caller who is cancelled leaves the look to end by itself, so that no
        other begins beside it.
        """
        await asyncio.shield(self._look())

    async def _look(self) -> None:
        async with self._looking:
            try:
                # In a thread: reading weights takes seconds, in which the replica goes on answering.
                waiting = await asyncio.to_thread(self._waiting)
                if not any(self._is_due(folder, state) for folder, state in waiting.items()):
                    return
                bad: dict[str, Exception] = {}
                opened = await asyncio.to_thread(self._open, bad)
                self._note(waiting, bad)
                new = await self._serve(opened)
            except Exception:
                log.exception("a look for new packages failed; the next one comes all the same")
                return
            if new:
                log.info("now served: %s", ", ".join(f"{record.name}/{record.version}" for record in new))

    def _waiting(self) -> dict[Path, State]:
        """The packages that are not served, whatever was tried with them."""
        return {folder: state_of(folder) for folder in packages_in(self._roots) - self._packages}

    def _open(self, bad: dict[str, Exception]) -> Opened:
        registry = DirectoryRegistry(self._roots, left_out=bad.__setitem__)
        return self._open_new(registry, bad.__setitem__)

    def _note(self, waiting: dict[Path, State], bad: dict[str, Exception]) -> None:
        """Remember which of the packages that waited are served now, and which cannot be."""
        for folder, state in waiting.items():
            error = bad.get(f"{folder.parent.name}/{folder.name}")
            if error is None:
                self._packages.add(folder)
                self._left_out.pop(folder, None)
            else:
                self._leave_out(folder, state, error)

    def _is_due(self, folder: Path, state: State) -> bool:
        """Whether a package is new, or was left out and changed or has waited long enough."""
        known = self._left_out.get(folder)
        return known is None or known.state != state or time.monotonic() - known.tried > RETRY_EVERY_S

    def _leave_out(self, folder: Path, state: State, error: Exception) -> None:
        """Note a package that cannot be served, and log it unless that was said before."""
        why = error.message if isinstance(error, ServiceError) else whereabouts(error)
        known = self._left_out.get(folder)
        if known is None or known.why != why:
            log.error("%s/%s is not served: %s", folder.parent.name, folder.name, why)
        self._left_out[folder] = _LeftOut(why, state, time.monotonic())
