"""How numbers, times and states are spelt on pages."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

NOTHING = "–"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")

STATES = {
    "queued": "queued",
    "pending": "queued",
    "running": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
    "waiting": "waiting",
    "watching": "watching",
    "alarmed": "alarm",
    "finished": "finished",
}


def count(value: int) -> str:
    return f"{value:,}"


def number(value: float | None, digits: int = 3) -> str:
    """Significant digits without an exponent for what people meet; a dash for what is not there."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        places = digits if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{places}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text.replace("-", "−")
    return f"{value:.{digits - 1}e}".replace("-", "−")


def fixed(value: float | None, places: int = 3) -> str:
    """Values under each other, with as many places each."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{places}f}".replace("-", "−")


def signed(value: float | None, places: int = 3) -> str:
    """Differences, with their sign."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:+.{places}f}".replace("-", "−")


def percent(share: float, places: int = 1) -> str:
    return f"{100 * share:.{places}f} %"


def size(length: int) -> str:
    """Bytes, in binary units."""
    value, unit = float(length), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """A span of time in its two largest units; a dash where it is unknown (negative)."""
    if seconds < 0 or not math.isfinite(seconds):
        return NOTHING
    if seconds < 60:
        return f"{seconds:.0f} s"
    units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)]
    place = next(index for index, (_, length) in enumerate(units) if seconds >= length)
    (large, length), (small, shorter) = units[place], units[min(place + 1, 3)]
    whole, rest = divmod(round(seconds / shorter), length // shorter)
    return f"{whole} {large} {rest} {small}" if rest else f"{whole} {large}"


def moment(stamp: Timestamp) -> datetime | None:
    """The time in UTC; None where it was never set."""
    return stamp.ToDatetime(tzinfo=UTC) if stamp.seconds or stamp.nanos else None


def when(time: datetime | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC") if time else NOTHING


def short(identity: str) -> str:
    """The last part of a resource name, or the beginning of a digest: enough to tell it from its neighbours."""
    last = identity.rpartition("/")[2]
    return last if len(last) <= 12 else f"{last[:8]}…"


def title(display_name: str, name: str) -> str:
    """What a thing is called; one without a name is called by its id."""
    return display_name.strip() or short(name)


def state_of(enum_name: str) -> str:
    """``STATE_RUNNING`` → ``running``."""
    return enum_name.removeprefix("STATE_").lower()
