"""What a candidate pipeline does to a gap or to a metric: candidate minus baseline, on the same groups."""

from __future__ import annotations

from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.gaps.definitions import Gap


def gap_change(baseline: Gap, candidate: Gap) -> float | None:
    """Candidate minus baseline; zero means that the gap stayed. None unless the same groups took part in both.

    A gap over other groups is another quantity: it would change when a small group drops out, whatever the pipeline
    does.
    """
    if baseline.estimate is None or candidate.estimate is None or baseline.groups != candidate.groups:
        return None
    return candidate.estimate - baseline.estimate


def overall_change(baseline: Disaggregation, candidate: Disaggregation) -> float | None:
    """Candidate minus baseline of the metric over all records; None where either has no value."""
    before, after = baseline.overall_cell.estimate, candidate.overall_cell.estimate
    return None if before is None or after is None else after - before
