"""What the platform does with saved reports, for the client's command line: bytes in, plain data or bytes out.

The client finds these functions by the entry point group ``evenhand.reports``, so that it never imports services.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal


def verify(report: bytes, predictions: bytes, quality: bytes) -> dict[str, Any]:
    """Derive every number of report.json again from its two Parquet files.

    Returns ``digest_holds``, ``rows_hold``, ``exact``, ``numbers`` (how many were compared), ``largest_relative`` (None
    where something else than digits differs), ``summary``, and ``differences``: path, what, reported, derived,
    relative. Raises InvalidInput and its subclasses for files that are not what they should be.
    """
    from services.audit.results.verification import verify_report

    found = verify_report(report, predictions, quality)
    return {
        "digest_holds": found.digest_holds,
        "rows_hold": found.rows_hold,
        "exact": found.exact,
        "numbers": found.numbers,
        "largest_relative": found.largest_relative if math.isfinite(found.largest_relative) else None,
        "summary": found.summary(),
        "differences": [asdict(difference) for difference in found.differences],
    }


def merge(sites: Sequence[Mapping[str, Any]], ids: Literal["local", "global"] = "local") -> dict[str, bytes]:
    """One audit out of several sites': ``sites`` have ``name``, ``report``, ``predictions`` and ``quality`` (bytes).

    Returns the files of the union by name. Raises InvalidInput naming the setting in which two sites differ.
    """
    from services.audit.report import render_report
    from services.audit.results.merging import Site, merge_reports
    from services.audit.results.reduce import report_json

    merged = merge_reports([Site(**site) for site in sites], ids=ids)
    envelope = {
        "display_name": " + ".join(str(site["name"]) for site in sites),
        "publish_time": datetime.now(UTC).isoformat(),
    }
    document = report_json(merged.report, envelope)
    return {
        "report.json": document,
        "report.html": render_report(json.loads(document)).encode(),
        "predictions.parquet": merged.predictions,
        "quality.parquet": merged.quality,
    }
