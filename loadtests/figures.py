"""Figures beside their budgets: a budget is a figure's name with ``_at_least`` or ``_at_most``."""

from __future__ import annotations

import json
import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

Figures = dict[str, float]
Job = Callable[[], Any]

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
"""As the platform runs: glibc keeps the memory of one image for the next."""

_SINGLE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def budgets_of(section: str) -> dict[str, float]:
    """One section of budgets.toml."""
    budgets: dict[str, float] = tomllib.loads(Path(__file__).with_name("budgets.toml").read_text("utf-8"))[section]
    return budgets


def within(budget: str, limit: float, found: Figures) -> bool:
    """Figures that were not asked for cannot be over their budget; one that is not a number is."""
    name, _, side = budget.rpartition("_at_")
    if name not in found:
        return True
    return found[name] >= limit if side == "least" else found[name] <= limit


def show(found: Figures, budgets: dict[str, float]) -> None:
    limits = {budget.rpartition("_at_")[0]: (budget, limit) for budget, limit in budgets.items()}
    for name, value in found.items():
        budget, limit = limits.get(name, ("", 0.0))
        side = f"   budget at {budget.rpartition('_at_')[2]} {limit:g}" if budget else ""
        verdict = "" if not budget or within(budget, limit, found) else "   OVER"
        print(f"{name:42} {value:12.5g}{side}{verdict}")


def told(found: Figures, section: str, *, as_json: bool) -> bool:
    """Print the figures beside the budgets of a section of budgets.toml; whether all are within."""
    budgets = budgets_of(section)
    over = [name for name, limit in budgets.items() if not within(name, limit, found)]
    if as_json:
        print(json.dumps({**found, "budgets": budgets, "over": over}))
    else:
        show(found, budgets)
    return not over


def on_one_thread(more: Mapping[str, str] | None = None) -> None:
    """Linear algebra reads these once, when it is loaded: start again with them, and with ``more`` of the kind."""
    wanted = {**dict.fromkeys(_SINGLE, "1"), **(more or {})}
    if not wanted.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})


def cpu_seconds(job: Job) -> float:
    started = time.process_time()
    job()
    return time.process_time() - started


def in_turns(jobs: dict[str, Job], turns: int) -> dict[str, list[float]]:
    """CPU seconds of each job in each turn; every turn runs all jobs."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(turns):
        for name, job in jobs.items():
            seconds[name].append(cpu_seconds(job))
    return seconds


def ratio(theirs: Iterable[float], ours: Iterable[float]) -> float:
    return median(list(theirs)) / median(list(ours))
