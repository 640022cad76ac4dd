"""An alarm as the ledger keeps it: fields of the Alarm message, and the same in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from services.maths.canonical import digest
from services.monitoring.verdicts import NO_ARM_SPOKE, Raised

_RATES = {
    "tpr": "true positive rate",
    "fpr": "false positive rate",
    "flag_rate": "rate of flagged records",
}
_MOVED = {
    "prevalence": "prevalence",
    "score_distribution": "score distribution",
    "threshold": "threshold",
    "error_rate": "error rate",
}


def alarm_body(
    monitor: str, raised: Raised, summary_of: Callable[[int], Mapping[str, Any]], create_time: str
) -> dict[str, Any]:
    """``summary_of`` gives the summary of a closed window, or of the one that is being closed.

    The name comes from the series, so that a closing that is done again raises the same alarm.
    """
    key = {
        "label": raised.series.label,
        "metric": raised.series.metric,
        "attribute": raised.series.attribute,
        "group": raised.series.group,
    }
    at, since = summary_of(raised.at), summary_of(raised.since)
    return {
        "name": f"{monitor}/alarms/{digest(key)[:20]}",
        "key": key,
        "window": at["name"],
        "window_end": at["end_time"],
        "arm": raised.arm,
        "change": raised.change,
        "low": raised.low,
        "high": raised.high,
        "e_value": raised.e_value,
        "since_window": raised.since,
        "since_time": since["start_time"],
        "patients": raised.patients,
        "moved": list(raised.moved),
        "summary": sentence(raised, since["start_time"]),
        "create_time": create_time,
        "model_versions": sorted(version for version in at["model_versions"] if version),
    }


def sentence(raised: Raised, since_time: str) -> str:
    """Which cell, how much with its interval, since when, how many patients, and what moved."""
    series = raised.series
    interval = "" if raised.high >= NO_ARM_SPOKE else f" ({raised.low:+.3f} to {raised.high:+.3f})"
    moved = [_MOVED.get(part["what"], part["what"]) for part in raised.moved if part["moved"]]
    still = [_MOVED.get(part["what"], part["what"]) for part in raised.moved if not part["moved"]]
    return (
        f"{series.label}: the {_RATES.get(series.metric, series.metric)} of {series.attribute}={series.group} less "
        f"that of everyone else has moved by {raised.recent:+.3f} since window {raised.since} ({since_time[:10]}, "
        f"{raised.patients} patients), by {raised.change:+.3f}{interval} "
        f"{f'in window {raised.at}' if raised.arm == 'abrupt' else 'over all windows'}{_what(moved, still)}"
    )


def _what(moved: list[str], still: list[str]) -> str:
    if not moved and not still:
        return ""
    if not moved:
        return f"; no single cause stands out among {', '.join(still)}"
    return f"; moved: {', '.join(moved)}" + (f"; not moved: {', '.join(still)}" if still else "")
