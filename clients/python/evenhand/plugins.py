"""What the platform contributes to this client by entry points, so that the client never imports services."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from evenhand.errors import FailedPrecondition

HINT = "install evenhand-platform beside this client"


def installed(group: str, name: str) -> bool:
    """Whether the platform that contributes this function is here."""
    return bool(entry_points(group=group, name=name))


def contributed(group: str, name: str, refusal: str, *, hint: str = HINT) -> Callable[..., Any]:
    """The function of that name in an entry point group.

    Raises:
        FailedPrecondition: with ``refusal`` where the platform is not installed here (PLUGIN_MISSING).
    """
    found = list(entry_points(group=group, name=name))
    if not found:
        raise FailedPrecondition(refusal, reason="PLUGIN_MISSING", hint=hint)
    function: Callable[..., Any] = found[0].load()
    return function
