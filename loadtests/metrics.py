"""The time of a scrape: /metrics of a gateway whose ledger holds monitors up to the cap of 2,000 series, and over it.

    python loadtests/metrics.py [--rounds 15] [--json]

One gateway in this process, its ledger a file, asked over HTTP. Every scrape computes from the ledger anew: what the
gateway keeps for two seconds between scrapes is taken away. The budget is in milliseconds because it was promised so,
and the best of the rounds counts, since other work on the machine only adds. The CPU time, which it does not touch, is
told beside it, with the client's own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx
from figures import Figures, told

from services.gateway import metrics
from tests.gateway.conftest import World
from tests.monitors_in_ledger import close, point, put_monitor

GROUPS = 15  # with 11 gauges each: a monitor of this kind has 165 series and 17 of its own


def filled(world: World, monitors: int, windows: int = 3) -> None:
    """``monitors`` monitors with ``GROUPS`` series each, over some windows, with the segments of a busy month."""
    for number in range(monitors):
        name = put_monitor(world.ledger, f"monitor-{number:03d}")
        for _ in range(30):
            world.ledger.append_segment(name, "predictions", rows=1000)
        for window in range(windows):
            close(world.ledger, name, [point(f"group {group}", 0.01 * window) for group in range(GROUPS)])


def scrapes(world: World, rounds: int) -> tuple[float, float, str]:
    """Best time of a scrape and median CPU time of this process in one, milliseconds, and the page."""
    with httpx.Client(base_url=world.http) as client:
        page = client.get("/metrics").text
        seconds, cpu = [], []
        for _ in range(rounds):
            started, used = time.perf_counter(), time.process_time()
            page = client.get("/metrics").text
            seconds.append(time.perf_counter() - started)
            cpu.append(time.process_time() - used)
    return 1000 * min(seconds), 1000 * median(cpu), page


def series(page: str) -> int:
    return sum(line.startswith("evenhand_monitor_") for line in page.splitlines())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    metrics.KEPT_S = 0.0
    found: Figures = {}
    for name, monitors in (("scrape_2000_series", 11), ("scrape_100_monitors", 100)):
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder) / "gateway", drain_s=1.0).start()
            try:
                filled(world, monitors)
                found[f"{name}_ms"], found[f"{name}_cpu_ms"], page = scrapes(world, options.rounds)
                found[f"{name}_shown"] = series(page)
            finally:
                world.stop()
    return 0 if told(found, "metrics", as_json=options.json) else 1


if __name__ == "__main__":
    sys.exit(main())
