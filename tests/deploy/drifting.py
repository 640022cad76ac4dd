"""A gateway whose ledger tells of a drift, scraped by a real Prometheus window after window: what dashboards show."""

from __future__ import annotations

import time
from dataclasses import dataclass

import httpx
import numpy as np

from services.adapters.ledger import ChunkSpec, Ledger
from tests.gateway.conftest import World
from tests.monitors_in_ledger import close, point, put_monitor
from tests.servers.prometheus import Prometheus

WINDOWS, HURT_FROM, ALARM_FROM = 20, 9, 14
GROUPS = {"sex": ("Female", "Male"), "age": ("under 65", "65 and over")}
LABELS = {"Edema": 0.3, "Pneumonia": 0.1}  # and their prevalence


def series_of(window: int, draw: np.random.Generator) -> list[dict]:
    """Points of one window: from HURT_FROM on the TPR of women with oedema falls behind by 0.15."""
    points = []
    for label, prevalence in LABELS.items():
        for metric in ("tpr", "fpr"):
            for attribute, groups in GROUPS.items():
                for sign, group in zip((1, -1), groups, strict=True):
                    hurt = (label, metric, attribute) == ("Edema", "tpr", "sex")
                    shown = max(0, window + 1 - HURT_FROM) if hurt else 0
                    share = prevalence if metric == "tpr" else 1 - prevalence
                    cases = int(draw.poisson(400 * share))
                    noise = float(draw.normal(0, 0.3 / cases**0.5))
                    change = -sign * 0.15 * shown / (window + 1) + noise / (window + 1) ** 0.5
                    reach = 0.6 / (cases * (window + 1)) ** 0.5 + 0.01
                    points.append(
                        point(
                            group,
                            change,
                            label=label,
                            metric=metric,
                            attribute=attribute,
                            low=change - reach,
                            high=change + reach,
                            gap=-sign * 0.15 * (shown > 0) + noise,
                            value=(0.8 if metric == "tpr" else 0.1) - sign * 0.08 * (shown > 0) + noise,
                            state="ok" if cases >= 60 else "wide",
                            cases=cases,
                            patients=int(cases * 0.8),
                            e_value=float(np.exp(min(shown * 0.9, 12)) * draw.uniform(0.3, 1)),
                            alarmed=hurt and window >= ALARM_FROM,
                        )
                    )
    return points


def put_work(ledger: Ledger) -> None:
    """An audit that runs, one that is done and one that failed."""
    for number in range(3):
        ledger.create_operation("audit", f"audits/{number}", {}, [ChunkSpec("rows", {}, rows=500)] * 4)
    done = ledger.lease_chunk("w", 60, ["rows"])
    assert done is not None
    ledger.fail_operation(done, {"message": "the cohort is gone"})
    for _ in range(6):  # four of the second, two of the third
        lease = ledger.lease_chunk("w", 60, ["rows"])
        assert lease is not None
        ledger.commit_chunk(lease, {})


def audited(ledger: Ledger) -> None:
    draw = np.random.default_rng(5)
    same = {"task": "classification", "label": "Edema", "attribute": "sex"}
    cells = [
        {
            **same,
            "pipeline": p,
            "metric": m,
            "group": g,
            "estimate": round(draw.uniform(0.7, 0.9), 3),
            "records": 400,
            "patients": 210,
        }
        for p in ("original", "reconstructed")
        for m in ("auroc", "tpr")
        for g in GROUPS["sex"]
    ]
    gaps = [
        {**same, "pipeline": p, "metric": m, "definition": "max_min", "estimate": 0.06, "ci_low": 0.0, "ci_high": 0.14}
        for p in ("original", "reconstructed")
        for m in ("auroc", "tpr")
    ]
    body = {"state": "STATE_SUCCEEDED", "spec": {"cohort": "cohorts/chest"}, "gauges": {"cells": cells, "gaps": gaps}}
    ledger.put_resource("audits/9", "audit", body)


@dataclass(frozen=True)
class Drift:
    """What was scraped, and between which Unix times."""

    server: Prometheus
    begin: int
    end: int


def scraped_drift(world: World, server: Prometheus, pause_s: float = 2.0) -> Drift:
    """Close window after window while ``server`` scrapes the gateway; less than a minute."""
    begin = int(time.time())
    names = [put_monitor(world.ledger, monitor) for monitor in ("chest-ward", "emergency")]
    put_monitor(world.ledger, "new-scanner", state="STATE_WAITING")
    audited(world.ledger)
    put_work(world.ledger)
    draw = np.random.default_rng(11)
    for window in range(WINDOWS):
        versions = {"1": 800} if window < HURT_FROM else {"2": 800}
        more = {"label_delay_s": 86400.0 * 5}
        close(world.ledger, names[0], series_of(window, draw), versions=versions, **more)
        calm = [point(group, 0.01 * (-1) ** window, e_value=0.6) for group in GROUPS["sex"]]
        close(world.ledger, names[1], [*calm, point("Other", state="insufficient", cases=4)], **more)
        if window == ALARM_FROM:
            put_monitor(world.ledger, "chest-ward", state="STATE_ALARMED")
        for _ in range(4):
            httpx.get(f"{world.http}/v1/models")
        httpx.get(f"{world.http}/v1/models/nothing")
        world.telemetry.batch(app="classifiers", model="chest", size=11 + window % 5, padded=16, seconds=0.02)
        time.sleep(pause_s)
    return Drift(server, begin, int(time.time()))
