"""kill -9 at random moments of audits: no row lost or doubled, the same report every time.

    python loadtests/kills.py [--kills 20] [--rows 2000] [--seed 1] [--json]

One audit runs undisturbed. Then the same audit runs again and again, and every few seconds the audit's worker, a
model's replica or the gateway is killed, chosen at random, until the number of kills is reached. Every report must
have the sha256 of the undisturbed one, every chunk must have been committed exactly once, and the rows in the Parquet
files must be those of the cohort.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

from loadtests.platform_run import Platform, platform, put_chest_cohort
from services.adapters.ledger import Operation
from services.audit.results.formats import read_predictions

HERE = Path(__file__).resolve().parent
# Ray names a replica's process after its application and deployment.
TARGETS = {
    "worker": ("audit:AuditWorker",),
    "model": ("classifiers:", "reconstruction:"),
    "gateway": ("gateway:",),
}
PIPELINES = 2
KILLS_PER_AUDIT = 4  # so that several reports are compared
LIMIT_S = 1800.0


def replicas(ancestor: int, names: tuple[str, ...]) -> list[int]:
    """Process ids of Serve replicas with one of the names, among the descendants of ``ancestor`` only."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            title = _read(folder / "cmdline").replace("\0", " ")
            wanted = any(f"ServeReplica:{name}" in title for name in names)
            if wanted and ancestor in _ancestors(int(folder.name)):
                found.append(int(folder.name))
    return found


def _ancestors(pid: int) -> set[int]:
    found: set[int] = set()
    while pid > 1 and (stat := _read(Path(f"/proc/{pid}/stat"))):
        pid = int(stat.rpartition(")")[2].split()[1])
        found.add(pid)
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:  # the process has ended meanwhile
        return ""


class Checker:
    """Compares every audit with the undisturbed one."""

    def __init__(self, running: Platform, records: int) -> None:
        self._running = running
        self._records = records
        self.report = ""
        self.wrong_reports = self.wrong_rows = self.audits = 0

    def check(self, done: Operation) -> None:
        if done.state != "succeeded" or done.response is None:
            raise RuntimeError(f"the audit ended as {done.state}: {done.error}")
        audit = done.response["value"]
        self.audits += 1
        self.report = self.report or audit["report_digest"]
        self.wrong_reports += audit["report_digest"] != self.report
        self.wrong_rows += abs(done.rows_done - PIPELINES * self._records)
        history = self._running.ledger.history(done.name)
        commits = [entry["details"]["chunk"] for entry in history if entry["event"] == "committed"]
        self.wrong_rows += len(commits) - len(set(commits))
        key = next(part["key"] for part in audit["artifacts"] if part["filename"] == "predictions.parquet")
        rows = read_predictions(self._running.store.get(key))
        per_pipeline = rows.groupby(["pipeline", "label"], observed=True).size()
        self.wrong_rows += int((per_pipeline - self._records).abs().sum())


def disturb(running: Platform, operation: Operation, kills: int, draw: random.Random) -> list[str]:
    """Kill until the audit is done or the number is reached; what was killed, in order."""
    killed: list[str] = []
    while len(killed) < kills:
        time.sleep(draw.uniform(0.5, 6.0))
        if running.ledger.get_operation(operation.name).done:
            break
        kind = draw.choice(list(TARGETS))
        pids = replicas(running.supervisor_pid, TARGETS[kind])
        if pids:  # none while Serve is starting the last one's successor
            os.kill(draw.choice(pids), signal.SIGKILL)
            killed.append(kind)
    return killed


def measure(rows: int, kills: int, seed: int) -> dict[str, Any]:
    draw = random.Random(seed)
    killed: list[str] = []
    with platform() as running:
        records = put_chest_cohort(running.ledger, running.store, rows)
        checker = Checker(running, len(records))
        started = time.monotonic()
        checker.check(running.wait(running.create_audit(seed), limit_s=LIMIT_S))
        undisturbed_s = time.monotonic() - started
        retries, started = 0, time.monotonic()
        while len(killed) < kills:
            operation = running.create_audit(seed)
            killed += disturb(running, operation, min(KILLS_PER_AUDIT, kills - len(killed)), draw)
            done = running.wait(operation, limit_s=LIMIT_S)
            checker.check(done)
            retries += done.retries
            print(f"{len(killed):3d} kills, {checker.audits} audits, {checker.wrong_reports} wrong", file=sys.stderr)
    return {
        "kills": {kind: killed.count(kind) for kind in TARGETS},
        "audits": checker.audits,
        "report_digest": checker.report,
        "wrong_reports": checker.wrong_reports,
        "rows_lost_or_doubled": checker.wrong_rows,
        "chunks_taken_over": retries,
        "undisturbed_s": undisturbed_s,
        "disturbed_s_per_audit": (time.monotonic() - started) / (checker.audits - 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rows", type=int, default=2000, help="records of the cohort")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and the victims")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    budget = tomllib.loads((HERE / "budgets.toml").read_text("utf-8"))["kills"]
    found = measure(options.rows, options.kills, options.seed)
    within = (
        found["wrong_reports"] <= budget["wrong_reports_at_most"]
        and found["rows_lost_or_doubled"] <= budget["rows_lost_or_doubled_at_most"]
    )
    if options.json:
        print(json.dumps({**found, "budget": budget, "within": within}))
    else:
        victims = ", ".join(f"{count} {kind}" for kind, count in found["kills"].items())
        print(f"kills              {victims}; {found['chunks_taken_over']} chunks taken over")
        print(f"wrong reports      {found['wrong_reports']} of {found['audits']}   budget at most 0")
        print(f"rows lost, doubled {found['rows_lost_or_doubled']}   budget at most 0")
        print(f"an audit takes     {found['undisturbed_s']:.0f} s, with kills {found['disturbed_s_per_audit']:.0f} s")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
