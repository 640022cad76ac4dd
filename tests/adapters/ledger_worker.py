"""A worker that leases and commits until its operation is done: run by threads and processes that may be killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from services.adapters.ledger import LeaseLost, Ledger, open_ledger


def work(ledger: Ledger, operation: str, worker: str, ttl_s: float) -> list[int]:
    """Commit chunks, signed with the worker's name, until the operation is done; the chunks that were acknowledged."""
    acknowledged = []
    while not ledger.get_operation(operation).done:
        lease = ledger.lease_chunk(worker, ttl_s, ["score", "reduce"])
        if lease is None:
            time.sleep(0.01)
            continue
        try:
            ledger.commit_chunk(lease, {"worker": worker, "token": lease.token}, response={"done": True})
            acknowledged.append(lease.chunk)
        except LeaseLost:
            continue
    return acknowledged


def work_until_killed(url: str, operation: str, worker: str, ttl_s: float, journal: Path) -> None:
    """:func:`work` in a process of its own, with each acknowledged chunk written to ``journal`` at once."""
    ledger = open_ledger(url, skew_s=0.05)
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while lease := ledger.lease_chunk(worker, ttl_s, ["score", "reduce"]):
        ledger.commit_chunk(lease, {"worker": worker, "token": lease.token}, response={"done": True})
        os.write(descriptor, f"{lease.chunk} {worker}\n".encode())
    work(ledger, operation, worker, ttl_s)


def work_and_record(url: str, operation: str, worker: str, journal: Path) -> None:
    """:func:`work` in a process of its own, with the acknowledged chunks written to ``journal`` at the end."""
    acknowledged = work(open_ledger(url), operation, worker, 30)
    journal.write_text("".join(f"{chunk} {worker}\n" for chunk in acknowledged))
