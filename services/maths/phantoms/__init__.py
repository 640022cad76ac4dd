"""Procedural images whose truth is known because it was planted."""

from services.maths.phantoms.cohorts import LABELS, PhantomCohort, PhantomRecord, draw_cohort, draw_records
from services.maths.phantoms.readers import read_features
from services.maths.phantoms.worlds import WORLDS

__all__ = ["LABELS", "WORLDS", "PhantomCohort", "PhantomRecord", "draw_cohort", "draw_records", "read_features"]
