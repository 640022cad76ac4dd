"""Pages of the console on a platform with a past: 1,000 audits, 100 monitors, 100 cohorts, 3,000 operations.

    python loadtests/console.py [--audits 1000] [--monitors 100] [--rounds 9] [--json]

The gateway, its ledger (SQLite), its store and the rooms behind it are the real ones, in one process without Ray. The
rows are copies of a real audit, cohort and monitor of a size that hospitals have: 12 labels, three attributes, two
metrics, and 500 cells and 500 gaps that an audit keeps for /metrics. Each page is asked for in turn with the others,
over one connection on loopback, after a first round that is not counted. The figure is the median of the slowest page;
the CPU time beside it, of server and client, is what other work on the machine does not change.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import itertools
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import create_engine, insert, select

from loadtests.figures import Figures, told
from services.adapters.ledger import schema
from tests.gateway.console.stage import Stage, furnish

LABELS = tuple(f"Finding {number}" for number in range(12))
GROUPS = {"sex": ("Female", "Male"), "age": ("0-18", "18-40", "40-60", "60-80", "80+"), "race": tuple("ABCDEFG")}
METRICS = ("fpr", "tpr")
MOST_GAUGES = 500
REFUSED = 1000
WINDOWS = 104
FEW_WINDOWS = 6
COHORTS, COUNTERFACTUALS = 100, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=1000)
    parser.add_argument("--monitors", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = asyncio.run(furnish(root))
        paths = fill(root, names, audits=asked.audits, monitors=asked.monitors)
        stage = Stage(root, drain_s=1.0).start()
        try:
            found = measure(stage.http, paths, rounds=asked.rounds)
        finally:
            stage.stop()
    sys.exit(0 if told(found, "console", as_json=asked.json) else 1)


def measure(url: str, paths: Mapping[str, str], *, rounds: int) -> Figures:
    """Milliseconds of each page from the request to the last byte, and of CPU time: medians and the largest."""
    seen: dict[str, list[float]] = {page: [] for page in paths}
    worked: dict[str, list[float]] = {page: [] for page in paths}
    with httpx.Client(base_url=url, timeout=120) as web:
        for turn in range(rounds + 1):
            for page, path in paths.items():
                started, before = time.perf_counter(), time.process_time()
                reply = web.get(path)
                took_ms = 1000 * (time.perf_counter() - started)
                if reply.status_code != 200:
                    raise SystemExit(f"{path}: {reply.status_code}\n{reply.text[:2000]}")
                if turn:
                    seen[page].append(took_ms)
                    worked[page].append(1000 * (time.process_time() - before))
    medians = {f"{page}_ms": statistics.median(times) for page, times in seen.items()}
    cpu = {f"{page}_cpu_ms": statistics.median(times) for page, times in worked.items()}
    return {**medians, **cpu, "most_cpu_ms": max(cpu.values()), "slowest_page_ms": max(medians.values())}


def fill(root: Path, names: Mapping[str, str], *, audits: int, monitors: int) -> dict[str, str]:
    """Write the rows, and say where each kind of page is."""
    engine = create_engine(f"sqlite:///{root / 'ledger.db'}")
    with engine.begin() as db:

        def row(table: Any, name: str) -> dict[str, Any]:
            found = db.execute(select(table).where(table.c.name == name)).mappings().one()
            return {key: copy.deepcopy(value) for key, value in found.items() if key != "seq"}

        audit, operation = row(schema.resources, names["audit"]), row(schema.operations, names["audit_operation"])
        cohort = row(schema.resources, names["cohort"])
        cohort["body"] |= {"refused": [_refused(number) for number in range(REFUSED)], "refused_count": 40 * REFUSED}
        cohorts = [_renamed(cohort, f"cohorts/{uuid.uuid4()}") for _ in range(COHORTS)]
        db.execute(insert(schema.resources), cohorts)
        _fill_audits(db, audit, operation, [one["name"] for one in cohorts], audits)
        counterfactual = row(schema.resources, names["counterfactual"])
        copies = [_renamed(counterfactual, f"counterfactuals/{uuid.uuid4()}") for _ in range(COUNTERFACTUALS)]
        db.execute(insert(schema.resources), copies)
        newest = _fill_monitors(db, row(schema.resources, names["monitor"]), names["monitor"], monitors)
    engine.dispose()
    return {
        "start": "/",
        "cohorts": "/cohorts",
        "cohort": f"/{cohorts[0]['name']}",
        "models": "/models",
        "model": "/models/chest",
        "trainings": "/trainings",
        "audits": "/audits",
        "audits_of_a_cohort": f"/audits?cohort={cohorts[0]['name']}",
        "audit": f"/{names['audit']}",
        "counterfactuals": "/counterfactuals",
        "counterfactual": f"/{names['counterfactual']}",
        "monitors": "/monitors",
        "monitor": f"/{newest}",
        "window": f"/{newest}/windows/{WINDOWS - 1}",
        "operations": "/operations",
        "operations_of_a_kind": "/operations?kind=audit",
    }


def _renamed(resource: Mapping[str, Any], name: str, **changes: Any) -> dict[str, Any]:
    return {**resource, "name": name, "body": {**resource["body"], "name": name, **changes}}


def _refused(number: int) -> dict[str, Any]:
    file = f"patient{number:06d}/study1/view{number % 3}_frontal.dcm"
    return {"row": number + 1, "file": file, "reason": "FILE_UNDECODABLE", "message": f"{file} ends after its header"}


def _fill_audits(db: Any, audit: dict[str, Any], operation: dict[str, Any], cohorts: list[str], count: int) -> None:
    """Finished audits, each with its operation; a third as many operations of other kinds are there besides."""
    gauges = audit["body"]["gauges"]
    for kind in ("cells", "gaps"):
        gauges[kind] = list(itertools.islice(itertools.cycle(gauges[kind]), MOST_GAUGES))
    for place in range(count):
        name, work = f"audits/{uuid.uuid4()}", f"operations/{uuid.uuid4()}"
        cohort = cohorts[place % len(cohorts)]
        spec = {**audit["body"]["spec"], "cohort": cohort}
        told = {"operation": work, "cohort": cohort, "spec": spec, "display_name": f"Audit {place}"}
        db.execute(insert(schema.resources), {**_renamed(audit, name, **told), "cohort": cohort})
        others = [{**operation, "name": f"operations/{uuid.uuid4()}", "request_id": None} for _ in range(2)]
        db.execute(
            insert(schema.operations), [{**operation, "name": work, "resource": name, "request_id": None}, *others]
        )


def _fill_monitors(db: Any, monitor: dict[str, Any], source: str, count: int) -> str:
    """Monitors with windows, points and alarms like those of ``source``; the name of the one with the most windows."""
    windows = db.execute(select(schema.windows).where(schema.windows.c.monitor == source)).mappings().all()
    alarms = db.execute(select(schema.alarms).where(schema.alarms.c.monitor == source)).mappings().all()
    point = dict(db.execute(select(schema.points).where(schema.points.c.monitor == source)).mappings().all()[-1])
    keys = [
        {"label": label, "metric": metric, "attribute": attribute, "group": group}
        for label, metric, (attribute, groups) in itertools.product(LABELS, METRICS, GROUPS.items())
        for group in groups
    ]
    plan = {"series": [{"key": key, "cases_per_window": 40.0, "minimum_detectable_change": 0.08} for key in keys]}
    name = ""
    for place in range(count):
        name = f"monitors/{uuid.uuid4()}"
        length = WINDOWS if place == count - 1 else FEW_WINDOWS
        told = {"plan": plan, "closed_windows": length, "display_name": f"Monitor {place}", "alarms": len(alarms)}
        db.execute(insert(schema.resources), _renamed(monitor, name, **told))
        db.execute(insert(schema.windows), list(_windows(windows[-1], name, length)))
        for batch in _batches(_points(point, name, keys, length), 5000):
            db.execute(insert(schema.points), batch)
        for alarm in alarms:
            body = {**alarm["body"], "name": f"{name}/alarms/{uuid.uuid4()}", "window": f"{name}/windows/4"}
            copied = {key: value for key, value in alarm.items() if key != "seq"}
            db.execute(insert(schema.alarms), {**copied, "monitor": name, "name": body["name"], "body": body})
    return name


def _windows(window: Mapping[str, Any], monitor: str, length: int) -> Iterator[dict[str, Any]]:
    for index in range(length):
        summary = {**window["summary"], "index": index, "name": f"{monitor}/windows/{index}"}
        kept = {key: value for key, value in window.items() if key != "seq"}
        yield {**kept, "monitor": monitor, "window_index": index, "summary": summary}


def _points(point: dict[str, Any], monitor: str, keys: list[dict[str, str]], length: int) -> Iterator[dict[str, Any]]:
    for index, key in itertools.product(range(length), keys):
        series = {"label": key["label"], "metric": key["metric"], "attribute": key["attribute"], "grp": key["group"]}
        kept = {name: value for name, value in point.items() if name != "seq"}
        yield {**kept, **series, "monitor": monitor, "window_index": index}


def _batches(rows: Iterator[dict[str, Any]], length: int) -> Iterator[list[dict[str, Any]]]:
    while batch := list(itertools.islice(rows, length)):
        yield batch


if __name__ == "__main__":
    main()
