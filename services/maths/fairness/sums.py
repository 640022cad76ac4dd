"""Sums per patient: the whole evidence behind every rate and mean, and nothing that shows an image.

A rate, a prevalence, a Brier score, a mean Dice: each is a ratio of two sums over records. Kept per patient, these sums
give the value, its patient-clustered variance and every test, and two sites can add theirs up: ``merge(a, b)`` equals
the sums of the union. (AUROC compares records with one another, so it needs the scores themselves.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.groups import Codes, Grouping

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PatientSums:
    """Sums of named quantities by *unit*: one patient's records with one combination of groups.

    A patient whose attributes never change is one unit; one who was imaged at 59 and at 61 is two, and still one
    patient for every variance.

    Attributes:
        patient_ids: (K,) sorted and distinct.
        patient: (U,) int64, the unit's patient as a place in ``patient_ids``.
        sensitive_features: one grouping of the U units per attribute.
        columns: names of the F quantities.
        values: (U, F) float64.
    """

    patient_ids: NDArray[np.generic]
    patient: Codes
    sensitive_features: tuple[Grouping, ...]
    columns: tuple[str, ...]
    values: Floats

    def column(self, name: str) -> Floats:
        """(U,) sums of one quantity."""
        return self.values[:, self.columns.index(name)]


def patient_sums(
    columns: Mapping[str, NDArray[np.generic]],
    *,
    cluster: NDArray[np.generic],
    sensitive_features: Sequence[Grouping],
) -> PatientSums:
    """Add up (N,) ``columns`` over each patient's records. ``cluster`` is (N,) patient ids. NaN is the caller's affair."""
    records = len(cluster)
    for name, values in columns.items():
        if len(values) != records:
            raise ValueError(f"{name} has {len(values)} records, cluster has {records}")
    for grouping in sensitive_features:
        if len(grouping.codes) != records:
            raise ValueError(f"attribute {grouping.attribute!r} has {len(grouping.codes)} records, cluster {records}")
    patient_ids, patient = np.unique(cluster, return_inverse=True)
    table = np.column_stack([np.asarray(column, dtype=np.float64) for column in columns.values()])
    return _added(patient_ids, patient.astype(np.int64), tuple(sensitive_features), tuple(columns), table)


def merge(first: PatientSums, second: PatientSums) -> PatientSums:
    """The sums of both; equal to ``patient_sums`` of the union of their records. An id in both is the same patient.

    Raises ValueError unless columns, attributes and their groups agree.
    """
    if first.columns != second.columns:
        raise ValueError(f"columns differ: {first.columns} and {second.columns}")
    if [(g.attribute, g.groups) for g in first.sensitive_features] != [
        (g.attribute, g.groups) for g in second.sensitive_features
    ]:
        raise ValueError("attributes or their groups differ")
    ids = np.concatenate([first.patient_ids[first.patient], second.patient_ids[second.patient]])
    patient_ids, patient = np.unique(ids, return_inverse=True)
    groupings = tuple(
        Grouping(a.attribute, a.groups, np.concatenate([a.codes, b.codes]))
        for a, b in zip(first.sensitive_features, second.sensitive_features, strict=True)
    )
    table = np.concatenate([first.values, second.values])
    return _added(patient_ids, patient.astype(np.int64), groupings, first.columns, table)


def _added(
    patient_ids: NDArray[np.generic],
    patient: Codes,
    groupings: tuple[Grouping, ...],
    columns: tuple[str, ...],
    table: Floats,
) -> PatientSums:
    """Rows of one patient with the same groups become one unit, in the order of patients and then of groups."""
    keys = [patient, *(grouping.codes for grouping in groupings)]
    order = np.lexsort(keys[::-1])
    ordered = [key[order] for key in keys]
    new = np.ones(len(order), dtype=bool)
    if len(order):
        new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in ordered])
    starts = np.flatnonzero(new)
    values = np.add.reduceat(table[order], starts, axis=0) if len(starts) else table
    firsts = order[starts]
    return PatientSums(
        patient_ids=patient_ids,
        patient=patient[firsts],
        sensitive_features=tuple(grouping.take(firsts) for grouping in groupings),
        columns=columns,
        values=values,
    )
