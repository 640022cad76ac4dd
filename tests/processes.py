"""Processes under one that a test has started."""

from __future__ import annotations

import psutil


def descendants(ancestor: psutil.Process, title: str) -> list[psutil.Process]:
    """Living processes under ``ancestor`` whose command line contains ``title``.

    One that ends while it is looked at has no command line any more, and is not among them.
    """
    return [process for process in ancestor.children(recursive=True) if title in _command_line(process)]


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie's error is one of these
        return ""
