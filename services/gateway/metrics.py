"""Gauges computed from the ledger at scrape time: progress of operations, the latest audits' fairness, monitors.

Nothing here is held in a process, so the numbers survive restarts and are the same on every replica. Label values come
from cohort schemas, the model registry and the specs of audits and monitors; there is a cap on the number of series
all the same. Monitors, which are watched, have at least half of it where they need that much.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from services.adapters.ledger import Ledger
from services.adapters.ledger.records import State
from services.errors import ServiceError
from services.gateway.monitor_metrics import bounded, exposed, label_value, monitor_blocks

log = logging.getLogger(__name__)

MOST_SERIES = 2000
MOST_AUDITS = 50
KEPT_S = 2.0  # several scrapers at once ask the ledger once

CELL_LABELS = ("cohort", "pipeline", "task", "label", "metric", "attribute", "group")
COUNT_LABELS = ("cohort", "task", "label", "attribute", "group")
GAP_LABELS = ("cohort", "pipeline", "task", "label", "metric", "attribute", "definition")

_FAIRNESS = {
    "fairness_gap": ("A gap between groups, as the latest audit found it.", GAP_LABELS),
    "fairness_gap_low": ("Lower end of the gap's interval.", GAP_LABELS),
    "fairness_gap_high": ("Upper end of the gap's interval.", GAP_LABELS),
    "subgroup_n": ("Records behind evenhand_subgroup_metric, whatever the pipeline.", COUNT_LABELS),
    "subgroup_patients": ("Patients behind evenhand_subgroup_metric.", COUNT_LABELS),
    "subgroup_metric": ("A metric within a group, as the latest audit found it.", CELL_LABELS),
}


class LedgerMetrics:
    """A Prometheus collector over the ledger."""

    def __init__(self, ledger: Ledger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._kept: list[Metric] = []
        self._kept_at = -float("inf")
        self._warned = False

    def collect(self) -> Iterable[Metric]:
        """All families; while the ledger is away only the gauge that says so."""
        if self._clock() - self._kept_at > KEPT_S:
            up = GaugeMetricFamily("evenhand_ledger_up", "1 while the ledger answers.")
            try:
                self._kept = [*self._operations(), *self._findings(), up]
                up.add_metric([], 1)
            except ServiceError:
                self._kept = [up]
                up.add_metric([], 0)
            self._kept_at = self._clock()
        return self._kept

    def _operations(self) -> Iterator[Metric]:
        states, done, total = Counter[tuple[str, str]](), Counter[str](), Counter[str]()
        operations, _ = self._ledger.list_operations(page_size=500)
        for operation in operations:
            for state in get_args(State):  # zeros too: a series that comes and goes draws no line
                states[operation.kind, state] += operation.state == state
            done[operation.kind] += 0
            total[operation.kind] += 0
            if operation.state == "running":
                done[operation.kind] += operation.rows_done
                total[operation.kind] += operation.rows_total
        family = GaugeMetricFamily("evenhand_operations", "Operations among the latest 500.", labels=["kind", "state"])
        for (kind, state), count in sorted(states.items()):
            family.add_metric([label_value(kind), state], count)
        yield family
        for name, text, rows in (
            ("evenhand_operation_rows_done", "Committed rows of running operations.", done),
            ("evenhand_operation_rows_total", "All rows of running operations.", total),
        ):
            family = GaugeMetricFamily(name, text, labels=["kind"])
            for kind, count in sorted(rows.items()):
                family.add_metric([label_value(kind)], count)
            yield family

    def _findings(self) -> Iterator[Metric]:
        audits = self._audits()
        blocks = monitor_blocks(self._ledger)
        samples, folded = bounded(blocks, max(MOST_SERIES // 2, MOST_SERIES - len(audits)))
        room = MOST_SERIES - len(samples)
        families = {
            name: GaugeMetricFamily(f"evenhand_{name}", text, labels=list(labels))
            for name, (text, labels) in _FAIRNESS.items()
        }
        for (name, key), value in list(audits.items())[:room]:
            families[name].add_metric(list(key), value)
        dropped = max(0, len(audits) - room) + folded
        if dropped and not self._warned:
            self._warned = True
            log.warning("%d series of audits and monitors are over the %d that /metrics shows", dropped, MOST_SERIES)
        yield from families.values()
        yield from exposed(samples)
        yield GaugeMetricFamily("evenhand_series_dropped", "Series over the cap of 2,000.", value=dropped)

    def _audits(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Values by (family, label values); what an older audit says about the same thing is history."""
        audits, _ = self._ledger.list_resources("audit", page_size=MOST_AUDITS, state="STATE_SUCCEEDED")
        found: dict[tuple[str, tuple[str, ...]], float] = {}
        for body in audits:  # newest first
            for name, key, value in _series(body):
                found.setdefault((name, key), value)
        return found


def _series(body: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """(family, label values, value) of one audit; counts before values: without its n a value is worse than none."""
    cohort = str((body.get("spec") or {}).get("cohort", ""))
    gauges = body.get("gauges") or {}
    for name, rows, field in (
        ("fairness_gap", "gaps", "estimate"),
        ("fairness_gap_low", "gaps", "ci_low"),
        ("fairness_gap_high", "gaps", "ci_high"),
        ("subgroup_n", "cells", "records"),
        ("subgroup_patients", "cells", "patients"),
        ("subgroup_metric", "cells", "estimate"),
    ):
        for row in gauges.get(rows) or ():
            value = row.get(field)
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield name, _key(cohort, row, _FAIRNESS[name][1]), float(value)


def _key(cohort: str, entry: Mapping[str, Any], labels: tuple[str, ...]) -> tuple[str, ...]:
    found = defaultdict(str, {name: label_value(entry.get(name)) for name in labels})
    found["cohort"] = label_value(cohort.removeprefix("cohorts/"))
    return tuple(found[name] for name in labels)
