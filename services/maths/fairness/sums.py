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

from services.maths.fairness.arguments import numbers
from services.maths.fairness.groups import Codes, Grouping, numbered_patients, require_names

Floats = NDArray[np.float64]

_LARGEST_KEY = 2**62


@dataclass(frozen=True)
class PatientSums:
    """Sums of named quantities by *unit*: one patient's records with one combination of groups.

    A patient whose attributes never change is one unit; one who was imaged at 59 and at 61 is two, and still one
    patient for every variance.

    Attributes:
        patient_ids: (K,) sorted and distinct.
        patient: (U,) int64 ascending, the unit's patient as a place in ``patient_ids``.
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
        """(U,) sums of one quantity. Raises ValueError for one that was not added up."""
        if name not in self.columns:
            raise ValueError(f"there are no sums of {name!r}, only of {', '.join(self.columns)}")
        return self.values[:, self.columns.index(name)]


@dataclass(frozen=True)
class Units:
    """Which unit each record belongs to; the fields that ``PatientSums`` has too mean the same.

    Attributes:
        unit: (N,) int64 in 0..U-1.
    """

    patient_ids: NDArray[np.generic]
    patient: Codes
    sensitive_features: tuple[Grouping, ...]
    unit: Codes

    def sums(self, columns: Mapping[str, NDArray[np.generic]]) -> PatientSums:
        """Add up (N,) ``columns`` over the records of each unit."""
        values = np.zeros((len(self.patient), len(columns)))
        for place, (name, column) in enumerate(columns.items()):
            weights = numbers(name, column)
            if weights.ndim != 1:
                raise ValueError(f"{name} must be (N,), got shape {weights.shape}")
            if len(weights) != len(self.unit):
                raise ValueError(f"{name} has {len(weights)} records, cluster has {len(self.unit)}; they must agree")
            values[:, place] = np.bincount(self.unit, weights=weights, minlength=len(self.patient))
        return PatientSums(self.patient_ids, self.patient, self.sensitive_features, tuple(columns), values)


def units_of(cluster: NDArray[np.generic], sensitive_features: Sequence[Grouping]) -> Units:
    """Units of (N,) patient ids and one grouping of the N records per attribute.

    Raises ValueError where a record has no patient or a grouping has another number of records.
    """
    for grouping in sensitive_features:
        if len(grouping.codes) != len(cluster):
            raise ValueError(
                f"attribute {grouping.attribute!r} has {len(grouping.codes)} records, cluster has {len(cluster)}; "
                "they must agree"
            )
    require_names(sensitive_features)
    patient_ids, patient = numbered_patients(cluster)
    return _units(patient_ids, patient, tuple(sensitive_features))


def patient_sums(
    columns: Mapping[str, NDArray[np.generic]],
    *,
    cluster: NDArray[np.generic],
    sensitive_features: Sequence[Grouping],
) -> PatientSums:
    """Add up (N,) ``columns`` over each patient's records. ``cluster`` is (N,) patient ids. NaN stays NaN."""
    return units_of(cluster, sensitive_features).sums(columns)


def merge(first: PatientSums, second: PatientSums) -> PatientSums:
    """The sums of both; equal to ``patient_sums`` of the union of their records. An id in both is the same patient.

    Raises ValueError unless columns, attributes and their groups agree.
    """
    if first.columns != second.columns:
        raise ValueError(f"columns differ: {first.columns} and {second.columns}")
    if [(g.attribute, g.groups) for g in first.sensitive_features] != [
        (g.attribute, g.groups) for g in second.sensitive_features
    ]:
        raise ValueError("attributes or their groups differ; merge sums of the same attributes with the same levels")
    if (first.patient_ids.dtype.kind in "OSU") != (second.patient_ids.dtype.kind in "OSU"):
        raise ValueError("patients are numbers in one part and words in the other; give both the same kind of ids")
    patient_ids = np.union1d(first.patient_ids, second.patient_ids)
    patient = np.concatenate(
        [np.searchsorted(patient_ids, part.patient_ids)[part.patient] for part in (first, second)]
    ).astype(np.int64)
    groupings = tuple(
        Grouping(a.attribute, a.groups, np.concatenate([a.codes, b.codes]))
        for a, b in zip(first.sensitive_features, second.sensitive_features, strict=True)
    )
    table = np.concatenate([first.values, second.values])
    columns = {name: table[:, place] for place, name in enumerate(first.columns)}
    return _units(patient_ids, patient, groupings).sums(columns)


def _units(patient_ids: NDArray[np.generic], patient: Codes, groupings: tuple[Grouping, ...]) -> Units:
    """Rows of one patient with the same groups are one unit; units are in the order of patients, then of groups."""
    key, largest = patient, len(patient_ids)
    for grouping in groupings:
        levels = len(grouping.groups) + 1
        if largest * levels > _LARGEST_KEY:
            key = np.unique(key, return_inverse=True)[1].astype(np.int64)
            largest = len(key)
        key, largest = key * levels + grouping.codes + 1, largest * levels
    _, firsts, unit = np.unique(key, return_index=True, return_inverse=True)
    of_units = tuple(grouping.take(firsts) for grouping in groupings)
    return Units(patient_ids, patient[firsts], of_units, unit.astype(np.int64))
