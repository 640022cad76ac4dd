"""Several operations under one progress display."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from evenhand.errors import DeadlineExceeded, Unavailable
from evenhand.operations import OUTAGE_S, Operation
from evenhand.progress import bars_for

EVERY_S = 0.5


def follow_together(operations: Mapping[str, Operation[Any]], *, progress: bool = True) -> None:
    """Wait until all have ended, however they ended; ``progress`` draws a bar for each on standard error.

    Raises:
        Unavailable: no answer for two minutes. The operations, if the server comes back, go on.
    """
    running = {name: operation for name, operation in operations.items() if operation.state == "running"}
    last_answer = time.monotonic()
    with bars_for(list(running), shown=progress and bool(running)) as bars:
        while running:
            for name, operation in list(running.items()):
                try:
                    ended = operation.poll(EVERY_S / len(running))
                except (Unavailable, DeadlineExceeded):
                    if time.monotonic() - last_answer > OUTAGE_S:
                        raise
                    time.sleep(EVERY_S)
                    continue
                last_answer = time.monotonic()
                bars[name].show(operation.metadata)
                if ended:
                    del running[name]
