"""The patient bootstrap of AUROC, TPR and FPR: all groups and 64 replicates in one walk over the rows of a label.

    resamples    how often each replicate draws each patient (exact multinomial counts, one byte each)
    plans        which counters a row moves, for the groups of all attributes at once
    walk         the compiled walk over the rows in the order of their scores
    replicates   values by replicate and group, standard errors, and the paired change of a gap

It is here for the paired change as it is published (mean and SD over replicates) and as a check of the closed-form
standard errors. It gives no interval of a gap: resampling a largest difference is inconsistent where groups are equal
(Andrews 2000; Fang and Santos 2019), so an interval of its percentiles never holds a gap of 0.
"""

from services.maths.fairness.bootstrap.plans import Membership, membership
from services.maths.fairness.bootstrap.replicates import (
    PairedChange,
    Replicates,
    bootstrap_classification,
    gap_replicates,
    paired_change,
)
from services.maths.fairness.bootstrap.resamples import LANES, Resamples, patient_weights, resample_patients

__all__ = [
    "LANES",
    "Membership",
    "PairedChange",
    "Replicates",
    "Resamples",
    "bootstrap_classification",
    "gap_replicates",
    "membership",
    "paired_change",
    "patient_weights",
    "resample_patients",
]
