"""Ending on request."""

from __future__ import annotations

import signal
from collections.abc import Callable


def signalled() -> Callable[[], bool]:
    """Install handlers for SIGTERM and SIGINT; the returned function says whether one came."""
    came: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: came.append(got))
    return lambda: bool(came)
