"""Gauges of monitors, computed from the ledger at scrape time: what each series shows after its last closed window.

Nothing is held in a process, so every replica shows the same. The number of series is bounded: what is over is folded
into one series per family whose label values are all "other". What is folded is chosen so that it hides as little as
possible: alarms stay to the last, then what has the most evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from services.adapters.arrivals.watch import duration_micros
from services.adapters.ledger import Ledger

MOST_MONITORS = 200  # newest first; older ones are not read at all
MOST_VERSIONS = 20  # of a monitor's model
LONGEST_VALUE = 80
OTHER = "other"

SERIES = ("monitor", "label", "metric", "attribute", "group")
SERIES_STATES = ("undefined", "insufficient", "wide", "ok")  # the gauge's value is the place in this list
STATES = ("waiting", "watching", "alarmed", "finished")

Sample = tuple[str, tuple[str, ...], float]
"""(family without its prefix, label values, value)."""
Block = Sequence[Sample]
"""Samples that are shown together or not at all."""


def _largest(values: Iterable[float]) -> float:
    return max(values, key=abs)


@dataclass(frozen=True)
class Family:
    """A family of gauges; ``fold`` makes one value of those that have no room."""

    text: str
    labels: tuple[str, ...]
    fold: Callable[[Iterable[float]], float] = sum


_MONITOR = ("monitor",)

FAMILIES: Mapping[str, Family] = {
    "metric": Family("The metric in the group, in the last closed window.", SERIES, min),
    "gap": Family("The group's value less that of everyone else with a known level, last window.", SERIES, _largest),
    "change": Family("Change of the gap against the reference over all windows so far.", SERIES, _largest),
    "change_low": Family("Lower end of the change's interval, valid at any time.", SERIES, min),
    "change_high": Family("Upper end of the change's interval, valid at any time.", SERIES, max),
    "cases": Family("Records that decide the metric in the group, last window.", SERIES),
    "patients": Family("Patients of these records.", SERIES),
    "records": Family("Records of the group in the last window, with or without a label.", SERIES),
    "e_value": Family("Evidence for drift so far; an alarm needs at least 1 / alpha.", SERIES, max),
    "alarm": Family("1 where an alarm of the series stands; it stays.", SERIES),
    "series_state": Family("0 undefined, 1 insufficient, 2 wide, 3 ok.", SERIES, min),
    "state": Family("1 for the state that the monitor is in.", ("monitor", "state")),
    "model_info": Family("Versions of the model in the last closed window.", ("monitor", "model", "version")),
    "window_end_seconds": Family("Unix time at which the last closed window ended.", _MONITOR, min),
    "window_due_seconds": Family("Unix time at which the next window is to be closed.", _MONITOR, min),
    "closed_windows": Family("Windows closed so far.", _MONITOR),
    "label_delay_seconds": Family("Median time to a record's label in the last closed window.", _MONITOR, max),
    "label_wait_seconds": Family("How long a window waits for labels before it is closed.", _MONITOR, min),
    "unknown_labels": Family("Labels of records that are unknown so far.", _MONITOR),
    "late_rows": Family("Predictions and labels that came after their window was closed.", _MONITOR),
    "conflicts": Family("Rows refused since they say otherwise than the row before.", _MONITOR),
    "predictions": Family("Predictions kept.", _MONITOR),
    "labelled_share": Family("Share of the last closed window's records that have a label.", _MONITOR, min),
    "alpha": Family("Share of such monitors that may ever raise a false alarm.", _MONITOR, min),
    "trouble": Family("1 while its source cannot be read.", _MONITOR),
}
_SERIES_FAMILIES = tuple(name for name, family in FAMILIES.items() if family.labels is SERIES)


def monitor_blocks(ledger: Ledger) -> list[Block]:
    """Blocks of all monitors, those first that are to be shown first: the monitors themselves, then their series."""
    bodies, _ = ledger.list_resources("monitor", page_size=MOST_MONITORS, leave_out=("plan",))
    latest, arrived = ledger.all_latest(str(body["name"]) for body in bodies), ledger.all_arrivals()
    blocks: list[Block] = []
    series: list[tuple[tuple[Any, ...], Block]] = []
    for body in bodies:
        name = str(body["name"])
        window, points = latest.get(name, ({}, []))
        blocks.append(list(_monitor(body, window, arrived.get(name, {}))))
        for point in points:
            key = (label_value(name.removeprefix("monitors/")), *(label_value(point[part]) for part in SERIES[1:]))
            series.append(((not point["alarmed"], -point["e_value"], *key), list(_series(key, point))))
    series.sort(key=itemgetter(0))  # alarms first, then the most evidence; names decide between equals
    return blocks + [block for _, block in series]


def bounded(blocks: Sequence[Block], room: int) -> tuple[list[Sample], int]:
    """At most ``room`` samples, and how many were folded into "other"."""
    if sum(map(len, blocks)) <= room:
        return [sample for block in blocks for sample in block], 0
    room -= len(FAMILIES)  # one "other" each
    shown: list[Sample] = []
    left: dict[str, list[float]] = {}
    for block in blocks:  # once one has no room none after it has: what is shown does not depend on sizes
        if not left and len(shown) + len(block) <= room:
            shown += block
            continue
        for name, _, value in block:
            left.setdefault(name, []).append(value)
    for name, values in left.items():
        family = FAMILIES[name]
        shown.append((name, (OTHER,) * len(family.labels), float(family.fold(values))))
    return shown, sum(map(len, left.values()))


def exposed(samples: Iterable[Sample]) -> Iterator[Metric]:
    """All families, those without a sample too."""
    found = {
        name: GaugeMetricFamily(f"evenhand_monitor_{name}", family.text, labels=list(family.labels))
        for name, family in FAMILIES.items()
    }
    for name, key, value in samples:
        found[name].add_metric(list(key), value)
    yield from found.values()


def label_value(given: Any) -> str:
    """A label's value: short, and without control characters."""
    text = "" if given is None else str(given)
    return "".join(character for character in text[:LONGEST_VALUE] if character.isprintable())


def _series(key: tuple[str, ...], point: Mapping[str, Any]) -> Iterator[Sample]:
    values = {
        **point,
        "metric": point["value"],
        "change_low": point["low"],
        "change_high": point["high"],
        "alarm": point["alarmed"],
        "series_state": SERIES_STATES.index(point["state"]),
    }
    for name in _SERIES_FAMILIES:
        if values[name] is not None:
            yield name, key, float(values[name])


def _monitor(body: Mapping[str, Any], last: Mapping[str, Any], arrivals: Mapping[str, int]) -> Iterator[Sample]:
    spec = body.get("spec") or {}
    window = spec.get("window") or {}
    monitor = label_value(str(body["name"]).removeprefix("monitors/"))
    closed = int(last["index"]) + 1 if last else 0
    late = arrivals.get("late_predictions", 0) + arrivals.get("late_labels", 0)
    records = _number(last.get("records"))
    state = str(body.get("state", "")).removeprefix("STATE_").lower()
    # An alarm outlasts the planned windows, and its state with it: then only their number says that none is due.
    over = state == "finished" or closed >= int(spec.get("planned_windows") or 0) > 0
    values = {
        "window_end_seconds": _unix(last.get("end_time")),
        "window_due_seconds": None if over else _due(window, closed),
        "closed_windows": float(closed),
        "label_delay_seconds": _known(last.get("label_delay_s")),
        "label_wait_seconds": duration_micros(window.get("label_delay")) / 1e6,
        "unknown_labels": float(arrivals.get("unknown_labels", 0)),
        "late_rows": float(late),
        "conflicts": float(arrivals.get("conflicts", 0)),
        "predictions": float(arrivals.get("predictions", 0)),
        "labelled_share": (_number(last.get("labelled")) or 0.0) / records if records else None,
        "alpha": _number(spec.get("alpha")),
        "trouble": float(bool(body.get("trouble"))),
    }
    for name, value in values.items():
        if value is not None:
            yield name, (monitor,), value
    for each in STATES:
        yield "state", (monitor, each), float(each == state)
    model = label_value(str(spec.get("model", "")).removeprefix("models/"))
    versions = last.get("model_versions") or {}
    # Those with the most records; a count does not say which is the newest.
    for version in sorted(versions, key=lambda name: (-int(versions[name]), name))[:MOST_VERSIONS]:
        yield "model_info", (monitor, model, label_value(version)), 1.0


def _due(window: Mapping[str, Any], closed: int) -> float | None:
    """Unix time at which window number ``closed`` is to be closed; None where windows are cut by count."""
    length, origin = duration_micros(window.get("length")), _unix(window.get("origin"))
    if not length or origin is None:
        return None
    return origin + ((closed + 1) * length + duration_micros(window.get("label_delay"))) / 1e6


def _unix(given: Any) -> float | None:
    """Unix time of a timestamp in proto3's JSON form."""
    if not given:
        return None
    return datetime.fromisoformat(str(given)).timestamp()


def _known(given: Any) -> float | None:
    """A number that is negative while it is unknown."""
    value = _number(given)
    return None if value is None or value < 0 else value


def _number(given: Any) -> float | None:
    """64-bit integers are strings in proto3's JSON form."""
    return None if given is None or given == "" else float(given)
