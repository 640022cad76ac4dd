"""Drift as a picture: for each group of an attribute its gap window by window, the change with its interval, and n.

Needs matplotlib, which the client does without otherwise: pip install "evenhand[plot]".
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from evenhand.errors import InvalidInput
from evenhand.monitor_state import MonitorState, reference_words
from evenhand.monitor_windows import Alarm, MonitorWindow, MonitorWindows
from evenhand.monitoring.v1 import drift_pb2

Floats: TypeAlias = NDArray[np.float64]
MOST_COLUMNS = 4  # groups beside each other
BLUE, RED, GREY, PALE, INK = "#0072b2", "#c8420a", "#8a8f98", "#c9cdd3", "#23272e"  # told apart by the colour-blind
NORMAL_95 = 1.96
FIRM = ("ok",)  # states whose points are filled
WIDE_OF_NARROWEST = 4.0  # intervals wider than this many times the narrowest do not set the scale
SHORTEST_DAYS = 1e-5  # about a second: windows of records that all came at once have a width too
SMALL, TINY = 8.0, 7.0


class DriftFigure(Figure):
    """A figure that notebooks show without pyplot."""

    def data(self, kind: str = "png") -> bytes:
        """The bytes of a file: "png", "pdf" or "svg"."""
        file = io.BytesIO()
        self.savefig(file, format=kind, dpi=150)
        return file.getvalue()

    def _repr_png_(self) -> bytes:
        return self.data()


def drift_figure(
    monitor: MonitorState, windows: MonitorWindows, alarms: Sequence[Alarm], which: tuple[str, str, str]
) -> DriftFigure:
    """Small multiples, a column per group; ``which`` is (label, attribute, metric).

    Points are gaps of single windows with the 95 % interval of that window alone, which says nothing about watching;
    the ribbon is the change against the reference with its interval that may be watched at any time.

    Raises:
        InvalidInput: SERIES_UNKNOWN, the monitor watches no such series or has closed no window yet.
    """
    label, attribute, metric = which
    frame = windows.to_pandas()
    frame = frame[(frame["label"] == label) & (frame["attribute"] == attribute) & (frame["metric"] == metric)]
    groups = list(dict.fromkeys(frame["group"]))
    if not groups:
        raise InvalidInput(
            f"{monitor.name} has no closed window with {label} {metric} by {attribute}",
            field="label",
            reason="SERIES_UNKNOWN",
            hint=f"labels: {', '.join(one.label for one in monitor.spec.labels)}; "
            f"groupings: {', '.join(monitor.spec.groupings)}; metrics: {', '.join(monitor.spec.metrics)}",
        )
    blocks = -(-len(groups) // MOST_COLUMNS)
    columns = -(-len(groups) // blocks)
    figure = DriftFigure(figsize=(1.2 + max(2.9 * columns, 4.6), 1.5 + 4.6 * blocks), layout="constrained")
    figure.suptitle(_title(monitor, which, len(windows)), fontsize=11, x=0.01, ha="left", color=INK)
    found = [alarm for alarm in alarms if _is_of(alarm.proto, which)]
    marks = _version_marks(windows)
    outer = figure.add_gridspec(blocks, columns, hspace=0.08)
    panels = []
    for place, group in enumerate(groups):
        series = frame[frame["group"] == group]
        raised = [alarm.proto for alarm in found if alarm.proto.key.group == group]
        panels.append(_column(figure, outer[place // columns, place % columns], series, raised, marks))
    _share([panel[0] for panel in panels], _gap_reach(frame))
    _share([panel[1] for panel in panels], _change_reach(frame))
    for place, (gap, change, count) in enumerate(panels):
        if place % columns == 0:
            gap.set_ylabel("gap to everyone else", fontsize=SMALL)
            change.set_ylabel(f"change against\n{reference_words(monitor.spec.reference)}", fontsize=SMALL)
            count.set_ylabel(_count_words(metric), fontsize=SMALL)
    _legend(figure, columns, bool(found), bool(marks))
    return figure


def _column(
    figure: Figure,
    place: SubplotSpec,
    series: pd.DataFrame,
    raised: Sequence[drift_pb2.Alarm],
    marks: Sequence[tuple[float, str]],
) -> tuple[Axes, Axes, Axes]:
    """The three panels of one group: gap, change, n."""
    rows = place.subgridspec(3, 1, height_ratios=(3, 3, 1.2), hspace=0.06)
    gap = figure.add_subplot(rows[0])
    change, count = (figure.add_subplot(rows[row], sharex=gap) for row in (1, 2))
    starts, ends = _days(series["start_time"]), _days(series["end_time"])
    middles, lengths = (starts + ends) / 2, np.maximum(ends - starts, SHORTEST_DAYS)
    _draw_gaps(gap, middles, series)
    _draw_changes(change, middles, series)
    firm = series["state"].isin(FIRM).to_numpy()
    colours = np.where(firm, GREY, PALE).tolist()
    count.bar(middles, series["cases"].to_numpy(np.float64), 0.86 * lengths, color=colours)
    count.set_ylim(bottom=0)
    for axes in (gap, change, count):
        _frame(axes, raised, [at for at, _ in marks])
        axes.tick_params(labelbottom=axes is count)
    gap.set_xlim(float(starts.min() - lengths[0] / 2), float(ends.max() + lengths[-1] / 2))
    locator = dates.AutoDateLocator(minticks=2, maxticks=5)  # type: ignore[no-untyped-call]
    count.xaxis.set_major_locator(locator)
    count.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    count.xaxis.get_offset_text().set_fontsize(SMALL)
    gap.set_title(f"{series['group'].iloc[0]}\n{_latest(series)}", fontsize=9, loc="left", color=INK)
    for at, version in marks:
        _say(gap, at, version, GREY)
    for alarm in raised:
        _say(change, _day(alarm.window_end), "alarm", RED)
    return gap, change, count


def _say(axes: Axes, day: float, words: str, colour: str) -> None:
    """A word at the top of a vertical line."""
    place = (day, 1.0)
    axes.annotate(
        words,
        place,
        xycoords=("data", "axes fraction"),
        xytext=(2, -9),
        textcoords="offset points",
        fontsize=TINY,
        color=colour,
    )


def _draw_gaps(axes: Axes, at: Floats, series: pd.DataFrame) -> None:
    gaps = series["gap"].to_numpy(np.float64)
    errors = NORMAL_95 * series["standard_error"].fillna(0.0).to_numpy(np.float64)
    firm = series["state"].isin(FIRM).to_numpy()
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    for chosen, fill in ((firm, BLUE), (~firm, "white")):
        drawn = {"fmt": "o", "markersize": 4, "color": BLUE, "markerfacecolor": fill, "elinewidth": 0.8}
        axes.errorbar(at[chosen], gaps[chosen], errors[chosen], **drawn)  # type: ignore[arg-type]


def _draw_changes(axes: Axes, at: Floats, series: pd.DataFrame) -> None:
    low, high, change = (series[name].to_numpy(np.float64) for name in ("low", "high", "change"))
    axes.axhline(0.0, color=INK, linewidth=1.0, linestyle=(0, (5, 3)))
    axes.fill_between(at, low, high, color=BLUE, alpha=0.22, linewidth=0)
    axes.plot(at, change, color=BLUE, linewidth=1.4, marker="o", markersize=2.5)


def _frame(axes: Axes, raised: Sequence[drift_pb2.Alarm], versions: Sequence[float]) -> None:
    """Alarms with the time since when, changes of the model's version, and quiet axes."""
    for alarm in raised:
        axes.axvspan(_day(alarm.since_time), _day(alarm.window_end), color=RED, alpha=0.1, linewidth=0)
        axes.axvline(_day(alarm.window_end), color=RED, linewidth=1.2)
    for at in versions:
        axes.axvline(at, color=GREY, linewidth=0.9, linestyle=":")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.tick_params(labelsize=SMALL, color=PALE, labelcolor=INK)
    axes.grid(axis="y", color="#eceef1", linewidth=0.6)
    axes.set_axisbelow(True)


def _share(panels: Sequence[Axes], reach: tuple[float, float]) -> None:
    for axes in panels:
        axes.set_ylim(*reach)


def _gap_reach(frame: pd.DataFrame) -> tuple[float, float]:
    gaps, errors = (frame[name].to_numpy(np.float64) for name in ("gap", "standard_error"))
    half = NORMAL_95 * np.nan_to_num(errors, nan=0.0)
    return _reach(gaps, gaps - half, gaps + half)


def _change_reach(frame: pd.DataFrame) -> tuple[float, float]:
    change, low, high = (frame[name].to_numpy(np.float64) for name in ("change", "low", "high"))
    return _reach(change, low, high)


def _reach(values: Floats, low: Floats, high: Floats) -> tuple[float, float]:
    """Limits that hold zero, all values, and the intervals that are not far wider than the narrowest."""
    width = np.where(np.isfinite(high - low), high - low, np.inf)
    positive = width[(width > 0) & np.isfinite(width)]
    narrow = width <= WIDE_OF_NARROWEST * (positive.min() if positive.size else 0.0)
    shown = np.concatenate([[0.0], values[np.isfinite(values)], low[narrow], high[narrow]])
    air = max(0.08 * float(np.ptp(shown)), 0.01)
    return float(shown.min()) - air, float(shown.max()) + air


def _version_marks(windows: Sequence[MonitorWindow]) -> list[tuple[float, str]]:
    """Starts of the windows in which most records are of another version than before."""
    marks, before = [], None
    for window in windows:
        versions = window.model_versions
        most = max(versions, key=lambda name: (versions[name], name), default=before)
        if before is not None and most != before:
            marks.append((_day(window.proto.start_time), f"→ {most or 'no version'}"))
        before = most
    return marks


def _title(monitor: MonitorState, which: tuple[str, str, str], windows: int) -> str:
    label, attribute, metric = which
    name = monitor.proto.display_name or monitor.name
    return f"{label}: {metric.upper().replace('_', ' ')} by {attribute}\n{name}, windows: {windows}"


def _latest(series: pd.DataFrame) -> str:
    """The last change with its interval."""
    last = series.iloc[-1]
    if np.isnan(last["change"]):
        return f"{last['state']}: no change known"
    words = f"change {last['change']:+.3f} ({last['low']:+.3f} to {last['high']:+.3f})"
    return words.replace("-", "−")


def _count_words(metric: str) -> str:
    return {"tpr": "positives", "fpr": "negatives"}.get(metric, "records")


def _is_of(alarm: drift_pb2.Alarm, which: tuple[str, str, str]) -> bool:
    return (alarm.key.label, alarm.key.attribute, alarm.key.metric) == which


def _days(times: pd.Series) -> Floats:
    """matplotlib's days since 1970."""
    days: Floats = times.dt.as_unit("us").astype("int64").to_numpy(np.float64) / 86_400e6
    return days


def _day(stamp: Any) -> float:
    return float(stamp.ToMicroseconds()) / 86_400e6


def _legend(figure: Figure, columns: int, alarmed: bool, versioned: bool) -> None:
    point = {"marker": "o", "linestyle": "", "color": BLUE, "markersize": 4}
    handles: list[tuple[Any, str]] = [
        (Line2D([], [], **point), "one window ± 95 % of it alone"),  # type: ignore[arg-type]
        (Line2D([], [], markerfacecolor="white", **point), "too few cases to judge"),  # type: ignore[arg-type]
        (Patch(color=BLUE, alpha=0.22), "interval valid at any time"),
        (Line2D([], [], color=INK, linestyle=(0, (5, 3)), linewidth=1.0), "no change"),
    ]
    handles += [(Line2D([], [], color=RED, linewidth=1.2), "alarm")] if alarmed else []
    handles += [(Patch(color=RED, alpha=0.1), "since when, most likely")] if alarmed else []
    handles += [(Line2D([], [], color=GREY, linestyle=":"), "other model version")] if versioned else []
    drawn, words = zip(*handles, strict=True)
    wide = {1: 2, 2: 2, 3: 4}.get(columns, 4)
    figure.legend(drawn, words, loc="outside lower left", ncols=wide, fontsize=SMALL, frameon=False)
