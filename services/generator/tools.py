"""What chunks work with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from services.adapters.ledger import Ledger
from services.adapters.object_store import ObjectStore
from services.generator.images import Maker
from services.generator.settings import Settings
from services.hosting.leasing import patiently
from services.hosting.progress import Progress

T = TypeVar("T")


@dataclass(frozen=True)
class Tools:
    """Collaborators of every chunk of this process."""

    ledger: Ledger
    store: ObjectStore
    maker: Maker
    settings: Settings
    progress: Progress

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """``work()``, again and again while a part of the platform is away."""
        return await patiently(work, self.settings.patience_s)

    async def in_thread(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """``function`` off the event loop, patiently."""
        return await self.patiently(lambda: asyncio.to_thread(function, *arguments, **named))
