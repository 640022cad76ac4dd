"""The ``published`` block: the same rows in the published style, beside the findings and outside every verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from services.audit.results.change_findings import ChangeFindings
from services.audit.results.measurements import Measurement, Reading, Scores, Values
from services.audit.results.rows import Row
from services.audit.results.settings import Settings
from services.maths.fairness.bootstrap import Membership, Resamples, membership, resample_patients
from services.maths.fairness.gaps.definitions import shared_groups
from services.maths.fairness.published import (
    PublishedChange,
    absolute_mean,
    dice_gaps,
    mean_replicates,
    published_change,
    published_spread,
    published_threshold,
    rate_replicates,
    sample_once,
)
from services.maths.fairness.sums import Floats

_GAPS = {"eodd_half": ("tpr", "fpr"), "eop": ("tpr",), "ser": ("dice",), "delta_dice": ("dice",)}
_SPREAD = "psnr"
_MEANS = ("dice", _SPREAD)


@dataclass(frozen=True)
class _Drawn:
    """One pipeline's metrics by group: (1 + B, G) each, the whole sample first."""

    reading: Reading
    groups: tuple[tuple[str, str], ...]
    values: Mapping[str, Floats]

    def of(self, metric: str, attribute: str, groups: Sequence[str]) -> Floats:
        return self.values[metric][:, [self.groups.index((attribute, group)) for group in groups]]


class PublishedFindings:
    """Collects rows label after label. Single attributes only, over the groups that the findings compare."""

    def __init__(self, chosen: Settings, predictions: int, quality: int) -> None:
        """``predictions`` and ``quality`` are how many records each table has."""
        self._settings = chosen
        self._records = {Scores: predictions, Values: quality}
        self._single = [place for place, spec in enumerate(chosen.specs) if len(spec.parts) == 1]
        self._resamples = cache(self._draw)
        self._summaries: dict[tuple[str, str, str], list[PublishedChange]] = {}
        self._thresholds: list[Row] = []
        self._changes: list[Row] = []
        self._spreads: list[Row] = []

    def add(self, measurement: Measurement) -> None:
        """Every change and spread of one label; nothing without replicates or single attributes."""
        if not self._settings.replicates or not self._single:
            return
        drawn = {name: self._drawn(reading) for name, reading in measurement.readings.items() if self._wanted(reading)}
        of = {"task": measurement.task, "label": measurement.label}
        before = drawn.get(self._settings.baseline)
        for pipeline, after in drawn.items():
            if isinstance(after.reading.rows, Scores):
                limit = published_threshold(after.reading.rows.y_true, after.reading.rows.y_score)
                self._thresholds.append({"pipeline": pipeline, **of, "threshold": limit})
            if before is not None and pipeline != self._settings.baseline:
                self._compare({"candidate": pipeline, **of}, before, after)
            if _SPREAD in after.values:
                self._spread(pipeline, after)

    def block(self, found: ChangeFindings) -> dict[str, Any]:
        """The block; averages stand beside what ``found`` says that chance alone would make of them."""
        averages = []
        for (candidate, attribute, definition), changes in self._summaries.items():
            by_chance = found.average_by_chance(candidate, attribute, definition)
            averages.append(
                {
                    "candidate": candidate,
                    "attribute": attribute,
                    "definition": definition,
                    "metric": ",".join(_GAPS[definition]),
                    "tasks": sum(change.replicates > 1 for change in changes),
                    "absolute_mean": absolute_mean(changes),
                    "by_chance": by_chance[0] if by_chance else None,
                    "by_chance_high": by_chance[1] if by_chance else None,
                }
            )
        return {
            "replicates": self._settings.replicates,
            "thresholds": self._thresholds,
            "changes": self._changes,
            "averages": averages,
            "spreads": self._spreads,
        }

    def _wanted(self, reading: Reading) -> bool:
        return isinstance(reading.rows, Scores) or any(metric in _MEANS for metric, _ in reading.by)

    def _draw(self, records: int) -> tuple[Resamples, Resamples]:
        replicates, seed = self._settings.replicates, self._settings.stream("row bootstrap")
        return sample_once(records), resample_patients(records, replicates=replicates, seed=seed)

    def _drawn(self, reading: Reading) -> _Drawn:
        rows = reading.rows
        member = membership([rows.groupings[place] for place in self._single])
        parts = [_metrics(rows, member, resamples, reading) for resamples in self._resamples(self._records[type(rows)])]
        return _Drawn(
            reading, member.groups, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        )

    def _compare(self, of: Mapping[str, str], before: _Drawn, after: _Drawn) -> None:
        for definition, metrics in _GAPS.items():
            if not all(metric in part.values for metric in metrics for part in (before, after)):
                continue
            for attribute in self._attributes():
                parts = [part.reading.by[metric, attribute] for part in (before, after) for metric in metrics]
                groups = shared_groups(*parts)
                gaps = [_gaps(part, definition, attribute, groups) for part in (before, after)]
                change = published_change(gaps[0][1:], gaps[1][1:])
                self._summaries.setdefault((of["candidate"], attribute, definition), []).append(change)
                self._changes.append(
                    {
                        **of,
                        "metric": ",".join(metrics),
                        "attribute": attribute,
                        "definition": definition,
                        "baseline_gap": gaps[0][0],
                        "candidate_gap": gaps[1][0],
                        **asdict(change),
                    }
                )

    def _spread(self, pipeline: str, drawn: _Drawn) -> None:
        for attribute in self._attributes():
            groups = drawn.reading.by[_SPREAD, attribute].comparable_groups
            if len(groups) < 2:
                continue
            means = drawn.of(_SPREAD, attribute, groups)
            best, worst = int(means[0].argmax()), int(means[0].argmin())
            self._spreads.append(
                {
                    "pipeline": pipeline,
                    "metric": _SPREAD,
                    "attribute": attribute,
                    "best": groups[best],
                    "worst": groups[worst],
                    "percent": 100.0 * (means[0, best] - means[0, worst]) / means[0, best],
                    **asdict(published_spread(means[1:], best, worst)),
                }
            )

    def _attributes(self) -> list[str]:
        return [self._settings.specs[place].name for place in self._single]


def _metrics(rows: Scores | Values, member: Membership, resamples: Resamples, reading: Reading) -> dict[str, Floats]:
    if isinstance(rows, Scores):
        found = rate_replicates(rows.y_true, rows.y_score, row=rows.record, member=member, resamples=resamples)
        return {"tpr": found.tpr, "fpr": found.fpr}
    (metric,) = {metric for metric, _ in reading.by}
    return {metric: mean_replicates(rows.value, row=rows.record, member=member, resamples=resamples)}


def _gaps(drawn: _Drawn, definition: str, attribute: str, groups: Sequence[str]) -> Floats:
    """(1 + B,) gaps among the groups, NaN with fewer than two."""
    chosen = [drawn.of(metric, attribute, groups) for metric in _GAPS[definition]]
    if len(groups) < 2:
        return np.full(len(chosen[0]), np.nan)
    if _GAPS[definition] == ("dice",):
        return dice_gaps(chosen[0], definition)
    return np.asarray(np.mean([np.ptp(values, axis=1) for values in chosen], axis=0))
