"""One report of several sites' evidence: the statistics of the union, from row files that hold no image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from services.audit.results.formats import (
    prediction_rows,
    predictions_table,
    quality_rows,
    quality_table,
    read_predictions,
    read_quality,
)
from services.audit.results.reading import read_report
from services.audit.results.reduce import reduce
from services.audit.results.verification import settings_of
from services.errors import InvalidInput
from services.maths.canonical import digest

Ids = Literal["local", "global"]

# What may differ between sites: which thresholds were used is checked for itself, software is that of the merging site.
_FREE = ("thresholds", "allow_fitted_thresholds", "software")


@dataclass(frozen=True)
class Site:
    """The files of one site's audit. ``name`` tells sites apart and becomes a part of local ids."""

    name: str
    report: bytes
    predictions: bytes
    quality: bytes


@dataclass(frozen=True)
class Merged:
    """The report of the union (no envelope) and the row files that it follows from."""

    report: dict[str, Any]
    predictions: bytes
    quality: bytes


def merge_reports(sites: Sequence[Site], *, ids: Ids = "local") -> Merged:
    """One report on the patients of all sites, which must have been audited with the same settings.

    ``ids="local"``: every site numbers its own patients, so the site's name is put before all ids.
    ``ids="global"``: an id means the same patient everywhere; one patient seen at two sites is then one cluster, and a
    record found at two sites is an error.

    Raises InvalidInput naming the setting or network in which two sites differ, and what reading the files raises.
    """
    if len(sites) < 2 or len({site.name for site in sites}) < len(sites):
        raise InvalidInput("two or more sites with names of their own are needed", field="sites")
    if any(not site.name or "/" in site.name for site in sites):
        raise InvalidInput("a site's name must not be empty or hold a slash, which ends it in local ids", field="sites")
    if ids not in ("local", "global"):
        raise InvalidInput(f"ids must be local or global, not {ids!r}", field="ids")
    reports = [_site_report(site) for site in sites]
    settings, networks = _common(sites, reports), _networks(sites, reports)
    predictions = pd.concat([_named(read_predictions(s.predictions), s.name, ids) for s in sites], ignore_index=True)
    quality = pd.concat([_named(read_quality(s.quality), s.name, ids) for s in sites], ignore_index=True)
    scored, measured = prediction_rows(predictions), quality_rows(quality)
    patients = set(scored["patient_id"].cat.categories) | set(measured["patient_id"].cat.categories)
    cohorts = [report["cohort"] for report in reports]
    provenance = {
        "cohort": {
            "digest": digest([cohort["digest"] for cohort in cohorts]),
            "patients": len(patients) if ids == "global" else sum(cohort["patients"] for cohort in cohorts),
            "records": sum(cohort["records"] for cohort in cohorts),
            **_refused(reports),
        },
        "ids": ids,
        "sites": [
            {
                "name": site.name,
                "digest": report["digest"],
                "cohort": report["cohort"],
                "rows": report["provenance"]["rows"],
            }
            for site, report in zip(sites, reports, strict=True)
        ],
        **({"perceptual": networks} if networks else {}),
    }
    report = reduce(scored, measured, provenance=provenance, **settings)
    return Merged(report, predictions_table(scored), quality_table(measured))


def _site_report(site: Site) -> dict[str, Any]:
    """A site's report, with the counts that are added up over sites."""
    report = read_report(site.report)
    cohort, refused = report["cohort"], report["provenance"].get("cohort", {}).get("refused") or {}
    counts = [
        cohort.get("patients"),
        cohort.get("records"),
        *(refused.values() if isinstance(refused, dict) else [None]),
    ]
    if not isinstance(cohort.get("digest"), str) or not all(isinstance(count, int) for count in counts):
        raise InvalidInput(f"the report of {site.name!r} does not count its cohort", field="cohort")
    if report["provenance"].get("cohort", {}).get("synthetic"):
        raise InvalidInput(
            f"the report of {site.name!r} is of synthetic images; what holds for them is not merged with reports of "
            "patients",
            field="cohort",
            reason="COHORT_SYNTHETIC",
        )
    if not isinstance(report["digest"], str) or "rows" not in report["provenance"]:
        raise InvalidInput(f"the report of {site.name!r} has no digests", field="provenance.rows")
    return report


def _common(sites: Sequence[Site], reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The settings that all sites share, with the thresholds of all of them."""
    first, *others = [settings_of(report) for report in reports]
    for site, other in zip(sites[1:], others, strict=True):
        for key in first:
            if key not in _FREE and other[key] != first[key]:
                raise InvalidInput(
                    f"{site.name!r} was audited with {key} {other[key]!r}, {sites[0].name!r} with {first[key]!r}",
                    field=f"methods.{key}",
                )
    thresholds = {
        (row["pipeline"], row["label"], row["threshold"], row["source"], row["fitted_on_audited"]): row
        for settings in (first, *others)
        for row in settings["thresholds"]
    }
    return {
        **{key: value for key, value in first.items() if key not in _FREE},
        "thresholds": list(thresholds.values()),
        "allow_fitted_thresholds": any(row["fitted_on_audited"] for row in thresholds.values()),
    }


def _networks(sites: Sequence[Site], reports: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The digests of all sites' perceptual metrics: distances in two networks cannot be averaged."""
    found: dict[str, str] = {}
    for site, report in zip(sites, reports, strict=True):
        for metric, network in (report["provenance"].get("perceptual") or {}).items():
            if found.setdefault(metric, network) != network:
                raise InvalidInput(
                    f"{metric} of {site.name!r} was measured with another network than at the sites before it",
                    field=f"provenance.perceptual[{metric}]",
                )
    return found


def _named(rows: pd.DataFrame, site: str, ids: Ids) -> pd.DataFrame:
    if ids == "global":
        return rows
    named = {
        column: rows[column].cat.rename_categories([f"{site}/{name}" for name in rows[column].cat.categories])
        for column in ("record_id", "patient_id")
    }
    return rows.assign(**named)


def _refused(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Refused files of all sites by reason, where the sites' reports count them."""
    total: Counter[str] = Counter()
    for report in reports:
        total.update(report["provenance"].get("cohort", {}).get("refused") or {})
    return {"refused": dict(total)} if total else {}
