"""Where the thresholds in the rows came from, and the refusal of those that were fitted on the audited records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from services.audit.results.rounding import rounded
from services.errors import InvalidInput

UNSTATED = "the model's own threshold, as it came with every row"
ABSENT = "no threshold"

_KEYS = ("pipeline", "label", "threshold", "source", "fitted_on_audited")


def threshold_rows(
    rows: pd.DataFrame, stated: Sequence[Mapping[str, Any]], *, allow_fitted: bool
) -> list[dict[str, Any]]:
    """One entry per pipeline, label and threshold that occurs in canonical predictions, sorted.

    ``stated`` are mappings with ``pipeline``, ``label``, ``source``, ``fitted_on_audited``, and ``threshold`` where a
    label has several. One with a threshold for a label that has no predictions is kept: masks are cut by it. Raises
    InvalidInput (field ``thresholds``) for an incomplete entry, and for thresholds that were fitted on the audited
    records unless ``allow_fitted``: rates at such a threshold are too good, and more so in small groups.
    """
    # Where two statements disagree, as those of two sites may, the one that admits to fitting is heard.
    statements = sorted(map(_checked, stated), key=lambda entry: (not entry["fitted_on_audited"], entry["source"]))
    occurring = list(_occurring(rows))
    found = [_entry(*place, statements) for place in occurring]
    found += _of_masks(statements, {(pipeline, label) for pipeline, label, _ in occurring})
    found.sort(key=_order)
    fitted = sorted({entry["label"] for entry in found if entry["fitted_on_audited"]})
    if fitted and not allow_fitted:
        raise InvalidInput(
            f"thresholds of {', '.join(fitted)} were fitted on the audited records; choose them on other records, or "
            "allow "
            "them explicitly, and the report will say so",
            field="thresholds",
            reason="THRESHOLD_FITTED_ON_AUDITED",
        )
    return found


def _occurring(rows: pd.DataFrame) -> Iterator[tuple[str, str, float | None]]:
    keys = ["pipeline", "label", "threshold"]
    for pipeline, label, threshold in rows[keys].drop_duplicates().sort_values(keys).itertuples(index=False):
        yield str(pipeline), str(label), None if math.isnan(threshold) else float(rounded(float(threshold)))


def _entry(pipeline: str, label: str, threshold: float | None, statements: list[dict[str, Any]]) -> dict[str, Any]:
    place = {"pipeline": pipeline, "label": label, "threshold": threshold}
    if threshold is None:
        return {**place, "source": ABSENT, "fitted_on_audited": False}
    for entry in statements:
        same = (entry["pipeline"], entry["label"]) == (pipeline, label)
        if same and rounded(entry.get("threshold", threshold)) == threshold:
            return {**place, "source": entry["source"], "fitted_on_audited": entry["fitted_on_audited"]}
    return {**place, "source": UNSTATED, "fitted_on_audited": False}


def _of_masks(statements: list[dict[str, Any]], scored: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    for entry in statements:
        if entry.get("threshold") is not None and (entry["pipeline"], entry["label"]) not in scored:
            yield {**{key: entry[key] for key in _KEYS}, "threshold": rounded(float(entry["threshold"]))}


def _order(entry: Mapping[str, Any]) -> tuple[str, str, float]:
    return entry["pipeline"], entry["label"], -math.inf if entry["threshold"] is None else entry["threshold"]


def _checked(entry: Mapping[str, Any]) -> dict[str, Any]:
    for name, kind in (("pipeline", str), ("label", str), ("source", str), ("fitted_on_audited", bool)):
        if not isinstance(entry, Mapping) or not isinstance(entry.get(name), kind):
            raise InvalidInput(f"every threshold's origin needs {name!r}", field="thresholds")
    if not entry["source"]:
        raise InvalidInput("a threshold's source must be said in words", field="thresholds")
    threshold = entry.get("threshold")
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if threshold is not None and not (number and 0.0 <= threshold <= 1.0):
        raise InvalidInput("a threshold whose origin is stated must lie in [0, 1]", field="thresholds")
    return dict(entry)
