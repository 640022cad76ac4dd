"""Monitors as the ledger holds them after some windows were closed, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from services.adapters.ledger import Ledger

ORIGIN = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(weeks=1)


def put_monitor(ledger: Ledger, monitor: str, *, state: str = "STATE_WATCHING", **more: Any) -> str:
    """Write the resource of a monitor of weekly windows that wait two weeks for labels; its name."""
    name = f"monitors/{monitor}"
    window = {"length": "604800s", "origin": ORIGIN.isoformat().replace("+00:00", "Z"), "label_delay": "1209600s"}
    spec = {"model": "models/chest-classifier", "window": window, "alpha": 0.05, **more.pop("spec", {})}
    ledger.put_resource(name, "monitor", {"name": name, "spec": spec, "state": state, **more})
    return name


def point(group: str, change: float | None = None, **more: Any) -> dict[str, Any]:
    """A series' point; its interval is the change plus and minus 0.1."""
    known = {} if change is None else {"change": change, "low": change - 0.1, "high": change + 0.1, "gap": change}
    same = {"label": "Edema", "metric": "tpr", "attribute": "sex", "state": "ok", "value": 0.8, "e_value": 1.5}
    return {**same, "group": group, "cases": 40, "patients": 30, "records": 400, "alarmed": False, **known, **more}


def close(
    ledger: Ledger,
    name: str,
    points: Iterable[Mapping[str, Any]],
    *,
    versions: Mapping[str, int] | None = None,
    **more: Any,
) -> None:
    """Close the monitor's next window with these points."""
    index = ledger.closed_windows(name)
    end = ORIGIN + (index + 1) * WEEK
    summary = {
        "name": f"{name}/windows/{index}",
        "index": index,
        "start_time": (end - WEEK).isoformat().replace("+00:00", "Z"),
        "end_time": end.isoformat().replace("+00:00", "Z"),
        "records": "800",  # 64-bit integers are strings in proto3's JSON form
        "labelled": "600",
        "model_versions": {"1": "800"} if versions is None else {key: str(n) for key, n in versions.items()},
        **more,
    }
    assert ledger.close_window(
        name, index, revision=1, digest="0" * 64, summary=summary, key="", points=points, alarms=[]
    )
