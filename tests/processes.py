"""Processes that may end while a test looks at them."""

from __future__ import annotations

import psutil


def command_line(process: psutil.Process) -> list[str]:
    """As started or titled since; nothing of one that has ended, whether or not somebody has waited for it."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie's error is one of these
        return []
